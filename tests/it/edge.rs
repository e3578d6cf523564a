//! The edge: what is taken from users, who they are, and what is told of them.

use crate::support::backend::{Act, Backend};
use crate::support::client::{Client, UPGRADE, get};
use crate::support::rig::{RARE_CHECKS, Rig, pools};
use crate::support::shifter::Home;
use crate::support::{apps, eventually};
use serde_json::Value;
use shifter::core::table::Color::Blue;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Done = std::io::Result<()>;

/// One service behind `[proxy]` with these lines.
async fn rig(backend: SocketAddr, proxy: &str) -> Rig {
    Rig::start(&format!(
        "[proxy]\n{proxy}\n{}{RARE_CHECKS}",
        pools(&[backend], &[])
    ))
    .await
}

fn refused(rig: &Rig, code: u16) -> f64 {
    rig.metric(&format!(
        "shifter_http_refused_requests_total{{code=\"{code}\"}}"
    ))
}

fn values(head: &str, name: &str) -> Vec<String> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().to_owned())
        .collect()
}

// ---- Limits ---------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_has_an_answer_of_its_own() -> Done {
    let blue = Backend::named("blue").await;
    let limits = "limits = { header = \"2KiB\", headers = 10, uri = \"100B\", body = \"1KiB\" }";
    let rig = rig(blue.addr, limits).await;
    let uri = |n: usize| format!("/{}", "a".repeat(n - 1));
    let body = |n: usize| {
        format!(
            "POST / HTTP/1.1\r\nhost: app\r\ncontent-length: {n}\r\n\r\n{}",
            "x".repeat(n)
        )
    };
    let chunks = |n: usize| {
        format!(
            "POST / HTTP/1.1\r\nhost: app\r\ntransfer-encoding: chunked\r\n\r\n{n:x}\r\n{}\r\n0\r\n\r\n",
            "x".repeat(n)
        )
    };
    let get = |uri: &str, more: &str| format!("GET {uri} HTTP/1.1\r\nhost: app\r\n{more}\r\n");
    let fields = |n: usize| "x: y\r\n".repeat(n - 1);
    let mut asked = 0;
    for (bytes, status) in [
        (get(&uri(100), ""), 200),
        (get(&uri(101), ""), 414),
        (get("/", &fields(10)), 200),
        (get("/", &fields(11)), 431),
        (get("/", &format!("x: {}\r\n", "y".repeat(2_014))), 200),
        (get("/", &format!("x: {}\r\n", "y".repeat(2_015))), 431),
        (body(1_024), 200),
        (body(1_025), 413),
        (chunks(1_024), 200),
        (chunks(1_025), 413),
    ] {
        let mut client = Client::connect(rig.addr).await;
        client.send(&bytes).await;
        let answer = client.answer().await?;
        assert_eq!(answer.status, status, "{bytes:.60}");
        asked += usize::from(status == 200);
        if status != 200 {
            assert_eq!(answer.header("connection"), Some("close"));
            client.closed().await?;
        }
    }
    let begun = blue
        .heads()
        .iter()
        .filter(|head| head.contains(" HTTP/1.1\r\n"))
        .count();
    assert!(
        begun <= asked + 1,
        "{begun} of {asked}: only a chunked body may have begun to be sent"
    );
    for (code, count) in [(414, 1.0), (431, 2.0), (413, 2.0)] {
        eventually("it is counted", || refused(&rig, code) == count).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_connections_and_a_pace() -> Done {
    let blue = Backend::named("blue").await;
    let seats = rig(blue.addr, "limits = { connections_per_address = 2 }").await;
    let mut kept = vec![
        Client::connect(seats.addr).await,
        Client::connect(seats.addr).await,
    ];
    for client in &mut kept {
        assert_eq!(client.get("/", "").await?.status, 200);
    }
    let mut third = Client::connect(seats.addr).await;
    third.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    assert_eq!(third.answer().await?.status, 429);
    third.closed().await?;
    assert_eq!(refused(&seats, 429), 1.0);
    kept.pop();
    let open = || seats.proxy.as_ref().unwrap().connections();
    eventually("it is gone", || open() == 1).await;
    assert_eq!(get(seats.addr, "/", "").await?.status, 200);

    let pace = rig(blue.addr, "limits = { requests_per_address = 1 }").await;
    let mut statuses = vec![];
    for _ in 0..3 {
        statuses.push(get(pace.addr, "/", "").await?.status);
    }
    assert!(
        statuses[0] == 200 && statuses.contains(&429),
        "{statuses:?}"
    );
    Ok(())
}

// ---- Who it is ------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn only_trusted_proxies_say_who_it_is() -> Done {
    let forged = "x-forwarded-for: 9.9.9.9, 10.1.1.1\r\nx-forwarded-proto: https\r\nx_forwarded_for: 6.6.6.6\r\n";
    for (trusted, address, proto) in [
        ("10.0.0.0/8", "127.0.0.1", "http"),
        ("127.0.0.0/8", "9.9.9.9, 10.1.1.1, 127.0.0.1", "https"),
    ] {
        let blue = Backend::named("blue").await;
        let rig = rig(blue.addr, &format!("trusted_proxies = [\"{trusted}\"]")).await;
        get(rig.addr, "/", forged).await?;
        let head = blue.heads().pop().unwrap();
        assert_eq!(values(&head, "x-forwarded-for").join(", "), address);
        assert_eq!(values(&head, "x-forwarded-proto"), [proto]);
        assert_eq!(
            values(&head, "x_forwarded_for"),
            [""; 0],
            "CGI would take it for ours"
        );
    }
    Ok(())
}

/// What apps and frameworks take for a proxy's word, in any spelling that CGI programs cannot tell apart.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_says_is_said_by_a_proxy_or_not_at_all() -> Done {
    const CLAIMS: [&str; 15] = [
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Forwarded-Prefix",
        "X-Forwarded-Ssl",
        "X-Forwarded-Scheme",
        "X-Client-IP",
        "True-Client-IP",
        "X-Cluster-Client-Ip",
        "CF-Connecting-IP",
        "Fastly-Client-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "Forwarded",
        "Front-End-Https",
        "X_Client_IP",
    ];
    let mut claims = String::from("X-Real-IP: 6.6.6.6\r\nX-Token: mine\r\n");
    CLAIMS
        .iter()
        .for_each(|name| claims.push_str(&format!("{name}: 6.6.6.6\r\n")));
    for (trusted, real) in [("10.0.0.0/8", "127.0.0.1"), ("127.0.0.0/8", "6.6.6.6")] {
        let blue = Backend::named("blue").await;
        let rig = rig(blue.addr, &format!("trusted_proxies = [\"{trusted}\"]")).await;
        get(rig.addr, "/", &claims).await?;
        let head = blue.heads().pop().unwrap();
        assert_eq!(values(&head, "x-real-ip"), [real]);
        assert_eq!(values(&head, "x-token"), ["mine"]);
        for name in CLAIMS {
            let trusts = trusted.starts_with("127") && !name.contains('_');
            assert_eq!(
                values(&head, name).len(),
                usize::from(trusts),
                "{name}: {head}"
            );
        }
        // Without a word of its own a trusted proxy leaves it to us.
        get(rig.addr, "/", "x-forwarded-for: 9.9.9.9\r\n").await?;
        let head = blue.heads().pop().unwrap();
        let expected = if trusted.starts_with("127") {
            "9.9.9.9"
        } else {
            "127.0.0.1"
        };
        assert_eq!(values(&head, "x-real-ip"), [expected]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_balancer_speaks_the_proxy_protocol() -> Done {
    let binary = {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend([203, 0, 113, 7, 127, 0, 0, 1, 0x1f, 0x90, 0, 80]);
        header
    };
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    let request = b"GET / HTTP/1.1\r\nhost: app\r\nx-forwarded-for: 1.2.3.4\r\n\r\n";
    let blue = Backend::named("blue").await;
    let on = rig(
        blue.addr,
        "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]",
    )
    .await;
    for (header, user) in [
        (
            b"PROXY TCP4 203.0.113.7 127.0.0.1 8080 80\r\n".to_vec(),
            "203.0.113.7",
        ),
        (
            b"PROXY TCP6 2001:db8::7 ::1 8080 80\r\n".to_vec(),
            "2001:db8::7",
        ),
        (binary, "203.0.113.7"),
        // The balancer itself is trusted, and so is what it says in the header.
        (local, "1.2.3.4, 127.0.0.1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "1.2.3.4, 127.0.0.1"),
    ] {
        for split in [0, 7, header.len()] {
            let mut client = Client::connect(on.addr).await;
            client.stream.write_all(&header[..split]).await?;
            tokio::task::yield_now().await;
            client
                .stream
                .write_all(&[&header[split..], request].concat())
                .await?;
            assert_eq!(client.answer().await?.status, 200);
            let head = blue.heads().pop().unwrap();
            assert_eq!(values(&head, "x-forwarded-for").join(", "), user);
        }
    }
    for nothing in [
        &request[..],
        b"PROXY TCP4 nonsense\r\n",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 8080 80 81\r\n",
    ] {
        let mut client = Client::connect(on.addr).await;
        client.stream.write_all(nothing).await?;
        client.closed().await?;
    }
    let asked = blue.requests();
    // Who is not trusted is a user: for users it is no HTTP.
    let other = rig(
        blue.addr,
        "proxy_protocol = true\ntrusted_proxies = [\"192.0.2.1\"]",
    )
    .await;
    let mut client = Client::connect(other.addr).await;
    client
        .send("PROXY TCP4 203.0.113.7 127.0.0.1 8080 80\r\nGET / HTTP/1.1\r\nhost: app\r\n\r\n")
        .await;
    assert_eq!(client.answer().await?.status, 400);
    assert_eq!(blue.requests(), asked);
    assert_eq!(get(other.addr, "/", "").await?.status, 200);
    Ok(())
}

// ---- From hop to hop ------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_the_next_hop_goes_no_further() -> Done {
    let blue = Backend::start(|head| {
        let status = if head.contains("/upgrade") { "426 Upgrade Required" } else { "200 OK" };
        Act::Say(format!(
            "HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: keep-alive, X-Own, content-length, Upgrade\r\nx-own: a\r\n\
             keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nproxy-authenticate: Basic\r\nupgrade: h2c\r\n\
             te: trailers\r\nx-kept: b\r\n\r\nok"
        ))
    })
    .await;
    let rig = rig(blue.addr, "").await;
    let mut client = Client::connect(rig.addr).await;
    let sent = "connection: close, x-mine\r\nx-mine: a\r\nkeep-alive: 5\r\nproxy-connection: b\r\nproxy-authorization: c\r\n\
                te: trailers\r\ntrailer: d\r\nupgrade: foo\r\nproxy: http://evil\r\nx-kept: e\r\n";
    let answer = client.get("/", sent).await?;
    let head = blue.heads().pop().unwrap();
    for name in [
        "x-mine",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
        "proxy",
    ] {
        assert_eq!(values(&head, name), [""; 0], "{name} of the request");
    }
    for name in [
        "x-own",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "upgrade",
        "te",
    ] {
        assert_eq!(answer.header(name), None, "{name} of the answer");
    }
    assert_eq!(
        (values(&head, "x-kept").len(), answer.header("x-kept")),
        (1, Some("b"))
    );
    let must = get(rig.addr, "/upgrade", "").await?;
    assert_eq!((must.status, must.header("upgrade")), (426, Some("h2c")));
    // Who a user is may not get lost on the way.
    let asked = blue.requests();
    for names in ["authorization", "close, Cookie", "keep-alive,COOKIE ,x"] {
        let sent = format!("connection: {names}\r\ncookie: a=b\r\nauthorization: c\r\n");
        assert_eq!(get(rig.addr, "/", &sent).await?.status, 400, "{names}");
    }
    assert_eq!(blue.requests(), asked);
    Ok(())
}

// ---- Strictness where a connection goes on ---------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_upgrade_waits_for_its_answer() -> Done {
    let blue = Backend::start(|_| Act::Upgrade).await;
    let rig = rig(blue.addr, "").await;
    let mut client = Client::connect(rig.addr).await;
    // Bytes that are no HTTP, sent at once with the request: they are the tunnel's.
    let mut bytes = format!("GET / HTTP/1.1\r\nhost: app\r\n{UPGRADE}\r\n").into_bytes();
    bytes.extend(b"\x00\x01early\n");
    client.stream.write_all(&bytes).await?;
    assert_eq!(client.answer().await?.status, 101);
    client.stream.write_all(b"\x82\x00 : late").await?;
    assert_eq!(
        client.exactly(16).await?,
        b"\x00\x01early\n\x82\x00 : late"[..16]
    );
    Ok(())
}

/// User, proxy, proxy, backend: all four ends are of this process.
#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_takes_two_descriptors_as_any_connection() -> Done {
    const TUNNELS: usize = 50;
    let open = || std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    let blue = Backend::start(|_| Act::Upgrade).await;
    let rig = rig(blue.addr, "").await;
    let (before, mut users) = (open()?, Vec::new());
    for _ in 0..TUNNELS {
        let mut user = Client::connect(rig.addr).await;
        let asked = format!("GET / HTTP/1.1\r\nhost: app\r\n{UPGRADE}\r\n");
        user.stream.write_all(asked.as_bytes()).await?;
        assert_eq!(user.answer().await?.status, 101);
        users.push(user);
    }
    let taken = open()? - before;
    assert!(
        (4 * TUNNELS..4 * TUNNELS + 10).contains(&taken),
        "{taken} descriptors of {TUNNELS} tunnels"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_told_and_not_held_against_a_pool() -> Done {
    // To the third it says nothing: the refusal is the first answer, whichever byte comes first.
    let blue = Backend::start(|head| match head.contains("/3") {
        true => Act::Hang,
        false => Act::ok("blue"),
    })
    .await;
    let rig = rig(blue.addr, "").await;
    let mut client = Client::connect(rig.addr).await;
    client
        .send("GET /1 HTTP/1.1\r\nhost: app\r\n\r\nGET /2 HTTP/1.1\r\nhost : app\r\n\r\n")
        .await;
    assert_eq!(client.answer().await?.status, 200, "the valid one first");
    let answer = client.answer().await?;
    assert_eq!(
        (answer.status, answer.header("connection")),
        (400, Some("close"))
    );
    client.closed().await?;
    // In a body: the backend has it already, and sees it cut.
    let mut client = Client::connect(rig.addr).await;
    client
        .send("POST /3 HTTP/1.1\r\nhost: app\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    client.send("0x5\r\nhello\r\n0\r\n\r\n").await;
    assert_eq!(client.answer().await?.status, 400);
    eventually("both are counted", || refused(&rig, 400) == 2.0).await;
    rig.idle().await;
    assert_eq!(rig.judged(Blue).failed, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_in_is_given_up_and_a_slow_one_is_not() -> Done {
    // It says nothing before it has the whole body.
    let blue = Backend::start(|head| match head.contains("/drip") {
        true => Act::Hang,
        false => Act::ok("blue"),
    })
    .await;
    let rig = rig(blue.addr, "limits = { body_time = \"300ms\" }").await;
    let mut client = Client::connect(rig.addr).await;
    let post = |path, length| {
        format!("POST {path} HTTP/1.1\r\nhost: app\r\ncontent-length: {length}\r\n\r\n")
    };
    client.send(&post("/drip", 1_000)).await;
    let mut drops = 0;
    let answer = loop {
        tokio::select! {
            biased;
            answer = client.answer() => break answer?,
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => drops += 1,
        }
        client.send("x").await;
    };
    assert_eq!(answer.status, 408);
    assert!((2..100).contains(&drops), "after some drops: {drops}");
    client.closed().await?;
    eventually("it is counted", || refused(&rig, 408) == 1.0).await;
    // As long in all, and each part earns its wait.
    let mut client = Client::connect(rig.addr).await;
    client.send(&post("/steady", 10 * 1_024)).await;
    for _ in 0..10 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        client.send(&"x".repeat(1_024)).await;
    }
    assert_eq!(client.answer().await?.status, 200);
    rig.idle().await;
    assert_eq!(rig.judged(Blue).failed, 0, "the user's own fault");
    Ok(())
}

// ---- The access log -------------------------------------------------------------------------------

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_line_without_secrets() -> Done {
    let dir = tempfile::tempdir().unwrap();
    for format in ["json", "combined"] {
        let path = dir.path().join(format);
        let blue = Backend::named("blue").await;
        let more = format!(
            "{}[log]\naccess = \"{format}\"\naccess_file = {path:?}\n{RARE_CHECKS}",
            pools(&[blue.addr], &[])
        );
        let mut rig = Rig::start(&more).await;
        get(rig.addr, "/a?b=c&token=s3cret", "cookie: s3cret\r\nauthorization: Bearer s3cret\r\nuser-agent: x\"\\\té\r\nreferer: http://u:s3cret@h/?key=s3cret\r\nx-request-id: id-1\r\n").await?;
        eventually("the first is told", || lines(&path).len() == 1).await;
        let mut client = Client::connect(rig.addr).await;
        client
            .stream
            .write_all(b"GET / HTTP/1.1\r\nhost: app\r\nx: \x1b[31m\r\n\r\n")
            .await?;
        assert_eq!(client.answer().await?.status, 400);
        eventually("the second is told", || lines(&path).len() == 2).await;
        get(rig.addr, "/a%0d%0a127.0.0.1%20-?x=%1b", "").await?;
        eventually("all is told", || lines(&path).len() == 3).await;
        let told = lines(&path);
        let text = told.join("\n");
        assert!(!text.contains("s3cret"), "{text}");
        assert!(
            text.bytes()
                .all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)),
            "{text}"
        );
        if format == "json" {
            let first: Value = serde_json::from_str(&told[0]).unwrap();
            for (key, value) in [
                ("client", "127.0.0.1"),
                ("method", "GET"),
                ("host", "app"),
                ("target", "/a?b=c&token=***"),
                ("version", "HTTP/1.1"),
                ("service", "app"),
                ("pool", "blue"),
                ("release", &blue.addr.to_string()),
                ("backend", &blue.addr.to_string()),
                ("request_id", "id-1"),
                ("user_agent", "x\"\\\té"),
                ("referer", "http://***@h/?key=***"),
            ] {
                assert_eq!(first[key], value, "{key} in {first}");
            }
            assert_eq!(
                (&first["status"], &first["bytes_sent"]),
                (&200.into(), &4.into())
            );
            let seconds = |key: &str| first[key].as_f64().unwrap();
            assert!(
                seconds("seconds") >= seconds("first_byte_seconds")
                    && seconds("first_byte_seconds") > 0.0
            );
            let second: Value = serde_json::from_str(&told[1]).unwrap();
            assert_eq!(
                (&second["status"], second["method"].as_str()),
                (&400.into(), None)
            );
            assert!(
                second["refused"]
                    .as_str()
                    .unwrap()
                    .contains("control character")
            );
        } else {
            assert!(
                told[0]
                    .contains("\"GET /a?b=c&token=*** HTTP/1.1\" 200 4 \"http://***@h/?key=***\""),
                "{}",
                told[0]
            );
            assert!(told[1].contains("] \"-\" 400 0 "), "{}", told[1]);
        }
        assert_eq!(rig.metric("shifter_access_log_dropped_lines_total"), 0.0);
        rig.stop().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_opened_anew_on_both_signals() -> Done {
    let (blue, green) = (apps::Running::start("blue"), apps::Running::start("green"));
    let home = Home::new(&blue, &green, "");
    let (path, moved) = (
        home.state().with_file_name("access.log"),
        home.state().with_file_name("moved"),
    );
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text.replacen(
        "log.level",
        "log.access = \"json\"\nlog.access_file = \"access.log\"\nlog.level",
        1,
    );
    std::fs::write(home.config(), text).unwrap();
    let shifter = home.serve().await;
    let mut before = lines(&path).len();
    for (round, signal) in ["USR1", "HUP"].into_iter().enumerate() {
        get(home.proxy, &format!("/{round}"), "").await?;
        eventually("a line", || lines(&path).len() > before).await;
        std::fs::rename(&path, &moved)?;
        shifter.signal(signal);
        eventually("a new file", || path.exists()).await;
        get(home.proxy, &format!("/new-{round}"), "").await?;
        eventually("it has the next line", || {
            lines(&path)
                .iter()
                .any(|line| line.contains(&format!("/new-{round}")))
        })
        .await;
        assert!(
            lines(&moved)
                .iter()
                .any(|line| line.contains(&format!("\"/{round}\"")))
        );
        before = lines(&path).len();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_stops_holds_nobody_up() -> Done {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()?
            .success()
    );
    let mut reader = tokio::net::unix::pipe::OpenOptions::new()
        .read_write(true)
        .open_receiver(&pipe)?;
    let blue = Backend::named("blue").await;
    let more = format!(
        "{}[log]\naccess = \"json\"\naccess_file = {pipe:?}\n{RARE_CHECKS}",
        pools(&[blue.addr], &[])
    );
    let rig = Rig::start(&more).await;
    let dropped = || rig.metric("shifter_access_log_dropped_lines_total");
    let agent = format!("user-agent: {}\r\n", "x".repeat(1_500));
    let mut client = Client::connect(rig.addr).await;
    for n in 0.. {
        if n % 900 == 899 {
            client = Client::connect(rig.addr).await;
        }
        assert_eq!(client.get("/", &agent).await?.status, 200);
        if n % 100 == 0 && dropped() > 10.0 {
            break;
        }
        assert!(n < 20_000, "nothing is dropped: the queue has no end");
    }
    let mut some = [0; 100];
    reader.read_exact(&mut some).await?;
    assert!(some.starts_with(b"{\"time\":"));
    Ok(())
}
