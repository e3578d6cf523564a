//! One process for one state folder.

use crate::store::journal::JournalError;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// Holds the lock of the state folder for this process; released on drop.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Creates the folder when needed and locks it for this process.
    ///
    /// # Errors
    /// When another process holds the folder, or the folder cannot be made or written.
    pub fn take(folder: &Path) -> Result<FolderLock, JournalError> {
        let unusable = |source| JournalError::Folder {
            path: folder.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(unusable)?;
        let path = folder.join("lock");
        let options = || {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
        };
        let mut file = options().map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("the process {pid}"),
                };
                return Err(JournalError::Locked {
                    path: folder.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        file.set_len(0).map_err(unusable)?;
        write!(file, "{}", std::process::id()).map_err(unusable)?;
        Ok(FolderLock { _file: file })
    }
}
