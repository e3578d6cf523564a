//! A backend whose address may be another's by now: nothing new goes there, and what was connected before is evidence.

use crate::support::backend::{Act, Backend};
use crate::support::client::get;
use crate::support::rig::Rig;
use shifter::core::table::Color::Blue;
use shifter::core::time::Time;
use shifter::core::weight::Weight;
use shifter::store::Clock;
use shifter::store::shared_state::BackendState;
use std::sync::Arc;
use std::time::Duration;

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\n";

fn blue(rig: &Rig) -> Arc<BackendState> {
    rig.board.snapshot().services[0].pools[Blue.index()][0].clone()
}

/// The engine is silent, and a connection could not be made.
fn refuse(state: &BackendState, at: Time) {
    state.identify(|identity| {
        identity.silent(at);
        identity.refused(at);
    });
    assert!(state.doubted());
}

fn soon() -> Time {
    Clock::now().after(Duration::from_millis(5))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_made_to_an_address_that_may_be_anothers() {
    let stranger = Backend::start(|head| match head.contains("upgrade") {
        true => Act::Upgrade,
        false => Act::ok("stranger"),
    })
    .await;
    let rig = Rig::app(&[stranger.addr], &[], "").await;
    let state = blue(&rig);
    refuse(&state, Clock::now());
    for headers in ["", UPGRADE] {
        let answer = get(rig.addr, "/", headers).await.unwrap();
        assert!(answer.status >= 500, "{}", answer.status);
    }
    assert_eq!(stranger.requests(), 0);
    assert!(state.doubted(), "nothing was proven");
    state.identify(|identity| identity.seen());
    assert_eq!(get(rig.addr, "/", "").await.unwrap().body, "stranger");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_on_a_connection_of_before_shows_that_it_is_the_same() {
    let app = Backend::named("blue").await;
    let rig = Rig::app(&[app.addr], &[], "").await;
    let state = blue(&rig);
    assert_eq!(get(rig.addr, "/", "").await.unwrap().status, 200);
    refuse(&state, soon());
    let answer = get(rig.addr, "/", "").await.unwrap();
    assert_eq!((answer.status, answer.body), (200, "blue".to_owned()));
    assert!(!state.doubted());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_made_after_the_refusal_shows_nothing() {
    let app = Backend::named("blue").await;
    let rig = Rig::app(&[app.addr], &[], "").await;
    let state = blue(&rig);
    let before = Clock::now();
    while Clock::now() == before {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(rig.addr, "/", "").await.unwrap().status, 200);
    refuse(&state, before);
    assert!(get(rig.addr, "/", "").await.unwrap().status >= 500);
    assert_eq!(app.requests(), 1, "it is not sent there");
    assert!(state.doubted());
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_given_to_whoever_is_known() {
    let [one, two, green] = [
        Backend::named("one").await,
        Backend::named("two").await,
        Backend::named("green").await,
    ];
    let mut rig = Rig::app(&[one.addr, two.addr], &[green.addr], "").await;
    let pool = rig.board.snapshot().services[0].pools[Blue.index()].clone();
    refuse(&pool[0], Clock::now());
    for _ in 0..20 {
        assert_eq!(get(rig.addr, "/", "").await.unwrap().body, "two");
    }
    rig.publish(|route| route.weight = Weight::percent(1).unwrap());
    refuse(&pool[1], Clock::now());
    for _ in 0..20 {
        let answer = get(rig.addr, "/", "").await.unwrap();
        assert_eq!(answer.body, "green", "it has a share");
    }
    assert_eq!(one.requests(), 0);
}
