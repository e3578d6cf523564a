//! Other sources than users' requests: they hold a rollout up or end it, and never carry it.

use crate::support::apps::pair;
use crate::support::backend::{Act, Backend};
use crate::support::load::{Load, Plan};
use crate::support::shifter::{Home, PATIENT, outcome_of};
use shifter::core::plan::Strategy;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const STEPS: &str = "steps = [{ weight = 50, hold = \"2s\", deadline = \"6s\" }, { weight = 100, hold = \"2s\", deadline = \"6s\" }]\nmonitor = \"1h\"\nkeep_blue = \"100ms\"\ndrain = \"2s\"\n";

/// Home with these sources, asked each second.
pub(crate) fn home(
    blue: &crate::support::apps::Running,
    green: &crate::support::apps::Running,
    source: &str,
) -> Home {
    let rhythm = "every = \"1s\"\ntimes = 2\ntimeout = \"1s\"\n";
    Home::new(
        blue,
        green,
        &format!("{STEPS}{PATIENT}[[service.app.sources]]\n{source}{rhythm}"),
    )
}

pub(crate) fn users(home: &Home) -> Load {
    Load::start(
        home.proxy,
        Plan {
            rate: Some(500.0),
            ..Plan::default()
        },
    )
}

/// How a rollout of two good versions ends, and what was told of it.
pub(crate) async fn ends(source: &str) -> (String, String) {
    let (blue, green) = pair();
    let home = home(&blue, &green, source);
    let _shifter = home.serve().await;
    let load = users(&home);
    home.run(Strategy::Canary).await;
    let service = home.phase("finished").await;
    load.stop_clean().await;
    (outcome_of(&service).to_owned(), home.notes().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_says_bad_ends_a_rollout() {
    let (outcome, notes) = ends(
        "name = \"queue\"\nexec = [\"sh\", \"-c\", \"echo $SHIFTER_SERVICE has 900 waiting; exit 1\"]\n",
    )
    .await;
    assert_eq!(outcome, "rolled_back", "{notes}");
    assert!(
        notes.contains("source `queue`: app has 900 waiting, 2 times in a row"),
        "{notes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_says_good_lets_a_rollout_go_on() {
    let (outcome, notes) = ends("name = \"queue\"\nexec = [\"true\"]\n").await;
    assert_eq!(outcome, "promoted", "{notes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_say_is_neither_good_nor_bad() {
    let (outcome, notes) = ends("name = \"queue\"\nexec = [\"sh\", \"-c\", \"exit 7\"]\n").await;
    assert_eq!(outcome, "inconclusive", "{notes}");
    assert!(
        notes.contains("source `queue`: no data: exit status: 7"),
        "{notes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_says_how_green_is() {
    let judge = Backend::start(|head| {
        let asked = head.contains("service=app") && head.contains("rollout=1");
        assert!(asked, "{head}");
        let long = "!".repeat(100_000);
        Act::ok(&format!(
            "{{\"verdict\": \"bad\", \"why\": \"\\u001b[2Jorders fell by half{long}\"}}"
        ))
    })
    .await;
    let (outcome, notes) = ends(&format!(
        "name = \"orders\"\nget = \"http://{}/judge\"\n",
        judge.addr
    ))
    .await;
    assert_eq!(outcome, "rolled_back", "{notes}");
    assert!(notes.contains("orders fell by half"), "{notes}");
    assert!(!notes.contains('\u{1b}') && notes.len() < 10_000, "{notes}");
}

/// An app's own metric, `lost`, which users' requests tell nothing of.
pub(crate) struct Measured {
    pub(crate) green: Arc<AtomicU64>,
    pub(crate) prometheus: crate::prometheus::Prometheus,
    _app: Backend,
}

impl Measured {
    async fn new() -> Measured {
        Measured::behind(None).await
    }

    /// Its Prometheus has this web configuration.
    pub(crate) async fn behind(web: Option<&str>) -> Measured {
        let green = Arc::new(AtomicU64::new(3));
        let now = green.clone();
        let app = Backend::start(move |_| {
            Act::ok(&format!(
                "lost{{pool=\"blue\"}} 3\nlost{{pool=\"green\"}} {}\n",
                now.load(Relaxed)
            ))
        })
        .await;
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let prometheus = match web {
            None => {
                let mut prometheus =
                    crate::prometheus::Prometheus::scraping(app.addr, &client).await;
                let query = format!("{}/api/v1/query?query=lost", prometheus.base);
                let scraped = async || {
                    let answer = client.get(&query).send().await.unwrap();
                    answer.text().await.unwrap().contains("\"green\"")
                };
                prometheus.until(scraped).await;
                prometheus
            }
            Some(web) => crate::prometheus::Prometheus::behind(app.addr, web).await,
        };
        Measured {
            green,
            prometheus,
            _app: app,
        }
    }

    fn source(&self) -> String {
        format!(
            "name = \"lost\"\nprometheus = \"{}\"\nquery = 'sum(lost{{pool=\"$pool\"}})'\nmargin = \"50% + 1\"\n",
            self.prometheus.base
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_knows_of_green_ends_a_rollout_that_users_see_nothing_of() {
    let measured = Measured::new().await;
    let (blue, green) = pair();
    let home = home(&blue, &green, &measured.source());
    let _shifter = home.serve().await;
    let load = users(&home);
    home.run(Strategy::Canary).await;
    // Good while it has what blue has: the first share passes.
    home.share(100.0).await;
    measured.green.store(9, Relaxed);
    let service = home.phase("finished").await;
    load.stop_clean().await;
    let notes = home.notes().await;
    assert_eq!(outcome_of(&service), "rolled_back", "{notes}");
    assert!(
        notes.contains(
            "source `lost`: green has 9, blue 3: allowed is at most 5.5, 2 times in a row"
        ),
        "{notes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_that_dies_is_neither_good_nor_bad() {
    let mut measured = Measured::new().await;
    let (blue, green) = pair();
    let home = home(&blue, &green, &measured.source());
    let _shifter = home.serve().await;
    let load = users(&home);
    home.run(Strategy::Canary).await;
    home.share(100.0).await;
    measured.prometheus.kill();
    let held = home
        .until("it is held up", |service| {
            let line = service.rollout.as_ref().and_then(|run| run.line.as_deref());
            line.is_some_and(|line| line.contains("source `lost` has no data"))
        })
        .await;
    assert_eq!(held.weight_percent, 100.0);
    let service = home.phase("finished").await;
    load.stop_clean().await;
    let notes = home.notes().await;
    assert_eq!(outcome_of(&service), "inconclusive", "{notes}");
}
