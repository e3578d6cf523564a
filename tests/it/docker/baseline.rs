//! A baseline on a real engine: one more container of blue's image for as long as the rollout lasts.

use crate::support::docker::Engine;
use crate::support::load::Load;
use crate::support::shifter::{PATIENT, STILL};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_blue_serves_beside_green_and_goes_with_the_rollout() {
    let engine = Engine::shared();
    let keys = format!(
        "control = \"baseline\"\nkeep_green = \"1h\"\nkeep_blue = \"1s\"\n{STILL}{PATIENT}"
    );
    let shifter = engine.with_blue(&keys).await;
    let load = Load::paced(shifter.proxy, 200.0);
    for end in ["rollback", "promote"] {
        let rollout = shifter.run_image("app:green").await.unwrap();
        shifter.share(5.0).await;
        let green = format!("{}-{rollout}", engine.name);
        let baseline = format!("{green}-baseline");
        let image = |name: &str| engine.inspect(name, "{{.Image}}");
        assert_eq!(image(&baseline), image(&engine.named("blue")));
        let policy = "{{.HostConfig.RestartPolicy.Name}}";
        assert_eq!(engine.inspect(&baseline, policy), "no");
        shifter
            .until("it has users", |service| {
                let seen = service.baseline.as_ref();
                seen.is_some_and(|seen| seen.requests_per_second > 2.0)
            })
            .await;
        let view = shifter.service().await.baseline.unwrap();
        let at = engine.address(&baseline).to_string();
        assert_eq!(view.backends[0].address, at);
        shifter.verb(end).await.unwrap();
        if end == "promote" {
            shifter.share(100.0).await;
            shifter.verb(end).await.unwrap();
        }
        shifter.phase("finished").await;
        shifter
            .until("the copy is removed", |_| {
                !engine.containers(true).contains(&baseline)
            })
            .await;
        assert!(engine.containers(true).contains(&green));
    }
    load.stop_clean().await;
}
