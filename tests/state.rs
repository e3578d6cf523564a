//! The state on disk under everything that can happen to a file: cut, flipped, newer, locked, unwritable.
//!
//! `SHIFTER_FLIPS` and `SHIFTER_CUT_STEP` set how many flips and how fine the cuts are.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

use shifter::config::Config;
use shifter::control::Controller;
use shifter::control::RunState;
use shifter::core::plan::Strategy;
use shifter::core::rollout::{Action, Event, Rollout};
use shifter::core::table::Table;
use shifter::core::time::Time;
use shifter::core::weight::Weight;
use shifter::driver::static_pools;
use shifter::metrics::Metrics;
use shifter::store::journal::{Journal, JournalError, Note, SavedRollout, SavedService};
use shifter::store::{FolderLock, SharedState};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const CONFIG: &str = "[proxy]\nlisten = [\"127.0.0.1:1\"]\n[service.api]\nblue = [\"127.0.0.1:3001\"]\ngreen = [\"127.0.0.1:3002\"]\n";

fn config() -> Arc<Config> {
    Arc::new(Config::parse("test.toml", CONFIG).unwrap())
}

/// A folder with a rollout under way at 5 %.
fn at_five_percent(folder: &Path) {
    let (journal, _) = Journal::open(folder).unwrap();
    let config = config();
    let service = config.service("api").unwrap();
    let (mut rollout, _) = Rollout::start(service.plan(Some(Strategy::Canary)), Time(0));
    let actions = rollout.on(Event::Ready, Time(1));
    assert_eq!(actions, [Action::SetWeight(Weight::percent(5).unwrap())]);
    let (blue, green) = static_pools::pools(service, &[]);
    let state = RunState {
        rollout,
        age_ms: 1_000,
        blue,
        green: green.unwrap(),
        baseline: None,
        salt: 1,
        epoch: 1,
        past: None,
        reference: None,
        image: None,
        members: 1,
        strict: false,
        first: false,
        expect: vec![],
    };
    let mut saved = SavedRollout {
        id: 0,
        service: "api".into(),
        started_at: "2026-01-01T00:00:00Z".into(),
        ended_at: None,
        strategy: "canary".into(),
        from: "a".into(),
        to: "b".into(),
        outcome: None,
        reason: None,
        state: serde_json::to_string(&state).unwrap(),
        evidence: None,
    };
    journal.begin_rollout(&mut saved).unwrap();
    for i in 0..50 {
        let mut note = Note {
            seq: 0,
            at: "2026-01-01T00:00:00Z".into(),
            service: "api".into(),
            rollout: saved.id,
            kind: "weight".into(),
            text: format!("line {i}"),
        };
        journal.note(&mut note).unwrap();
    }
    journal
        .save_service(
            "api",
            &SavedService {
                epoch: 1,
                ..SavedService::default()
            },
        )
        .unwrap();
}

/// Starts on a folder and says what is routed then.
fn routed(folder: &Path) -> Result<Arc<Table>, JournalError> {
    let (journal, _) = Journal::open(folder)?;
    let config = config();
    let board = Arc::new(SharedState::new(config.clone()));
    let metrics = Arc::new(Metrics::new().unwrap());
    let (controller, _handle) =
        Controller::new(board.clone(), metrics, journal, config, None, vec![]);
    let table = board.snapshot().table.clone();
    drop(controller);
    Ok(table)
}

fn must_be_safe(folder: &Path, what: &str) -> bool {
    let table = routed(folder).unwrap_or_else(|error| panic!("{what}: does not start: {error}"));
    let route = table.route("api").unwrap();
    let five = Weight::percent(5).unwrap();
    assert!(
        route.weight == Weight::NONE || route.weight == five,
        "{what}: weight {}",
        route.weight
    );
    assert_eq!(route.blue.backends[0].id, "127.0.0.1:3001", "{what}");
    if route.weight == five {
        assert_eq!(
            route.green.as_ref().unwrap().backends[0].id,
            "127.0.0.1:3002",
            "{what}"
        );
    }
    route.weight == five
}

fn env(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// Writes a damaged file into a folder of its own.
fn damaged(bytes: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("state.db"), bytes).unwrap();
    folder
}

fn sound_file() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    at_five_percent(folder.path());
    assert!(
        must_be_safe(folder.path(), "sound"),
        "a sound file resumes at its weight"
    );
    fs::read(folder.path().join("state.db")).unwrap()
}

#[test]
fn a_file_cut_anywhere_starts_at_the_saved_weight_or_at_none() {
    let bytes = sound_file();
    let mut kept = 0;
    let step = env("SHIFTER_CUT_STEP", 251);
    for cut in (0..bytes.len()).step_by(step) {
        let folder = damaged(&bytes[..cut]);
        kept += usize::from(must_be_safe(folder.path(), &format!("cut at {cut}")));
    }
    println!("{} cuts, {kept} resumed at 5 %", bytes.len().div_ceil(step));
}

#[test]
fn a_flipped_bit_anywhere_starts_at_the_saved_weight_or_at_none() {
    let bytes = sound_file();
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    let (flips, mut kept) = (env("SHIFTER_FLIPS", 1_000), 0);
    for _ in 0..flips {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = (random >> 8) as usize % bytes.len();
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (random & 7);
        let folder = damaged(&flipped);
        kept += usize::from(must_be_safe(
            folder.path(),
            &format!("bit {} of byte {at}", random & 7),
        ));
    }
    println!("{flips} flips, {kept} resumed at 5 %");
    assert!(kept > 0);
}

#[test]
fn a_damaged_file_is_put_aside_and_the_copy_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    at_five_percent(folder.path());
    let (journal, _) = Journal::open(folder.path()).unwrap();
    journal.keep_copy().unwrap();
    drop(journal);
    fs::write(folder.path().join("state.db"), vec![7u8; 8_192]).unwrap();
    let (_, opened) = Journal::open(folder.path()).unwrap();
    assert!(opened.from_copy);
    let aside = opened.put_aside.unwrap();
    assert_eq!(
        fs::read(aside).unwrap(),
        vec![7u8; 8_192],
        "nothing is deleted"
    );
    assert!(must_be_safe(folder.path(), "copy"));
}

/// A file that lost everything is no reason to forget what was promoted.
#[test]
fn an_empty_file_is_replaced_by_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    at_five_percent(folder.path());
    let (journal, opened) = Journal::open(folder.path()).unwrap();
    assert!(!opened.from_copy);
    journal.keep_copy().unwrap();
    drop(journal);
    for extra in ["", "-wal", "-shm"] {
        let file = folder.path().join(format!("state.db{extra}"));
        if file.exists() {
            fs::write(file, "").unwrap();
        }
    }
    let (_, opened) = Journal::open(folder.path()).unwrap();
    assert_eq!((opened.from_copy, opened.put_aside), (true, None));
    assert!(must_be_safe(folder.path(), "copy"));
}

/// A write lock of another program (a backup) says nothing about the file: it stays, and what was promoted serves.
#[test]
fn a_journal_that_is_only_locked_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    at_five_percent(folder.path());
    let (journal, _) = Journal::open(folder.path()).unwrap();
    let promoted = SavedService {
        running: vec!["127.0.0.1:3002".into()],
        ..SavedService::default()
    };
    journal.save_service("api", &promoted).unwrap();
    drop(journal);
    let file = folder.path().join("state.db");
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let error = Journal::open(folder.path()).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, JournalError::Unavailable { .. }), "{text}");
    assert!(
        text.contains("state.db") && text.contains("Another program"),
        "{text}"
    );
    let names = || -> Vec<String> {
        let all = fs::read_dir(folder.path()).unwrap();
        all.map(|one| one.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert!(
        !names().iter().any(|name| name.contains("damaged")),
        "{:?}",
        names()
    );

    let (stand_in, known) = Journal::that_records_nothing(&error).unwrap();
    assert!(known);
    assert_eq!(stand_in.service("api").unwrap(), Some(promoted.clone()));
    assert_eq!(
        stand_in.unfinished("api").unwrap(),
        None,
        "no rollout goes on unrecorded"
    );
    let refused = stand_in
        .save_service("api", &promoted)
        .unwrap_err()
        .to_string();
    assert_eq!(refused, text);

    other.execute_batch("ROLLBACK").unwrap();
    let (journal, opened) = Journal::open(folder.path()).unwrap();
    assert_eq!(opened.put_aside, None);
    assert!(
        journal.unfinished("api").unwrap().is_some(),
        "the rollout is there again"
    );
}

/// Where SQLite can have no shared memory it keeps the file for itself.
#[test]
fn a_file_system_without_shared_memory_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    at_five_percent(folder.path());
    let shared = folder.path().join("state.db-shm");
    let _ = fs::remove_file(&shared);
    fs::create_dir(&shared).unwrap();
    let (journal, opened) = Journal::open(folder.path()).unwrap();
    assert_eq!(opened.put_aside, None);
    assert!(journal.unfinished("api").unwrap().is_some());
    journal
        .save_service("web", &SavedService::default())
        .unwrap();
    drop(journal);
    let (journal, _) = Journal::open(folder.path()).unwrap();
    assert!(journal.service("web").unwrap().is_some());
}

/// What was not in the file itself yet is put aside with it, under the name that SQLite looks for.
#[test]
fn what_is_put_aside_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    at_five_percent(folder.path());
    let file = folder.path().join("state.db");
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute_batch("DROP TABLE second").unwrap();
    // The connection is open, as after a kill: the change is in the WAL alone.
    let wal = fs::read(folder.path().join("state.db-wal")).unwrap();
    let main = fs::read(&file).unwrap();
    drop(db);
    fs::write(&file, &main).unwrap();
    fs::write(folder.path().join("state.db-wal"), &wal).unwrap();
    let (_, opened) = Journal::open(folder.path()).unwrap();
    let aside = rusqlite::Connection::open(opened.put_aside.unwrap()).unwrap();
    let count = |name: &str| -> i64 {
        let asked = "SELECT count(*) FROM sqlite_schema WHERE name = ?1";
        aside.query_row(asked, [name], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("rollout"), count("second")), (1, 0));
}

#[test]
fn an_older_rollout_never_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    at_five_percent(folder.path());
    let (journal, _) = Journal::open(folder.path()).unwrap();
    let mut second = journal.unfinished("api").unwrap().unwrap();
    let first = second.id;
    journal.begin_rollout(&mut second).unwrap();
    assert_ne!(second.id, first);
    assert_eq!(journal.unfinished("api").unwrap().unwrap().id, second.id);
    second.ended_at = Some("2026-01-01T00:00:01Z".into());
    journal.save_rollout(&second).unwrap();
    assert_eq!(journal.unfinished("api").unwrap(), None);
    drop(journal);
    assert_eq!(
        routed(folder.path()).unwrap().routes[0].weight,
        Weight::NONE
    );
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    at_five_percent(folder.path());
    let db = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = Journal::open(folder.path()).err().unwrap();
    assert!(
        matches!(error, JournalError::Newer { found: 99, .. }),
        "{error}"
    );
    let version: i64 = rusqlite::Connection::open(folder.path().join("state.db"))
        .unwrap()
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(version, 99);
}

#[test]
fn a_second_process_is_kept_out_and_told_who_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let lock = FolderLock::take(folder.path()).unwrap();
    let error = FolderLock::take(folder.path()).unwrap_err();
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    drop(lock);
    FolderLock::take(folder.path()).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_a_clear_error() {
    // Even root cannot make a folder below a file.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = FolderLock::take(&file.join("state"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("file/state") && error.contains("`state = "),
        "{error}"
    );
}

#[test]
fn nothing_moves_up_that_cannot_be_recorded_and_everything_can_move_down() {
    let folder = tempfile::tempdir().unwrap();
    at_five_percent(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (journal, _) = Journal::open(folder.path()).unwrap();
        let config = config();
        let board = Arc::new(SharedState::new(config.clone()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let (controller, handle) =
            Controller::new(board.clone(), metrics.clone(), journal, config, None, vec![]);
        // From now on every write fails, as on a full disk.
        let other = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
        other.execute_batch("CREATE TRIGGER full BEFORE UPDATE ON rollout BEGIN SELECT RAISE(ABORT, 'disk is full'); END;").unwrap();
        let running = tokio::spawn(controller.run());
        let weight = || board.snapshot().table.route("api").unwrap().weight;
        use shifter::control::{ControlCommand, CommandError};
        let refused = handle.order(None, ControlCommand::Promote).await.unwrap_err();
        assert!(matches!(refused, CommandError::Unrecorded(_)), "{refused}");
        assert!(refused.to_string().contains("disk is full"), "{refused}");
        assert_eq!(weight(), Weight::percent(5).unwrap(), "not recorded, not done");
        handle.order(None, ControlCommand::Rollback { keep: false }).await.unwrap();
        assert_eq!(weight(), Weight::NONE, "a rollback needs no disk");
        assert!(metrics.render().contains("shifter_state_writable 0"));
        assert!(handle.view().trouble.is_some());
        other.execute_batch("DROP TRIGGER full").unwrap();
        handle.stop().await;
        running.await.unwrap();
    });
}

/// What is made elsewhere is marked with the journal's name: one that starts anew must not take it for its own.
#[test]
fn a_journal_keeps_its_name_and_a_new_one_has_another() {
    let folder = tempfile::tempdir().unwrap();
    let name = || Journal::open(folder.path()).unwrap().0.instance().unwrap();
    let first = name();
    assert_ne!(first, "00000000");
    assert_eq!(name(), first);
    fs::write(folder.path().join("state.db"), "damaged").unwrap();
    let _ = fs::remove_file(folder.path().join("state.db-wal"));
    assert_ne!(name(), first, "the damaged one was put aside");
}
