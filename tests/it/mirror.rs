//! Copies for a green without users: what they tell, and that no user pays for them.

use crate::support::apps::pair;
use crate::support::backend::{Act, Backend, answer};
use crate::support::client::{Client, get};
use crate::support::eventually;
use crate::support::h2;
use crate::support::load::{Load, quantile};
use crate::support::rig::Rig;
use crate::support::shifter::{Home, PATIENT};
use shifter::core::plan::Strategy;
use shifter::core::table::Color::{Blue, Green};
use shifter::core::weight::Weight;
use shifter::store::shared_state::Health;
use std::time::{Duration, Instant};

type Done = std::io::Result<()>;

const ALL: &str = "mirror = { percent = 100, concurrency = 4, timeout = \"60s\" }\n";

impl Rig {
    fn mirrored(&self, result: &str) -> f64 {
        self.metric(&format!(
            "shifter_mirror_requests_total{{result=\"{result}\",service=\"app\"}}"
        ))
    }
}

/// A request that is not copied; the one before it on this connection has ended altogether.
async fn post(client: &mut Client) -> Done {
    client
        .send("POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn greens_answers_are_compared_and_dropped() -> Done {
    let blue = Backend::named("blue-").await;
    let green = Backend::start(|head| match head {
        _ if head.contains("/status") => Act::status(500),
        _ if head.contains("/length") => Act::ok("longer"),
        _ if head.contains("/shorter") => Act::ok("four"),
        _ if head.contains("/gone") => Act::Reset(String::new()),
        _ => Act::ok("green"),
    })
    .await;
    let keys =
        "mirror = { percent = 100, strip = [\"authorization\"] }\nsticky = { cookie = \"pin\" }\n";
    let mut rig = Rig::app(&[blue.addr], &[green.addr], keys).await;
    let headers =
        "cookie: a=b\r\nauthorization: Basic x\r\nx-shifter-mirror: no\r\nte: trailers\r\n";
    for (path, result, count) in [
        ("/same?x=1", "same", 1.0),
        ("/same", "same", 2.0),
        ("/status", "status", 1.0),
        ("/length", "length", 1.0),
        ("/shorter", "length", 2.0),
        ("/gone", "failed", 1.0),
    ] {
        let answer = get(rig.addr, path, headers).await?;
        assert_eq!((answer.status, answer.body.as_str()), (200, "blue-"));
        eventually(path, || rig.mirrored(result) == count).await;
    }
    assert_eq!(rig.mirrored("dropped"), 0.0);
    let copies = green.heads();
    let copy = copies[0].to_ascii_lowercase();
    assert!(copy.starts_with("get /same?x=1 http/1.1\r\n"), "{copy}");
    for line in [
        "x-shifter-mirror: 1\r\n",
        "cookie: a=b\r\n",
        "\r\nhost: app\r\n",
        "x-forwarded-for: 127.0.0.1\r\n",
        "x-request-id: ",
    ] {
        assert_eq!(copy.matches(line).count(), 1, "{line} in {copy}");
    }
    assert!(
        !copy.contains("authorization") && !copy.contains("\r\nte:"),
        "{copy}"
    );
    let asked = blue.heads()[0].to_ascii_lowercase();
    assert!(
        !asked.contains("x-shifter-mirror"),
        "a user cannot pretend: {asked}"
    );
    // What is no plain reading, and what green answers itself, is not copied.
    let mut client = Client::connect(rig.addr).await;
    post(&mut client).await?;
    client
        .send("GET / HTTP/1.1\r\nhost: app\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await?.status, 200);
    rig.publish(|route| route.weight = Weight::basis_points(1).unwrap());
    let before = rig.judged(Green).requests;
    for _ in 0..5 {
        client.get("/", "").await?;
    }
    rig.publish(|route| route.weight = Weight::NONE);
    let member = rig.board.snapshot().services[0].pools[1][0].clone();
    rig.board.set_health(&member, Health::Down);
    client.get("/", "").await?;
    post(&mut client).await?;
    rig.board.set_health(&member, Health::Up);
    member.let_go(Some(Duration::from_secs(5)));
    client.get("/", "").await?;
    post(&mut client).await?;
    member.let_go(None);
    client.get("/last", "").await?;
    eventually("the last copy", || {
        green.heads().last().unwrap().contains("/last")
    })
    .await;
    let served = rig.judged(Green).requests - before;
    assert_eq!(green.requests() as u64, copies.len() as u64 + served + 1);
    rig.judged_to_be(Green, served, 0).await;
    Ok(())
}

/// A green that never answers: four copies wait, all others are dropped, and users notice nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_hangs_costs_no_user_anything() -> Done {
    let (blue, green) = (
        Backend::named("blue").await,
        Backend::start(|_| Act::Hang).await,
    );
    let plain = Rig::app(&[blue.addr], &[green.addr], "").await;
    let copied = Rig::app(&[blue.addr], &[green.addr], ALL).await;
    let mut times = [vec![], vec![]];
    let mut clients = [
        Client::connect(plain.addr).await,
        Client::connect(copied.addr).await,
    ];
    // In turns, so that whatever else the machine does is done to both.
    for n in 0..1_600 {
        let begun = Instant::now();
        let answer = clients[n % 2].get("/", "").await?;
        times[n % 2].push(begun.elapsed());
        assert_eq!((answer.status, answer.body.as_str()), (200, "blue"));
    }
    eventually("four wait", || green.requests() == 4).await;
    assert_eq!(copied.mirrored("dropped"), 796.0);
    copied.judged_to_be(Blue, 800, 0).await;
    let [plain, copied] = times.each_mut();
    let all = [0.5, 0.99].map(|q| (quantile(plain, q), quantile(copied, q)));
    println!("p50 and p99 without and with copies to a green that hangs: {all:?}");
    let (without, with) = all[0];
    assert!(with < without * 2 + Duration::from_millis(1), "{all:?}");
    assert!(all[1].1 < Duration::from_secs(1), "{all:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_of_http2_gets_copies_too() -> Done {
    let blue = h2::Backend::named("blue!").await;
    let green = h2::Backend::start(|request| {
        let mirrored = request.headers().contains_key("x-shifter-mirror");
        let body = if mirrored && request.uri().path() == "/a" {
            "green"
        } else {
            "user"
        };
        h2::Act::Say(body.into(), vec![])
    })
    .await;
    let keys = format!("protocol = \"h2c\"\n{ALL}");
    let rig = Rig::app(&[blue.addr], &[green.addr], &keys).await;
    let user = h2::User::connect(rig.addr).await;
    let got = user.ask(h2::get("http://app/a")).await.unwrap();
    assert_eq!(got.body, "blue!");
    eventually("a copy", || rig.mirrored("same") == 1.0).await;
    Ok(())
}

/// A share is a share, and what chunked answers weigh is their payload.
#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_chunked_answers_is_compared_by_payload() -> Done {
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let blue = Backend::start(move |_| Act::Say(chunked.into())).await;
    let green = Backend::start(|_| Act::Say(answer(200, "vwxyz"))).await;
    let keys = "mirror = { percent = 25, concurrency = 100 }\n";
    let rig = Rig::app(&[blue.addr], &[green.addr], keys).await;
    let mut client = Client::connect(rig.addr).await;
    for _ in 0..800 {
        assert_eq!(client.get("/", "").await?.body, "abcde");
    }
    let same = || rig.mirrored("same");
    eventually("copies", || {
        same() as usize == green.requests() && same() > 0.0
    })
    .await;
    // Six standard deviations.
    assert!(
        (127.0..=273.0).contains(&same()),
        "{} of 800 at 25 %",
        same()
    );
    assert_eq!(
        rig.mirrored("length") + rig.mirrored("failed") + rig.mirrored("dropped"),
        0.0
    );
    Ok(())
}

/// In the program: copies while it waits for a person, shown by status, told when the first users come.
#[tokio::test(flavor = "multi_thread")]
async fn what_copies_told_is_a_part_of_the_story() -> Done {
    let (blue, green) = pair();
    let keys = "steps = [{ approve = true }, { weight = 5, hold = \"1h\", deadline = \"1h\" }, { weight = 100 }]\nmirror = { percent = 50 }\n";
    let home = Home::new(&blue, &green, &format!("{keys}{PATIENT}"));
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.phase("awaiting_approval").await;
    let load = Load::paced(home.proxy, 300.0);
    let seen = home
        .until("copies", |service| {
            service
                .mirror
                .as_ref()
                .is_some_and(|mirror| mirror.same + mirror.other_length > 50)
        })
        .await;
    let (users, _) = load.stop_clean().await;
    assert_eq!(users.green.load(std::sync::atomic::Ordering::Relaxed), 0);
    let mirror = seen.mirror.unwrap();
    assert_eq!((mirror.other_status, mirror.failed), (0, 0), "{mirror:?}");
    assert!(mirror.green_ms.is_some() && mirror.blue_ms.is_some());
    home.verb("approve").await.unwrap();
    home.share(5.0).await;
    let notes = home.notes().await;
    assert!(
        notes.contains("mirror: ") && notes.contains("copied to green"),
        "{notes}"
    );
    Ok(())
}
