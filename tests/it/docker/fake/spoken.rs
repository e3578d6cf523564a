//! The version of the API on the wire.

use crate::docker::fake::{brisk, users};
use crate::support::PATIENCE;
use crate::support::fake::Fake;
use crate::support::shifter::outcome_of;
use std::time::{Duration, Instant};

/// The newest version whose answers can be read.
fn newest() -> u32 {
    bollard::API_DEFAULT_VERSION.minor_version as u32
}

/// The versions of the calls from the `from`-th on, each once; the question for the version has none.
fn spoken(fake: &Fake, from: usize) -> Vec<u32> {
    let calls = fake.faults.calls();
    let (question, others): (Vec<_>, Vec<_>) = calls[from..]
        .iter()
        .partition(|call| call.is("GET /version"));
    assert!(question.iter().all(|call| call.api.is_none()));
    let mut spoken: Vec<u32> = others.iter().filter_map(|call| call.api).collect();
    spoken.sort_unstable();
    spoken.dedup();
    spoken
}

/// A whole life, with a command that takes its connection over and a stream of events, asks by the newest version that both sides know;
/// an older engine that takes the place of the first one is asked by its own, and one that is too old is told.
#[tokio::test(flavor = "multi_thread")]
async fn every_call_names_a_version_that_both_sides_know() {
    let fake = Fake::start();
    fake.engine.state().apis = (24, 99);
    let smoke = "smoke = [{ exec = [\"/app\", \"check\"] }]\n";
    fake.run("blue", "app:blue", "unless-stopped");
    let home = fake.home(&format!("{}{smoke}", brisk()));
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), text.replace("\"warn\"", "\"info\"")).unwrap();
    let shifter = home.serve().await;
    let load = users(shifter.proxy);
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    load.stop_clean().await;
    assert_eq!(spoken(&fake, 0), [newest()]);
    let told = format!(
        "Docker 1.2.3 answers; it is asked by version 1.{} of its API",
        newest()
    );
    assert_eq!(shifter.log().matches(&told).count(), 1, "{}", shifter.log());

    fake.go_away().await;
    let before = fake.faults.calls().len();
    fake.engine.state().apis = (24, 44);
    fake.come_back();
    shifter
        .until("it is asked by its own version", |_| {
            shifter.log().contains("asked by version 1.44")
        })
        .await;
    assert_eq!(spoken(&fake, before), [44]);
    assert_eq!(fake.faults.rejected(), [""; 0]);

    fake.go_away().await;
    fake.engine.state().apis = (12, 40);
    fake.come_back();
    let deadline = Instant::now() + PATIENCE;
    let told = async || {
        let trouble = shifter.view().await.trouble;
        trouble.is_some_and(|text| text.contains("use a newer engine"))
    };
    while !told().await {
        assert!(Instant::now() < deadline, "{}", shifter.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
