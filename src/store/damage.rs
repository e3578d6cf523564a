//! Handles a damaged journal: it is put aside, and the copy of the last good generation takes its place.

use crate::store::journal::JournalError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub(super) fn copy_of(path: &Path) -> PathBuf {
    path.with_extension("db.copy")
}

/// Restores the file from the copy, whole or not at all.
pub(super) fn restore(copy: &Path, path: &Path) -> Result<(), JournalError> {
    let fresh = path.with_extension("db.new");
    let made = fs::copy(copy, &fresh)
        .and_then(|_| File::open(&fresh)?.sync_all())
        .and_then(|()| fs::rename(&fresh, path));
    made.map_err(|source| {
        let _ = fs::remove_file(&fresh);
        JournalError::Folder {
            path: path.to_owned(),
            source,
        }
    })
}

pub(super) fn put_aside(path: &Path) -> Result<PathBuf, JournalError> {
    let stamp = jiff::Timestamp::now().as_second();
    let aside = path.with_extension(format!("db.damaged-{stamp}"));
    let unusable = |source| JournalError::Folder {
        path: path.to_owned(),
        source,
    };
    fs::rename(path, &aside).map_err(unusable)?;
    // SQLite looks for these files under the name of the database: so it can be opened under its new name.
    for extra in ["wal", "shm"] {
        let from = path.with_extension(format!("db-{extra}"));
        if from.exists() {
            let to = path.with_extension(format!("db.damaged-{stamp}-{extra}"));
            fs::rename(&from, to).map_err(unusable)?;
        }
    }
    Ok(aside)
}
