//! The server's data directory: made when missing, used by one server at a time.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::EmbeddedError;

/// Makes the server's data directory (mode 0700) when it is missing; returns its full path.
pub(super) fn make(dir: &Path) -> Result<PathBuf, EmbeddedError> {
    if !dir.exists() {
        if let Some(parent) = dir.parent() {
            std::fs::create_dir_all(parent).map_err(EmbeddedError::io("create", parent))?;
        }
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(dir).map_err(EmbeddedError::io("create", dir))?;
    }
    dir.canonicalize().map_err(EmbeddedError::io("find", dir))
}

/// Makes sure that no other server uses this data directory, until the file is closed.
pub(super) fn lock(data_dir: &Path) -> Result<File, EmbeddedError> {
    let path = data_dir.join("rouse.lock");
    let open = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(EmbeddedError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).ok();
            let holder = if holder.trim().is_empty() { "unknown".to_owned() } else { holder.trim().to_owned() };
            return Err(EmbeddedError::Locked { data_dir: data_dir.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(EmbeddedError::io("lock", path)(error)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(EmbeddedError::io("write", path))?;
    Ok(file)
}
