//! What answers are like, and clients who do not wait for them: rollouts with real traffic.

use crate::support::apps::pair;
use crate::support::load::{Load, Plan};
use crate::support::shifter::{Home, PATIENT, outcome_of, phase_of};
use shifter::core::answers::Expected;
use shifter::core::plan::Strategy;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// One share that is long enough for evidence, and then all.
const HALF: &str = "steps = [{ weight = 50, hold = \"2s\", deadline = \"40s\" }, { weight = 100, hold = \"1s\", deadline = \"10s\" }]\nkeep_blue = \"0s\"\n";

/// Clients who leave when there is no answer in time; each request has a connection of its own.
pub(crate) struct Impatient {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Impatient {
    pub(crate) fn start(addr: SocketAddr, rate: f64, patience: Duration) -> Impatient {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let ended = stop.clone();
        tasks.spawn(async move {
            let mut asks = JoinSet::new();
            let mut due = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
            while !ended.load(Relaxed) {
                due.tick().await;
                asks.spawn(tokio::time::timeout(patience, ask(addr)));
            }
        });
        Impatient { stop, tasks }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.store(true, Relaxed);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn ask(addr: SocketAddr) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(addr).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n")
        .await?;
    stream.read_to_end(&mut vec![]).await
}

/// Green takes every connection and never answers, and its clients do not wait for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_hangs_goes_back_however_impatient_its_clients_are() {
    for patience in [300, 800] {
        let (blue, green) = pair();
        let home = Home::new(&blue, &green, &format!("{HALF}step_requests_min = 1\n"));
        let _shifter = home.serve().await;
        let load = Load::start(home.proxy, Plan::default());
        load.more(1_000).await;
        load.stop().await;
        let clients = Impatient::start(home.proxy, 40.0, Duration::from_millis(patience));
        home.run(Strategy::Canary).await;
        home.share(50.0).await;
        green.app.hangs.store(true, Relaxed);
        let start = Instant::now();
        let end = home
            .until("the end", |service| phase_of(service) == "finished")
            .await;
        let (took, reason) = (start.elapsed(), end.rollout.clone().unwrap().reason);
        println!("{patience} ms: back after {took:?}: {reason:?}");
        assert_eq!(outcome_of(&end), "rolled_back", "{reason:?}");
        assert!(
            took < Duration::from_secs(38),
            "before the deadline: {took:?}"
        );
        clients.stop().await;
    }
}

/// Both answer at once; one client in three is gone by then. A good green is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn clients_who_leave_both_versions_alike_convict_nobody() {
    let (blue, green) = pair();
    for app in [&blue, &green] {
        app.app.latency_us.store(20_000, Relaxed);
    }
    let home = Home::new(&blue, &green, &format!("{HALF}{PATIENT}"));
    let _shifter = home.serve().await;
    let load = Load::start(home.proxy, Plan::default());
    load.more(1_000).await;
    let hasty = Impatient::start(home.proxy, 100.0, Duration::from_millis(22));
    home.run(Strategy::Canary).await;
    let end = home
        .until_within(Duration::from_secs(90), "the end", |service| {
            phase_of(service) == "finished"
        })
        .await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    hasty.stop().await;
    load.stop().await;
}

/// What the backend behind a version does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    /// A short answer of this status.
    Says(u16),
    /// The header at once, the body after so many milliseconds.
    SlowBody(u64),
    /// Nothing, ever.
    Hangs,
}

/// A version whose behaviour can be changed while it has users.
struct Version {
    addr: SocketAddr,
    does: Arc<std::sync::Mutex<Does>>,
    task: tokio::task::JoinHandle<()>,
}

impl Version {
    async fn start(does: Does) -> Version {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let does = Arc::new(std::sync::Mutex::new(does));
        let shared = does.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Version { addr, does, task }
    }

    fn becomes(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, does: Arc<std::sync::Mutex<Does>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = vec![];
    while stream.read_buf(&mut head).await? > 0 {
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        // Health checks ask for something else, and are well.
        let asked = head.starts_with(b"GET / ");
        head.clear();
        let does = match asked {
            true => *does.lock().unwrap(),
            false => Does::Says(200),
        };
        let (status, wait) = match does {
            Does::Says(status) => (status, 0),
            Does::SlowBody(millis) => (200, millis),
            Does::Hangs => std::future::pending().await,
        };
        let header =
            format!("HTTP/1.1 {status} Test\r\nlocation: /login\r\ncontent-length: 5\r\n\r\n");
        stream.write_all(header.as_bytes()).await?;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        stream.write_all(b"hello").await?;
    }
    Ok(())
}

/// A rollout in which green begins to do this at 50 %: how it ended, why, and after how many seconds.
async fn half_way(
    [blue, green]: [Does; 2],
    keys: &str,
    warmed: u64,
    patience: Duration,
    expect: &[Expected],
) -> (String, String, f64, String) {
    let good = Does::Says(200);
    let [old, new] = [Version::start(good).await, Version::start(good).await];
    old.becomes(blue);
    let keys = format!("{HALF}step_requests_min = 1\ntotal_requests_min = 1\n{keys}");
    let home = Home::at(tempfile::tempdir().unwrap(), old.addr, new.addr, &keys);
    let _shifter = home.serve().await;
    for _ in 0..warmed / 20 {
        let asks = (0..20).map(|_| ask(home.proxy));
        for asked in futures::future::join_all(asks).await {
            asked.unwrap();
        }
    }
    let clients = Impatient::start(home.proxy, 40.0, patience);
    let request = shifter::admin::body::RunRequest {
        strategy: Some(Strategy::Canary),
        expect: expect.to_vec(),
        ..Default::default()
    };
    home.client.run(None, &request).await.unwrap();
    home.share(50.0).await;
    new.becomes(green);
    let start = Instant::now();
    let end = home
        .until_within(Duration::from_secs(90), "the end", |service| {
            phase_of(service) == "finished"
        })
        .await;
    let took = start.elapsed().as_secs_f64();
    let reason = end.rollout.clone().unwrap().reason.unwrap_or_default();
    let notes = home.notes().await;
    clients.stop().await;
    (outcome_of(&end).to_owned(), reason, took, notes)
}

const CALM: Duration = Duration::from_secs(5);

/// Wrong base path, missing session, redirect loop: no failure, and found in seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_answers_another_status_goes_back_in_seconds() {
    for status in [404, 401, 302] {
        let does = [Does::Says(200), Does::Says(status)];
        let (outcome, reason, took, _) = half_way(does, "", 0, CALM, &[]).await;
        println!("{status}: back after {took:.1} s: {reason}");
        assert_eq!(outcome, "rolled_back", "{reason}");
        let words = format!("green answers {status} to ");
        assert!(reason.starts_with(&words), "{reason}");
        assert!(reason.contains("most of them GET / ("), "{reason}");
        assert!(took < 12.0, "{took}");
    }
}

/// Both refuse everything: strangers' requests, or a page that is gone for both.
#[tokio::test(flavor = "multi_thread")]
async fn what_both_versions_answer_alike_convicts_nobody() {
    let keys = "on_inconclusive = \"promote\"\n";
    let does = [Does::Says(404), Does::Says(404)];
    let (outcome, reason, took, _) = half_way(does, keys, 0, CALM, &[]).await;
    println!("404 on both: {outcome} after {took:.1} s: {reason}");
    assert_eq!(outcome, "promoted", "{reason}");
}

/// The change is on purpose: it is told once, with numbers, and green is promoted.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_expected_is_told_and_convicts_nobody() {
    let does = [Does::Says(200), Does::Says(302)];
    let (outcome, reason, took, notes) = half_way(does, "", 0, CALM, &[Expected::Status]).await;
    println!("302 on purpose: {outcome} after {took:.1} s: {reason}");
    assert_eq!(outcome, "promoted", "{reason}");
    let told = notes
        .matches("told, and not judged in this rollout")
        .count();
    assert_eq!(told, 1, "{notes}");
    assert!(notes.contains("green answers 302 to "), "{notes}");
    assert!(
        notes.contains("expected to change, told and not judged: status"),
        "{notes}"
    );
}

/// The header is quick, the body is not: the first byte says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_is_slow_after_a_quick_header_goes_back() {
    let does = [Does::SlowBody(10), Does::SlowBody(120)];
    let keys = "latency_grace = \"0s\"\n";
    let (outcome, reason, took, _) = half_way(does, keys, 1_000, CALM, &[]).await;
    println!("slow body: back after {took:.1} s: {reason}");
    assert_eq!(outcome, "rolled_back", "{reason}");
    assert!(reason.contains(" until the last byte ("), "{reason}");
    let off = format!("{keys}answers = {{ last_byte = \"off\" }}\n");
    let (outcome, reason, _, _) = half_way(does, &off, 1_000, CALM, &[]).await;
    assert_eq!(outcome, "promoted", "{reason}");
}

/// Nothing is known of blue's latency, and clients leave before any timeout.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_hangs_goes_back_where_blue_has_no_past() {
    let does = [Does::Says(200), Does::Hangs];
    let patience = Duration::from_millis(300);
    let (outcome, reason, took, _) = half_way(does, "", 0, patience, &[]).await;
    println!("hangs, clients leave after 0.3 s: back after {took:.1} s: {reason}");
    assert_eq!(outcome, "rolled_back", "{reason}");
    assert!(reason.starts_with("clients gave up on "), "{reason}");
    assert!(took < 15.0, "{took}");
}

/// What a rollout was told to expect is saved with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_rollout_expects_is_saved_with_it() {
    let good = Does::Says(200);
    let [old, new] = [Version::start(good).await, Version::start(good).await];
    let keys = "steps = [{ weight = 50, hold = \"1h\", deadline = \"1h\" }, { weight = 100 }]\n";
    let home = Home::at(tempfile::tempdir().unwrap(), old.addr, new.addr, keys);
    let mut shifter = home.serve().await;
    let clients = Impatient::start(home.proxy, 40.0, CALM);
    let request = shifter::admin::body::RunRequest {
        strategy: Some(Strategy::Canary),
        expect: vec![Expected::Status],
        ..Default::default()
    };
    home.client.run(None, &request).await.unwrap();
    home.share(50.0).await;
    shifter.kill();
    let _again = home.serve().await;
    new.becomes(Does::Says(404));
    home.until("a finding", |service| {
        let evidence = service
            .rollout
            .as_ref()
            .and_then(|one| one.evidence.as_ref());
        evidence.is_some_and(|report| report.told().next().is_some())
    })
    .await;
    let service = home.service().await;
    assert_eq!(phase_of(&service), "shifting", "{:?}", service.rollout);
    clients.stop().await;
}
