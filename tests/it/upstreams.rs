//! Odd answers of a backend: what users get, and what the judge is told.

use crate::support::backend::{Act, Backend};
use crate::support::client::{Client, get};
use crate::support::rig::{Judged, Rig};
use shifter::core::table::Color::{Blue, Green};

/// What a user gets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gets {
    Whole(u16),
    /// An answer that breaks off, so that nobody takes it for a whole one.
    Cut,
}
use Gets::{Cut, Whole};

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// Name, what green says before it closes, what the user gets, and whether green failed.
fn cases() -> Vec<(&'static str, String, Gets, bool)> {
    let after = |rest: &str| format!("{OK}{rest}");
    let many: String = (0..1_000).map(|n| format!("x-{n}: v\r\n")).collect();
    vec![
        ("hop headers", after("content-length: 2\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=75\r\n\r\nok"), Whole(200), false),
        ("length and chunks", after("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Whole(200), false),
        ("two lengths", after("content-length: 2\r\ncontent-length: 3\r\n\r\nok"), Whole(502), true),
        ("short", after("content-length: 10\r\n\r\nok"), Cut, true),
        ("long", after("content-length: 2\r\n\r\nokEXTRA"), Whole(200), false),
        ("chunk cut", after("transfer-encoding: chunked\r\n\r\n5\r\nhel"), Cut, true),
        ("chunk bad", after("transfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"), Cut, true),
        ("bare line feeds", "HTTP/1.1 200 OK\ncontent-length: 2\n\nok".into(), Whole(200), false),
        ("nul in a header", after("x-a: a\0b\r\ncontent-length: 2\r\n\r\nok"), Whole(502), true),
        ("folded header", after("x-a: a\r\n b\r\ncontent-length: 2\r\n\r\nok"), Whole(200), false),
        ("status 999", "HTTP/1.1 999 Weird\r\ncontent-length: 2\r\n\r\nok".into(), Whole(999), true),
        ("status of two digits", "HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\nok".into(), Whole(502), true),
        ("101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nsmuggle".into(), Whole(502), true),
        ("100 first", format!("HTTP/1.1 100 Continue\r\n\r\n{OK}content-length: 2\r\n\r\nok"), Whole(200), false),
        ("103 first", format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n{OK}content-length: 2\r\n\r\nok"), Whole(200), false),
        ("204 with a body", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok".into(), Whole(204), false),
        ("304 with a length", "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n".into(), Whole(304), false),
        ("a header of 100 kB", after(&format!("x-a: {}\r\ncontent-length: 2\r\n\r\nok", "a".repeat(100_000))), Whole(200), false),
        ("a thousand headers", after(&format!("{many}content-length: 2\r\n\r\nok")), Whole(502), true),
        ("no framing", after("\r\nok-until-close"), Whole(200), false),
        ("http/1.0", "HTTP/1.0 200 OK\r\n\r\nok".into(), Whole(200), false),
        ("garbage", "\0\u{1}\u{2}garbage\r\n\r\n".into(), Whole(502), true),
        ("ssh", "SSH-2.0-x\r\n".into(), Whole(502), true),
        ("two answers", format!("{OK}content-length: 2\r\n\r\nok").repeat(2), Whole(200), false),
        ("500", "HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nno".into(), Whole(500), true),
        // What only reads is asked of blue; it is green's failure all the same.
        ("nothing", String::new(), Whole(200), true),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_odd_answer_is_told_apart() {
    let blue = Backend::named("blue").await;
    let mut wrong = vec![];
    let cases = cases();
    for (name, says, gets, fails) in &cases {
        let says = says.clone();
        let green = Backend::start(move |_| Act::Last(says.clone())).await;
        let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
        rig.weigh(100);
        let mut client = Client::connect(rig.addr).await;
        let mut answer = client.get("/", "").await;
        while answer
            .as_ref()
            .is_ok_and(|answer| matches!(answer.status, 100 | 103))
        {
            answer = client.answer().await;
        }
        // Who unfolds a header must not pass the fold on.
        let folded = answer
            .as_ref()
            .is_ok_and(|answer| answer.head.contains("\r\n "));
        assert!(!folded, "{name}: {answer:?}");
        let got = answer.map_or(Cut, |answer| Whole(answer.status));
        let counted = |judged: Judged| judged.requests + judged.failed > 0;
        crate::support::eventually(name, || counted(rig.judged(Green))).await;
        let judged = rig.judged(Green);
        if (got, judged.failed == 1, judged.requests) != (*gets, *fails, 1)
            || counted(rig.judged(Blue))
        {
            wrong.push(format!("{name}: {got:?}, {judged:?}"));
        }
    }
    // A reset in the middle has an act of its own.
    let cut = format!("{OK}content-length: 100\r\n\r\npart");
    let green = Backend::start(move |_| Act::Reset(cut.clone())).await;
    let mut rig = Rig::app(&[blue.addr], &[green.addr], "").await;
    rig.weigh(100);
    assert!(get(rig.addr, "/", "").await.is_err());
    rig.judged_to_be(Green, 1, 1).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} odd answers told apart", cases.len() + 1);
}
