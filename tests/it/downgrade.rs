//! `tests/http2/corpus.txt`: what comes by HTTP/2 reaches a backend of HTTP/1 as valid HTTP/1, or not at all.

use crate::corpus::{Fate, Verdict, peer};
use crate::support::PATIENCE;
use crate::support::escaped::unescaped;
use crate::support::frames::{Answer, Part, ask};
use crate::support::rig::Rig;
use crate::support::strict::{Seen, Strict};
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

const CORPUS: &str = include_str!("../http2/corpus.txt");

/// So long nothing may come before a request counts as swallowed.
const SILENCE: Duration = Duration::from_millis(400);

struct Case {
    name: &'static str,
    verdict: Verdict,
    parts: Vec<Part>,
}

fn cases() -> Vec<Case> {
    let lines = CORPUS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split('\t');
            let mut next = || words.next().unwrap_or_else(|| panic!("too short: {line}"));
            let (verdict, name) = (Verdict::named(next()), next());
            let (mut head, mut frames, mut trailers) = (vec![], vec![], vec![]);
            for word in words {
                match word.as_bytes() {
                    [b'@', method @ ..] => head.extend(usual(method)),
                    [b'>', data @ ..] => frames.push(Part::Data(bytes(data))),
                    [b'+', trailer @ ..] => trailers.push(field(trailer)),
                    plain => head.push(field(plain)),
                }
            }
            let mut parts = vec![Part::Fields(head)];
            parts.extend(frames);
            if !trailers.is_empty() {
                parts.push(Part::Fields(trailers));
            }
            Case {
                name,
                verdict,
                parts,
            }
        })
        .collect()
}

fn bytes(mut text: &[u8]) -> Vec<u8> {
    unescaped(&mut text, false)
}

fn field(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    // `=b` has no name; a pseudo-field's begins with its colon.
    let at = text.iter().position(|&byte| byte == b'=').unwrap();
    (bytes(&text[..at]), bytes(&text[at + 1..]))
}

fn usual(method: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let method = if method.is_empty() { "GET" } else { "POST" };
    let all = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "app"),
        (":path", "/"),
    ];
    all.map(|(name, value)| (name.into(), value.into())).into()
}

/// Asks all cases, and tells what became of each.
///
/// Each carries its number, for a request may reach the backend after its user was refused.
async fn fates(
    addr: SocketAddr,
    backend: &Strict,
    cases: &[Case],
) -> Vec<(Fate, Answer, Vec<Seen>)> {
    let mut answers = vec![];
    for (number, case) in cases.iter().enumerate() {
        let mut parts = case.parts.clone();
        if let Some(Part::Fields(head)) = parts.first_mut() {
            head.push(("x-case".into(), format!("{number}.").into()));
        }
        let patience = if case.verdict == Verdict::Accept {
            PATIENCE
        } else {
            SILENCE
        };
        answers.push(ask(addr, &parts, patience).await);
    }
    let after = ask(addr, &[Part::Fields(usual(b""))], PATIENCE).await;
    assert_eq!(after, Answer::Good, "it serves after all that");
    let seen = backend.take();
    let marks = |seen: &Seen, number: usize| seen.head.contains(&format!("x-case: {number}."));
    // What has lost its number has been torn out of a request: its case is the one before it.
    let mut by_case: Vec<Vec<Seen>> = vec![vec![]; cases.len()];
    let mut last = 0;
    for seen in seen {
        match (0..cases.len()).find(|number| marks(&seen, *number)) {
            Some(number) => last = number,
            None if seen.faults.is_empty() => continue,
            None => {}
        }
        by_case[last].push(seen);
    }
    let told = cases.iter().zip(answers).zip(by_case);
    told.map(|((case, answer), seen)| {
        let usual = usize::from(case.verdict == Verdict::Accept);
        let good = usize::from(answer == Answer::Good);
        (Fate::of(case.verdict, usual, &seen, good), answer, seen)
    })
    .collect()
}

fn told(case: &Case, fate: Fate, answer: Answer, seen: &[Seen]) -> String {
    let mut seen = format!("{seen:?}");
    seen.truncate(500);
    format!(
        "{fate:?}: {} ({:?}), answered {answer:?}, arrived {seen}\n",
        case.name, case.verdict
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_by_http2_is_valid_for_a_backend_of_http1_or_refused() {
    let backend = Strict::start().await;
    let rig = Rig::app(&[backend.addr], &[], "").await;
    let cases = cases();
    assert!(cases.len() >= 100, "{} cases", cases.len());
    let mut wrong = String::new();
    let fates = fates(rig.addr, &backend, &cases).await;
    for (case, (fate, answer, seen)) in cases.iter().zip(fates) {
        if !fate.fits(case.verdict) {
            wrong += &told(case, fate, answer, &seen);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Prints a table of shifter and what is installed of nginx and HAProxy:
/// `cargo nextest run --run-ignored only --no-capture -E 'test(same_downgrades)'`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a comparison with other proxies; minutes"]
async fn the_same_downgrades_against_others() {
    let cases = cases();
    let mut table = String::from(
        "| | as the verdict wants | valid: lost | invalid: mended | not conformant |\n|---|---|---|---|---|\n",
    );
    let mut details = String::new();
    for name in ["shifter", "nginx", "haproxy"] {
        let backend = Strict::start().await;
        let (rig, other, addr);
        if name == "shifter" {
            let started = Rig::app(&[backend.addr], &[], "").await;
            (addr, rig, other) = (started.addr, Some(started), None);
        } else {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            addr = free.local_addr().unwrap();
            drop(free);
            (rig, other) = (None, peer(name, true, addr.port(), backend.addr));
            if other.is_none() {
                println!("{name} is not installed");
                continue;
            }
        }
        let [mut fits, mut lost, mut mended, mut passed] = [0; 4];
        let fates = fates(addr, &backend, &cases).await;
        for (case, (fate, answer, seen)) in cases.iter().zip(fates) {
            if fate.fits(case.verdict) {
                fits += 1;
                continue;
            }
            match fate {
                Fate::Lost | Fate::Refused => lost += 1,
                Fate::Mended | Fate::Accepted => mended += 1,
                Fate::Passed => passed += 1,
            }
            details += &format!("{name}: {}", told(case, fate, answer, &seen));
        }
        writeln!(table, "| {name} | {fits} | {lost} | {mended} | {passed} |").unwrap();
        drop((rig, other));
    }
    println!("{} cases\n{details}\n{table}", cases.len());
}
