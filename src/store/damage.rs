//! Handles a damaged journal: it is put aside, and the copy of the last good generation takes its place.

use crate::store::journal::{JournalError, Opened};
use crate::store::soundness::{self, Soundness};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

pub(super) fn copy_of(path: &Path) -> PathBuf {
    path.with_extension("db.copy")
}

/// Puts a damaged file aside; in place of a damaged or empty one its copy is used, where that is sound.
pub(super) fn repair(path: &Path) -> Result<Opened, JournalError> {
    let mut opened = Opened::default();
    let found = match path.exists() {
        true => soundness::of(path)?,
        false => return Ok(opened),
    };
    if found == Soundness::Damaged {
        opened.put_aside = Some(put_aside(path)?);
    }
    let copy = copy_of(path);
    if found != Soundness::Sound && copy.exists() && soundness::of(&copy)? == Soundness::Sound {
        restore(&copy, path)?;
        opened.from_copy = true;
    }
    Ok(opened)
}

/// Restores the file from the copy, whole or not at all.
fn restore(copy: &Path, path: &Path) -> Result<(), JournalError> {
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

fn put_aside(path: &Path) -> Result<PathBuf, JournalError> {
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
