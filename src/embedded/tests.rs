//! The private Postgres against the real one.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use super::postmaster::is_postmaster;
use super::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres};

/// A directory of this test alone, removed at its end.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("rouse-test-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn data_dir(&self) -> PathBuf {
        self.0.join("data")
    }

    fn cluster(&self) -> PathBuf {
        self.data_dir().canonicalize().unwrap().join("postgres/data")
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

async fn connect(postgres: &EmbeddedPostgres) -> PgConnection {
    PgConnectOptions::from_str(postgres.connection_url()).unwrap().connect().await.unwrap()
}

async fn setting(connection: &mut PgConnection, name: &str) -> String {
    sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(connection).await.unwrap()
}

/// Waits for what another process does; fails the test when it does not happen.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}: still not so after 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What the helper process is told, and tells, in its environment and in a file.
const HELPER: &str = "ROUSE_TEST_EMBEDDED_HELPER";

/// Not a test: the server that other tests kill. It starts a Postgres, notes where, and waits for its death.
#[tokio::test]
async fn helper_server() {
    let Ok(command) = std::env::var(HELPER) else { return };
    let (mode, dir) = command.split_once(':').unwrap();
    let options = match mode {
        "serve" => EmbeddedOptions::serve(Path::new(dir).join("data")),
        _ => EmbeddedOptions { data_dir: dir.into(), ..EmbeddedOptions::temporary() },
    };
    let postgres = EmbeddedPostgres::start(options).await.unwrap();
    let facts = format!("{} {}", postgres.postmaster_pid(), postgres.home_dir().display());
    std::fs::write(Path::new(dir).join("started.new"), facts).unwrap();
    std::fs::rename(Path::new(dir).join("started.new"), Path::new(dir).join("started")).unwrap();
    std::future::pending::<()>().await;
}

fn start_helper(mode: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::tests::helper_server", "--nocapture"])
        .env(HELPER, format!("{mode}:{}", dir.display()))
        .spawn()
        .unwrap()
}

/// The postmaster's process id and directory, once the helper is ready.
fn helper_facts(dir: &Path) -> (i32, PathBuf) {
    eventually("the helper is ready", || dir.join("started").exists());
    let facts = std::fs::read_to_string(dir.join("started")).unwrap();
    let (pid, home) = facts.split_once(' ').unwrap();
    (pid.parse().unwrap(), home.into())
}

#[tokio::test]
async fn data_outlives_a_stop_and_the_second_start_is_quick() {
    let dir = TestDir::new();
    let postgres = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap();
    assert!(!postgres.was_adopted());
    let mut connection = connect(&postgres).await;
    for (name, value) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("listen_addresses", ""),
        ("jit", "off"),
        ("max_wal_size", "4GB"),
    ] {
        assert_eq!(setting(&mut connection, name).await, value, "{name}");
    }
    assert_eq!(setting(&mut connection, "server_encoding").await, "UTF8");
    sqlx::raw_sql("CREATE TABLE t AS SELECT 42 AS n").execute(&mut connection).await.unwrap();
    let home = dir.cluster();
    let home = home.parent().unwrap();
    assert_eq!(home.metadata().unwrap().mode() & 0o777, 0o700);
    assert_ne!(home.metadata().unwrap().uid(), 0, "never as root");
    let pid = postgres.postmaster_pid();
    postgres.stop().await; // with a connection open
    assert!(!is_postmaster(pid, &dir.cluster()));

    let begin = Instant::now();
    let postgres = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "took {:?}", begin.elapsed());
    let n: i32 = sqlx::query_scalar("SELECT n FROM t").fetch_one(&mut connect(&postgres).await).await.unwrap();
    assert_eq!(n, 42);
    postgres.stop().await;
}

#[tokio::test]
async fn a_postgres_left_by_a_killed_server_is_adopted_and_stopped() {
    let dir = TestDir::new();
    let mut helper = start_helper("serve", &dir.0);
    let (pid, _) = helper_facts(&dir.0);

    let error = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap_err();
    assert!(matches!(&error, EmbeddedError::Locked { holder, .. } if *holder == helper.id().to_string()), "{error}");
    assert!(error.to_string().contains(&format!("process {}", helper.id())), "{error}");

    helper.kill().unwrap();
    helper.wait().unwrap();
    let postgres = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap();
    assert!(postgres.was_adopted());
    assert_eq!(postgres.postmaster_pid(), pid);
    assert_eq!(setting(&mut connect(&postgres).await, "cluster_name").await, "rouse");
    postgres.stop().await;
    assert!(!is_postmaster(pid, &dir.cluster()));
}

#[tokio::test]
async fn a_postgres_that_is_still_stopping_is_waited_for() {
    let dir = TestDir::new();
    let first = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap();
    let first_pid = first.postmaster_pid();
    drop(first); // asks it to stop, does not wait
    let second = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap();
    assert_ne!(second.postmaster_pid(), first_pid);
    second.stop().await;
}

#[tokio::test]
async fn leftovers_of_a_power_cut_do_not_stand_in_the_way() {
    let dir = TestDir::new();
    let postgres = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap();
    let cluster = dir.cluster();
    let owner = super::owner::Owner::for_existing(cluster.parent().unwrap()).unwrap();
    let lock_file = std::fs::read_to_string(cluster.join("postmaster.pid")).unwrap();
    let (_, rest) = lock_file.split_once('\n').unwrap();
    postgres.stop().await;

    // A process of the same user got the number after the restart; and nobody has it.
    let mut other = owner.shell("exec sleep 60", [""; 0]).spawn().unwrap();
    for pid in [other.id(), 0x7fff_fff0] {
        let script = r#"printf '%s\n%s' "$2" "$3" >"$1/postmaster.pid"; mkdir -p "$1/../new-half-done/base""#;
        let arguments = [cluster.to_str().unwrap(), &pid.to_string(), rest];
        assert!(owner.run(script, arguments).await.unwrap().0);
        let postgres = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap();
        assert!(!postgres.was_adopted());
        postgres.stop().await;
    }
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn a_killed_postmaster_is_followed_by_a_recovered_one() {
    let dir = TestDir::new();
    let first = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap();
    let mut connection = connect(&first).await;
    sqlx::raw_sql("CREATE TABLE t AS SELECT 42 AS n").execute(&mut connection).await.unwrap();
    let busy = tokio::spawn(async move {
        sqlx::raw_sql("SELECT count(*) FROM generate_series(1, 100000000)").execute(&mut connection).await.ok();
    });
    let first_pid = nix::unistd::Pid::from_raw(first.postmaster_pid());
    nix::sys::signal::kill(first_pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    drop(first); // its last backend may still be at work
    let second = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap();
    let n: i32 = sqlx::query_scalar("SELECT n FROM t").fetch_one(&mut connect(&second).await).await.unwrap();
    assert_eq!(n, 42);
    second.stop().await;
    busy.await.unwrap();
}

#[tokio::test]
async fn a_half_made_cluster_is_made_again() {
    let dir = TestDir::new();
    let mut helper = start_helper("serve", &dir.0);
    let home = dir.data_dir().join("postgres");
    let has_new = || {
        std::fs::read_dir(&home).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("new-")))
        })
    };
    eventually("initdb is at work", has_new);
    helper.kill().unwrap();
    helper.wait().unwrap();
    let postgres = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap();
    assert!(!postgres.was_adopted());
    assert!(!has_new());
    postgres.stop().await;
}

#[tokio::test]
async fn foreign_directories_are_refused_in_words() {
    let dir = TestDir::new();
    std::fs::create_dir(dir.data_dir()).unwrap();
    let home = super::home::Home::prepare(&dir.data_dir().canonicalize().unwrap()).await.unwrap();
    home.owner.run(r#"mkdir "$1"; echo 13 >"$1/PG_VERSION""#, [home.data()]).await.unwrap();
    let error = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap_err();
    assert!(error.to_string().contains("was made by PostgreSQL 13"), "{error}");
    home.owner.run(r#"mv "$1/PG_VERSION" "$1/notes""#, [home.data()]).await.unwrap();
    let error = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::NotACluster { .. }), "{error}");
}

#[tokio::test]
async fn a_way_that_is_closed_to_the_user_is_named() {
    if !nix::unistd::geteuid().is_root() {
        return; // nobody else's directory is in the way of an ordinary user
    }
    let dir = TestDir::new();
    std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(0o700)).unwrap();
    let error = EmbeddedPostgres::start(EmbeddedOptions::serve(dir.data_dir())).await.unwrap_err();
    assert!(matches!(&error, EmbeddedError::NotReachable { path, .. } if *path == dir.0), "{error}");
}

#[tokio::test]
async fn a_long_path_has_its_socket_elsewhere() {
    let dir = TestDir::new();
    let data_dir = dir.0.join("a long, 'quoted' name ".repeat(6)).join("data");
    let postgres = EmbeddedPostgres::start(EmbeddedOptions::serve(&data_dir)).await.unwrap();
    let options = PgConnectOptions::from_str(postgres.connection_url()).unwrap();
    let socket_dir = options.get_socket().unwrap().clone();
    assert!(socket_dir.starts_with("/tmp"));
    assert_eq!(socket_dir.metadata().unwrap().mode() & 0o777, 0o700);
    connect(&postgres).await.close().await.unwrap();
    postgres.stop().await;
    assert!(!socket_dir.exists());
}

#[tokio::test]
async fn a_temporary_one_leaves_nothing_behind() {
    let dir = TestDir::new();
    std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let options = EmbeddedOptions { data_dir: dir.0.clone(), ..EmbeddedOptions::temporary() };
    let is_empty = || std::fs::read_dir(&dir.0).unwrap().next().is_none();

    let postgres = EmbeddedPostgres::start(options.clone()).await.unwrap();
    connect(&postgres).await.close().await.unwrap();
    assert!(!is_empty());
    postgres.stop().await;
    assert!(is_empty());

    let postgres = EmbeddedPostgres::start(options).await.unwrap();
    let (pid, data) = (postgres.postmaster_pid(), postgres.home_dir().join("data"));
    drop(postgres);
    eventually("nothing is left after drop", || is_empty() && !is_postmaster(pid, &data));
}

#[tokio::test]
async fn a_temporary_one_is_gone_after_the_owner_was_killed() {
    let dir = TestDir::new();
    std::fs::set_permissions(&dir.0, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let count = || {
        let entries = std::fs::read_dir(&dir.0).unwrap();
        entries.filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("started")).count()
    };
    // Twice, because a directory being renamed may be missed by one look.
    let left = || count().max(count());
    // When it is ready, and at moments of its start.
    let mut helper = start_helper("temporary", &dir.0);
    let (pid, home) = helper_facts(&dir.0);
    assert_eq!(left(), 1);
    helper.kill().unwrap();
    helper.wait().unwrap();
    eventually("nothing is left", || left() == 0 && !is_postmaster(pid, &home.join("data")));

    for delay_ms in [0, 2, 4, 8, 15, 50, 300, 1000] {
        let mut helper = start_helper("temporary", &dir.0);
        eventually("the directory is made", || left() == 1);
        std::thread::sleep(Duration::from_millis(delay_ms));
        helper.kill().unwrap();
        helper.wait().unwrap();
        eventually("nothing is left", || left() == 0);
    }
}
