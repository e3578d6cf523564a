//! A journal that begins anew finds what the one before it made: it tells that, leaves it alone, and its rollouts work.

use crate::docker::fake::{sure, users};
use crate::support::client::get;
use crate::support::docker::configure;
use crate::support::fake::Fake;
use crate::support::shifter::outcome_of;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_state_folder_ends_no_rollout_and_its_containers_are_told() {
    let fake = Fake::start();
    let mut first = fake.with_blue(&sure()).await;
    let load = users(first.proxy);
    for image in ["app:green", "app:blue"] {
        first.run_image(image).await.unwrap();
        let end = first.phase("finished").await;
        assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
        first
            .until("it runs alone", |_| fake.containers(false).len() == 1)
            .await;
    }
    load.stop_clean().await;
    first.kill();
    let left = fake.made();
    // Another state folder; the file names blue, which was stopped.
    let home = fake.home(&sure());
    let shifter = home.serve().await;
    let told = format!("container = \\\"{}\\\"", left[0]);
    let plain = told.replace('\\', "");
    shifter
        .until("they are told", |_| {
            shifter.log().contains(&told) || shifter.log().contains(&plain)
        })
        .await;
    assert_eq!(get(shifter.proxy, "/", "").await.unwrap().status, 503);
    // What the line says: name the one that is to serve.
    let blue = format!(
        "blue = {{ container = \"{}\", port = 3000 }}\n{}",
        left[0],
        sure()
    );
    configure(&home, &fake.host(), &fake.name, &blue);
    shifter.client.reload().await.unwrap();
    shifter
        .until("it serves", |service| {
            service.blue.backends.iter().any(|one| one.health == "up")
        })
        .await;
    let load = users(shifter.proxy);
    let rollout = shifter.run_image("app:green").await.unwrap();
    assert!(rollout > 2, "{rollout}: a number that none of them has");
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    load.stop_clean().await;
    let acts = fake.acts_on(&left[0]);
    assert!(
        !acts.contains(&"DELETE /containers/{}".to_owned()),
        "{acts:?}"
    );
    assert_eq!(fake.faults.rejected(), [""; 0]);
}
