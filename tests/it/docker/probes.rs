//! Containers that nobody asks but shifter itself.

use crate::support::docker::Engine;
use crate::support::shifter::{outcome_of, phase_of};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);

/// A green with errors goes back, and the next one, as good as blue, takes over: without a request of a user.
#[tokio::test(flavor = "multi_thread")]
async fn containers_without_a_user_are_judged_by_probes() {
    let engine = Engine::shared();
    let keys = "steps = [{ weight = 100, hold = \"1s\", deadline = \"1h\" }]\non_no_data = \"hold\"\nlatency_margin = \"500% + 500ms\"\nlatency_grace = \"0s\"\nkeep_blue = \"0s\"\nprobes = { paths = [\"/\", \"/cart\"], per_second = 100 }\n";
    let shifter = engine.with_blue(keys).await;
    shifter.run_image("app:bad").await.unwrap();
    let end = shifter
        .until_within(LONG, "it is back", |service| {
            phase_of(service) == "finished"
        })
        .await;
    assert_eq!(outcome_of(&end), "rolled_back");
    let reason = end.rollout.unwrap().reason.unwrap();
    println!("{reason}");
    assert!(reason.starts_with("probes: green "), "{reason}");
    let good = shifter.run_image("app:green").await.unwrap();
    let end = shifter
        .until_within(LONG, "green is the new blue", |service| {
            phase_of(service) == "finished"
                && service.rollout.as_ref().is_some_and(|run| run.id == good)
        })
        .await;
    assert_eq!(outcome_of(&end), "promoted", "{}", shifter.notes().await);
    let new = format!("{}-{good}", engine.name);
    shifter
        .until("the old one is cleared away", |_| {
            engine.containers(false) == [new.clone()]
        })
        .await;
}
