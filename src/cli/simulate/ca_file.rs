//! The CA certificate of APNs' stand-ins, which Rouse must trust.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::SimulateError;
use crate::simulator::ApnsAuthority;

/// The written CA certificate. One that nobody named is removed at the end.
pub(super) struct CaFile {
    pub(super) path: PathBuf,
    is_temporary: bool,
}

impl CaFile {
    /// In `wanted`, else in a file of its own among the temporary ones.
    pub(super) fn write(wanted: Option<&Path>, authority: &ApnsAuthority, port: u16) -> Result<Self, SimulateError> {
        let is_temporary = wanted.is_none();
        let unnamed = || std::env::temp_dir().join(format!("rouse-simulate-{port}-ca.pem"));
        let path = wanted.map_or_else(unnamed, Path::to_path_buf);
        let failed = |source| SimulateError::CaFile { path: path.clone(), source };
        // The setting must hold wherever Rouse is started.
        let path = std::path::absolute(&path).map_err(failed)?;
        replace(&path, authority.ca_pem()).map_err(failed)?;
        Ok(Self { path, is_temporary })
    }
}

impl Drop for CaFile {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, "the CA certificate stays where it is");
        }
    }
}

/// Writes a new file and puts it in the place of the old one, so that a link that somebody left there is not followed.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    std::fs::File::create_new(&new)?.write_all(text.as_bytes())?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_in_place_of_the_old_one_and_removed_unless_it_was_asked_for() {
        let authority = ApnsAuthority::generate().unwrap();
        let path = std::env::temp_dir().join(format!("rouse-simulate-test-{}-ca.pem", std::process::id()));
        for _ in 0..2 {
            drop(CaFile::write(Some(&path), &authority, 1).unwrap());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), authority.ca_pem());
        }
        std::fs::remove_file(&path).unwrap();
        let port = u16::try_from(std::process::id() % 60_000).unwrap();
        let unnamed = CaFile::write(None, &authority, port).unwrap();
        let path = unnamed.path.clone();
        assert!(path.is_absolute() && path.exists());
        drop(unnamed);
        assert!(!path.exists());
        let nowhere = CaFile::write(Some(Path::new("/no/such/directory/ca.pem")), &authority, 1);
        assert!(matches!(nowhere, Err(SimulateError::CaFile { .. })));
    }
}
