//! Whether the journal's file is sound, damaged, or only not usable at the moment.
//!
//! Only wrong content of the file is damage. A lock that another program holds, a full disk, missing rights, a file
//! system without shared memory say nothing about the content: they end with a message, and the file stays where it is.

use crate::store::journal::{FORMAT, JournalError};
use rusqlite::{Connection, Error, ErrorCode};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How long to wait for another program's lock: users wait for the first answer meanwhile, and the controller for each write.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the content of the file can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Soundness {
    /// The content can be trusted.
    Sound,
    /// A database without a table: a journal that was never begun, or a file that lost everything.
    Empty,
    /// The content cannot be trusted: it is no database, or incomplete.
    Damaged,
}

/// Checks the whole file.
///
/// # Errors
/// [`JournalError::Unavailable`] when it cannot be checked now.
pub(super) fn of(path: &Path) -> Result<Soundness, JournalError> {
    match check(path) {
        Ok(soundness) => Ok(soundness),
        Err(error) => match remedy(path, &error) {
            Some(remedy) => Err(unavailable(path, &error, remedy)),
            None => Ok(Soundness::Damaged),
        },
    }
}

/// An error of SQLite with the file and the remedy, where the problem is not the file's content; other errors are
/// returned unchanged.
pub(super) fn named(path: &Path, error: JournalError) -> JournalError {
    match error {
        JournalError::Sqlite(error) => match remedy(path, &error) {
            Some(remedy) => unavailable(path, &error, remedy),
            None => JournalError::Sqlite(error),
        },
        other => other,
    }
}

/// A connection for writing, with every write on disk when it returns.
///
/// Where the file system has no shared memory (network file systems, shared folders of virtual machines), the
/// connection keeps the file for itself: SQLite then needs none (<https://sqlite.org/wal.html#noshm>). The lock of the
/// state folder makes sure that there is one writer; other programs cannot read beside it then.
pub(super) fn connection(path: &Path) -> rusqlite::Result<Connection> {
    shared_or_alone(path, |db| {
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        // Only the first write needs the shared memory.
        db.execute_batch("BEGIN IMMEDIATE; ROLLBACK")
    })
}

/// Opens the file and runs a first operation on it; in exclusive mode where that needs shared memory and there is none.
fn shared_or_alone(
    path: &Path,
    first: impl Fn(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<Connection> {
    let open = |mode| {
        let db = Connection::open(path)?;
        db.busy_timeout(PATIENCE)?;
        db.pragma_update(None, "locking_mode", mode)?;
        first(&db)?;
        Ok(db)
    };
    match open("NORMAL") {
        Err(error) if no_shared_memory(&error) => {
            tracing::warn!(%error, file = %path.display(), "the file system of the state seems to have no shared memory: shifter tries to keep the file for itself");
            open("EXCLUSIVE")
        }
        result => result,
    }
}

fn check(path: &Path) -> rusqlite::Result<Soundness> {
    // A flipped byte can make a writable file look "read-only".
    let db = shared_or_alone(path, |db| db.execute_batch("BEGIN IMMEDIATE; ROLLBACK"))?;
    let answer: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    let tables: i64 = db.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name IN ('service', 'rollout', 'note', 'second')",
        [],
        |row| row.get(0),
    )?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(match tables {
        _ if answer != "ok" => Soundness::Damaged,
        _ if tables == 4 || version > FORMAT => Soundness::Sound,
        0 if version == 0 => Soundness::Empty,
        // Some of the tables are missing.
        _ => Soundness::Damaged,
    })
}

fn code(error: &Error) -> Option<ErrorCode> {
    error.sqlite_error_code()
}

fn no_shared_memory(error: &Error) -> bool {
    matches!(
        code(error),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
        )
    )
}

/// The remedy for an error that is not about the file's content; `None` where it is.
fn remedy(path: &Path, error: &Error) -> Option<&'static str> {
    let rights = "Give the user that runs shifter the right to read and write the file and its folder, then start it again";
    Some(match code(error)? {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            "Another program holds its lock (a backup, sqlite3): let it end, then start shifter again"
        }
        ErrorCode::DiskFull => "Make room on its file system, then start shifter again",
        ErrorCode::ReadOnly if header_is_plausible(path) => rights,
        ErrorCode::PermissionDenied | ErrorCode::CannotOpen => rights,
        ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed => {
            "Its file system may be full, failing, or without locks (a network share): make room, or put the state on a local disk (`state = \"...\"` in the configuration)"
        }
        ErrorCode::OutOfMemory => "Give shifter more memory, then start it again",
        _ => return None,
    })
}

/// A copy of an unusable file, with its write-ahead log, in a folder of its own; `None` when it cannot be read either.
pub(super) fn snapshot(path: &Path) -> Option<(TempDir, Connection)> {
    let folder = tempfile::tempdir().ok()?;
    let copy = folder.path().join("state.db");
    fs::copy(path, &copy).ok()?;
    let wal = path.with_extension("db-wal");
    if wal.exists() {
        fs::copy(&wal, copy.with_extension("db-wal")).ok()?;
    }
    // It may have been written to during the copy.
    let sound = matches!(check(&copy), Ok(Soundness::Sound));
    let db = Connection::open(&copy).ok()?;
    sound.then_some((folder, db))
}

/// Whether the header bytes for the file format version are as SQLite writes them: 1 or 2 in both
/// (<https://sqlite.org/fileformat.html>, offsets 18 and 19). Other values make a file read-only by damage.
fn header_is_plausible(path: &Path) -> bool {
    let mut header = [0; 20];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.is_err() || header[18..].iter().all(|byte| (1..=2).contains(byte))
}

fn unavailable(path: &Path, error: &Error, remedy: &'static str) -> JournalError {
    JournalError::Unavailable {
        path: path.to_owned(),
        why: error.to_string(),
        remedy,
    }
}
