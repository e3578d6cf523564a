//! Addresses that change hands: whoever has blue's old one is never asked.

use crate::docker::fake::still;
use crate::support::client::get;
use crate::support::fake::Fake;
use crate::support::load::{Load, Plan};
use crate::support::shifter::Shifter;
use shifter::control::view::ServiceView;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Blue, a stranger that is well on every path and the only `green` that users could see, and the users.
struct Stage {
    fake: Fake,
    shifter: Shifter,
    load: Load,
}

impl Stage {
    async fn set() -> Stage {
        let fake = Fake::start();
        let shifter = fake.with_blue(&still()).await;
        fake.run("stranger", "app:green", "always");
        let plan = Plan {
            connections: 8,
            rate: Some(400.0),
            breaks_allowed: true,
            proxy_errors_allowed: true,
            ..Plan::default()
        };
        let load = Load::start(shifter.proxy, plan);
        load.more(100).await;
        Stage {
            fake,
            shifter,
            load,
        }
    }

    /// The daemon is back and its containers with it: each has the other's address, and no user was answered by a stranger.
    async fn swapped(self) {
        let Stage {
            fake,
            shifter,
            load,
        } = self;
        let blue = fake.named("blue");
        let served = load.seen.blue.load(Relaxed);
        let deadline = Instant::now() + Duration::from_secs(20);
        while load.seen.blue.load(Relaxed) < served + 200 {
            assert!(Instant::now() < deadline, "{}", shifter.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let at = shifter.service().await.blue.backends[0].address.clone();
        assert_eq!(at, fake.address(&blue).to_string());
        assert_eq!(get(shifter.proxy, "/", "").await.unwrap().status, 200);
        let (seen, _) = load.stop().await;
        assert_eq!(seen.green.load(Relaxed), 0, "a stranger answered");
    }

    fn addresses(&self) -> [std::net::SocketAddr; 2] {
        ["blue", "stranger"].map(|name| self.fake.address(&self.fake.named(name)))
    }
}

/// The daemon ends in order: the end of its containers is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_on_blues_address_answers_nobody() {
    let stage = Stage::set().await;
    let [blue, stranger] = stage.addresses();
    stage.fake.shut_down().await;
    let nobody = |service: &ServiceView| service.blue.backends.is_empty();
    stage.shifter.until("nobody serves", nobody).await;
    stage.fake.come_back();
    assert_eq!(stage.addresses(), [stranger, blue], "they are swapped");
    stage.swapped().await;
}

/// The daemon is gone before its containers are, so that nobody is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_on_blues_address_answers_nobody_when_nobody_is_told() {
    let stage = Stage::set().await;
    let [blue, stranger] = stage.addresses();
    stage.fake.fall().await;
    // A daemon takes longer to start than shifter to see that blue refuses.
    let down = |service: &ServiceView| {
        service
            .blue
            .backends
            .iter()
            .all(|backend| backend.health == "doubted")
    };
    stage.shifter.until("blue is known to be down", down).await;
    stage.fake.come_back();
    assert_eq!(stage.addresses(), [stranger, blue], "they are swapped");
    stage.swapped().await;
}
