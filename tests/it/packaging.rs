//! Dockerfile, compose file and documents name settings that exist.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rouse::config::Settings;

/// Names that are no settings: the file to read, the placeholder of a rule, the rounds of a test.
const OTHERS: [&str; 9] = [
    "ROUSE_CONFIG_FILE",
    "ROUSE_SECTION__KEY",
    "ROUSE_KILL_ROUNDS",
    "ROUSE_FAULTS",
    "ROUSE_SOAK_SEED",
    "ROUSE_SHOW_BYTES",
    "ROUSE_SHOW_TABLE",
    "ROUSE_PROPERTY_SEED",
    "ROUSE_PROPERTY_SEQUENCES",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// The names of a text that look like variables of Rouse.
fn variables(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .filter(|word| word.starts_with("ROUSE_") && !word.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

/// The default of `ROUSE_SECTION__KEY`, as a variable holds it.
fn default_of(name: &str) -> Option<String> {
    let mut value = &text("config/default.toml").parse::<toml::Table>().unwrap().into();
    for key in name.strip_prefix("ROUSE_")?.to_lowercase().split("__") {
        value = toml::Value::get(value, key)?;
    }
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

#[test]
fn every_variable_that_is_named_is_a_setting() {
    let mut files = vec![root().join("Dockerfile"), root().join("compose.yaml"), root().join("README.md")];
    files.extend(pages(&root().join("docs")));
    let mut seen = 0;
    for file in files {
        for name in variables(&text(&file)).iter().filter(|name| !OTHERS.contains(&name.as_str())) {
            let value = default_of(name).unwrap_or_else(|| panic!("{}: {name} is no setting", file.display()));
            let read = Settings::read(None, HashMap::from([(name.clone(), value)]));
            assert!(read.is_ok(), "{}: {name}: {read:?}", file.display());
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn the_image_listens_where_its_ports_are_and_runs_without_rights() {
    let dockerfile = text("Dockerfile");
    let line = |start: &str| dockerfile.lines().rfind(|line| line.starts_with(start)).unwrap_or_default();
    let (name, value) = line("ENV ROUSE_").trim_start_matches("ENV ").split_once('=').unwrap();
    let settings = Settings::read(None, HashMap::from([(name.to_owned(), value.to_owned())])).unwrap();
    assert_eq!(settings.server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(line("EXPOSE"), "EXPOSE 8080");
    assert_eq!(line("USER"), "USER 10001:10001");
    assert!(dockerfile.lines().filter(|line| line.contains("cargo build")).all(|line| line.contains("--locked")));
}

#[test]
fn compose_waits_for_a_stop_and_serves_this_machine_only() {
    let compose = text("compose.yaml");
    let seconds: Vec<u64> = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("stop_grace_period: ")?.strip_suffix('s')?.parse().ok())
        .collect();
    let deadline = Settings::read(None, HashMap::new()).unwrap().server.stop_deadline_s;
    // Open requests, then calls in flight, then what docs/operations.md adds.
    let needed = Duration::from_secs(2 * deadline + 20);
    assert!(Duration::from_secs(seconds[0]) > needed, "{seconds:?}");
    let ports: Vec<&str> = compose.lines().filter(|line| line.contains("ports:")).collect();
    assert_eq!(ports.len(), 2, "{ports:?}");
    assert!(ports.iter().all(|line| line.contains("[\"127.0.0.1:")), "{ports:?}");
}
