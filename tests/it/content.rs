//! Green's answers have other bodies than blue's: told, or judged where the configuration says so.

use crate::support::PATIENCE;
use crate::support::backend::{Act, Backend};
use crate::support::client::{Client, get};
use crate::support::load::{Load, Plan};
use crate::support::shifter::{Home, PATIENT, STILL, outcome_of, phase_of};
use shifter::admin::body::RunRequest;
use shifter::core::analysis::RecordedLine;
use shifter::core::answers::Expected;
use shifter::core::contents::ContentSecond;
use shifter::core::plan::Strategy;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Shares that are long enough for a difference to be found in them.
const SHARES: &str = "steps = [{ weight = 50, hold = \"8s\", deadline = \"8s\" }, { weight = 100, hold = \"1s\", deadline = \"2s\" }]\nmonitor = \"1h\"\nkeep_blue = \"100ms\"\ndrain = \"1s\"\n";

fn page(kind: &str, body: &str) -> Act {
    Act::Say(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// Answers `/api` with this type and all else with a page of so many bytes.
async fn version(kind: &'static str, bytes: usize) -> Backend {
    Backend::start(move |head| match head.starts_with("GET /api ") {
        true => page(kind, "[1, 2, 3]"),
        false => page("text/html; charset=utf-8", &"x".repeat(bytes)),
    })
    .await
}

fn users(home: &Home, path: &str) -> Load {
    Load::start(
        home.proxy,
        Plan {
            connections: 4,
            rate: Some(60.0),
            path: path.to_owned(),
            errors_allowed: true,
            proxy_errors_allowed: true,
            ..Plan::default()
        },
    )
}

/// The outcome, what was told, and what `status` and `explain` say at the end.
async fn rolled_out(green: Backend, more: &str) -> (String, String, [String; 2]) {
    expecting(vec![], green, more).await
}

async fn expecting(
    expect: Vec<Expected>,
    green: Backend,
    more: &str,
) -> (String, String, [String; 2]) {
    let blue = version("application/json", 2_100).await;
    let keys = format!("{SHARES}{PATIENT}{more}");
    let home = Home::at(tempfile::tempdir().unwrap(), blue.addr, green.addr, &keys);
    let _shifter = home.serve().await;
    let loads = ["/", "/api"].map(|path| users(&home, path));
    let request = RunRequest {
        strategy: Some(Strategy::Canary),
        expect,
        ..RunRequest::default()
    };
    home.client.run(None, &request).await.unwrap();
    let service = home
        .until_within(Duration::from_secs(60), "finished", |service| {
            phase_of(service) == "finished"
        })
        .await;
    for load in loads {
        load.stop().await;
    }
    let shown = ["status", "explain"].map(|command| {
        let mut command = home.command(&[command]);
        let output = command.stdout(Stdio::piped()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    let notes = home.notes().await;
    (outcome_of(&service).to_owned(), notes, shown)
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_pages_are_told_once_and_promoted_all_the_same() {
    let (outcome, notes, shown) = rolled_out(version("application/json", 0).await, "").await;
    assert_eq!(outcome, "promoted", "{notes}");
    let told: Vec<&str> = notes
        .lines()
        .filter(|line| line.contains("answers of"))
        .collect();
    assert_eq!(told.len(), 1, "{notes}");
    assert!(
        told[0].starts_with("finding: answers of GET / are empty on green ("),
        "{notes}"
    );
    assert!(told[0].contains("), 2 to 4 kB on blue ("), "{notes}");
    for text in shown {
        assert!(
            text.contains("finding: answers of GET / are empty on green"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_pages_go_back_where_sizes_are_judged() {
    let green = version("application/json", 0).await;
    let (outcome, notes, _) = rolled_out(green, "answers = { size = \"judge\" }\n").await;
    assert_eq!(outcome, "rolled_back", "{notes}");
    assert!(
        notes.contains("every new request goes to blue: answers of GET / are empty on green"),
        "{notes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_are_expected_to_change_are_told_in_that_rollout() {
    let green = version("application/json", 0).await;
    let judged = "answers = { size = \"judge\" }\n";
    let (outcome, notes, _) = expecting(vec![Expected::Size], green, judged).await;
    assert_eq!(outcome, "promoted", "{notes}");
    assert!(
        notes.contains("finding: answers of GET / are empty on green ("),
        "{notes}"
    );
    assert!(
        notes.contains(": told, and not judged in this rollout"),
        "{notes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_type_is_told_and_not_where_that_is_off() {
    let (outcome, notes, _) = rolled_out(version("text/html", 2_300).await, "").await;
    assert_eq!(outcome, "promoted", "{notes}");
    let start = "finding: answers of GET /api are text/html on green (";
    let told = notes.lines().find(|line| line.starts_with(start));
    let told = told.unwrap_or_else(|| panic!("{notes}"));
    assert!(told.contains("), application/json on blue ("), "{told}");
    assert!(
        !notes.contains("answers of GET / "),
        "a page that is a little larger: {notes}"
    );
    let off = "answers = { size = \"off\", type = \"off\" }\n";
    let (outcome, notes, _) = rolled_out(version("text/html", 0).await, off).await;
    assert_eq!(outcome, "promoted", "{notes}");
    assert!(!notes.contains("answers of"), "{notes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alike_answers_are_judged_and_promoted() {
    let green = version("application/json", 2_100).await;
    let judged = "answers = { size = \"judge\", type = \"judge\" }\n";
    let (outcome, notes, _) = rolled_out(green, judged).await;
    assert_eq!(outcome, "promoted", "{notes}");
    assert!(!notes.contains("answers of"), "{notes}");
}

/// What is left out by its request or its answer: nothing of it is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_whole_body_of_its_own_is_not_compared() {
    let version = || {
        Backend::start(|head| {
            let status = |status: u16| {
                Act::Say(format!(
                    "HTTP/1.1 {status} Test\r\ncontent-length: 2\r\n\r\nok"
                ))
            };
            match head.split(' ').nth(1) {
                Some("/none") => Act::Say("HTTP/1.1 204 None\r\n\r\n".to_owned()),
                Some("/gone") => status(404),
                Some("/moved") => status(302),
                Some("/part") => status(206),
                Some("/cut") => {
                    Act::Last("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_owned())
                }
                _ if head.starts_with("HEAD") => {
                    Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n".to_owned())
                }
                _ => status(200),
            }
        })
    };
    let (blue, green) = (version().await, version().await);
    let home = Home::at(tempfile::tempdir().unwrap(), blue.addr, green.addr, STILL);
    let _shifter = home.serve().await;
    let rollout = home.run(Strategy::Canary).await;
    home.share(5.0).await;
    for request in ["GET /none", "HEAD /head", "GET /cut"] {
        let mut client = Client::connect(home.proxy).await;
        let whole = format!("{request} HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n");
        client.send(&whole).await;
        let _ = client.answer().await;
    }
    let others = [
        ("/gone", ""),
        ("/moved", ""),
        ("/part", ""),
        ("/range", "range: bytes=0-0\r\n"),
        ("/known", "if-none-match: \"a\"\r\n"),
        ("/seen", ""),
    ];
    for (path, more) in others {
        get(home.proxy, path, more).await.unwrap();
    }
    // All of it is read two seconds after what came last.
    let deadline = Instant::now() + PATIENCE;
    let counted: Vec<ContentSecond> = loop {
        let lines = home.client.seconds(rollout).await.unwrap();
        let is_seen = |line: &RecordedLine| matches!(line, RecordedLine::Contents(_));
        let last = lines.iter().rposition(is_seen).unwrap_or(lines.len());
        let later = lines[last..]
            .iter()
            .filter(|line| matches!(line, RecordedLine::Second { .. }));
        if later.count() > 2 {
            let contents = lines.into_iter().filter_map(|line| match line {
                RecordedLine::Contents(second) => Some(second),
                _ => None,
            });
            break contents.collect();
        }
        assert!(Instant::now() < deadline, "{lines:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert_eq!(counted[0].new, ["GET /seen"]);
    assert_eq!(counted[0].sizes.len(), 1, "{counted:?}");
}
