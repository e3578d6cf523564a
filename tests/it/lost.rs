//! Nothing is lost, whatever the shares do: every answer of a full load is looked at.

use crate::support::apps::pair;
use crate::support::client::get;
use crate::support::eventually;
use crate::support::load::{Load, Plan, last_sent_after, quantile, size};
use crate::support::shifter::{Home, PATIENT, STILL, outcome_of, phase_of};
use shifter::core::plan::Strategy;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Promotions and rollbacks one after the other, canary and blue-green in turn, under full load.
///
/// `SHIFTER_LOST_REQUESTS` and `SHIFTER_LOST_CUTOVERS` set the size.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_over_many_cutovers() {
    let (blue, green) = pair();
    let fast = "steps = [{ weight = 5, hold = \"100ms\", deadline = \"100ms\" }, { weight = 50, hold = \"100ms\", deadline = \"100ms\" }, { weight = 100, hold = \"100ms\", deadline = \"100ms\" }]\nmonitor = \"1h\"\nkeep_blue = \"2s\"\n";
    let home = Home::new(&blue, &green, &format!("{fast}{PATIENT}"));
    let shifter = home.serve().await;
    let cutovers = size("SHIFTER_LOST_CUTOVERS", 20);
    let each = size("SHIFTER_LOST_REQUESTS", 60_000).div_ceil(cutovers);
    let proxy = home.proxy;
    let load = Load::on(proxy);
    load.more(1_000).await;
    let mut promoted = 0;
    for n in 0..cutovers {
        let goal = load.seen.answered() + each;
        // Slow ones under way on blue stay there, whatever happens meanwhile.
        let slow: Vec<_> = (0..4)
            .map(|_| tokio::spawn(async move { get(proxy, "/slow?ms=700", "").await.unwrap() }))
            .collect();
        let (now, name) = if promoted % 2 == 0 {
            (&blue, "blue")
        } else {
            (&green, "green")
        };
        eventually("the slow ones are under way", || {
            now.app.slow.load(Relaxed) == 4
        })
        .await;
        let strategy = if n % 2 == 0 {
            Strategy::Canary
        } else {
            Strategy::BlueGreen
        };
        home.run(strategy).await;
        if strategy == Strategy::BlueGreen {
            home.share(100.0).await;
            home.verb("promote").await.unwrap();
        }
        home.until("promoted", |service| {
            phase_of(service) == "promoted" || !outcome_of(service).is_empty()
        })
        .await;
        if n % 5 == 4 {
            home.verb("rollback").await.unwrap();
        }
        let end = home
            .until("finished", |service| phase_of(service) == "finished")
            .await;
        match outcome_of(&end) {
            "promoted" => promoted += 1,
            outcome => assert_eq!((n % 5, outcome), (4, "stopped"), "{:?}", end.rollout),
        }
        for answer in slow {
            let answer = answer.await.unwrap();
            assert_eq!(answer.header("x-app-version"), Some(name), "{answer:?}");
            assert_eq!(answer.status, 200);
        }
        load.more(goal.saturating_sub(load.seen.answered())).await;
    }
    let (seen, _) = load.stop_clean().await;
    println!(
        "{} requests over {cutovers} cutovers ({promoted} promotions): {} lost",
        seen.answered(),
        seen.failed()
    );
    assert!(seen.blue.load(Relaxed) > 0 && seen.green.load(Relaxed) > 0);
    drop(shifter);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_blue_green_swap_no_new_request_is_blue() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, &format!("{STILL}{PATIENT}"));
    let _shifter = home.serve().await;
    let load = Load::start(
        home.proxy,
        Plan {
            records: true,
            ..Plan::default()
        },
    );
    load.more(500).await;
    home.run(Strategy::BlueGreen).await;
    home.share(100.0).await;
    // The view says so after the table does: from here on nothing new is blue.
    let swapped = Instant::now();
    load.more(5_000).await;
    let (_, records) = load.stop_clean().await;
    let late = last_sent_after(&records, false, swapped);
    assert_eq!(
        late,
        Duration::ZERO,
        "a request was sent to blue {late:?} after the swap"
    );
    let after = records
        .iter()
        .filter(|record| record.sent > swapped && record.green)
        .count();
    assert!(after > 4_000, "{after}");
    // One swap, no mixture: the last blue was sent before the first green was answered.
    let first_green = records
        .iter()
        .filter(|record| record.green)
        .map(|record| record.done)
        .min()
        .unwrap();
    let late = last_sent_after(&records, false, first_green);
    assert_eq!(late, Duration::ZERO, "blue and green alternate");
}

/// From the order to the last new request that green gets; `SHIFTER_ROLLBACKS` sets how many.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_takes_green_off_at_once() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, &format!("{STILL}{PATIENT}drain = \"0s\"\n"));
    let _shifter = home.serve().await;
    let mut times = vec![];
    for _ in 0..size("SHIFTER_ROLLBACKS", 20) {
        let load = Load::start(
            home.proxy,
            Plan {
                records: true,
                ..Plan::default()
            },
        );
        load.more(24).await;
        home.run(Strategy::Canary).await;
        home.share(5.0).await;
        home.weigh(50).await;
        load.more(500).await;
        let asked = Instant::now();
        home.verb("rollback").await.unwrap();
        load.more(500).await;
        let (seen, records) = load.stop_clean().await;
        assert!(seen.green.load(Relaxed) > 100, "green had its share");
        times.push(last_sent_after(&records, true, asked));
        home.phase("finished").await;
    }
    let (p50, p99) = (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    println!(
        "{} rollbacks, order to green's last new request: p50 {p50:?}, p99 {p99:?}",
        times.len()
    );
    assert!(p99 < Duration::from_millis(100), "p99 {p99:?}");
}

/// A hundred changes in ten seconds: nobody is cut, and each share is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_weights_in_ten_seconds_cut_nobody_and_hold_their_shares() {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, &format!("{STILL}{PATIENT}"));
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    let load = Load::on(home.proxy);
    load.more(200).await;
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    let mut worst = 0.0f64;
    for n in 0..100 {
        pace.tick().await;
        let percent = [0, 5, 50, 100, 25, 75, 1, 99][n % 8];
        home.weigh(percent).await;
        // Who was routed before is in flight still: at most one for each connection.
        let (green, all) = (load.seen.green.load(Relaxed), load.seen.answered());
        load.more(150).await;
        let (green, all) = (
            load.seen.green.load(Relaxed) - green,
            load.seen.answered() - all,
        );
        let off = (green as f64 - all as f64 * f64::from(percent) / 100.0).abs();
        worst = worst.max(off);
        // The line of golden turns is off by less than 3 in any run; 24 more were under way on each side.
        assert!(off <= 51.0, "{percent} %: {green} of {all}");
    }
    let (seen, _) = load.stop_clean().await;
    assert_eq!(seen.closed.load(Relaxed), 0, "no connection is closed");
    println!(
        "100 weights, {} requests, 0 failed, 0 closed, worst run off by {worst:.1} requests",
        seen.answered()
    );
}
