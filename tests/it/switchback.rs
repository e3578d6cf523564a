//! Harm that green does to blue, end to end: both versions share what they run on, and chance tells whose fault it is.

use crate::support::apps::{Running, pair};
use crate::support::load::{Load, Plan};
use crate::support::shifter::{Home, outcome_of};
use shifter::core::plan::Strategy;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Time for blue's past, a suspicion and a switchback of one-second windows.
const LONG: Duration = Duration::from_secs(100);

const STEPS: &str = "steps = [{ weight = 5, hold = \"1s\", deadline = \"1s\" }, { weight = 50, hold = \"15s\", deadline = \"15s\" }, { weight = 100, hold = \"1s\", deadline = \"1s\" }]\non_no_data = \"hold\"\non_inconclusive = \"promote\"\nstep_requests_min = 1\ntotal_requests_min = 1\nlatency_grace = \"0s\"\nconfirm = \"0s\"\nkeep_blue = \"100ms\"\ndrain = \"2s\"\nswitchback = { window = \"1s\", settle = \"0s\" }\n";

const WELL: u64 = 5_000;

fn slow(apps: &[&Running; 2], micros: u64) {
    for running in apps {
        running.app.latency_us.store(micros, Relaxed);
    }
}

/// Users of 300 requests a second, and a blue whose past is known.
async fn with_a_past(
    blue: &Running,
    green: &Running,
) -> (Home, crate::support::shifter::Shifter, Load) {
    slow(&[blue, green], WELL);
    let home = Home::new(blue, green, STEPS);
    let shifter = home.serve().await;
    let plan = Plan {
        rate: Some(300.0),
        errors_allowed: true,
        leaves: true,
        ..Plan::default()
    };
    let load = Load::start(home.proxy, plan);
    let begun = Instant::now();
    home.until_within(LONG, "blue has a past of 25 seconds", |_| {
        begun.elapsed() > Duration::from_secs(25)
    })
    .await;
    (home, shifter, load)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_slows_blue_goes_back() {
    let (blue, green) = pair();
    let (home, _shifter, load) = with_a_past(&blue, &green).await;
    let (apps, over) = (
        [blue.app.clone(), green.app.clone()],
        Arc::new(AtomicBool::new(false)),
    );
    let ended = over.clone();
    // One processor for both: for each request that green serves in a tenth of a second all get slower.
    let machine = tokio::spawn(async move {
        let mut before = apps[1].served.load(Relaxed);
        while !ended.load(Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let served = apps[1].served.load(Relaxed);
            let harm = 100_000 * (served - before).min(7) / 7;
            before = served;
            apps.iter()
                .for_each(|app| app.latency_us.store(WELL + harm, Relaxed));
        }
    });
    home.run(Strategy::Canary).await;
    let windows = [Cell::new(false), Cell::new(false)];
    let service = home
        .until_within(LONG, "it went back", |service| {
            let line = service
                .rollout
                .as_ref()
                .and_then(|rollout| rollout.line.clone());
            let line = line.unwrap_or_default();
            let shown = line.contains("switchback: window ");
            windows[0].set(windows[0].get() || shown && line.contains("green on"));
            windows[1].set(windows[1].get() || shown && line.contains("green off"));
            outcome_of(service) == "rolled_back"
        })
        .await;
    over.store(true, Relaxed);
    machine.await.unwrap();
    let reason = service.rollout.unwrap().reason.unwrap();
    assert!(reason.contains(" slower (p"), "{reason}");
    assert!(reason.contains("pairs of windows (evidence "), "{reason}");
    assert!(
        windows.iter().all(Cell::get),
        "status shows the windows: {windows:?}"
    );
    let notes = home.notes().await;
    assert!(notes.contains("to see whether green harms blue"), "{notes}");
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_from_outside_does_not_send_green_back() {
    let (blue, green) = pair();
    let (home, _shifter, load) = with_a_past(&blue, &green).await;
    home.run(Strategy::Canary).await;
    home.until_within(LONG, "half of the requests", |service| {
        service.weight_percent >= 50.0
    })
    .await;
    slow(&[&blue, &green], 60_000);
    let service = home
        .until_within(LONG, "it ended", |service| !outcome_of(service).is_empty())
        .await;
    let notes = home.notes().await;
    assert_eq!(outcome_of(&service), "promoted", "{notes}");
    assert!(notes.contains("to see whether green harms blue"), "{notes}");
    assert!(notes.contains("it is not green: "), "{notes}");
    load.stop().await;
}
