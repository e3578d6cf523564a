//! Names on the network: green answers to blue's from its promotion on, users lose nothing by it, and whatever goes wrong green is back
//! on its network.

use crate::docker::fake::{brisk, still, users};
use crate::support::fake::Fake;
use crate::support::fake::faults::Fault::{Deaf, Hang, Refuse};
use crate::support::shifter::{Shifter, outcome_of};
use serde_json::json;

const CONNECT: &str = "POST /networks/{}/connect";
const DISCONNECT: &str = "POST /networks/{}/disconnect";

/// Somebody else on the network, and blue with the alias `backend`.
fn neighbours(fake: &Fake) {
    fake.run("stranger", "app:third", "always");
    let endpoints = json!({ fake.name.clone(): { "Aliases": ["backend"] } });
    let body = json!({ "NetworkingConfig": { "EndpointsConfig": endpoints } });
    fake.run_with(&fake.named("blue"), "app:blue", body);
}

/// What a container answers to on the network besides its own names.
fn aliases(fake: &Fake, name: &str) -> Vec<String> {
    let seen = fake.inspect(name);
    let all = &seen["NetworkSettings"]["Networks"][&fake.name]["Aliases"];
    let mut all: Vec<String> = serde_json::from_value(all.clone()).unwrap_or_default();
    all.retain(|alias| !seen["Id"].as_str().unwrap().starts_with(alias));
    all.sort();
    all
}

/// Shapes of the calls so far, without the questions.
fn acts(fake: &Fake) -> Vec<String> {
    let calls = fake.faults.calls().into_iter().map(|call| call.shape);
    calls.filter(|shape| !shape.starts_with("GET ")).collect()
}

/// A person promotes it at once, whatever the plan says.
async fn promote(shifter: &Shifter) {
    shifter.verb("promote").await.unwrap();
    shifter.share(100.0).await;
    shifter.verb("promote").await.unwrap();
}

async fn has_names(shifter: &Shifter, fake: &Fake, green: &str) {
    let mut names = vec!["backend".to_owned(), fake.named("blue")];
    names.sort();
    shifter
        .until("it answers to blue's names", |_| {
            aliases(fake, green) == names
        })
        .await;
}

/// Both kinds of naming, two deployments each: the names are green's at its promotion and not before, and blue is stopped after that.
#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_blue_are_greens_from_its_promotion_on() {
    for naming in ["release", "fixed"] {
        let fake = Fake::start();
        neighbours(&fake);
        let keys = format!("copy = {{ naming = \"{naming}\" }}\n{}", still());
        let shifter = fake.home(&keys).serve().await;
        let load = users(shifter.proxy);
        for image in ["app:green", "app:blue"] {
            let rollout = shifter.run_image(image).await.unwrap();
            shifter.share(5.0).await;
            let green = format!("{}-{rollout}", fake.name);
            assert_eq!(aliases(&fake, &green), [""; 0], "before its promotion");
            promote(&shifter).await;
            let id = fake.inspect(&green)["Id"].as_str().unwrap().to_owned();
            has_names(&shifter, &fake, &id).await;
            let end = shifter.phase("finished").await;
            assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
            shifter
                .until("it runs alone", |_| {
                    fake.made().len() == 1 && fake.containers(false).len() == 2
                })
                .await;
            let served = end.blue.backends.first().map(|one| one.address.clone());
            assert_eq!(
                served,
                Some(fake.address(&id).to_string()),
                "its address stays"
            );
            let told = shifter.client.notes(0, 0).await.unwrap();
            let named = |text: &str| text.contains("answers to") && text.contains("backend");
            assert!(told.iter().any(|note| named(&note.text)), "{told:?}");
        }
        load.stop_clean().await;
        let acts = acts(&fake);
        let at = |shape: &str| acts.iter().position(|act| act == shape);
        assert!(at(CONNECT) < at("POST /containers/{}/stop"), "{acts:?}");
        assert_eq!(
            acts.iter().filter(|act| *act == DISCONNECT).count(),
            2,
            "once for each green"
        );
        assert_eq!(fake.faults.rejected(), [""; 0]);
    }
}

/// A way back while blue is kept takes the names away again, and green leaves as it would.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_is_taken_back_loses_the_names() {
    let fake = Fake::start();
    neighbours(&fake);
    let keys = format!(
        "{}keep_blue = \"1h\"\n",
        still().replace("keep_blue = \"200ms\"\n", "")
    );
    let shifter = fake.home(&keys).serve().await;
    let load = users(shifter.proxy);
    let rollout = shifter.run_image("app:green").await.unwrap();
    let green = format!("{}-{rollout}", fake.name);
    shifter.share(5.0).await;
    promote(&shifter).await;
    has_names(&shifter, &fake, &green).await;
    // A request in flight keeps green until the names are gone.
    let open = tokio::spawn(reqwest::get(format!(
        "http://{}/download?ms=3000",
        shifter.proxy
    )));
    shifter
        .until("somebody is on green", |service| {
            service
                .green
                .as_ref()
                .is_some_and(|green| green.in_flight > 0)
        })
        .await;
    shifter.verb("rollback").await.unwrap();
    shifter
        .until("the names are gone", |_| aliases(&fake, &green).is_empty())
        .await;
    assert_eq!(
        aliases(&fake, &fake.named("blue")),
        ["backend"],
        "blue was left as it was"
    );
    assert!(open.await.unwrap().unwrap().bytes().await.is_ok());
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "stopped", "{:?}", end.rollout);
    load.stop_clean().await;
}

/// The engine does not join it at once, or its answer is lost: it is joined in the end, and green was not lost meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_is_joined_to_its_network_again_whatever_goes_wrong() {
    let refusals = [
        (CONNECT, Refuse(500, "not now"), 5),
        (CONNECT, Deaf, 1),
        (DISCONNECT, Deaf, 1),
        (DISCONNECT, Refuse(500, "not now"), 1),
    ];
    for (call, fault, times) in refusals {
        let fake = Fake::start();
        neighbours(&fake);
        let shifter = fake.home(&still()).serve().await;
        let load = users(shifter.proxy);
        let rollout = shifter.run_image("app:green").await.unwrap();
        shifter.share(5.0).await;
        fake.faults.on(call, fault, times);
        promote(&shifter).await;
        let end = shifter.phase("finished").await;
        assert_eq!(
            outcome_of(&end),
            "promoted",
            "{call} {fault:?}: {:?}",
            end.rollout
        );
        let green = format!("{}-{rollout}", fake.name);
        has_names(&shifter, &fake, &green).await;
        load.stop_clean().await;
    }
}

/// The process ends between the two calls: green cannot be reached then, and the next process gives users to blue, which is still warm.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_that_leaves_green_without_its_network_leaves_users_with_blue() {
    let fake = Fake::start();
    neighbours(&fake);
    let keys = format!(
        "{}keep_blue = \"1h\"\n",
        still().replace("keep_blue = \"200ms\"\n", "")
    );
    let mut shifter = fake.home(&keys).serve().await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    let green = format!("{}-{rollout}", fake.name);
    shifter.share(5.0).await;
    fake.faults.on(CONNECT, Hang, 1);
    promote(&shifter).await;
    let off = |fake: &Fake| {
        fake.engine
            .state()
            .find(&green)
            .unwrap()
            .networks
            .is_empty()
    };
    shifter
        .until("green is off its network", |_| off(&fake))
        .await;
    shifter.kill();
    fake.mend();
    // Whom the call belonged to is gone, so it never came.
    let again = shifter.home.serve().await;
    let load = users(again.proxy);
    let end = again.phase("finished").await;
    assert_eq!(outcome_of(&end), "rolled_back", "{:?}", end.rollout);
    load.more(50).await;
    let (seen, _) = load.stop_clean().await;
    assert_eq!(seen.green.load(std::sync::atomic::Ordering::Relaxed), 0);
}

/// Where an address below its own is free green would get that one and lose its connections: it is left, and that is told once.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_would_get_another_address_is_left_and_that_is_told() {
    let fake = Fake::start();
    let first = fake.run("first", "app:third", "always");
    neighbours(&fake);
    let keys = format!(
        "{}keep_blue = \"1h\"\n",
        still().replace("keep_blue = \"200ms\"\n", "")
    );
    let shifter = fake.home(&keys).serve().await;
    let rollout = shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    fake.engine.remove_by_force(&first).await;
    promote(&shifter).await;
    let green = format!("{}-{rollout}", fake.name);
    let told = format!("{green} does not answer to");
    shifter
        .until("it is told", |_| shifter.log().contains(&told))
        .await;
    assert!(
        shifter.log().contains("docker network disconnect"),
        "with the way out"
    );
    assert_eq!(aliases(&fake, &green), [""; 0]);
    assert_eq!(
        fake.acts_on(&green)
            .iter()
            .filter(|act| *act == DISCONNECT)
            .count(),
        0
    );
}

/// Nobody else is on the network, and nobody gave blue a name but its container's: nothing is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_without_anybody_else_is_left_as_it_is() {
    let fake = Fake::start();
    let shifter = fake.with_blue(&brisk()).await;
    let load = users(shifter.proxy);
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted");
    load.stop_clean().await;
    shifter
        .until("it runs alone", |_| fake.containers(false).len() == 1)
        .await;
    assert!(
        !acts(&fake).contains(&DISCONNECT.to_owned()),
        "{:?}",
        acts(&fake)
    );
}
