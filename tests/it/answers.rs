//! What answers are like, and clients who do not wait for them: rollouts with real traffic.

use crate::support::apps::pair;
use crate::support::load::{Load, Plan};
use crate::support::shifter::{Home, PATIENT, outcome_of, phase_of};
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
