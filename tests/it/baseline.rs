//! A baseline beside green: pools that are colder the smaller their share, and what becomes of the copy.

use crate::support::apps::{Running, free_port, pair};
use crate::support::backend::{Act, Backend, answer, nobody};
use crate::support::client::get;
use crate::support::load::{Load, Plan};
use crate::support::rig::Rig;
use crate::support::shifter::{Home, PATIENT, STILL, Shifter, outcome_of, phase_of};
use shifter::control::view::ServiceView;
use shifter::core::baseline::Places;
use shifter::core::plan::Strategy;
use shifter::core::table::{Backend as At, Color, Pool};
use shifter::core::weight::Weight;
use shifter::store::Clock;
use shifter::store::shared_state::Health;
use shifter::store::window::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(100);

/// Five percent for as long as the test wants; a small share convicts at once where there is no baseline.
const FIVE: &str = "steps = [{ weight = 5, hold = \"1h\", deadline = \"1h\" }, { weight = 100 }]\nlatency_grace = \"0s\"\nconfirm = \"0s\"\nswitchback = false\ndrain = \"2s\"\n";

fn beside(baseline: SocketAddr) -> String {
    format!("control = \"baseline\"\nbaseline = \"{baseline}\"\n")
}

/// Answers take 10 ms, and 40 ms where a pool was not asked for 30 ms; green's take so much more.
struct Coldness {
    over: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Coldness {
    fn of(apps: &[&Running], more: u64) -> Coldness {
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        let apps: Vec<_> = apps.iter().map(|running| running.app.clone()).collect();
        let task = tokio::spawn(async move {
            let mut idle = vec![(0, 0); apps.len()];
            while !ended.load(Relaxed) {
                for (i, (app, (served, looks))) in apps.iter().zip(&mut idle).enumerate() {
                    let now = app.served.load(Relaxed);
                    *looks = if now > *served { 0 } else { *looks + 1 };
                    *served = now;
                    let cold = if *looks >= 3 { 30_000 } else { 0 };
                    let green = if i == 1 { more } else { 0 };
                    app.latency_us.store(10_000 + cold + green, Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Coldness { over, task }
    }

    async fn end(self) {
        self.over.store(true, Relaxed);
        self.task.await.unwrap();
    }
}

fn users(home: &Home, rate: f64) -> Load {
    let plan = Plan {
        rate: Some(rate),
        errors_allowed: true,
        leaves: true,
        ..Plan::default()
    };
    Load::start(home.proxy, plan)
}

/// Five percent with users, once blue has a past.
async fn at_five(blue: &Running, green: &Running, more: &str) -> (Home, Shifter, Load) {
    let home = Home::new(blue, green, &format!("{FIVE}{more}"));
    let shifter = home.serve().await;
    let load = users(&home, 300.0);
    load.more(1_000).await;
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    (home, shifter, load)
}

fn judged_seconds(service: &ServiceView) -> u64 {
    let rollout = service.rollout.as_ref();
    let evidence = rollout.and_then(|rollout| rollout.evidence.as_ref());
    evidence.map_or(0, |report| report.step_seconds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_share_is_colder_and_a_baseline_is_as_cold() {
    let (blue, green) = pair();
    let cold = Coldness::of(&[&blue, &green], 0);
    let (home, _shifter, load) = at_five(&blue, &green, "").await;
    // One version as both: without a baseline it is called slower than itself.
    let back = home
        .until_within(LONG, "back", |service| outcome_of(service) == "rolled_back")
        .await;
    let reason = back.rollout.unwrap().reason.unwrap();
    assert!(reason.contains("against blue"), "{reason}");
    load.stop().await;
    cold.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_baseline_one_version_is_not_slower_than_itself() {
    let (blue, green) = pair();
    let baseline = Running::start("blue");
    let cold = Coldness::of(&[&blue, &green, &baseline], 0);
    let (home, _shifter, load) = at_five(&blue, &green, &beside(baseline.addr)).await;
    let service = home
        .until_within(LONG, "40 s of evidence", |service| {
            !outcome_of(service).is_empty() || judged_seconds(service) >= 40
        })
        .await;
    assert_eq!(phase_of(&service), "shifting", "{}", home.notes().await);
    let report = service.rollout.unwrap().evidence.unwrap();
    assert!(
        report.baseline && report.ln_e_max < 100f64.ln(),
        "{report:?}"
    );
    // Limits of copies as cold as green, not of a warm pool.
    let limits = report.limits.unwrap();
    assert!(limits.blue[0] > 20_000, "{limits:?}");
    let view = service.baseline.unwrap();
    assert_eq!(view.backends[0].health, "up");
    let (one, other) = (green.served() as f64, baseline.served() as f64);
    let health = 0.1;
    assert!(
        (one / other - 1.0).abs() < 0.1 + health,
        "{one} and {other}"
    );
    // Told, and gone with the rollout.
    home.verb("abort").await.unwrap();
    home.phase("finished").await;
    assert!(home.service().await.baseline.is_none());
    let served = baseline.served();
    load.more(600).await;
    assert_eq!(baseline.served(), served, "nothing asks it any more");
    load.stop().await;
    cold.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slower_green_is_found_at_five_percent() {
    let (blue, green) = pair();
    let baseline = Running::start("blue");
    let cold = Coldness::of(&[&blue, &green, &baseline], 40_000);
    let (home, _shifter, load) = at_five(&blue, &green, &beside(baseline.addr)).await;
    let most = AtomicU64::new(0);
    let back = home
        .until_within(LONG, "back", |service| {
            most.fetch_max(service.weight_percent as u64, Relaxed);
            outcome_of(service) == "rolled_back"
        })
        .await;
    let reason = back.rollout.unwrap().reason.unwrap();
    assert!(reason.contains("against the baseline"), "{reason}");
    assert_eq!(most.load(Relaxed), 5, "nobody else saw it");
    load.stop().await;
    cold.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_that_dies_is_told_and_the_rollout_goes_on() {
    let (blue, green) = pair();
    let mut baseline = Running::start("blue");
    let home = Home::new(
        &blue,
        &green,
        &format!("{STILL}{PATIENT}{}", beside(baseline.addr)),
    );
    let _shifter = home.serve().await;
    let load = users(&home, 300.0);
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    assert!(home.service().await.baseline.is_some());
    load.more(300).await;
    assert!(baseline.served() > 5);
    baseline.kill();
    let service = home
        .until("no baseline", |service| service.baseline.is_none())
        .await;
    assert_eq!(phase_of(&service), "shifting");
    assert_eq!(service.weight_percent, 5.0);
    let notes = home.notes().await;
    let told =
        "NO BASELINE: no backend of the baseline is healthy any more; its requests go to blue";
    assert!(notes.contains(told), "{notes}");
    let judged = home
        .until("judged anew", |service| judged_seconds(service) >= 1)
        .await;
    let report = judged.rollout.unwrap().evidence.unwrap();
    assert!(!report.baseline && report.step_seconds < 60, "{report:?}");
    // It comes back, and is not asked.
    baseline.revive();
    let served = baseline.served();
    load.more(600).await;
    assert_eq!(baseline.served(), served);
    home.verb("promote").await.unwrap();
    home.share(100.0).await;
    load.stop_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_that_does_not_come_holds_nothing_up_for_long() {
    let (blue, green) = pair();
    let more = format!(
        "{STILL}{PATIENT}step_deadline = \"3s\"\n{}",
        beside(nobody())
    );
    let home = Home::new(&blue, &green, &more);
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    let notes = home.notes().await;
    assert!(
        notes.contains("NO BASELINE: it was not healthy in time"),
        "{notes}"
    );
    assert!(home.service().await.baseline.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_the_baseline_again_unless_the_file_puts_it_elsewhere() {
    let (blue, green) = pair();
    let baseline = Running::start("blue");
    let home = Home::new(
        &blue,
        &green,
        &format!("{STILL}{PATIENT}{}", beside(baseline.addr)),
    );
    let mut shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    shifter.kill();
    let mut shifter = home.serve().await;
    let service = home.share(5.0).await;
    assert_eq!(
        service.baseline.unwrap().backends[0].address,
        baseline.addr.to_string()
    );
    let load = users(&home, 300.0);
    let served = baseline.served();
    load.more(300).await;
    assert!(baseline.served() > served + 5);
    shifter.kill();
    load.stop().await;
    let elsewhere = format!("{STILL}{PATIENT}{}", beside(free_port()));
    home.configure(blue.addr, green.addr, &elsewhere);
    let _shifter = home.serve().await;
    let service = home
        .until("no baseline", |service| {
            service.rollout.is_some() && service.baseline.is_none()
        })
        .await;
    assert_eq!(service.weight_percent, 5.0);
    let notes = home.notes().await;
    assert!(
        notes.contains("the configuration puts it elsewhere"),
        "{notes}"
    );
}

// ---- the data plane by itself

fn pool(addr: SocketAddr) -> Pool {
    Pool {
        release: "blue".to_owned(),
        backends: vec![At {
            id: addr.to_string(),
            addr,
        }],
    }
}

/// Blue, green and a baseline that say their names, with this share on green.
async fn three(percent: u16, more: &str) -> (Rig, [Backend; 3]) {
    let named = |name: &'static str| Backend::start(move |_| Act::Say(answer(200, name)));
    let all = [
        named("blue").await,
        named("green").await,
        named("baseline").await,
    ];
    let mut rig = Rig::app(&[all[0].addr], &[all[1].addr], more).await;
    let baseline = pool(all[2].addr);
    rig.publish(|route| {
        route.baseline = Some(baseline);
        route.weight = Weight::percent(percent).unwrap();
        route.mark += 1;
    });
    (rig, all)
}

async fn asked(rig: &Rig, times: usize, headers: &str) -> [usize; 3] {
    let mut seen = [0; 3];
    for _ in 0..times {
        let answer = get(rig.addr, "/", headers).await.unwrap();
        let names = ["blue", "green", "baseline"];
        let at = names.iter().position(|name| *name == answer.body).unwrap();
        seen[at] += 1;
    }
    seen
}

/// Requests of blue's latency sample, once all seconds have settled.
fn timed(rig: &Rig) -> u64 {
    let snapshot = rig.board.snapshot();
    let window = &snapshot.service("app").unwrap().window;
    let later = Clock::now().after(Duration::from_secs(5));
    let reading = Cursor::new(window).read(window, later);
    reading.ticks.iter().map(|tick| tick.blue.timed).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_has_greens_share_and_is_counted_as_blue() {
    let (rig, _all) = three(5, "").await;
    assert_eq!(
        asked(&rig, 200, "").await,
        [180, 10, 10],
        "as the blocks give"
    );
    // Reading takes the sample away: it comes first.
    assert_eq!(timed(&rig), 10, "blue's latency sample is the baseline's");
    rig.judged_to_be(Color::Blue, 190, 0).await;
    rig.judged_to_be(Color::Green, 10, 0).await;
    for (percent, share) in [(40, [40, 80, 80]), (50, [100, 100, 0]), (95, [10, 190, 0])] {
        let (rig, _all) = three(percent, "").await;
        assert_eq!(asked(&rig, 200, "").await, share, "{percent} %");
        let blue = (share[0] + share[2]) as u64;
        let compared = if share[2] > 0 { share[2] as u64 } else { blue };
        assert_eq!(timed(&rig), compared, "{percent} %");
        rig.judged_to_be(Color::Blue, blue, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_baseline_is_down_blue_stands_in_and_is_not_compared() {
    let (rig, all) = three(20, "").await;
    let snapshot = rig.board.snapshot();
    let state = snapshot.service("app").unwrap().baseline[0].clone();
    rig.board.set_health(&state, Health::Down);
    assert_eq!(asked(&rig, 100, "").await, [80, 20, 0]);
    assert_eq!(timed(&rig), 0, "a warm pool is no baseline");
    rig.judged_to_be(Color::Blue, 80, 0).await;
    // A connection that is refused is tried at blue's.
    rig.board.set_health(&state, Health::Up);
    let [_blue, _green, baseline] = all;
    drop(baseline);
    assert_eq!(asked(&rig, 20, "").await, [16, 4, 0], "no user sees it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_baseline_stays_there_and_is_blues() {
    let (mut rig, _all) = three(20, "sticky = { cookie = \"pin\" }\n").await;
    let mut pins = vec![];
    for _ in 0..100 {
        let answer = get(rig.addr, "/", "").await.unwrap();
        let set = answer.header("set-cookie").unwrap().to_owned();
        let pin = set.split(';').next().unwrap().to_owned();
        pins.push((pin, answer.body));
    }
    let places = Places::beside(Weight::percent(20).unwrap()).unwrap();
    assert_eq!(places.share(), Weight::percent(20).unwrap());
    let at = |name: &str| pins.iter().filter(|(_, body)| body == name).count();
    assert_eq!([at("blue"), at("green"), at("baseline")], [60, 20, 20]);
    for (pin, body) in &pins {
        let again = get(rig.addr, "/", &format!("cookie: {pin}\r\n")).await;
        assert_eq!(again.unwrap().body, *body, "{pin}");
    }
    // Without the baseline its users are blue's, and nobody else moves.
    rig.publish(|route| {
        route.baseline = None;
        route.mark += 1;
    });
    for (pin, body) in &pins {
        let again = get(rig.addr, "/", &format!("cookie: {pin}\r\n")).await;
        let wanted = if body == "green" { "green" } else { "blue" };
        assert_eq!(again.unwrap().body, wanted, "{pin}");
    }
}
