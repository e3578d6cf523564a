//! `tests/http1/corpus.txt`: what is valid is served, and nothing else reaches a backend.

use crate::support::PATIENCE;
use crate::support::escaped::unescaped;
use crate::support::rig::Rig;
use crate::support::strict::{Seen, Strict};
use std::fmt::Write;
use std::net::{SocketAddr, TcpStream as Plain};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const CORPUS: &str = include_str!("../http1/corpus.txt");

/// So long nothing may come before a request counts as waited for: it is unfinished.
const SILENCE: Duration = Duration::from_millis(150);

/// What must become of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Refuse,
    May,
}

#[derive(Clone, Debug)]
struct Case {
    name: &'static str,
    verdict: Verdict,
    /// Requests that must reach the backend.
    requests: usize,
    bytes: Vec<u8>,
}

impl Verdict {
    pub fn named(name: &str) -> Verdict {
        match name {
            "accept" => Verdict::Accept,
            "refuse" => Verdict::Refuse,
            "may" => Verdict::May,
            other => panic!("{other} is no verdict"),
        }
    }
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All that is valid came through, and was answered.
    Accepted,
    /// Nothing came through but what is valid before it.
    Refused,
    /// It came through as something conformant.
    Mended,
    /// Something that is not conformant came through, or more than there is.
    Passed,
    /// What is valid did not come through, or was not answered.
    Lost,
}

impl Fate {
    /// What became of a case that holds so many requests before its odd one, and got so many answers with status 200.
    pub fn of(verdict: Verdict, requests: usize, seen: &[Seen], good: usize) -> Fate {
        let whole = seen.iter().filter(|seen| seen.whole).count();
        // A request that is cut short is none: the backend waits for its end, and sees the connection close.
        match verdict {
            _ if seen.iter().any(|seen| !seen.faults.is_empty()) => Fate::Passed,
            Verdict::Accept if whole == requests && good == requests => Fate::Accepted,
            Verdict::Accept => Fate::Lost,
            Verdict::Refuse | Verdict::May if whole < requests => Fate::Lost,
            Verdict::Refuse | Verdict::May if whole == requests => Fate::Refused,
            Verdict::Refuse | Verdict::May if whole == requests + 1 => Fate::Mended,
            Verdict::Refuse | Verdict::May => Fate::Passed,
        }
    }

    /// Whether it is what the verdict wants.
    pub fn fits(self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Accept => self == Fate::Accepted,
            Verdict::Refuse => self == Fate::Refused,
            Verdict::May => matches!(self, Fate::Refused | Fate::Mended),
        }
    }
}

fn cases() -> Vec<Case> {
    let lines = CORPUS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.splitn(3, '\t');
            let mut next = || {
                parts
                    .next()
                    .unwrap_or_else(|| panic!("too few parts: {line}"))
            };
            let (verdict, name, bytes) = (next(), next(), next());
            let (verdict, requests) = match verdict.split_once(':') {
                Some((verdict, count)) => (verdict, Some(count.parse().unwrap())),
                None => (verdict, None),
            };
            let verdict = Verdict::named(verdict);
            let usual = usize::from(verdict == Verdict::Accept);
            let requests = requests.unwrap_or(usual);
            let mut text = bytes.as_bytes();
            let bytes = unescaped(&mut text, false);
            Case {
                name,
                verdict,
                requests,
                bytes,
            }
        })
        .collect()
}

/// Sends a case in pieces of so many bytes; the answers' statuses, and whether the connection was closed.
async fn sent(addr: SocketAddr, case: &Case, piece: usize) -> (Vec<u16>, bool) {
    let stream = timeout(PATIENCE, TcpStream::connect(addr))
        .await
        .unwrap()
        .unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reads, mut writes) = stream.into_split();
    let bytes = case.bytes.clone();
    // It may be closed before everything is sent.
    let writing = tokio::spawn(async move {
        for part in bytes.chunks(piece) {
            if writes.write_all(part).await.is_err() {
                break;
            }
            if piece < 64 {
                tokio::task::yield_now().await;
            }
        }
        writes
    });
    let (mut read, mut closed) = (vec![], false);
    let deadline = Instant::now() + PATIENCE;
    // What must be served is waited for; where nothing must come, silence ends it.
    loop {
        let done = case.verdict == Verdict::Accept && statuses(&read).len() >= case.requests;
        if done {
            break;
        }
        let waits = case.verdict == Verdict::Accept || statuses(&read).len() < case.requests;
        let patience = if waits { PATIENCE } else { SILENCE };
        match timeout(patience, reads.read_buf(&mut read)).await {
            Ok(Ok(1..)) => assert!(Instant::now() < deadline, "{}: it never ends", case.name),
            Ok(_) => {
                closed = true;
                break;
            }
            Err(_) => break,
        }
    }
    drop(reads);
    let _ = writing.await;
    (statuses(&read), closed)
}

/// The final statuses in what was answered.
fn statuses(read: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(read);
    let found = text
        .match_indices("HTTP/1.1 ")
        .filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok());
    found.filter(|status| *status >= 200).collect()
}

async fn fate(
    addr: SocketAddr,
    backend: &Strict,
    case: &Case,
    piece: usize,
) -> (Fate, Vec<u16>, Vec<Seen>) {
    backend.take();
    let (statuses, _) = sent(addr, case, piece).await;
    let seen = backend.take();
    let good = statuses.iter().filter(|status| **status == 200).count();
    let fate = Fate::of(case.verdict, case.requests, &seen, good);
    (fate, statuses, seen)
}

fn told(case: &Case, seen: &[Seen], statuses: &[u16]) -> String {
    let heads: Vec<_> = seen
        .iter()
        .map(|seen| (&seen.head, seen.whole, &seen.faults))
        .collect();
    let mut heads = format!("{heads:?}");
    heads.truncate(600);
    format!(
        "{} ({:?}): answered {statuses:?}, arrived {heads}\n",
        case.name, case.verdict
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_valid_is_served_and_nothing_else_reaches_a_backend() {
    let backend = Strict::start().await;
    let rig = Rig::app(&[backend.addr], &[], "").await;
    let cases = cases();
    assert!(cases.len() >= 200, "{} cases", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        // Whole, and in pieces: where a read ends means nothing.
        let pieces: &[usize] = if case.bytes.len() < 600 {
            &[usize::MAX, 1, 7]
        } else {
            &[usize::MAX]
        };
        for &piece in pieces {
            let (fate, statuses, seen) = fate(rig.addr, &backend, case, piece).await;
            if !fate.fits(case.verdict) {
                write!(wrong, "{fate:?} {piece} {}", told(case, &seen, &statuses)).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

// ---- The same against others ----------------------------------------------------------------------

/// A proxy of somebody else's; it ends when this is dropped.
pub struct Peer {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nginx or HAProxy before a backend; `None` when it is not installed. By HTTP/2 without TLS, or by HTTP/1.
pub fn peer(name: &str, http2: bool, port: u16, backend: SocketAddr) -> Option<Peer> {
    let (nginx, haproxy) = if http2 {
        (" http2", " proto h2")
    } else {
        ("", "")
    };
    let dir = tempfile::tempdir().unwrap();
    let (root, file) = (dir.path().display(), dir.path().join("conf"));
    let (config, command) = match name {
        "nginx" => (
            format!(
                "daemon off; pid {root}/pid; error_log {root}/error.log;\nevents {{ worker_connections 512; }}\n\
                 http {{ access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;\n\
                 uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n\
                 server {{ listen 127.0.0.1:{port}{nginx}; location / {{ proxy_pass http://{backend}; proxy_http_version 1.1;\n\
                 proxy_set_header Host $http_host; proxy_set_header Connection \"\"; proxy_request_buffering off; }} }} }}\n"
            ),
            vec![
                "nginx".to_owned(),
                "-p".into(),
                format!("{root}"),
                "-c".into(),
                format!("{root}/conf"),
            ],
        ),
        _ => (
            format!(
                "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n\
                 frontend f\n bind 127.0.0.1:{port}{haproxy}\n default_backend b\nbackend b\n server s {backend}\n"
            ),
            vec![
                "haproxy".to_owned(),
                "-db".into(),
                "-f".into(),
                format!("{root}/conf"),
            ],
        ),
    };
    std::fs::write(&file, config).unwrap();
    let child = Command::new(&command[0])
        .args(&command[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let peer = Peer { child, _dir: dir };
    let deadline = Instant::now() + PATIENCE;
    while Plain::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "{name} does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(peer)
}

/// Prints a table of shifter and what is installed of nginx and HAProxy:
/// `cargo nextest run --run-ignored only --no-capture -E 'test(same_corpus)'`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a comparison with other proxies; minutes"]
async fn the_same_corpus_against_others() {
    let cases = cases();
    let mut table = String::from(
        "| | valid: accepted | lost | invalid: refused | mended | **passed on, not conformant** | lost | open: fine | **not fine** |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let mut details = String::new();
    for name in ["shifter", "nginx", "haproxy"] {
        let backend = Strict::start().await;
        let (mut rig, mut other, mut addr) = (None, None, None);
        if name == "shifter" {
            let started = Rig::app(&[backend.addr], &[], "").await;
            addr = Some(started.addr);
            rig = Some(started);
        } else {
            let port = std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            other = peer(name, false, port, backend.addr);
            if other.is_some() {
                addr = Some(SocketAddr::from(([127, 0, 0, 1], port)));
            }
        }
        let Some(addr) = addr else {
            println!("{name} is not installed");
            continue;
        };
        let mut counts = std::collections::BTreeMap::new();
        for case in &cases {
            let (fate, statuses, seen) = fate(addr, &backend, case, usize::MAX).await;
            *counts
                .entry(format!("{:?} {fate:?}", case.verdict))
                .or_insert(0) += 1;
            let notable = matches!(fate, Fate::Lost | Fate::Passed)
                || (case.verdict == Verdict::Refuse && fate == Fate::Mended);
            if notable {
                write!(details, "{name}: {fate:?} {}", told(case, &seen, &statuses)).unwrap();
            }
        }
        let n = |key: &str| counts.get(key).copied().unwrap_or(0);
        writeln!(
            table,
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
            n("Accept Accepted"),
            n("Accept Lost") + n("Accept Passed"),
            n("Refuse Refused"),
            n("Refuse Mended"),
            n("Refuse Passed"),
            n("Refuse Lost"),
            n("May Refused") + n("May Mended"),
            n("May Passed") + n("May Lost"),
        )
        .unwrap();
        drop((rig, other));
    }
    println!("{} cases\n{details}\n{table}", cases.len());
}
