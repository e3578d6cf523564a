//! TLS with users and with backends: what is shown, what is refused, what changes while all runs.

use crate::support::apps::{free_port, pair};
use crate::support::backend::{Act, Backend};
use crate::support::client::{Answer, Client, get};
use crate::support::load::{Load, Plan};
use crate::support::rig::{RARE_CHECKS, Rig};
use crate::support::shifter::{Home, PATIENT, STILL};
use crate::support::tls::{Authority, OVER, Pair, connect, inward, outward, shown, write};
use crate::support::{PATIENCE, eventually, h2};
use rustls::version::{TLS12, TLS13};
use shifter::core::table::Color::Blue;
use shifter::store::shared_state::Health;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const H1: &str = "http/1.1";

/// One listener with TLS, certificates `one` for a.test and `two` for *.b.test and c.test.
struct Ground {
    folder: TempDir,
    authority: Authority,
    one: Pair,
    two: Pair,
    app: Backend,
}

impl Ground {
    async fn new() -> Ground {
        let authority = Authority::new();
        let ground = Ground {
            folder: tempfile::tempdir().unwrap(),
            one: authority.sign(&["a.test"]),
            two: authority.sign(&["*.b.test", "c.test"]),
            app: Backend::named("app").await,
            authority,
        };
        ground.one.write(ground.folder.path(), "one");
        ground.two.write(ground.folder.path(), "two");
        ground
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `more` are keys of `[proxy.tls]`, `service` of the service.
    async fn rig(&self, more: &str, service: &str) -> Rig {
        let folder = self.path().display();
        let app = self.app.addr;
        Rig::start(&format!(
            "[proxy.tls]\ncertificates = [\n\
             {{ cert = \"{folder}/one.pem\", key = \"{folder}/one.key\" }},\n\
             {{ cert = \"{folder}/two.pem\", key = \"{folder}/two.key\" }},\n]\n{more}\n\
             [service.app]\nblue = \"{app}\"\n{service}\n{RARE_CHECKS}"
        ))
        .await
    }

    /// Asks by TLS on a connection of its own.
    async fn ask(&self, rig: &Rig, path: &str, headers: &str) -> io::Result<Answer> {
        let pipe = outward(rig.tls(), "a.test", self.authority.client(None, H1)).await;
        get(pipe.addr, path, headers).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_the_certificate_of_the_name_asked_for() {
    let ground = Ground::new().await;
    let rig = ground.rig("", "").await;
    let (one, two) = (&ground.one.chain()[0], &ground.two.chain()[0]);
    for (name, expected) in [
        ("a.test", one),
        ("A.test", one),
        ("x.b.test", two),
        ("X.B.TEST", two),
        ("c.test", two),
    ] {
        for version in [&TLS12, &TLS13] {
            let client = ground.authority.client_of(&[version], None, H1);
            assert_eq!(shown(rig.tls(), name, client).await, *expected, "{name}");
        }
    }
    // For a name that nobody has the first one is shown, and the user's program says what it thinks of it.
    for name in ["x.y.b.test", "b.test", "other.test", "127.0.0.1"] {
        let client = ground.authority.client(None, H1);
        let error = connect(rig.tls(), name, client).await.unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("not valid for name") && error.contains("a.test"),
            "{name}: {error}"
        );
    }
    let file = ground.path().join("one.pem");
    let expires = rig.metric(&format!(
        "shifter_certificate_expiry_timestamp_seconds{{cert=\"{}\",name=\"a.test\"}}",
        file.display()
    ));
    assert_eq!(expires, 64_060_588_800.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_are_spoken_and_the_app_hears_of_https() {
    let ground = Ground::new().await;
    let rig = ground
        .rig(
            "hsts = \"max-age=63072000; includeSubDomains\"",
            "hosts = [\"app\", \"a.test\"]",
        )
        .await;
    let said = |head: &str| head.to_ascii_lowercase();
    let forged = "x-forwarded-proto: gopher\r\n";
    let answer = ground.ask(&rig, "/", forged).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "app"));
    assert_eq!(
        answer.all("strict-transport-security"),
        ["max-age=63072000; includeSubDomains"]
    );
    let head = said(&ground.app.heads()[0]);
    assert!(head.contains("\r\nx-forwarded-proto: https\r\n"), "{head}");
    assert!(!head.contains("gopher"), "{head}");
    let plain = get(rig.addr, "/", "").await.unwrap();
    // Without TLS nobody says it (RFC 6797, 7.2).
    assert_eq!(plain.header("strict-transport-security"), None);
    assert!(said(&ground.app.heads()[1]).contains("\r\nx-forwarded-proto: http\r\n"));

    let stream = connect(rig.tls(), "a.test", ground.authority.client(None, "h2")).await;
    let stream = stream.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let user = h2::User::on(stream).await;
    let got = user.ask(h2::get("https://a.test/")).await.unwrap();
    assert_eq!((got.status, got.body.as_str()), (200, "app"));
    assert!(
        got.header("strict-transport-security")
            .starts_with("max-age")
    );
    assert!(said(&ground.app.heads()[2]).contains("\r\nx-forwarded-proto: https\r\n"));
    // Our own answers say it as well.
    let own = user.ask(h2::get("https://nobody.test/")).await.unwrap();
    assert_eq!(own.status, 404);
    assert!(
        own.header("strict-transport-security")
            .starts_with("max-age")
    );
    // Who offers what we do not speak is refused in the handshake.
    let other = ground.authority.client(None, "smtp");
    assert!(connect(rig.tls(), "a.test", other).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_without_tls_is_sent_to_https() {
    let ground = Ground::new().await;
    let rig = ground
        .rig(
            "redirect = true\nredirect_port = 443",
            "hosts = [\"app\", \"www.a.test\", \"[::1]\"]",
        )
        .await;
    let cases = [
        ("GET /a/b?c=d&e", "app", 308, "https://app/a/b?c=d&e"),
        ("POST /", "www.A.test:8080", 308, "https://www.A.test/"),
        ("GET //evil.test/", "app", 308, "https://app//evil.test/"),
        ("GET /", "[::1]:80", 308, "https://[::1]/"),
        // Nobody is sent to a host that is not ours.
        ("GET /", "evil.test", 404, ""),
        ("GET /", "app.evil.test", 404, ""),
    ];
    for (start, host, status, location) in cases {
        let mut client = Client::connect(rig.addr).await;
        let request = format!("{start} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n\r\n");
        client.send(&request).await;
        let answer = client.answer().await.unwrap();
        assert_eq!(answer.status, status, "{start} {host}");
        assert_eq!(answer.header("location").unwrap_or_default(), location);
        assert_eq!(answer.header("strict-transport-security"), None);
    }
    assert_eq!(ground.app.requests(), 0);
    assert_eq!(ground.ask(&rig, "/", "").await.unwrap().status, 200);
    // Another port is named, and who came by another proxy's TLS stays.
    let rig = Rig::start(&format!(
        "[proxy]\ntrust_forwarded = true\n[proxy.tls]\nlisten = \"127.0.0.1:8443\"\nredirect = true\n\
         certificates = [{{ cert = \"{0}/one.pem\", key = \"{0}/one.key\" }}]\n\
         [service.app]\nblue = \"{1}\"\n{RARE_CHECKS}",
        ground.path().display(),
        ground.app.addr
    ))
    .await;
    let sent = get(rig.addr, "/x", "").await.unwrap();
    assert_eq!(sent.header("location"), Some("https://app:8443/x"));
    let stays = get(rig.addr, "/x", "x-forwarded-proto: https\r\n").await;
    assert_eq!(stays.unwrap().status, 200);
}

/// A ClientHello of an old version, as OpenSSL 1.0 sent it.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0, 4, 0xc0, 0x13, 0x00, 0x2f]);
    hello.extend([1, 0]);
    let mut record = vec![
        22,
        3,
        1,
        0,
        hello.len() as u8 + 4,
        1,
        0,
        0,
        hello.len() as u8,
    ];
    record.extend(hello);
    record
}

/// What comes back until the end.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = vec![];
    let read = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    let _ = read.expect("an end in time");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_of_today_is_refused() {
    let ground = Ground::new().await;
    let rig = ground.rig("", "").await;
    let failures = || rig.metric("shifter_tls_handshake_failures_total");
    for minor in [0, 1, 2] {
        let mut old = TcpStream::connect(rig.tls()).await.unwrap();
        old.write_all(&old_hello(minor)).await.unwrap();
        let said = rest(&mut old).await;
        // A fatal alert: protocol_version (70), or handshake_failure for what comes without extensions.
        assert_eq!(said[0], 21, "{minor}: {said:?}");
        assert!(
            matches!(said[5..7], [2, 70 | 40 | 47 | 109]),
            "{minor}: {said:?}"
        );
    }
    let mut refused = 3.0;
    let mut chance = 0x9E37_79B9_7F4A_7C15_u64;
    for length in [1, 5, 100, 4_000, 70_000] {
        let mut garbage = vec![];
        while garbage.len() < length {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // No letter at the start: that would be HTTP.
            garbage.push((chance >> 56) as u8 | 0x80);
        }
        let mut stream = TcpStream::connect(rig.tls()).await.unwrap();
        let _ = stream.write_all(&garbage).await;
        let _ = stream.shutdown().await;
        rest(&mut stream).await;
        refused += 1.0;
    }
    // The wrong port: said in words.
    let plain = get(rig.tls(), "/", "").await.unwrap();
    assert_eq!(plain.status, 400);
    assert!(plain.body.contains("https"), "{}", plain.body);
    refused += 1.0;
    eventually("all are counted", || failures() == refused).await;
    // Checks of balancers connect and say nothing: no failure.
    drop(TcpStream::connect(rig.tls()).await.unwrap());
    assert_eq!(ground.ask(&rig, "/", "").await.unwrap().status, 200);
    eventually("all are gone", || rig.metric("shifter_connections") == 0.0).await;
    assert_eq!(failures(), refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_handshakes_are_cut_and_the_others_go_on() {
    let ground = Ground::new().await;
    let rig = ground.rig("handshake_timeout = \"300ms\"", "").await;
    let begun = Instant::now();
    let mut slow = vec![];
    for n in 0..50 {
        let mut stream = TcpStream::connect(rig.tls()).await.unwrap();
        // Some are silent, some send the beginning, some a byte at a time.
        if n % 3 > 0 {
            stream.write_all(&old_hello(3)[..5 + n % 40]).await.unwrap();
        }
        slow.push(tokio::spawn(async move {
            let trickle = n % 3 == 2;
            let mut buffer = [0; 64];
            let beat = Duration::from_millis(20);
            loop {
                match timeout(beat, stream.read(&mut buffer)).await {
                    Ok(Ok(0) | Err(_)) => return begun.elapsed(),
                    Ok(Ok(_)) => {}
                    Err(_) if trickle => drop(stream.write_all(&[0]).await),
                    Err(_) => assert!(begun.elapsed() < PATIENCE, "never cut"),
                }
            }
        }));
    }
    assert_eq!(ground.ask(&rig, "/", "").await.unwrap().status, 200);
    let mut last = Duration::ZERO;
    for one in slow {
        last = last.max(one.await.unwrap());
    }
    println!("50 slow handshakes of 300 ms: the last was cut after {last:?}");
    eventually("nothing stays", || rig.metric("shifter_connections") == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_client_ca_only_its_users_come_in() {
    let ground = Ground::new().await;
    let (clients, others) = (Authority::new(), Authority::new());
    let file = write(ground.path(), "clients.pem", &clients);
    let rig = ground
        .rig(&format!("client_ca = \"{}\"", file.display()), "")
        .await;
    let own = clients.sign(&["user"]);
    let foreign = others.sign(&["user"]);
    for version in [&TLS12, &TLS13] {
        for (shown, good) in [(Some(&own), true), (Some(&foreign), false), (None, false)] {
            let client = ground.authority.client_of(&[version], shown, H1);
            let pipe = outward(rig.tls(), "a.test", client).await;
            let answer = get(pipe.addr, "/", "").await;
            assert_eq!(
                answer.is_ok_and(|answer| answer.status == 200),
                good,
                "{version:?}"
            );
        }
    }
    assert_eq!(ground.app.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_and_a_long_body_come_through() {
    let ground = Ground::new().await;
    let long = "x".repeat(3_000_000);
    let answer = crate::support::backend::answer(200, &long);
    let app = Backend::start(move |head| match head.contains("upgrade: websocket") {
        true => Act::Upgrade,
        false => Act::Say(answer.clone()),
    })
    .await;
    // By TLS on both sides.
    let inner = Authority::new();
    let ca = write(ground.path(), "inner.pem", &inner);
    let backend = inward(app.addr, &inner.sign(&["127.0.0.1"]), H1, None).await;
    let rig = Rig::start(&format!(
        "[proxy.tls]\ncertificates = [{{ cert = \"{0}/one.pem\", key = \"{0}/one.key\" }}]\n\
         [service.app]\nblue = \"{1}\"\ntls = {{ ca = \"{2}\" }}\n{RARE_CHECKS}",
        ground.path().display(),
        backend.addr,
        ca.display()
    ))
    .await;
    let pipe = outward(rig.tls(), "a.test", ground.authority.client(None, H1)).await;
    let mut client = Client::connect(pipe.addr).await;
    for _ in 0..3 {
        let answer = client.get("/", "").await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, long.len()));
    }
    let body = "y".repeat(1_000_000);
    client
        .send(&format!(
            "POST / HTTP/1.1\r\nhost: app\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    for _ in 0..50 {
        let mut socket = Client::connect(pipe.addr).await;
        let upgraded = socket
            .get("/", crate::support::client::UPGRADE)
            .await
            .unwrap();
        assert_eq!(upgraded.status, 101);
        socket.send("hello").await;
        assert_eq!(socket.exactly(5).await.unwrap(), b"hello");
    }
}

/// A service whose blue is met by TLS as `tls` says; what one request comes to.
async fn by_tls(addr: SocketAddr, tls: &str, more: &str) -> (Rig, Answer) {
    let rig = Rig::start(&format!(
        "[service.app]\nblue = \"{addr}\"\n{tls}\n{more}\n{RARE_CHECKS}"
    ))
    .await;
    let answer = get(rig.addr, "/", "").await.unwrap();
    (rig, answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_met_by_tls_only_when_it_proves_itself() {
    let app = Backend::named("app").await;
    let folder = tempfile::tempdir().unwrap();
    let (inner, other) = (Authority::new(), Authority::new());
    let ca = write(folder.path(), "ca.pem", &inner);
    let wrong = write(folder.path(), "wrong.pem", &other);
    let (ca, wrong) = (ca.display(), wrong.display());
    let named = inward(app.addr, &inner.sign(&["api.internal"]), H1, None).await;
    let numbered = inward(app.addr, &inner.sign(&["127.0.0.1"]), H1, None).await;
    let over = inward(app.addr, &inner.sign_for(&["127.0.0.1"], OVER), H1, None).await;
    let host = "hosts = [\"app\", \"API.internal\"]";
    let any_name = "tls = { insecure = true }".to_owned();
    let good = [
        (
            &named,
            format!("tls = {{ ca = \"{ca}\", server_name = \"api.internal\" }}"),
            "",
        ),
        (&numbered, format!("tls = {{ ca = \"{ca}\" }}"), ""),
        (&over, any_name.clone(), ""),
        (&named, any_name, ""),
    ];
    for (pipe, tls, more) in good {
        let (rig, answer) = by_tls(pipe.addr, &tls, more).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "app"), "{tls}");
        let blue = rig.board.snapshot().service("app").unwrap().pools[0][0].clone();
        assert_ne!(blue.health(), Health::Down);
    }
    let asked = app.requests();
    let bad = [
        // An authority that did not sign it, the system's, another name, a time that is over.
        (&numbered, format!("tls = {{ ca = \"{wrong}\" }}"), ""),
        (&numbered, "tls = true".to_owned(), ""),
        (&named, format!("tls = {{ ca = \"{ca}\" }}"), ""),
        (
            &named,
            format!("tls = {{ ca = \"{ca}\", server_name = \"x.internal\" }}"),
            "",
        ),
        (&numbered, format!("tls = {{ ca = \"{ca}\" }}"), host),
        (&over, format!("tls = {{ ca = \"{ca}\" }}"), ""),
    ];
    for (pipe, tls, more) in bad {
        let (rig, answer) = by_tls(pipe.addr, &tls, more).await;
        assert_eq!(answer.status, 502, "{tls} {more}");
        assert!(rig.errors(Blue, "connect_refused") >= 1.0, "{tls}");
        rig.judged_to_be(Blue, 1, 1).await;
    }
    assert_eq!(
        app.requests(),
        asked,
        "nothing was asked of who proved nothing"
    );
    // No TLS where TLS is asked for.
    let (rig, answer) = by_tls(app.addr, &format!("tls = {{ ca = \"{ca}\" }}"), "").await;
    assert_eq!(
        answer.status, 504,
        "it waits for a request, and never answers the handshake"
    );
    assert!(rig.errors(Blue, "connect_timeout") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_may_ask_who_we_are_and_speak_http2() {
    let folder = tempfile::tempdir().unwrap();
    let (inner, proxies) = (Authority::new(), Authority::new());
    let ca = write(folder.path(), "ca.pem", &inner);
    proxies.sign(&["shifter"]).write(folder.path(), "own");
    let trusted = format!("ca = \"{}\", server_name = \"api.internal\"", ca.display());
    let own = format!(
        "cert = \"{0}/own.pem\", key = \"{0}/own.key\"",
        folder.path().display()
    );
    let server = inner.sign(&["api.internal"]);

    let app = Backend::named("app").await;
    let strict = inward(app.addr, &server, H1, Some(&proxies)).await;
    let (_, answer) = by_tls(strict.addr, &format!("tls = {{ {trusted}, {own} }}"), "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "app"));
    let (_, answer) = by_tls(strict.addr, &format!("tls = {{ {trusted} }}"), "").await;
    assert_eq!(answer.status, 502, "without a certificate of ours");

    let grpc = h2::Backend::named("grpc").await;
    let modern = inward(grpc.addr, &server, "h2", Some(&proxies)).await;
    let (rig, answer) = by_tls(
        modern.addr,
        &format!("tls = {{ {trusted}, {own} }}\nprotocol = \"h2\""),
        "",
    )
    .await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "grpc"));
    let user = h2::User::connect(rig.addr).await;
    let got = user
        .send(h2::post("http://app/"), "question")
        .await
        .unwrap();
    assert_eq!(
        (got.body.as_str(), got.trailer("grpc-status")),
        ("grpc", "0")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_asked_by_tls_too() {
    let app = Backend::named("app").await;
    let folder = tempfile::tempdir().unwrap();
    let inner = Authority::new();
    let ca = write(folder.path(), "ca.pem", &inner);
    let good = inward(app.addr, &inner.sign(&["127.0.0.1"]), H1, None).await;
    let bad = inward(app.addr, &Authority::new().sign(&["127.0.0.1"]), H1, None).await;
    for path in ["", "path = \"/health\", "] {
        let rig = Rig::start(&format!(
            "[service.app]\nblue = [\"{}\", \"{}\"]\ntls = {{ ca = \"{}\" }}\n\
             health = {{ {path}interval = \"10ms\", rise = 1, fall = 1 }}\n",
            good.addr,
            bad.addr,
            ca.display()
        ))
        .await;
        let snapshot = rig.board.snapshot();
        let blue = &snapshot.service("app").unwrap().pools[0];
        let health = |at: usize| blue[at].health();
        eventually("both were asked", || {
            health(0) == Health::Up && health(1) == Health::Down
        })
        .await;
        for _ in 0..10 {
            assert_eq!(get(rig.addr, "/", "").await.unwrap().status, 200);
        }
    }
}

/// A home whose process listens with TLS as well.
fn tls_home(
    more: &str,
) -> (
    Home,
    SocketAddr,
    (crate::support::apps::Running, crate::support::apps::Running),
) {
    let apps = pair();
    let tls = free_port();
    let home = Home::new(
        &apps.0,
        &apps.1,
        &format!(
            "{STILL}{PATIENT}[proxy.tls]\nlisten = \"{tls}\"\n{more}\n\
             certificates = [{{ cert = \"one.pem\", key = \"one.key\" }}]\n"
        ),
    );
    (home, tls, apps)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_under_load_and_nobody_notices() {
    let authority = Authority::new();
    let (home, addr, _apps) = tls_home("");
    let folder = home.folder.path();
    let mut now = authority.sign(&["app"]);
    now.write(folder, "one");
    let mut shifter = home.serve().await;
    let client = || authority.client(None, H1);
    let kept = outward(addr, "app", client()).await;
    let fresh = outward(addr, "app", client()).await;
    let load = Load::paced(kept.addr, 400.0);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let churn = {
        let (stop, at) = (stop.clone(), fresh.addr);
        tokio::spawn(async move {
            let mut handshakes = 0;
            while !stop.load(Relaxed) {
                let answer = get(at, "/", "")
                    .await
                    .expect("a handshake while certificates change");
                assert_eq!(answer.status, 200);
                handshakes += 1;
            }
            handshakes
        })
    };
    let bad = [
        (authority.sign_for(&["app"], OVER), "expired"),
        (
            Pair {
                key: authority.sign(&["app"]).key,
                ..authority.sign(&["app"])
            },
            "not the key of",
        ),
        (
            Pair {
                cert: "nothing".into(),
                ..now.clone()
            },
            "without a certificate",
        ),
        (
            Pair {
                key: "nothing".into(),
                ..now.clone()
            },
            "without a private key",
        ),
    ];
    let reloads = 24;
    for n in 0..reloads {
        let (spoilt, why) = &bad[n % bad.len()];
        spoilt.write(folder, "one");
        let refused = home.client.reload().await.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
        assert_eq!(
            shown(addr, "app", client()).await,
            now.chain()[0],
            "{why} changes nothing"
        );
        now = authority.sign(&["app"]);
        now.write(folder, "one");
        if n % 2 == 0 {
            home.client.reload().await.unwrap();
        } else {
            shifter.signal("HUP");
        }
        let deadline = Instant::now() + PATIENCE;
        while shown(addr, "app", client()).await != now.chain()[0] {
            assert!(
                Instant::now() < deadline,
                "the new certificate is never shown"
            );
        }
        load.more(20).await;
    }
    std::fs::remove_file(folder.join("one.key")).unwrap();
    let refused = home.client.reload().await.unwrap_err().to_string();
    assert!(refused.contains("cannot be read"), "{refused}");
    stop.store(true, Relaxed);
    let handshakes = churn.await.unwrap();
    let closed = load.seen.closed.load(Relaxed);
    let (seen, _) = load.stop_clean().await;
    println!(
        "{reloads} reloads of certificates and {} refused: {} requests on kept connections, {handshakes} handshakes, 0 failed",
        reloads + 1,
        seen.answered()
    );
    assert_eq!(closed, 0, "no connection was closed");
    // Ends in order with connections by TLS open.
    let load = Load::start(
        kept.addr,
        Plan {
            leaves: true,
            ..Plan::default()
        },
    );
    load.more(100).await;
    shifter.signal("TERM");
    shifter.ended().await;
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_and_serve_tell_of_certificates() {
    let authority = Authority::new();
    let (home, _, _apps) = tls_home("");
    let folder = home.folder.path();
    let check = || {
        let status = home.command(&["check"]).status().unwrap();
        status.code()
    };
    assert_eq!(check(), Some(2), "{}", home.log());
    assert!(
        home.log().contains("which cannot be read"),
        "{}",
        home.log()
    );
    let one = authority.sign(&["app"]);
    Pair {
        key: authority.sign(&["app"]).key,
        ..one.clone()
    }
    .write(folder, "one");
    assert_eq!(check(), Some(2));
    assert!(
        home.log()
            .contains("this key is not the key of the certificate"),
        "{}",
        home.log()
    );
    // Expired: told, and served, for who else would see that something runs?
    authority.sign_for(&["app"], OVER).write(folder, "one");
    assert_eq!(check(), Some(0));
    assert!(
        home.log().contains("expired") && home.log().contains("2021-01-01"),
        "{}",
        home.log()
    );
    let before = home.log().matches("2021-01-01").count();
    let _shifter = home.serve().await;
    eventually("the start tells of it once", || {
        home.log().matches("2021-01-01").count() == before + 1
    })
    .await;
    let series = format!(
        "shifter_certificate_expiry_timestamp_seconds{{cert=\"{}/one.pem\",name=\"app\"}}",
        folder.display()
    );
    let expires = home.metric(&series).await;
    assert_eq!(expires, 1_609_459_200.0);
    // What is in use already hinders no other change.
    home.client.reload().await.unwrap();
}

/// `SHIFTER_IDLE_TLS` sets how many.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_by_tls_cost_little() {
    let authority = Authority::new();
    let (home, addr, _apps) = tls_home("");
    authority.sign(&["app"]).write(home.folder.path(), "one");
    let shifter = home.serve().await;
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", shifter.child.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap()
    };
    let count = crate::support::load::size("SHIFTER_IDLE_TLS", 300);
    let one = async |config: rustls::ClientConfig| {
        let mut stream = connect(addr, "app", config).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: app\r\n\r\n")
            .await
            .unwrap();
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream
    };
    let mut idle = vec![];
    for _ in 0..20 {
        idle.push(one(authority.client(None, H1)).await);
    }
    let before = memory();
    for _ in 0..count {
        idle.push(one(authority.client(None, H1)).await);
    }
    let after = memory();
    let each = (after - before) as f64 / count as f64;
    println!("{count} idle connections by TLS: {before} -> {after} kB, {each:.1} kB each");
    assert!(each < 120.0, "{each} kB for each idle connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_proves_nothing_is_told_of_but_not_each_time() {
    let authority = Authority::new();
    let app = Backend::named("app").await;
    let pipe = inward(app.addr, &authority.sign(&["127.0.0.1"]), H1, None).await;
    let (home, _, _apps) = tls_home("");
    let ca = write(home.folder.path(), "ca.pem", &Authority::new());
    let text = format!(
        "{}\n[service.app]\nblue = \"{}\"\ntls = {{ ca = \"{}\" }}\n{RARE_CHECKS}",
        home.head(),
        pipe.addr,
        ca.display()
    );
    std::fs::write(home.config(), text).unwrap();
    let _shifter = home.serve().await;
    for _ in 0..20 {
        assert_eq!(get(home.proxy, "/", "").await.unwrap().status, 502);
    }
    let log = home.log();
    assert_eq!(log.matches("no TLS with the backend").count(), 1, "{log}");
    assert!(
        log.contains(&pipe.addr.to_string()) && log.contains("invalid peer certificate"),
        "{log}"
    );
    assert!(log.contains("[service.app]"), "{log}");
    println!("{log}");
}
