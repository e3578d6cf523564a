//! The state that must survive a crash, in one SQLite file: services, rollouts, narration, evidence.
//!
//! State that must be recorded before acting is written with `synchronous=FULL`: when a call returns, it
//! is on disk. Every stored value carries a checksum, so a flipped bit is noticed and the row is
//! treated as absent instead of being believed. The file carries a format version.

pub use crate::store::saved::{Note, SavedRollout, SavedService};

use crate::store::damage;
use crate::store::soundness;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The format of the file. A newer one is refused, an older one is migrated.
pub(super) const FORMAT: i64 = 1;

/// Number of narration lines that are kept: enough for months of rollouts, and bounded.
const NOTES_MAX: i64 = 100_000;

/// Number of rollouts with recorded seconds kept for `shifter replay`.
const RECORDINGS_MAX: i64 = 50;

/// Why the state could not be opened, read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The folder cannot be created or written.
    #[error("cannot use the state folder {}: {source}. Give shifter a folder that it may write (`state = \"...\"` in the configuration)", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// Another process holds the folder.
    #[error("the state folder {} is in use by {holder}. One shifter for one folder: stop the other one, or give this one a folder of its own (`state = \"...\"` in its configuration)", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process that holds it.
        holder: String,
    },
    /// The file was written by a newer shifter.
    #[error("the state in {} has format {found}, this shifter knows {FORMAT}. Use the shifter that wrote it, or a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
    },
    /// The file is sound as far as is known, but cannot be used now.
    #[error("the state in {} cannot be used now: {why}. {remedy}. Nothing was changed", path.display())]
    Unavailable {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        why: String,
        /// What a person can do.
        remedy: &'static str,
    },
    /// An SQLite error: disk full, I/O error, read-only.
    #[error("the state could not be recorded: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A value cannot be written as JSON.
    #[error("the state could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The journal: one writer (the controller), any number of readers.
pub struct Journal {
    db: Connection,
    path: PathBuf,
    /// Why nothing can be recorded: file, reason, remedy.
    refused: Option<(PathBuf, String, &'static str)>,
}

/// The result of opening.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The file was damaged and was put aside under this name; the journal starts anew or from its copy.
    pub put_aside: Option<PathBuf>,
    /// The copy of the last good generation is in use.
    pub from_copy: bool,
}

impl Journal {
    /// Opens the journal for writing. A damaged file is put aside, never trusted and never deleted.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] where the file is sound and cannot be used now; nothing is changed then.
    pub fn open(folder: &Path) -> Result<(Journal, Opened), JournalError> {
        let path = folder.join("state.db");
        let opened = damage::repair(&path)?;
        let journal = Journal::connect(&path)?;
        journal
            .migrate()
            .map_err(|error| soundness::named(&path, error))?;
        Ok((journal, opened))
    }

    /// Opens the journal for reading beside its writer.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(folder: &Path) -> Result<Journal, JournalError> {
        Journal::connect(&folder.join("state.db"))
    }

    /// A journal in memory, for the demo and for tests.
    ///
    /// # Errors
    /// When SQLite has no memory.
    pub fn in_memory() -> Result<Journal, JournalError> {
        let journal = Journal {
            db: Connection::open_in_memory()?,
            path: PathBuf::new(),
            refused: None,
        };
        journal.migrate()?;
        Ok(journal)
    }

    fn connect(path: &Path) -> Result<Journal, JournalError> {
        let db = soundness::connection(path)
            .map_err(|error| soundness::named(path, JournalError::Sqlite(error)))?;
        Ok(Journal {
            db,
            path: path.to_owned(),
            refused: None,
        })
    }

    /// A journal that records nothing, for a file that is [`JournalError::Unavailable`], and whether the last promoted
    /// versions are known: from the file, else from its copy. They go on serving; a rollout that was under way is not
    /// resumed. `None` for any other error.
    pub fn that_records_nothing(why: &JournalError) -> Option<(Journal, bool)> {
        let JournalError::Unavailable { path, why, remedy } = why else {
            return None;
        };
        let mut journal = Journal::in_memory().ok()?;
        let kept =
            soundness::snapshot(path).or_else(|| soundness::snapshot(&damage::copy_of(path)));
        if let Some((_folder, kept)) = &kept {
            // A row that cannot be read counts as absent.
            let _ = copy_services(kept, &journal.db);
        }
        journal.refused = Some((path.clone(), why.clone(), *remedy));
        Some((journal, kept.is_some()))
    }

    /// # Errors
    /// When nothing can be recorded.
    fn writable(&self) -> Result<(), JournalError> {
        match &self.refused {
            None => Ok(()),
            Some((path, why, remedy)) => Err(JournalError::Unavailable {
                path: path.clone(),
                why: why.clone(),
                remedy,
            }),
        }
    }

    fn migrate(&self) -> Result<(), JournalError> {
        let found: i64 = self
            .db
            .query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > FORMAT {
            return Err(JournalError::Newer {
                path: self.path.clone(),
                found,
            });
        }
        self.db.execute_batch(
            "BEGIN IMMEDIATE;
             CREATE TABLE IF NOT EXISTS service (name TEXT PRIMARY KEY, body TEXT NOT NULL, sum INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS rollout (id INTEGER PRIMARY KEY AUTOINCREMENT, service TEXT NOT NULL,
               ended INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL, sum INTEGER NOT NULL);
             CREATE INDEX IF NOT EXISTS rollout_service ON rollout (service, id);
             CREATE TABLE IF NOT EXISTS note (seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, service TEXT NOT NULL,
               rollout INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL);
             CREATE INDEX IF NOT EXISTS note_rollout ON note (rollout, seq);
             CREATE TABLE IF NOT EXISTS second (rollout INTEGER NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL,
               PRIMARY KEY (rollout, at)) WITHOUT ROWID;
             COMMIT;",
        )?;
        self.db.pragma_update(None, "user_version", FORMAT)?;
        if self.id()? == 0 {
            let id = rand::random_range(1..i32::MAX);
            self.db.pragma_update(None, "application_id", id)?;
        }
        Ok(())
    }

    fn id(&self) -> Result<i32, JournalError> {
        let id = self
            .db
            .query_row("PRAGMA application_id", [], |row| row.get(0))?;
        Ok(id)
    }

    /// The journal's name, which marks containers created under it. A journal that
    /// starts anew has another name: it counts rollouts anew, and must not take containers of the old one for its own.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn instance(&self) -> Result<String, JournalError> {
        Ok(format!("{:08x}", self.id()?))
    }

    /// The saved state of a service; `None` also for a damaged row.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn service(&self, name: &str) -> Result<Option<SavedService>, JournalError> {
        let row = self
            .db
            .query_row(
                "SELECT body, sum FROM service WHERE name = ?1",
                [name],
                body_and_sum,
            )
            .optional()?;
        Ok(row.and_then(|(body, sum)| trusted(&body, sum)))
    }

    /// Saves the state of a service.
    ///
    /// # Errors
    /// When the file cannot be read or written; nothing is changed then.
    pub fn save_service(&self, name: &str, saved: &SavedService) -> Result<(), JournalError> {
        self.writable()?;
        let (body, sum) = summed(saved)?;
        self.db.execute(
            "INSERT INTO service (name, body, sum) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET body = excluded.body, sum = excluded.sum",
            params![name, body, sum],
        )?;
        Ok(())
    }

    /// Records a new rollout and gives it its number.
    ///
    /// # Errors
    /// When the file cannot be read or written; nothing is changed then.
    pub fn begin_rollout(&self, rollout: &mut SavedRollout) -> Result<(), JournalError> {
        self.writable()?;
        let transaction = self.db.unchecked_transaction()?;
        // One rollout at a time: an older one that could not be read must not return later.
        self.db.execute(
            "UPDATE rollout SET ended = 1 WHERE service = ?1 AND ended = 0",
            [&rollout.service],
        )?;
        // The next number, and none below the requested one.
        self.db.execute(
            "INSERT INTO rollout (id, service, body, sum) SELECT max(?2, 1 + coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'rollout'), 0)), ?1, '', 0",
            params![rollout.service, rollout.id],
        )?;
        rollout.id = self.db.last_insert_rowid();
        self.save_rollout(rollout)?;
        transaction.commit()?;
        Ok(())
    }

    /// Records the state of a rollout. When this returns, it is on disk.
    ///
    /// # Errors
    /// When the file cannot be read or written; nothing is changed then.
    pub fn save_rollout(&self, rollout: &SavedRollout) -> Result<(), JournalError> {
        self.writable()?;
        let (body, sum) = summed(rollout)?;
        self.db.execute(
            "UPDATE rollout SET ended = ?2, body = ?3, sum = ?4 WHERE id = ?1",
            params![rollout.id, rollout.ended_at.is_some(), body, sum],
        )?;
        Ok(())
    }

    /// Records the end of a rollout together with the new state of its service.
    ///
    /// # Errors
    /// When the file cannot be read or written; nothing is changed then.
    pub fn end_rollout(
        &mut self,
        rollout: &SavedRollout,
        saved: &SavedService,
    ) -> Result<(), JournalError> {
        self.writable()?;
        let (body, sum) = summed(rollout)?;
        let (service, service_sum) = summed(saved)?;
        let transaction = self.db.transaction()?;
        transaction.execute(
            "UPDATE rollout SET ended = 1, body = ?2, sum = ?3 WHERE id = ?1",
            params![rollout.id, body, sum],
        )?;
        transaction.execute(
            "INSERT INTO service (name, body, sum) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET body = excluded.body, sum = excluded.sum",
            params![rollout.service, service, service_sum],
        )?;
        transaction.execute(
            "DELETE FROM second WHERE rollout <= (SELECT max(id) FROM rollout) - ?1",
            [RECORDINGS_MAX],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Copies the journal to a second file: the generation that replaces a damaged one.
    ///
    /// # Errors
    /// When the copy cannot be written; the journal itself stays as it is.
    pub fn keep_copy(&self) -> Result<(), JournalError> {
        self.writable()?;
        if self.path.as_os_str().is_empty() {
            return Ok(());
        }
        let (copy, fresh) = (
            damage::copy_of(&self.path),
            self.path.with_extension("db.new"),
        );
        let _ = fs::remove_file(&fresh);
        self.db
            .execute("VACUUM INTO ?1", [fresh.to_string_lossy()])?;
        let unusable = |source| JournalError::Folder {
            path: copy.clone(),
            source,
        };
        File::open(&fresh)
            .and_then(|file| file.sync_all())
            .map_err(unusable)?;
        fs::rename(&fresh, &copy).map_err(unusable)
    }

    /// The rollout of a service that was under way when the process ended; `None` also for a damaged row.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn unfinished(&self, service: &str) -> Result<Option<SavedRollout>, JournalError> {
        let row = self
            .db
            .query_row(
                "SELECT body, sum FROM rollout WHERE service = ?1 AND ended = 0 ORDER BY id DESC LIMIT 1",
                [service],
                body_and_sum,
            )
            .optional()?;
        Ok(row.and_then(|(body, sum)| trusted(&body, sum)))
    }

    /// One rollout; `None` also for a damaged row.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn rollout(&self, id: i64) -> Result<Option<SavedRollout>, JournalError> {
        let row = self
            .db
            .query_row(
                "SELECT body, sum FROM rollout WHERE id = ?1",
                [id],
                body_and_sum,
            )
            .optional()?;
        Ok(row.and_then(|(body, sum)| trusted(&body, sum)))
    }

    /// The newest rollouts, newest first, of one service or of all.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn rollouts(
        &self,
        service: Option<&str>,
        limit: u32,
    ) -> Result<Vec<SavedRollout>, JournalError> {
        let mut statement = self.db.prepare(
            "SELECT body, sum FROM rollout WHERE ?1 IS NULL OR service = ?1 ORDER BY id DESC LIMIT ?2",
        )?;
        let rows = statement.query_map(params![service, limit], body_and_sum)?;
        let mut rollouts = vec![];
        for row in rows {
            let (body, sum) = row?;
            rollouts.extend(trusted(&body, sum));
        }
        Ok(rollouts)
    }

    /// Writes one line of narration and gives it its number.
    ///
    /// # Errors
    /// When the file cannot be read or written; nothing is changed then.
    pub fn note(&self, note: &mut Note) -> Result<(), JournalError> {
        self.writable()?;
        self.db.execute(
            "INSERT INTO note (at, service, rollout, kind, text) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![note.at, note.service, note.rollout, note.kind, note.text],
        )?;
        note.seq = self.db.last_insert_rowid();
        if note.seq % 1_000 == 0 {
            self.db
                .execute("DELETE FROM note WHERE seq <= ?1", [note.seq - NOTES_MAX])?;
        }
        Ok(())
    }

    /// Narration after a number, oldest first, of one rollout or of all.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn notes(
        &self,
        after: i64,
        rollout: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Note>, JournalError> {
        let mut statement = self.db.prepare(
            "SELECT seq, at, service, rollout, kind, text FROM note
             WHERE seq > ?1 AND (?2 IS NULL OR rollout = ?2) ORDER BY seq LIMIT ?3",
        )?;
        let rows = statement.query_map(params![after, rollout, limit], |row| {
            Ok(Note {
                seq: row.get(0)?,
                at: text(row, 1)?,
                service: text(row, 2)?,
                rollout: row.get(3)?,
                kind: text(row, 4)?,
                text: text(row, 5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Records seconds of a rollout as the judge got them, for `shifter replay`.
    ///
    /// # Errors
    /// When the file cannot be read or written; nothing is changed then.
    pub fn record_seconds(
        &mut self,
        rollout: i64,
        seconds: &[(i64, String)],
    ) -> Result<(), JournalError> {
        self.writable()?;
        let transaction = self.db.transaction()?;
        for (at, body) in seconds {
            transaction.execute(
                "INSERT OR REPLACE INTO second (rollout, at, body) VALUES (?1, ?2, ?3)",
                params![rollout, at, body],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// The number of the next recorded line of a rollout.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_second(&self, rollout: i64) -> Result<i64, JournalError> {
        let next = self.db.query_row(
            "SELECT coalesce(max(at) + 1, 0) FROM second WHERE rollout = ?1",
            [rollout],
            |row| row.get(0),
        )?;
        Ok(next)
    }

    /// The recorded seconds of a rollout, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn seconds(&self, rollout: i64) -> Result<Vec<(i64, String)>, JournalError> {
        let mut statement = self
            .db
            .prepare("SELECT at, body FROM second WHERE rollout = ?1 ORDER BY at")?;
        let rows = statement.query_map([rollout], |row| Ok((row.get(0)?, text(row, 1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Reads a row without requiring types: a damaged row must not keep the others from being read.
fn body_and_sum(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Vec<u8>, i64)> {
    let body = match row.get_ref(0)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        _ => vec![],
    };
    let sum = match row.get_ref(1)? {
        ValueRef::Integer(sum) => sum,
        _ => -1,
    };
    Ok((body, sum))
}

fn text(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        _ => String::new(),
    })
}

fn summed(value: &impl Serialize) -> Result<(String, u32), JournalError> {
    let body = serde_json::to_string(value)?;
    let sum = crc32fast::hash(body.as_bytes());
    Ok((body, sum))
}

fn trusted<T: DeserializeOwned>(body: &[u8], sum: i64) -> Option<T> {
    if i64::from(crc32fast::hash(body)) != sum {
        tracing::error!("a row of the state is damaged and is ignored");
        return None;
    }
    serde_json::from_slice(body)
        .inspect_err(
            |error| tracing::error!(%error, "a row of the state cannot be read and is ignored"),
        )
        .ok()
}

fn copy_services(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    let mut all = from.prepare("SELECT name, body, sum FROM service")?;
    let mut rows = all.query([])?;
    while let Some(row) = rows.next()? {
        let (name, (body, sum)) = (text(row, 0)?, (text(row, 1)?, row.get::<_, i64>(2)?));
        to.execute(
            "INSERT INTO service (name, body, sum) VALUES (?1, ?2, ?3)",
            params![name, body, sum],
        )?;
    }
    Ok(())
}
