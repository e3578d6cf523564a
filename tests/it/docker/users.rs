//! What one user lives through while the version changes: a long download, a session, a WebSocket, cold caches.

use crate::support::client::Client;
use crate::support::docker::Engine;
use crate::support::load::{Load, Plan};
use crate::support::shifter::{PATIENT, STILL, Shifter, outcome_of};
use crate::support::websocket::Socket;
use shifter::core::plan::Strategy;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How a download ended.
struct Download {
    /// Bytes that came, or how it broke.
    came: Result<usize, String>,
    /// From the promotion to its end.
    after: Duration,
    /// Requests that shifter counts as broken off by blue.
    counted: f64,
    /// Blue's exit code.
    exit: String,
}

/// Green takes everything one second into a download of 20 s from blue, and blue is cleared away.
async fn download_through_a_promotion(drain: &str, blue: &[&str]) -> Download {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", blue);
    let home = engine.home(&format!("{STILL}{PATIENT}keep_blue = \"0s\"\n"));
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text.replace("drain = \"5s\"", &format!("drain = \"{drain}\""));
    std::fs::write(home.config(), text).unwrap();
    let shifter = home.serve().await;
    let url = format!("http://{}/download?ms=20000", home.proxy);
    let download = tokio::spawn(async move {
        let answer = reqwest::get(url).await.unwrap();
        assert_eq!(answer.headers()["x-app-version"], "blue");
        let came = answer.bytes().await.map(|bytes| bytes.len());
        (came.map_err(|error| error.to_string()), Instant::now())
    });
    shifter
        .until("the download runs", |service| service.blue.in_flight == 1)
        .await;
    let load = Load::paced(home.proxy, 50.0);
    let rollout = shifter.run_as(Some(Strategy::BlueGreen), "app:green").await;
    let green = format!("{}-{}", engine.name, rollout.unwrap());
    shifter.share(100.0).await;
    let promoted = Instant::now();
    shifter.verb("promote").await.unwrap();
    let (came, ended) = download.await.unwrap();
    shifter
        .until("blue is cleared away", |_| {
            engine.containers(false) == [green.clone()]
        })
        .await;
    load.stop_clean().await;
    let counted = format!(
        "shifter_upstream_errors_total{{pool=\"blue\",reason=\"reset\",service=\"{}\"}}",
        engine.name
    );
    Download {
        came,
        after: ended - promoted,
        counted: shifter.metric(&counted).await,
        exit: engine.inspect(&engine.named("blue"), "{{.State.ExitCode}}"),
    }
}

/// Row 12: a download that takes 20 s outlives the clearing away of blue, or ends with the drain time and is counted.
#[tokio::test(flavor = "multi_thread")]
async fn row_12_a_long_download_has_the_drain_time() {
    let (long, short, polite) = tokio::join!(
        download_through_a_promotion("30s", &[]),
        download_through_a_promotion("5s", &["-e", "RUDE=1"]),
        download_through_a_promotion("5s", &[]),
    );
    for (name, ended) in [
        ("drain 30 s", &long),
        ("drain 5 s", &short),
        (
            "drain 5 s, blue ends what it has when told to stop",
            &polite,
        ),
    ] {
        println!("{name}: {:?} after {:?}", ended.came, ended.after);
    }
    assert_eq!((long.came, long.counted), (Ok(102_400), 0.0));
    assert_eq!(long.exit, "0", "stopped when nobody needed it");
    assert!(long.after > Duration::from_secs(10), "it was still long");
    assert!(short.came.is_err());
    assert_eq!(short.counted, 1.0);
    let about_5_s = Duration::from_secs(5)..Duration::from_millis(7_500);
    assert!(about_5_s.contains(&short.after), "{:?}", short.after);
    // One that ends what it has when told to stop has its own stop timeout for that (10 s where it says nothing), and is then killed.
    assert!(polite.came.is_err());
    assert_eq!(polite.counted, 1.0);
    let about_15_s = Duration::from_secs(15)..Duration::from_millis(17_500);
    assert!(about_15_s.contains(&polite.after), "{:?}", polite.after);
}

/// Somebody with a browser: one connection, and the last cookie that was set.
struct User {
    client: Client,
    cookie: String,
}

impl User {
    async fn new(addr: SocketAddr) -> User {
        User {
            client: Client::connect(addr).await,
            cookie: String::new(),
        }
    }

    /// Who answers.
    async fn ask(&mut self) -> String {
        let answer = self.client.get("/", &self.cookie).await.unwrap();
        assert_eq!(answer.status, 200);
        if let Some(set) = answer.header("set-cookie") {
            let pair = set.split(';').next().unwrap();
            self.cookie = format!("cookie: {pair}\r\n");
        }
        answer.header("x-app-version").unwrap().to_owned()
    }
}

/// Row 29: who logged in on green at 5 % stays there while its share grows, and is on blue after a rollback.
#[tokio::test(flavor = "multi_thread")]
async fn row_29_who_is_on_green_stays_there() {
    let engine = Engine::shared();
    let shifter = engine
        .with_blue(&format!("{STILL}{PATIENT}sticky.cookie = \"pin\"\n"))
        .await;
    let load = Load::paced(shifter.proxy, 100.0);
    shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    let mut users = 0;
    let mut user = loop {
        users += 1;
        assert!(users < 1_000, "5 % of them are green's");
        let mut user = User::new(shifter.proxy).await;
        if user.ask().await == "green" {
            break user;
        }
    };
    for percent in [5, 20, 35, 50] {
        shifter.weigh(percent).await;
        for n in 0..250 {
            assert_eq!(user.ask().await, "green", "request {n} at {percent} %");
        }
    }
    shifter.verb("rollback").await.unwrap();
    for n in 0..250 {
        assert_eq!(user.ask().await, "blue", "request {n} after the rollback");
    }
    let (seen, _) = load.stop_clean().await;
    println!(
        "user {users} was green's: 1000 of 1000 there, then 250 of 250 on blue; {} requests of others, 0 lost",
        seen.answered()
    );
}

/// What became of a WebSocket that was used twice a second.
struct Life {
    echoed: Instant,
    closed: Instant,
}

async fn live(mut socket: Socket) -> Life {
    let mut pace = tokio::time::interval(Duration::from_millis(500));
    let mut echoed = Instant::now();
    loop {
        tokio::select! {
            _ = pace.tick() => match socket.echo("are you there?").await {
                Ok(()) => echoed = Instant::now(),
                Err(_) => break,
            },
            _ = socket.client.closed() => break,
        }
    }
    let closed = Instant::now();
    Life { echoed, closed }
}

async fn open_sockets(addr: SocketAddr, count: usize) -> Vec<Socket> {
    let mut sockets = vec![];
    for _ in 0..count {
        sockets.push(Socket::open(addr).await);
    }
    sockets
}

/// WebSockets that are open on blue and on green, as Prometheus reads them.
async fn open_ones(shifter: &Shifter, service: &str) -> [f64; 2] {
    let open = async |pool| {
        let series =
            format!("shifter_upgraded_connections{{pool=\"{pool}\",service=\"{service}\"}}");
        shifter.metric(&series).await
    };
    [open("blue").await, open("green").await]
}

/// Row 32: WebSockets stay on the blue that they were opened on until its time is over; new ones are green's.
#[tokio::test(flavor = "multi_thread")]
async fn row_32_websockets_stay_until_the_drain_time_is_over() {
    let engine = Engine::shared();
    let shifter = engine
        .with_blue(&format!("{STILL}{PATIENT}keep_blue = \"3s\"\n"))
        .await;
    let proxy = shifter.proxy;
    let sockets = open_sockets(proxy, 500).await;
    assert!(sockets.iter().all(|socket| socket.version == "blue"));
    let lives: Vec<_> = sockets.into_iter().map(live).map(tokio::spawn).collect();
    assert_eq!(open_ones(&shifter, &engine.name).await, [500.0, 0.0]);
    let load = Load::paced(proxy, 50.0);
    let run = shifter.run_as(Some(Strategy::BlueGreen), "app:green").await;
    run.unwrap();
    shifter.share(100.0).await;
    let mut new = open_sockets(proxy, 20).await;
    assert!(new.iter().all(|socket| socket.version == "green"));
    assert_eq!(open_ones(&shifter, &engine.name).await, [500.0, 20.0]);

    let before = Instant::now();
    shifter.verb("promote").await.unwrap();
    let (kept, drained) = (Duration::from_secs(3), Duration::from_secs(5));
    let mut closed = vec![];
    for life in lives {
        let life = life.await.unwrap();
        assert!(
            life.echoed + kept / 2 > life.closed,
            "it echoes until the end"
        );
        closed.push(life.closed - before);
    }
    closed.sort();
    let (first, last) = (closed[0], closed[closed.len() - 1]);
    let at_once = closed
        .windows(100)
        .map(|some| some[99] - some[0])
        .min()
        .unwrap();
    println!(
        "promoted, kept for 3 s, drained for 5 s: closed after {first:?} to {last:?}, no 100 of them within {at_once:?}"
    );
    assert!(first >= kept, "none earlier: {first:?}");
    assert!(last < kept + drained + kept, "none later: {last:?}");
    assert!(at_once > drained / 10, "one by one: {at_once:?}");
    for socket in &mut new {
        socket.echo("and you?").await.unwrap();
    }
    shifter
        .until("blue is cleared away", |_| {
            engine.containers(false).len() == 1
        })
        .await;
    let open = async || open_ones(&shifter, &engine.name).await.iter().sum::<f64>();
    assert_eq!(open().await, 20.0);
    drop(new);
    let gone = async || open().await == 0.0;
    let deadline = Instant::now() + Duration::from_secs(5);
    while !gone().await {
        assert!(Instant::now() < deadline, "the gauge falls");
    }
    load.stop_clean().await;
}

const SMALL: &str =
    "steps = [{ weight = 15, hold = \"1h\", deadline = \"1h\" }, { weight = 100 }]\n";

/// How a rollout stood to a version whose first requests take 1.2 s each, and the longest waits on blue and green.
async fn cold_rollout(slow: u32, more: &str) -> (String, [Duration; 2]) {
    let engine = Engine::shared();
    engine.run("blue", "app:blue", &["-e", "LATENCY_MS=5"]);
    let home = engine.home(&format!(
        "{SMALL}latency_margin = \"50% + 50ms\"\ncopy.env = {{ SLOW_FIRST = \"{slow}\", SLOW_MS = \"1200\" }}\n{more}"
    ));
    let shifter = home.serve().await;
    let plan = Plan {
        rate: Some(100.0),
        connections: 100,
        records: true,
        ..Plan::default()
    };
    let load = Load::start(home.proxy, plan);
    load.more(400).await;
    shifter.run_image("app:green").await.unwrap();
    // 33 s at 15 a second.
    let long = || load.seen.green.load(Relaxed) >= 500;
    let end = shifter
        .until_within(Duration::from_secs(60), "it is judged", |service| {
            long() || !outcome_of(service).is_empty()
        })
        .await;
    let (_, records) = load.stop_clean().await;
    let longest = |green| {
        let pool = records.iter().filter(|record| record.green == green);
        let waits = pool.map(|record| record.done - record.sent);
        waits.max().unwrap()
    };
    (outcome_of(&end).to_owned(), [longest(false), longest(true)])
}

/// Row 34: a warm-up spares users the cold start; without one, the grace for caches spares green a false rollback.
#[tokio::test(flavor = "multi_thread")]
async fn row_34_a_cold_start_is_nobodys_fault() {
    let (warmed, settled, stays_slow) = tokio::join!(
        cold_rollout(
            200,
            "warmup = { requests = 200, concurrency = 50 }\nlatency_grace = \"0s\"\n"
        ),
        cold_rollout(200, "latency_grace = \"18s\"\n"),
        cold_rollout(100_000, "latency_grace = \"5s\"\n"),
    );
    println!("warm-up: {warmed:?}; grace of 18 s: {settled:?}; slow for good: {stays_slow:?}");
    assert_eq!(warmed.0, "");
    // Where blue's users waited as long, it was the machine.
    let [blue, green] = warmed.1;
    assert!(green < blue.max(Duration::from_secs(1)), "{warmed:?}");
    let [_, green] = settled.1;
    assert!(green >= Duration::from_millis(1_200), "it was cold");
    assert_eq!(settled.0, "");
    assert_eq!(stays_slow.0, "rolled_back", "the judge is awake");
}
