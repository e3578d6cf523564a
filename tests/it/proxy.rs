//! The data plane: what is routed where, how ends are counted, and what users see.

use crate::support::backend::{Act, Backend, answer, nobody};
use crate::support::client::{Client, UPGRADE, get};
use crate::support::rig::{Judged, Rig, pools};
use crate::support::{PATIENCE, eventually};
use shifter::core::table::Color::{Blue, Green};
use shifter::core::weight::Weight;
use shifter::store::shared_state::Health;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

type Done = std::io::Result<()>;

// ---- Where a request goes -------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn host_and_path_choose_the_service_and_nobody_is_404() -> Done {
    let (web, api) = (Backend::named("web").await, Backend::named("api").await);
    let rig = Rig::start(&format!(
        "[service.web]\nhosts = [\"*.example.com\"]\nblue = \"{}\"\n\
         [service.api]\nhosts = [\"www.example.com\"]\npaths = [\"/api\"]\nblue = \"{}\"\n",
        web.addr, api.addr
    ))
    .await;
    let mut client = Client::connect(rig.addr).await;
    for (host, path, expected) in [
        ("www.example.com", "/api/x", "api"),
        ("WWW.example.com:80", "/api", "api"),
        ("www.example.com", "/apix", "web"),
        ("else.example.com", "/api", "web"),
    ] {
        client
            .send(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"))
            .await;
        assert_eq!(client.answer().await?.body, expected, "{host}{path}");
    }
    client
        .send("GET / HTTP/1.1\r\nhost: example.com\r\n\r\n")
        .await;
    let refused = client.answer().await?;
    assert_eq!(refused.status, 404);
    assert!(
        refused
            .body
            .contains(refused.header("x-request-id").unwrap()),
        "{refused:?}"
    );
    client
        .send("GET / HTTP/1.1\r\nhost: www.example.com\r\n\r\n")
        .await;
    assert_eq!(
        client.answer().await?.body,
        "web",
        "a 404 keeps the connection"
    );
    assert_eq!(rig.metric("shifter_http_unrouted_requests_total"), 1.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_is_the_weight() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    let mut client = Client::connect(rig.addr).await;
    for (percent, low, high) in [
        (0u16, 0, 0),
        (5, 498, 502),
        (50, 4_998, 5_002),
        (100, 10_000, 10_000),
    ] {
        rig.weigh(percent);
        let mut greens = 0;
        for n in 0..10_000 {
            if n % 900 == 0 {
                client = Client::connect(rig.addr).await;
            }
            let answer = client.get("/", "").await?;
            assert_eq!(answer.status, 200);
            greens += usize::from(answer.body == "green");
        }
        assert!((low..=high).contains(&greens), "{percent} %: {greens}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_keeps_its_caller_until_the_epoch_changes() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let mut rig = Rig::app(
        &[blue.addr],
        &[green.addr],
        "sticky = { cookie = \"pin\" }\n",
    )
    .await;
    rig.weigh(50);
    for _ in 0..20 {
        let first = get(rig.addr, "/", "").await?;
        let set = first.header("set-cookie").expect("a newcomer is told");
        let cookie = set.split(';').next().unwrap();
        assert!(cookie.starts_with("pin=1."), "{set}");
        for _ in 0..5 {
            let again = get(rig.addr, "/", &format!("cookie: a=b; {cookie}\r\n")).await?;
            assert_eq!(again.body, first.body);
            assert_eq!(again.header("set-cookie"), None, "told once");
        }
        let old = format!("cookie: {}\r\n", cookie.replace("pin=1.", "pin=0."));
        assert!(
            get(rig.addr, "/", &old)
                .await?
                .header("set-cookie")
                .is_some()
        );
    }
    rig.publish(|route| (route.epoch, route.weight) = (2, Weight::NONE));
    let redrawn = get(rig.addr, "/", "cookie: pin=1.0\r\n").await?;
    assert_eq!(redrawn.body, "blue");
    assert!(redrawn.header("set-cookie").unwrap().starts_with("pin=2."));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_keeps_its_caller() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let mut rig = Rig::app(
        &[blue.addr],
        &[green.addr],
        "sticky = { header = \"X-User\" }\n",
    )
    .await;
    rig.weigh(50);
    let mut client = Client::connect(rig.addr).await;
    let mut greens = 0;
    for user in 0..100 {
        let header = format!("x-user: {user}\r\n");
        let first = client.get("/", &header).await?;
        assert_eq!(first.header("set-cookie"), None);
        for _ in 0..3 {
            assert_eq!(client.get("/", &header).await?.body, first.body);
        }
        greens += usize::from(first.body == "green");
    }
    assert!((30..=70).contains(&greens), "{greens}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_backend_gets_less() -> Done {
    let (busy, idle) = (Arc::new(Notify::new()), Backend::named("idle").await);
    let held = busy.clone();
    let slow = Backend::start(move |_| Act::After(held.clone(), answer(200, "slow"))).await;
    let rig = Rig::app(&[slow.addr, idle.addr], &[], "").await;
    let mut waiting = vec![];
    while slow.requests() == 0 {
        let before = slow.requests() + idle.requests();
        let mut client = Client::connect(rig.addr).await;
        client.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
        eventually("the request came", || {
            slow.requests() + idle.requests() > before
        })
        .await;
        waiting.push(client);
    }
    for _ in 0..100 {
        // An answer comes a moment before it is counted as given.
        eventually("only the slow one is busy", || rig.board.in_flight() == 1).await;
        assert_eq!(get(rig.addr, "/", "").await?.body, "idle");
    }
    busy.notify_waiters();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_change_under_load_without_a_lost_request() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    let (addr, done) = (
        rig.addr,
        Arc::new(std::sync::atomic::AtomicBool::new(false)),
    );
    let sees = std::sync::atomic::Ordering::SeqCst;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let done = done.clone();
            tokio::spawn(async move {
                let (mut client, mut count) = (Client::connect(addr).await, 0);
                while !done.load(sees) {
                    if count % 900 == 899 {
                        client = Client::connect(addr).await;
                    }
                    assert_eq!(client.get("/", "").await.unwrap().status, 200);
                    count += 1;
                }
                count
            })
        })
        .collect();
    for round in 0..100 {
        let before = blue.requests() + green.requests();
        rig.weigh([0, 5, 50, 100][round % 4]);
        eventually("traffic goes on", || {
            blue.requests() + green.requests() > before + 20
        })
        .await;
        if round % 4 == 0 {
            // Who was routed before it was published may still be on its way.
            let before = blue.requests();
            eventually("blue serves", || blue.requests() > before + 200).await;
            rig.idle_green().await;
            let greens = green.requests();
            eventually("blue serves alone", || blue.requests() > before + 400).await;
            assert_eq!(
                green.requests(),
                greens,
                "no new request reaches a green without a share"
            );
        }
    }
    done.store(true, sees);
    let mut count = 0;
    for caller in callers {
        count += caller.await?;
    }
    assert_eq!(count, blue.requests() + green.requests());
    Ok(())
}

// ---- How ends are counted -------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_tried_on_blue_and_charged_to_green() -> Done {
    let blue = Backend::named("blue").await;
    let mut rig = Rig::app(
        &[blue.addr],
        &[nobody()],
        "[service.app.eject]\nfailures = 0\n",
    )
    .await;
    rig.weigh(50);
    let mut client = Client::connect(rig.addr).await;
    for _ in 0..100 {
        assert_eq!(client.get("/", "").await?.body, "blue");
    }
    // The sequence gives green 50 of 100, or one more or less.
    let count = || (rig.judged(Green), rig.judged(Blue));
    eventually("all are counted", || {
        count().0.requests + count().1.requests == 100
    })
    .await;
    let (green, blue) = count();
    assert!((49..=51).contains(&green.requests), "{green:?}");
    assert_eq!((green.failed, blue.failed), (green.requests, 0));
    let expected = green.requests as f64;
    assert_eq!(rig.errors(Green, "connect_refused"), expected);
    assert_eq!(
        rig.metric("shifter_upstream_retries_total{pool=\"green\",service=\"app\"}"),
        expected
    );
    Ok(())
}

/// Who has the token sees green without a share; who has another one sees blue, and nobody is judged by it.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_token_sees_green_without_a_share() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let folder = tempfile::tempdir()?;
    let token = "0123456789abcdef0123456789abcdef";
    let file = folder.path().join("token");
    std::fs::write(&file, token)?;
    let preview = format!("preview = {{ token = {{ file = {file:?} }} }}\n");
    let rig = Rig::app(&[blue.addr], &[green.addr], &preview).await;
    let ask = async |value: &str| {
        let header = format!("x-shifter-preview: {value}\r\n");
        get(rig.addr, "/", &header).await.map(|answer| answer.body)
    };
    assert_eq!(ask(token).await?, "green");
    assert_eq!(ask("0123456789abcdef0123456789abcdeX").await?, "blue");
    assert_eq!(get(rig.addr, "/", "").await?.body, "blue");
    rig.judged_to_be(Blue, 2, 0).await;
    rig.judged_to_be(Green, 0, 0).await;
    let seen = green.heads().pop().unwrap_or_default();
    assert!(!seen.to_ascii_lowercase().contains("preview"), "{seen}");
    rig.idle().await;
    Ok(())
}

/// What writes is sent once: a backend that died with it may have done it.
#[tokio::test(flavor = "multi_thread")]
async fn what_writes_is_not_sent_twice() -> Done {
    let (blue, green) = (
        Backend::named("blue").await,
        Backend::start(|_| Act::Reset(String::new())).await,
    );
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    rig.weigh(100);
    let mut client = Client::connect(rig.addr).await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await?.status, 502);
    assert_eq!((blue.requests(), green.requests()), (0, 1));
    rig.judged_to_be(Green, 1, 1).await;
    Ok(())
}

/// One request to a green that does this, and what the judge and the user get.
async fn green_does(act: Act, more: &str, status: Option<u16>, reason: Option<&str>) -> Done {
    let (blue, green) = (
        Backend::named("blue").await,
        Backend::start(move |_| act.clone()).await,
    );
    let mut rig = Rig::app(&[blue.addr], &[green.addr], more).await;
    rig.weigh(100);
    let answer = get(rig.addr, "/", "").await;
    match (status, &answer) {
        (Some(expected), Ok(answer)) => assert_eq!(answer.status, expected, "{answer:?}"),
        (None, Err(_)) => {}
        _ => panic!("{answer:?}"),
    }
    rig.judged_to_be(Green, 1, 1).await;
    rig.judged_to_be(Blue, 0, 0).await;
    if let Some(reason) = reason {
        eventually(reason, || rig.errors(Green, reason) == 1.0).await;
    }
    rig.idle().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pool_does_wrong_is_told_apart() -> Done {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbroken off";
    let cut_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    // What only reads is asked of blue when nothing came; it is green's failure all the same.
    green_does(Act::Last(String::new()), "", Some(200), Some("reset")).await?;
    green_does(Act::Reset(String::new()), "", Some(200), Some("reset")).await?;
    green_does(Act::Last(cut.into()), "", None, Some("reset")).await?;
    green_does(Act::Last(cut_chunk.into()), "", None, Some("reset")).await?;
    green_does(Act::Reset(cut.into()), "", None, Some("reset")).await?;
    green_does(
        Act::Last("what?\r\n\r\n".into()),
        "",
        Some(502),
        Some("protocol"),
    )
    .await?;
    let unasked = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    green_does(Act::Last(unasked.into()), "", Some(502), Some("protocol")).await?;
    green_does(Act::status(500), "", Some(500), None).await?;
    green_does(Act::status(503), "", Some(503), None).await
}

/// Green says its header at once and the rest later: the time of the whole, where that is judged.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_that_is_judged_is_the_first_bytes_or_the_totals() -> Done {
    for (key, slow) in [("", false), ("latency = \"total\"\n", true)] {
        let blue = Backend::named("blue").await;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let green = listener.local_addr()?;
        let backend = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut seen = [0; 1024];
                // Who only looks whether somebody is there says nothing.
                if stream.read(&mut seen).await.unwrap_or(0) == 0 {
                    continue;
                }
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab";
                stream.write_all(head).await.unwrap();
                // The test is about time that passes.
                tokio::time::sleep(Duration::from_millis(300)).await;
                stream.write_all(b"cd").await.unwrap();
            }
        });
        let mut rig = Rig::app(&[blue.addr], &[green], key).await;
        rig.weigh(100);
        assert_eq!(get(rig.addr, "/", "").await?.body, "abcd");
        rig.idle().await;
        let median = rig.latency(Green).quantile(0.5);
        assert_eq!(median > 250.0, slow, "{key}{median} ms");
        backend.abort();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_400_to_499_are_failures_where_the_service_says_so() -> Done {
    for (key, failed) in [("", 1), ("count_4xx = true\n", 3)] {
        let blue = Backend::named("blue").await;
        let green = Backend::start(|head| {
            let status = head.split('/').nth(1).and_then(|rest| rest.get(..3));
            Act::status(status.and_then(|status| status.parse().ok()).unwrap_or(200))
        })
        .await;
        let mut rig = Rig::app(&[blue.addr], &[green.addr], key).await;
        rig.weigh(100);
        for status in [200, 302, 399, 400, 499, 500] {
            let answer = get(rig.addr, &format!("/{status}"), "").await?;
            assert_eq!(answer.status, status, "users get what green said");
        }
        rig.judged_to_be(Green, 6, failed).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_first_byte_is_504_whichever_timeout_is_shorter() -> Done {
    for (first_byte, read) in [("100ms", "100ms"), ("100ms", "60s"), ("150ms", "50ms")] {
        let more =
            format!("[service.app.timeouts]\nfirst_byte = \"{first_byte}\"\nread = \"{read}\"\n");
        green_does(Act::Hang, &more, Some(504), Some("first_byte_timeout")).await?;
    }
    let stalled = Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nstalled".into());
    let more = "[service.app.timeouts]\nfirst_byte = \"100ms\"\nread = \"100ms\"\n";
    green_does(stalled, more, None, Some("first_byte_timeout")).await
}

/// A body that comes in three parts, each later than a backend may take for its first byte.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_slow_upload_is_not_the_backends() -> Done {
    for timeouts in [
        "first_byte = \"150ms\"\nread = \"10s\"\n",
        "first_byte = \"150ms\"\nread = \"100ms\"\n",
    ] {
        let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
        let more = format!("[service.app.timeouts]\n{timeouts}");
        let mut rig = Rig::app(&[blue.addr], &[green.addr], &more).await;
        rig.weigh(100);
        let mut client = Client::connect(rig.addr).await;
        client
            .send("POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 3\r\n\r\n")
            .await;
        for part in ["a", "b", "c"] {
            // The test is about time that passes.
            tokio::time::sleep(Duration::from_millis(200)).await;
            client.send(part).await;
        }
        assert_eq!(client.answer().await?.body, "green");
        rig.judged_to_be(Green, 1, 0).await;
        let slow = "shifter_upstream_first_byte_duration_seconds_sum{outcome=\"success\",pool=\"green\",service=\"app\"}";
        assert!(rig.metric(slow) < 0.15, "{}", rig.metric(slow));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_upload_the_backend_has_its_first_bytes_time() -> Done {
    let more = "[service.app.timeouts]\nfirst_byte = \"150ms\"\nread = \"60s\"\n";
    for expect in ["", "expect: 100-continue\r\n"] {
        let (blue, green) = (
            Backend::named("blue").await,
            Backend::start(|_| Act::Hang).await,
        );
        let mut rig = Rig::app(&[blue.addr], &[green.addr], more).await;
        rig.weigh(100);
        let mut client = Client::connect(rig.addr).await;
        client
            .send(&format!(
                "POST / HTTP/1.1\r\nhost: app\r\ncontent-length: 3\r\n{expect}\r\n"
            ))
            .await;
        if expect.is_empty() {
            client.send("abc").await;
        }
        assert_eq!(client.answer().await?.status, 504);
        rig.judged_to_be(Green, 1, 1).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_outlives_the_first_bytes_deadline() -> Done {
    let gate = Arc::new(Notify::new());
    let (held, listener) = (gate.clone(), TcpListener::bind("127.0.0.1:0").await?);
    let addr = listener.local_addr()?;
    let backend = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
            .await
            .unwrap();
        held.notified().await;
        stream.write_all(b"cd").await.unwrap();
        std::future::pending::<()>().await;
    });
    let more = "[service.app.timeouts]\nfirst_byte = \"100ms\"\n\
                [service.app.health]\nport = 1\ninterval = \"1h\"\n";
    let rig = Rig::start(&format!("{}{more}", pools(&[addr], &[]))).await;
    let mut client = Client::connect(rig.addr).await;
    client.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    let answered = Instant::now();
    // The deadline is let pass, not waited for: nothing is to happen at it.
    while answered.elapsed() < Duration::from_millis(300) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gate.notify_one();
    assert_eq!(client.answer().await?.body, "abcd");
    backend.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_does_never_counts() -> Done {
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    // More than the buffers of both ends of a connection take where they may grow to 32 MiB.
    let big = "x".repeat(48_000_000);
    let green = Backend::start(move |head| {
        if head.contains("/big") {
            Act::Say(answer(200, &big))
        } else {
            Act::After(held.clone(), answer(200, "late"))
        }
    })
    .await;
    let blue = Backend::named("blue").await;
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    rig.weigh(100);
    for n in 0..20 {
        let before = green.requests();
        let mut client = Client::connect(rig.addr).await;
        // Leaves while it waits, or in the middle of the answer: politely, and with a reset.
        let path = if n % 2 == 0 { "/wait" } else { "/big" };
        client
            .send(&format!("GET {path} HTTP/1.1\r\nhost: app\r\n\r\n"))
            .await;
        eventually("the request came", || green.requests() > before).await;
        if path == "/big" {
            client.exactly(1_000).await?;
        }
        if n % 4 < 2 {
            client.stream.set_zero_linger()?;
        }
    }
    // A body that is no body.
    let mut client = Client::connect(rig.addr).await;
    client
        .send("POST / HTTP/1.1\r\nhost: app\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n")
        .await;
    assert_eq!(client.answer().await?.status, 400);
    rig.idle().await;
    let gave_up = "shifter_http_client_gave_up_total{pool=\"green\",service=\"app\"}";
    eventually("every end is counted", || rig.metric(gave_up) == 21.0).await;
    rig.judged_to_be(Green, 0, 0).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_connection_that_closed_is_nobodys_failure() -> Done {
    let (blue, rig_listener) = (Backend::start(|_| Act::ok("blue")).await, nobody());
    let closing = Backend::start(|_| Act::Last(answer(200, "once"))).await;
    let rig = Rig::app(&[closing.addr], &[], "").await;
    let mut client = Client::connect(rig.addr).await;
    for _ in 0..200 {
        assert_eq!(client.get("/", "").await?.body, "once");
    }
    rig.idle().await;
    let judged = rig.judged(Blue);
    // A machine that is busy at the wrong moment takes one for a failure.
    assert!(judged.requests == 200 && judged.failed <= 2, "{judged:?}");
    drop((blue, rig_listener));
    Ok(())
}

/// A green that drops as many requests as it is told, so long after each came, and the number still to drop.
async fn dropping(after: Duration) -> (Backend, Arc<AtomicUsize>, Arc<Notify>) {
    let (left, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (drops, held) = (left.clone(), gate.clone());
    let backend = Backend::start(move |head| {
        let drop = drops.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        match drop {
            Ok(_) => Act::Drop(after),
            Err(_) if head.contains("/held") => Act::After(held.clone(), answer(200, "held")),
            Err(_) => Act::ok("kept"),
        }
    })
    .await;
    (backend, left, gate)
}

/// What comes on a kept connection is dropped at once, as if it had been closed before, or with the request in
/// its backend's hands. `None` where this machine was too busy to tell.
async fn drop_in_a_row(count: usize, after: Duration) -> Option<(String, Judged)> {
    let ((green, left, gate), blue) = (dropping(after).await, Backend::named("blue").await);
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    rig.weigh(100);
    // Two connections are kept, so that a second attempt has one too.
    let mut clients = [
        Client::connect(rig.addr).await,
        Client::connect(rig.addr).await,
    ];
    for client in &mut clients {
        client.send("GET /held HTTP/1.1\r\nhost: app\r\n\r\n").await;
    }
    eventually("both are there", || green.requests() == 2).await;
    for still in [1, 0] {
        gate.notify_one();
        eventually("one was answered", || rig.board.in_flight() == still).await;
    }
    for client in &mut clients {
        assert_eq!(client.answer().await.unwrap().body, "held");
    }
    left.store(count, Relaxed);
    let asked = Instant::now();
    let body = clients[0].get("/", "").await.unwrap().body;
    let busy = asked.elapsed() > after + Duration::from_millis(10);
    rig.idle().await;
    (!busy).then(|| (body, rig.judged(Green)))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drops_a_request_on_a_kept_connection_has_failed() {
    let slow = Duration::from_millis(40);
    for (count, after, saved, failed) in [
        (1, Duration::ZERO, "kept", 0),
        (2, Duration::ZERO, "blue", 1),
        (1, slow, "blue", 1),
    ] {
        let mut seen = None;
        for _ in 0..20 {
            seen = drop_in_a_row(count, after).await;
            if seen.is_some() {
                break;
            }
        }
        let (body, judged) = seen.expect("a machine that is less busy");
        assert_eq!(
            (body.as_str(), judged.failed),
            (saved, failed),
            "{count} after {after:?}"
        );
        assert_eq!(judged.requests, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_else_is_there_the_same_backend_is_asked_once_more() -> Done {
    let (blue, left, _gate) = dropping(Duration::from_millis(40)).await;
    let rig = Rig::app(&[blue.addr], &[], "").await;
    let mut client = Client::connect(rig.addr).await;
    assert_eq!(client.get("/", "").await?.body, "kept");
    left.store(1, Relaxed);
    assert_eq!(client.get("/", "").await?.body, "kept");
    left.store(1, Relaxed);
    client.send("DELETE / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    assert_eq!(
        client.answer().await?.status,
        502,
        "what changes something is not"
    );
    rig.judged_to_be(Blue, 3, 2).await;
    Ok(())
}

// ---- WebSockets -----------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_websockets_are_judged_by_their_handshake() -> Done {
    let (blue, green) = (
        Backend::named("blue").await,
        Backend::start(|_| Act::Upgrade).await,
    );
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    rig.weigh(100);
    let addr = rig.addr;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..625 {
                    let mut client = Client::connect(addr).await;
                    assert_eq!(client.get("/", UPGRADE).await.unwrap().status, 101);
                    client.send("hello").await;
                    let echoed = tokio::time::timeout(PATIENCE, client.exactly(5)).await;
                    assert_eq!(echoed.unwrap().unwrap(), b"hello");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await?;
    }
    rig.judged_to_be(Green, 5_000, 0).await;
    rig.idle().await;
    let mut open = Client::connect(rig.addr).await;
    assert_eq!(open.get("/", UPGRADE).await?.status, 101);
    rig.judged_to_be(Green, 5_001, 0).await;
    let upgraded = "shifter_upgraded_connections{pool=\"green\",service=\"app\"}";
    assert_eq!(
        (rig.board.in_flight(), rig.metric(upgraded)),
        (1, 1.0),
        "while it is open"
    );
    drop(open);
    rig.idle().await;
    eventually("the gauge falls", || rig.metric(upgraded) == 0.0).await;
    rig.judged_to_be(Green, 5_001, 0).await;
    Ok(())
}

/// Those of a pool that is let go end one by one; none ends that may stay after all.
#[tokio::test(flavor = "multi_thread")]
async fn tunnels_of_a_pool_on_its_way_out_end_one_by_one() -> Done {
    let blue = Backend::start(|_| Act::Upgrade).await;
    let rig = Rig::app(&[blue.addr], &[], "").await;
    let mut tunnels = vec![];
    for _ in 0..100 {
        let mut client = Client::connect(rig.addr).await;
        assert_eq!(client.get("/", UPGRADE).await?.status, 101);
        tunnels.push(client);
    }
    let closed =
        || rig.metric("shifter_upgraded_connections_closed_total{pool=\"blue\",service=\"app\"}");
    let member = rig.board.snapshot().services[0].pools[0][0].clone();
    let began = Instant::now();
    assert!(member.let_go(Some(Duration::from_secs(4))));
    assert!(!member.let_go(Some(Duration::from_secs(4))), "no news");
    eventually("some have ended", || closed() >= 20.0).await;
    let fifth = began.elapsed();
    assert!(
        fifth > Duration::from_millis(300),
        "not all at once: {fifth:?}"
    );

    member.let_go(None);
    let (at, left) = (closed(), rig.board.in_flight());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(closed() <= at + 1.0, "the others stay");
    assert!(left > 40, "{left}");
    member.let_go(Some(Duration::ZERO));
    rig.idle().await;
    assert_eq!(closed(), 100.0);
    for mut tunnel in tunnels {
        assert!(tunnel.answer().await.is_err(), "its end is seen");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_may_be_silent_and_a_handshake_may_not() -> Done {
    let more = "[service.app.timeouts]\nfirst_byte = \"150ms\"\nread = \"150ms\"\n";
    let blue = Backend::start(|_| Act::Upgrade).await;
    let rig = Rig::app(&[blue.addr], &[], more).await;
    let mut tunnel = Client::connect(rig.addr).await;
    assert_eq!(tunnel.get("/", UPGRADE).await?.status, 101);
    // The test is about time that passes.
    tokio::time::sleep(Duration::from_millis(500)).await;
    tunnel.send("still there").await;
    assert_eq!(tunnel.exactly(11).await?, b"still there");
    let hung = Backend::start(|_| Act::Hang).await;
    let rig = Rig::app(&[hung.addr], &[], more).await;
    assert_eq!(get(rig.addr, "/", UPGRADE).await?.status, 504);
    rig.judged_to_be(Blue, 1, 1).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_finds_nobody_is_tried_on_blue() -> Done {
    let blue = Backend::start(|_| Act::Upgrade).await;
    let mut rig = Rig::app(&[blue.addr], &[nobody()], "").await;
    rig.weigh(100);
    assert_eq!(get(rig.addr, "/", UPGRADE).await?.status, 101);
    rig.judged_to_be(Green, 1, 1).await;
    Ok(())
}

// ---- Nobody there, or nobody well -----------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn both_pools_dead_is_503_at_once() -> Done {
    let (blue, green) = (nobody(), nobody());
    let mut rig = Rig::app(&[blue], &[green], "").await;
    rig.weigh(50);
    let snapshot = rig.board.snapshot();
    for backend in snapshot.services[0].pools.iter().flatten() {
        rig.board.set_health(backend, Health::Down);
    }
    let mut client = Client::connect(rig.addr).await;
    // A block of newcomers: exactly half of it is green's.
    for _ in 0..20 {
        let refused = client.get("/", "").await?;
        assert_eq!(
            (refused.status, refused.header("retry-after")),
            (503, Some("1"))
        );
        assert_eq!(refused.header("server"), Some("shifter"));
    }
    rig.judged_to_be(Green, 10, 10).await;
    rig.judged_to_be(Blue, 10, 10).await;
    assert_eq!(rig.errors(Green, "no_backend"), 10.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_green_is_served_by_blue_and_still_charged() -> Done {
    let blue = Backend::named("blue").await;
    let mut rig = Rig::app(&[blue.addr], &[nobody()], "").await;
    rig.weigh(100);
    let snapshot = rig.board.snapshot();
    rig.board
        .set_health(&snapshot.services[0].pools[1][0], Health::Down);
    for _ in 0..5 {
        assert_eq!(get(rig.addr, "/", "").await?.body, "blue");
    }
    rig.judged_to_be(Green, 5, 5).await;
    rig.judged_to_be(Blue, 0, 0).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_without_a_share_gets_nobody_even_when_blue_is_dead() -> Done {
    let green = Backend::named("green").await;
    let mut rig = Rig::app(&[nobody()], &[green.addr], "").await;
    assert_eq!(get(rig.addr, "/", "").await?.status, 502);
    rig.judged_to_be(Blue, 1, 1).await;
    assert_eq!(green.requests(), 0);
    rig.weigh(1);
    assert_eq!(get(rig.addr, "/", "").await?.body, "green");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_in_a_row_eject_one_backend() -> Done {
    let (dead, well) = (nobody(), Backend::named("well").await);
    let more = "[service.app.eject]\nfailures = 3\nfor = \"1h\"\n";
    let rig = Rig::app(&[dead, well.addr], &[], more).await;
    let mut client = Client::connect(rig.addr).await;
    for _ in 0..200 {
        assert_eq!(client.get("/", "").await?.body, "well");
    }
    rig.judged_to_be(Blue, 200, 3).await;
    assert_eq!(rig.errors(Blue, "connect_refused"), 3.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn health_rises_and_falls_with_the_answers() -> Done {
    let sick = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (state, sees) = (sick.clone(), std::sync::atomic::Ordering::SeqCst);
    let green = Backend::start(move |head| {
        assert!(
            head.to_ascii_lowercase().contains("host: app.test\r\n"),
            "{head}"
        );
        Act::status(if state.load(sees) { 503 } else { 302 })
    })
    .await;
    let blue = Backend::named("blue").await;
    let rig = Rig::start(&format!(
        "[service.app]\nhosts = [\"app.test\"]\nblue = \"{}\"\ngreen = \"{}\"\n\
         [service.app.health]\npath = \"/health\"\ninterval = \"10ms\"\nrise = 2\nfall = 3\n",
        blue.addr, green.addr
    ))
    .await;
    let snapshot = rig.board.snapshot();
    let backend = &snapshot.services[0].pools[1][0];
    eventually("green is well at weight 0", || {
        backend.health() == Health::Up
    })
    .await;
    assert!(green.requests() >= 2, "rise is 2");
    sick.store(true, sees);
    eventually("green is ill", || backend.health() == Health::Down).await;
    sick.store(false, sees);
    eventually("green is well again", || backend.health() == Health::Up).await;
    Ok(())
}

// ---- Headers --------------------------------------------------------------------------------------

fn values(head: &str, name: &str) -> Vec<String> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

const FORGED: &str = "x-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\n\
    x-forwarded-host: evil\r\nforwarded: for=1.2.3.4\r\nproxy: http://evil\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_headers_are_ours_unless_they_are_trusted() -> Done {
    for (trust, address, proto, host) in [
        (false, vec!["127.0.0.1"], "http", "app"),
        (true, vec!["1.2.3.4", "127.0.0.1"], "https", "evil"),
    ] {
        let blue = Backend::named("blue").await;
        let rig = Rig::start(&format!(
            "[proxy]\ntrust_forwarded = {trust}\n{}",
            pools(&[blue.addr], &[])
        ))
        .await;
        get(rig.addr, "/", FORGED).await?;
        let head = blue.heads().pop().unwrap();
        assert_eq!(values(&head, "x-forwarded-for"), address);
        assert_eq!(values(&head, "x-forwarded-proto"), [proto]);
        assert_eq!(values(&head, "x-forwarded-host"), [host]);
        assert_eq!(values(&head, "proxy"), [""; 0]);
        assert_eq!(values(&head, "via"), [""; 0]);
        assert_eq!(values(&head, "forwarded").is_empty(), !trust);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_an_id_that_both_sides_see() -> Done {
    let blue = Backend::start(|_| {
        Act::Say("HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n".into())
    })
    .await;
    let rig = Rig::start(&format!(
        "[proxy]\nvia = true\n{}",
        pools(&[blue.addr], &[])
    ))
    .await;
    let long = "x".repeat(129);
    for (sent, kept) in [
        ("abc-1", true),
        ("with blank", false),
        (long.as_str(), false),
    ] {
        let answer = get(rig.addr, "/", &format!("x-request-id: {sent}\r\n")).await?;
        let head = blue.heads().pop().unwrap();
        let id = answer.header("x-request-id").unwrap();
        assert_eq!(values(&head, "x-request-id"), [id]);
        assert_eq!(id == sent, kept, "{id}");
        assert_eq!(
            (values(&head, "via"), answer.all("via")),
            (vec!["1.1 shifter".into()], vec!["1.1 shifter"])
        );
        assert_eq!(answer.header("keep-alive"), None);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_forwarded_is_refused() -> Done {
    let blue = Backend::named("blue").await;
    let rig = Rig::app(&[blue.addr], &[], "").await;
    let huge = format!(
        "GET / HTTP/1.1\r\nhost: app\r\nx: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("TRACE / HTTP/1.1\r\nhost: app\r\n\r\n", 405),
        ("CONNECT app:80 HTTP/1.1\r\nhost: app:80\r\n\r\n", 405),
        (
            "POST / HTTP/1.1\r\nhost: app\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        (&huge, 431),
    ] {
        let mut client = Client::connect(rig.addr).await;
        client.send(request).await;
        assert_eq!(
            client.answer().await?.status,
            status,
            "{}",
            &request[..30.min(request.len())]
        );
        client.closed().await?;
    }
    assert_eq!(blue.requests(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_at_once_get_two_answers() -> Done {
    let blue =
        Backend::start(|head| Act::ok(if head.contains("/one") { "one" } else { "two" })).await;
    let rig = Rig::app(&[blue.addr], &[], "").await;
    let mut client = Client::connect(rig.addr).await;
    client
        .send("GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    assert_eq!(client.answer().await?.body, "one");
    assert_eq!(client.answer().await?.body, "two");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_as_many_requests_as_allowed() -> Done {
    let blue = Backend::named("blue").await;
    let rig = Rig::start(&format!(
        "[proxy]\nkeepalive_requests = 3\n{}",
        pools(&[blue.addr], &[])
    ))
    .await;
    let mut client = Client::connect(rig.addr).await;
    for _ in 0..2 {
        assert_eq!(
            client.get("/", "").await?.header("connection"),
            Some("keep-alive")
        );
    }
    assert_eq!(
        client.get("/", "").await?.header("connection"),
        Some("close")
    );
    client.closed().await
}

// ---- Doors ----------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_goodbye_and_waits_for_what_is_under_way() -> Done {
    let gate = Arc::new(Notify::new());
    let held = gate.clone();
    let blue = Backend::start(move |head| {
        if head.contains("/slow") {
            Act::After(held.clone(), answer(200, "slow"))
        } else {
            Act::ok("fast")
        }
    })
    .await;
    let toml = format!(
        "[proxy.shutdown]\nlame_duck = \"300ms\"\n{}",
        pools(&[blue.addr], &[])
    );
    let mut rig = Rig::start(&toml).await;
    let mut busy = Client::connect(rig.addr).await;
    assert_eq!(
        busy.get("/", "").await?.header("connection"),
        Some("keep-alive")
    );
    let mut idle = Client::connect(rig.addr).await;
    assert_eq!(idle.get("/", "").await?.status, 200);
    let mut slow = Client::connect(rig.addr).await;
    slow.send("GET /slow HTTP/1.1\r\nhost: app\r\n\r\n").await;
    eventually("the slow request came", || blue.requests() == 3).await;

    let (board, addr) = (rig.board.clone(), rig.addr);
    let stopping = tokio::spawn(async move { rig.stop().await });
    eventually("the lame duck", || board.draining()).await;
    let goodbye = busy.get("/", "").await?;
    assert_eq!(
        (goodbye.status, goodbye.header("connection")),
        (200, Some("close"))
    );
    busy.closed().await?;
    idle.closed().await?;
    let refused = || std::net::TcpStream::connect(addr).is_err();
    eventually("the doors are closed", refused).await;
    assert!(!stopping.is_finished(), "a request is under way");
    gate.notify_one();
    assert_eq!(slow.answer().await?.body, "slow");
    let stopped = stopping.await?;
    assert_eq!((stopped.finished, stopped.cut), (1, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cuts_at_its_deadline_and_takes_no_time_when_idle() -> Done {
    let blue = Backend::start(|_| Act::Hang).await;
    let toml = format!(
        "[proxy.shutdown]\nlame_duck = \"0s\"\ndeadline = \"100ms\"\n{}",
        pools(&[blue.addr], &[])
    );
    let mut rig = Rig::start(&toml).await;
    let mut client = Client::connect(rig.addr).await;
    client.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    eventually("it came", || blue.requests() == 1).await;
    let stopped = rig.stop().await;
    assert_eq!((stopped.finished, stopped.cut), (0, 1));
    client.closed().await?;
    rig.judged_to_be(Blue, 0, 0).await;
    rig.idle().await;

    let toml = format!(
        "[proxy.shutdown]\nlame_duck = \"5m\"\n{}",
        pools(&[blue.addr], &[])
    );
    let mut idle = Rig::start(&toml).await;
    let stopped = tokio::time::timeout(PATIENCE, idle.stop())
        .await
        .expect("an idle stop is short");
    assert_eq!((stopped.finished, stopped.cut), (0, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_limit_wait() -> Done {
    let blue = Backend::named("blue").await;
    let rig = Rig::start(&format!(
        "[proxy]\nmax_connections = 2\n{}",
        pools(&[blue.addr], &[])
    ))
    .await;
    let mut first = Client::connect(rig.addr).await;
    let mut second = Client::connect(rig.addr).await;
    first.get("/", "").await?;
    second.get("/", "").await?;
    let mut third = Client::connect(rig.addr).await;
    third.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    assert_eq!(rig.proxy.as_ref().unwrap().connections(), 2);
    assert_eq!(blue.requests(), 2);
    drop(first);
    assert_eq!(third.answer().await?.status, 200);
    Ok(())
}
