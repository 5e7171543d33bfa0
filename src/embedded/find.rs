//! Finds the programs of a Postgres server: packages put them outside the PATH.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;

/// The oldest major version that is tried: the oldest one its makers still maintained when this was written.
const MINIMUM_MAJOR: u32 = 14;

/// Directories with one installation per version: parent, start of the name, rest of the path.
const VERSIONED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// The programs of one Postgres version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installation {
    pub(super) bin_dir: PathBuf,
    pub(super) major: u32,
}

impl Installation {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    /// Looks at one directory. `Ok(None)`: there is no server here.
    fn at(bin_dir: &Path) -> Result<Option<Self>, String> {
        let postgres = bin_dir.join("postgres");
        if !postgres.is_file() || !bin_dir.join("initdb").is_file() {
            return Ok(None);
        }
        let output = Command::new(&postgres)
            .arg("--version")
            .output()
            .map_err(|error| format!("{} does not run: {error}", postgres.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match major_version(&text) {
            Some(major) if major >= MINIMUM_MAJOR => Ok(Some(Self { bin_dir: bin_dir.to_owned(), major })),
            Some(major) => Err(format!("version {major} is older than {MINIMUM_MAJOR}")),
            None => Err(format!("{} says `{text}`, which is no version", postgres.display())),
        }
    }
}

/// The usable installations, the preferred one first: the configured directory alone when there is one, else the PATH,
/// then the usual places of Debian, Red Hat and macOS, the highest version first.
pub(super) fn installations(configured: Option<&Path>) -> Result<Vec<Installation>, EmbeddedError> {
    if let Some(bin_dir) = configured {
        let unusable = |reason| EmbeddedError::UnusableBinDir { bin_dir: bin_dir.to_owned(), reason };
        let found = Installation::at(bin_dir).map_err(unusable)?;
        return Ok(vec![found.ok_or_else(|| unusable("`initdb` and `postgres` are not both there".to_owned()))?]);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    let (found, looked) = search(on_path.chain(usual_places()));
    if found.is_empty() {
        return Err(EmbeddedError::NotFound { minimum: MINIMUM_MAJOR, looked });
    }
    Ok(found)
}

/// What these directories hold, and a line for the error text about each place looked at.
fn search(dirs: impl Iterator<Item = PathBuf>) -> (Vec<Installation>, Vec<String>) {
    let (mut found, mut looked) = (Vec::new(), Vec::new());
    for dir in dirs {
        match Installation::at(&dir) {
            Ok(Some(installation)) => found.push(installation),
            Ok(None) => looked.push(dir.display().to_string()),
            Err(reason) => looked.push(format!("{} ({reason})", dir.display())),
        }
    }
    looked.extend(VERSIONED.map(|(parent, prefix, rest)| format!("{parent}/{prefix}*/{rest}")));
    (found, looked)
}

fn usual_places() -> impl Iterator<Item = PathBuf> {
    let versioned = VERSIONED.into_iter().flat_map(|(parent, prefix, rest)| versions(parent.as_ref(), prefix, rest));
    versioned.chain([PathBuf::from("/usr/local/pgsql/bin")])
}

/// `parent/prefix<version>/rest` for each version there is, the highest first.
fn versions(parent: &Path, prefix: &str, rest: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join(rest)))
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, path)| path).collect()
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` -> 15; `... 18beta1` -> 18.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split_once("(PostgreSQL) ")?.1;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake(bin_dir: &Path, version: &str) {
        fs::create_dir_all(bin_dir).unwrap();
        for program in ["postgres", "initdb"] {
            let path = bin_dir.join(program);
            fs::write(&path, format!("#!/bin/sh\necho '{program} (PostgreSQL) {version}'\n")).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn major_versions_are_read() {
        for (text, major) in [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", Some(15)),
            ("postgres (PostgreSQL) 18beta1", Some(18)),
            ("postgres (PostgreSQL) 9.6.24", Some(9)),
            ("something else", None),
        ] {
            assert_eq!(major_version(text), major, "{text}");
        }
    }

    #[test]
    fn the_highest_version_comes_first_and_old_ones_are_explained() {
        let dir = std::env::temp_dir().join(format!("rouse-find-{:x}", rand::random::<u64>()));
        for version in ["9", "14", "100", "16"] {
            fake(&dir.join(version).join("bin"), version);
        }
        fs::create_dir_all(dir.join("17/bin")).unwrap();
        fs::create_dir_all(dir.join("not-a-version/bin")).unwrap();

        let (found, looked) = search(versions(&dir, "", "bin").into_iter());
        assert_eq!(found.iter().map(|i| i.major).collect::<Vec<_>>(), [100, 16, 14]);
        assert!(looked.contains(&dir.join("17/bin").display().to_string()));
        assert!(looked.contains(&format!("{} (version 9 is older than 14)", dir.join("9/bin").display())));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_configured_directory_is_the_only_one_looked_at() {
        let error = installations(Some(Path::new("/nonexistent/bin"))).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/bin"), "{error}");
    }

    #[test]
    fn the_error_says_what_to_install_and_where_it_looked() {
        let (_, looked) = search([PathBuf::from("/nonexistent/bin")].into_iter());
        let text = EmbeddedError::NotFound { minimum: MINIMUM_MAJOR, looked }.to_string();
        for part in [
            "apt-get install postgresql",
            "brew install postgresql@17",
            "database.url",
            "\n  /nonexistent/bin",
            "/usr/lib",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
