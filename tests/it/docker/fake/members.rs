//! Which containers are members of a pool, and how long those that go may take.

use crate::docker::fake::{brisk, still, users};
use crate::support::client::get;
use crate::support::docker::configure;
use crate::support::fake::Fake;
use crate::support::fake::faults::Fault::Twist;
use crate::support::shifter::{Shifter, outcome_of};
use serde_json::{Value, json};

/// A container of a Compose service; `more` are further labels.
fn compose(fake: &Fake, name: &str, image: &str, project: &str, more: &[(&str, &str)]) -> String {
    let mut labels = json!({
        "com.docker.compose.project": project,
        "com.docker.compose.service": "api",
    });
    for (key, value) in more {
        labels[*key] = json!(value);
    }
    fake.run_with(&fake.named(name), image, json!({ "Labels": labels }))
}

/// Shifter before what `blue` finds.
async fn before(fake: &Fake, blue: &str, more: &str) -> Shifter {
    let home = fake.home("");
    let keys = format!("blue = {{ {blue}, port = 3000 }}\n{more}");
    configure(&home, &fake.host(), &fake.name, &keys);
    home.serve().await
}

async fn answers(shifter: &Shifter, times: usize) -> Vec<String> {
    let mut all = vec![];
    for _ in 0..times {
        let answer = get(shifter.proxy, "/", "").await.unwrap();
        all.push(format!("{} {}", answer.status, answer.body));
    }
    all.sort();
    all.dedup();
    all
}

/// `docker compose run` labels its container like a replica, and says that it is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_run_of_a_compose_service_is_no_member() {
    let fake = Fake::start();
    let once = [("com.docker.compose.oneoff", "True")];
    compose(&fake, "once", "app:third", "shop", &once);
    compose(&fake, "api", "app:blue", "shop", &[]);
    let more = format!("copy = {{ compose = true }}\n{}", brisk());
    let shifter = before(&fake, "compose = \"shop/api\"", &more).await;
    let backends = shifter.service().await.blue.backends;
    assert_eq!(backends.len(), 1, "{backends:?}");
    assert_eq!(backends[0].container, Some(fake.named("api")));
    let load = users(shifter.proxy);
    shifter.run_image("app:green").await.unwrap();
    let end = shifter.phase("finished").await;
    assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
    load.stop_clean().await;
    assert_eq!(fake.made().len(), 1, "one replica, one green");
    assert_eq!(fake.acts_on(&fake.named("once")), [""; 0]);
}

/// Users of one project never meet the data of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_compose_service_of_two_projects_is_that_of_the_one_that_served() {
    let fake = Fake::start();
    let first = compose(&fake, "p1", "app:blue", "prod", &[]);
    let shifter = before(&fake, "compose = \"api\"", &still()).await;
    shifter
        .until("prod serves", |service| service.blue.backends.len() == 1)
        .await;
    compose(&fake, "s1", "app:third", "staging", &[]);
    shifter
        .until("the trouble is told", |_| {
            shifter.log().contains("\\\"prod/api\\\"") || shifter.log().contains("\"prod/api\"")
        })
        .await;
    assert_eq!(answers(&shifter, 20).await, ["200 blue"]);
    // Compose made prod's container anew: it is the younger one now.
    fake.engine.remove_by_force(&first).await;
    shifter
        .until("staging's is not taken meanwhile", |service| {
            service.blue.backends.is_empty() && shifter.log().contains("prod served before")
        })
        .await;
    compose(&fake, "p2", "app:blue", "prod", &[]);
    let p2 = fake.named("p2");
    shifter
        .until("prod's new one serves", |service| {
            let one = service.blue.backends.first();
            one.is_some_and(|one| one.container.as_ref() == Some(&p2) && one.health == "up")
        })
        .await;
    assert_eq!(answers(&shifter, 20).await, ["200 blue"]);
}

/// An answer about one container that cannot be read is no reason to know nothing of the others.
#[tokio::test(flavor = "multi_thread")]
async fn one_container_that_cannot_be_read_blinds_nothing_else() {
    let fake = Fake::start();
    fake.run("other", "app:blue", "always");
    let shifter = fake.with_blue(&still()).await;
    let odd = fake.named("blue");
    fake.faults.now(move |call| {
        (call.is("GET /containers/{}/json") && call.whom == odd)
            .then_some(Twist("\"Status\":\"running\"", "\"Status\":\"thinking\""))
    });
    // Something happens, so that all are looked at again.
    fake.run("third", "app:third", "no");
    let name = fake.named("blue");
    shifter
        .until("it is named", |_| {
            shifter
                .log()
                .contains(&format!("about the container {name} cannot be read"))
        })
        .await;
    assert_eq!(
        answers(&shifter, 5).await,
        ["200 blue"],
        "as it was seen before"
    );
    fake.mend();
}

/// A container is never killed before its own stop timeout, and takes its anonymous volumes along.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_as_long_as_the_container_says() {
    let fake = Fake::start();
    let more = json!({ "StopTimeout": 120 });
    fake.run_with(&fake.named("blue"), "app:blue", more);
    let home = fake.home(&format!("{}keep_green = \"0s\"\n", brisk()));
    let shifter = home.serve().await;
    let load = users(shifter.proxy);
    let mut seen: Vec<Value> = vec![];
    for image in ["app:green", "app:blue"] {
        shifter.run_image(image).await.unwrap();
        let end = shifter.phase("finished").await;
        assert_eq!(outcome_of(&end), "promoted", "{:?}", end.rollout);
        shifter
            .until("it runs alone", |_| fake.made().len() == 1)
            .await;
        seen.push(fake.inspect(&fake.made()[0])["Config"]["StopTimeout"].clone());
    }
    load.stop_clean().await;
    assert_eq!(seen, [120, 120], "green's is blue's");
    shifter
        .until("the first green is removed", |_| {
            fake.faults
                .calls()
                .iter()
                .any(|call| call.is("DELETE /containers/{}"))
        })
        .await;
    let calls = fake.faults.calls();
    let queries = |shape: &str| -> Vec<String> {
        let meant = calls.iter().filter(|call| call.is(shape));
        meant.map(|call| call.query.clone()).collect()
    };
    let stops = queries("POST /containers/{}/stop");
    assert!(
        !stops.is_empty() && stops.iter().all(|query| query.contains("t=120")),
        "{stops:?}"
    );
    let removed = queries("DELETE /containers/{}");
    assert!(
        removed.iter().all(|query| query.contains("v=true")),
        "{removed:?}"
    );
}
