//! Back to blue, from wherever the rollout stands.

use crate::support::apps::{Running, free_port, pair};
use crate::support::load::{Load, Plan, last_sent_after};
use crate::support::shifter::{Home, PATIENT, STILL, outcome_of, phase_of};
use shifter::core::plan::Strategy;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A place to stand in, and how to get there.
#[derive(Clone, Copy, Debug)]
struct Stand {
    phase: &'static str,
    percent: f64,
    keys: &'static str,
    /// Orders after the run.
    orders: &'static [&'static str],
    /// Somebody promotes at the same moment.
    promoted_too: bool,
}

const STEADY: Stand = Stand {
    phase: "shifting",
    percent: 5.0,
    keys: STILL,
    orders: &[],
    promoted_too: false,
};

const HALF: &str = "steps = [{ weight = 50, hold = \"1h\", deadline = \"1h\" }, { weight = 100, hold = \"1h\", deadline = \"1h\" }]\n";
const WHOLE: &str = "steps = [{ weight = 100, hold = \"1h\", deadline = \"1h\" }]\n";
const APPROVAL: &str = "steps = [{ weight = 5, hold = \"100ms\", deadline = \"100ms\" }, { approve = true }, { weight = 100, hold = \"1h\", deadline = \"1h\" }]\n";

const STANDS: [Stand; 11] = [
    Stand {
        phase: "starting",
        percent: 0.0,
        ..STEADY
    },
    Stand {
        phase: "warming",
        percent: 0.0,
        keys: "warmup = { paths = [\"/slow?ms=500\"], requests = 100, concurrency = 1 }\n",
        ..STEADY
    },
    Stand {
        phase: "smoke_testing",
        percent: 0.0,
        keys: "smoke = [{ path = \"/slow?ms=8000\", timeout = \"20s\" }]\n",
        ..STEADY
    },
    STEADY,
    Stand {
        percent: 50.0,
        keys: HALF,
        ..STEADY
    },
    Stand {
        percent: 100.0,
        keys: WHOLE,
        ..STEADY
    },
    Stand {
        phase: "awaiting_approval",
        keys: APPROVAL,
        ..STEADY
    },
    Stand {
        phase: "paused",
        orders: &["pause"],
        ..STEADY
    },
    Stand {
        phase: "promoted",
        percent: 100.0,
        keys: WHOLE,
        orders: &["promote"],
        ..STEADY
    },
    Stand {
        promoted_too: true,
        ..STEADY
    },
    Stand {
        percent: 100.0,
        keys: WHOLE,
        promoted_too: true,
        ..STEADY
    },
];

async fn back_from(stand: Stand) -> Duration {
    let (blue, green) = match stand.phase {
        "starting" => (
            Running::start("blue"),
            Running::after("green", Duration::from_secs(3600)),
        ),
        _ => pair(),
    };
    let home = Home::new(&blue, &green, &format!("{}{PATIENT}", stand.keys));
    let _shifter = home.serve().await;
    let users = Plan {
        rate: Some(400.0),
        records: true,
        ..Plan::default()
    };
    let load = Load::start(home.proxy, users);
    load.more(20).await;
    home.run(Strategy::Canary).await;
    if !stand.orders.is_empty() {
        home.until("users are on green", |service| service.weight_percent > 0.0)
            .await;
    }
    for order in stand.orders {
        home.verb(order).await.unwrap();
    }
    home.until(&format!("{stand:?}"), |service| {
        phase_of(service) == stand.phase && service.weight_percent == stand.percent
    })
    .await;
    load.more(100).await;
    if stand.promoted_too {
        let (promoted, back) = tokio::join!(home.verb("promote"), home.verb("rollback"));
        back.unwrap();
        // First or too late: both are right.
        if let Err(error) = promoted {
            assert!(error.refused().is_some(), "{error}");
        }
    } else {
        home.verb("rollback").await.unwrap();
    }
    let answered = Instant::now();
    // Asked twice is no mistake.
    let again = home.verb("rollback").await;
    assert!(
        again.is_ok() || phase_of(&home.service().await) == "finished",
        "{again:?}"
    );
    load.more(200).await;
    let (_, records) = load.stop_clean().await;
    let end = home.phase("finished").await;
    assert_eq!(
        (outcome_of(&end), end.weight_percent),
        ("stopped", 0.0),
        "{stand:?}"
    );
    assert_eq!(
        end.blue.backends[0].address,
        blue.addr.to_string(),
        "{stand:?}"
    );
    let greens = records.iter().filter(|record| record.green).count();
    assert_eq!(
        greens > 0,
        stand.percent > 0.0,
        "{stand:?}: {greens} requests on green"
    );
    last_sent_after(&records, true, answered)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_phase_can_go_back_at_once() {
    let mut all = JoinSet::new();
    for stand in STANDS {
        all.spawn(async move { (stand, back_from(stand).await) });
    }
    for (stand, late) in all.join_all().await {
        println!(
            "{} {} %: green's last new request {late:?} after the answer",
            stand.phase, stand.percent
        );
        assert!(late < Duration::from_millis(100), "{stand:?}: {late:?}");
    }
}

/// Nobody answers where green should be: nothing was shown to users, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_is_not_there_can_be_given_up() {
    let blue = Running::start("blue");
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder, blue.addr, free_port(), STILL);
    let _shifter = home.serve().await;
    home.run(Strategy::BlueGreen).await;
    home.phase("starting").await;
    home.verb("abort").await.unwrap();
    let end = home.phase("finished").await;
    assert_eq!(outcome_of(&end), "stopped");
}
