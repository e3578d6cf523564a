//! Recordings of older builds, judged again by the program of today.
//!
//! `tests/golden/recordings` has what builds before this one recorded of real rollouts, as `GET /v1/rollouts/ID/seconds`
//! gave it. None of these files is ever written anew: they stand for the files that people have.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use shifter::core::analysis::{Evidence, EvidenceKinds, Past, RecordedLine, Share};
use shifter::core::judge::{Policy, Terms};
use shifter::core::stats::{History, PoolCounts, Tick};
use shifter::core::weight::Weight;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Folder, file, and the second in which green failed by what users had.
const OLD: [(&str, &str, Option<u64>); 4] = [
    ("before-routes", "errors.json", Some(10)),
    ("before-routes", "slow.json", Some(14)),
    ("before-routes", "promoted.json", None),
    ("before-routes", "swapped.json", Some(16)),
];

fn replay(file: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shifter"));
    command.args(["replay", "--file"]).arg(file).args(more);
    command.output().unwrap()
}

fn json_of(file: &Path) -> Value {
    let output = replay(file, &["--output", "json"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{}: {told}", file.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text_of(file: &Path) -> String {
    let output = replay(file, &["--output", "text"]);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_older_recording_is_judged_as_it_was_and_what_it_lacks_is_told() {
    for (folder, name, failed) in OLD {
        let file = Path::new("tests/golden/recordings").join(folder).join(name);
        let facts = json_of(&file);
        assert_eq!(facts["same"], true, "{name}");
        assert_eq!(facts["differences"], json!([]), "{name}");
        assert_eq!(facts["recorded"], facts["replayed"], "{name}");
        assert_eq!(facts["recorded"][0].as_u64(), failed, "{name}");
        let all = serde_json::to_value(EvidenceKinds::all()).unwrap();
        assert_eq!(facts["missing_evidence"], all, "{name}");
        let text = text_of(&file);
        assert!(
            text.contains("the same verdict: second by second the same"),
            "{name}: {text}"
        );
        let words = "\nrecorded by an older version: no counts by route, no counts by user, ";
        assert!(text.contains(words), "{name}: {text}");
    }
}

#[test]
fn probes_of_an_older_recording_are_judged_as_they_were() {
    let facts = json_of(Path::new(
        "tests/golden/recordings/before-routes/promoted.json",
    ));
    let probes = &facts["probes"];
    assert!(probes["seconds"].as_u64() > Some(20), "{probes}");
    assert_eq!(probes["differences"], json!([]));
    assert_eq!(probes["recorded"], probes["replayed"]);
}

/// A rollout as it is recorded now: green fails every other second.
fn recording_of_today() -> String {
    let policy = Policy::default();
    let mut evidence = Evidence::new(policy.clone(), false);
    let blue = History::default();
    let past = Past {
        history: &blue,
        kept: None,
    };
    let share = Share {
        weight: Weight::percent(5).unwrap(),
        last: false,
        blue_can_answer: false,
        terms: Terms::default(),
    };
    let mut lines = vec![RecordedLine::Policy(Box::new(policy))];
    lines.extend(evidence.start_share(share, &past));
    let pool = |requests, failed| PoolCounts {
        requests,
        failed,
        timed: requests - failed,
        ..PoolCounts::default()
    };
    for second in 0..60 {
        let tick = Tick {
            blue: pool(95, 0),
            green: pool(5, second % 2),
        };
        lines.push(evidence.second(&tick).1);
    }
    let each = lines
        .iter()
        .map(|line| serde_json::to_string(line).unwrap());
    each.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_recording_of_today_lacks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("today.jsonl");
    fs::write(&file, recording_of_today()).unwrap();
    let facts = json_of(&file);
    assert_eq!(facts["missing_evidence"], json!([]));
    assert!(facts["recorded"][0].as_u64() > Some(5), "{facts}");
    assert!(!text_of(&file).contains("older"), "{}", text_of(&file));
}

#[test]
fn a_file_that_was_cut_off_is_told_with_its_place_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let told = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        let output = replay(&file, &[]);
        assert_eq!(output.status.code(), Some(2));
        let place = format!("shifter: {}:", file.display());
        let told = String::from_utf8(output.stderr).unwrap();
        told.strip_prefix(&place).expect(&told).to_owned()
    };
    let old = fs::read_to_string("tests/golden/recordings/before-routes/errors.json").unwrap();
    let cut = told("cut.json", &old[..old.len() / 2]);
    assert!(
        cut.starts_with("1: the recording is cut off here. Get the recording again"),
        "{cut}"
    );
    let today = recording_of_today();
    let cut = told("cut.jsonl", &today[..today.len() - 40]);
    let last = format!(
        "{}: this line of the recording is cut off. ",
        today.lines().count()
    );
    assert!(
        cut.starts_with(&last) && cut.contains("delete this line"),
        "{cut}"
    );
}
