//! Users who stay on a member of a pool, and newcomers whose first requests come together.

use crate::support::backend::{Act, Backend, answer};
use crate::support::client::{Client, get};
use crate::support::h2::{User, get as ask};
use crate::support::rig::Rig;
use shifter::core::table::Color::{Blue, Green};
use shifter::store::shared_state::Health;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

type Done = std::io::Result<()>;

const BY_COOKIE: &str = "sticky = { cookie = \"pin\", member = true }\n";
const BY_HEADER: &str = "sticky = { header = \"x-user\", member = true }\n";

/// An app that keeps the sessions of engine.io's long polling in its memory: who asks for another's has an error.
async fn engine_io(name: &'static str) -> Backend {
    let sessions = Arc::new(Mutex::new(BTreeSet::new()));
    Backend::start(move |head| {
        let target = head.split(' ').nth(1).unwrap();
        let mut sessions = sessions.lock().unwrap();
        match target.split_once("&sid=") {
            Some((_, sid)) if sessions.contains(sid) => Act::ok("2"),
            Some(_) => Act::Say(answer(
                400,
                "{\"code\":1,\"message\":\"Session ID unknown\"}",
            )),
            None => {
                let sid = format!("{name}{}", sessions.len());
                let opened = Act::ok(&sid);
                sessions.insert(sid);
                opened
            }
        }
    })
    .await
}

/// Opens sessions and polls each of them on connections of their own; how many polls met a stranger.
async fn unknown_sessions(more: &str) -> std::io::Result<usize> {
    let apps = [
        engine_io("a").await,
        engine_io("b").await,
        engine_io("c").await,
    ];
    let addrs = apps.each_ref().map(|app| app.addr);
    let rig = Rig::app(&addrs, &[], more).await;
    let mut unknown = 0;
    for _ in 0..20 {
        let opened = get(rig.addr, "/engine.io/?EIO=4&transport=polling", "").await?;
        let set = opened.header("set-cookie").expect("a newcomer is told");
        let cookie = format!("cookie: {}\r\n", set.split(';').next().unwrap());
        let poll = format!("/engine.io/?EIO=4&transport=polling&sid={}", opened.body);
        for _ in 0..5 {
            unknown += usize::from(get(rig.addr, &poll, &cookie).await?.status == 400);
        }
    }
    Ok(unknown)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_memory_lives_on_its_member() -> Done {
    assert_eq!(unknown_sessions(BY_COOKIE).await?, 0);
    let by_color = "sticky = { cookie = \"pin\" }\n";
    assert!(unknown_sessions(by_color).await? > 0, "polls go elsewhere");
    Ok(())
}

/// The member of each user.
async fn members(rig: &Rig) -> std::io::Result<Vec<String>> {
    let mut members = vec![];
    for user in 0..60 {
        members.push(
            get(rig.addr, "/", &format!("x-user: {user}\r\n"))
                .await?
                .body,
        );
    }
    Ok(members)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_a_member_moves_its_users_alone() -> Done {
    let names = ["a", "b", "c"];
    let mut apps = vec![];
    for name in names {
        apps.push(Backend::named(name).await);
    }
    let addrs: Vec<SocketAddr> = apps.iter().map(|app| app.addr).collect();
    let mut rig = Rig::app(&addrs, &[], BY_HEADER).await;
    let before = members(&rig).await?;
    for name in names {
        let count = before.iter().filter(|member| *member == name).count();
        assert!((4..=45).contains(&count), "{name} has {count} of 60");
    }
    assert_eq!(members(&rig).await?, before, "they stay");
    let stay = |now: &[String], lost: &str| {
        let pairs = before.iter().zip(now);
        pairs.fold(true, |all, (was, is)| all && (was == is) == (was != lost))
    };
    // Down, and up again.
    let member = rig.board.snapshot().services[0].pools[0][1].clone();
    rig.board.set_health(&member, Health::Down);
    assert!(stay(&members(&rig).await?, "b"));
    rig.board.set_health(&member, Health::Up);
    assert_eq!(members(&rig).await?, before);
    // Dead, and found out by who asks.
    drop(apps.remove(0));
    assert!(stay(&members(&rig).await?, "a"));
    // Let go: it is in no table.
    rig.publish(|route| {
        route.blue.backends.remove(0);
    });
    assert!(stay(&members(&rig).await?, "a"));
    Ok(())
}

/// A rollback draws the versions anew; who was on a member of blue stays there.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_moves_nobody_to_another_member() -> Done {
    let apps = [Backend::named("a").await, Backend::named("b").await];
    let addrs = apps.each_ref().map(|app| app.addr);
    let mut rig = Rig::app(&addrs, &[], BY_COOKIE).await;
    let mut users = vec![];
    for _ in 0..20 {
        let told = get(rig.addr, "/", "").await?;
        let set = told.header("set-cookie").unwrap();
        users.push((set.split(';').next().unwrap().to_owned(), told.body));
    }
    for epoch in 2..4 {
        rig.publish(|route| (route.epoch, route.salt) = (epoch, 7 + u64::from(epoch)));
        for (cookie, member) in &mut users {
            let told = get(rig.addr, "/", &format!("cookie: {cookie}\r\n")).await?;
            let set = told.header("set-cookie").expect("it is drawn anew");
            assert_eq!(&told.body, member, "in epoch {epoch}");
            *cookie = set.split(';').next().unwrap().to_owned();
            let again = get(rig.addr, "/", &format!("cookie: {cookie}\r\n")).await?;
            assert_eq!((again.header("set-cookie"), &again.body), (None, &*member));
        }
    }
    Ok(())
}

/// What a page asks before its first cookie is back goes one way: chance is asked once, so the share is exact.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_asks_for_ten_things_at_once_has_one_version() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let sticky = "sticky = { cookie = \"pin\" }\n";
    let mut rig = Rig::app(&[blue.addr], &[green.addr], sticky).await;
    rig.weigh(50);
    let mut greens = 0;
    for page in 0..20 {
        let user = User::connect(rig.addr).await;
        let together = (0..10).map(|_| user.ask(ask("http://app/")));
        let parts = futures::future::join_all(together).await;
        let parts: Vec<_> = parts.into_iter().map(Result::unwrap).collect();
        let seen: BTreeSet<_> = parts
            .iter()
            .map(|part| (part.body.as_str(), part.header("set-cookie")))
            .collect();
        assert_eq!(seen.len(), 1, "page {page}: {seen:?}");
        greens += usize::from(parts[0].body == "green");
    }
    // Blocks of 20 newcomers: each was drawn once, and the share is exact.
    assert_eq!(greens, 10);
    rig.idle().await;
    rig.judged_to_be(Green, 100, 0).await;
    rig.judged_to_be(Blue, 100, 0).await;
    Ok(())
}

/// One after the other on a connection of HTTP/1; and not where a proxy in front brings many users.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_one_users_unless_a_proxy_has_it() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let sticky = "sticky = { cookie = \"pin\" }\n";
    let mut rig = Rig::app(&[blue.addr], &[green.addr], sticky).await;
    rig.weigh(50);
    let mut client = Client::connect(rig.addr).await;
    for (relayed, versions) in [
        ("", 1),
        ("x-forwarded-for: 192.0.2.7\r\n", 2),
        ("via: 1.1 cdn\r\n", 2),
        ("forwarded: for=x\r\n", 2),
    ] {
        let mut seen = BTreeSet::new();
        for _ in 0..12 {
            seen.insert(client.get("/", relayed).await?.body);
        }
        assert_eq!(seen.len(), versions, "{relayed}");
    }
    Ok(())
}
