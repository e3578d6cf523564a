//! Who goes where, and who cannot be talked into it: cookies, rules, small weights, the retry budget.

use crate::support::apps::pair;
use crate::support::backend::{Act, Backend, answer};
use crate::support::client::{Client, get};
use crate::support::eventually;
use crate::support::h2::User;
use crate::support::load::Load;
use crate::support::rig::{Judged, RARE_CHECKS, Rig};
use crate::support::shifter::{Home, PATIENT, STILL};
use crate::support::tls::{Authority, outward};
use http::Request;
use shifter::core::newcomer::newcomer;
use shifter::core::plan::Strategy;
use shifter::core::table::Color::{self, Blue, Green};
use shifter::core::weight::Weight;
use shifter::store::shared_state::Health;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

type Done = std::io::Result<()>;

const STICKY: &str = "sticky = { cookie = \"pin\" }\n";

/// A small generator: the same cookies on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn text(&mut self, alphabet: &[u8], length: usize) -> String {
        let one = |_| char::from(alphabet[self.roll() as usize % alphabet.len()]);
        (0..length).map(one).collect()
    }
}

const HEX: &[u8] = b"0123456789abcdef";

/// The value of a fresh cookie.
async fn told(addr: SocketAddr, host: &str) -> String {
    let mut client = Client::connect(addr).await;
    client
        .send(&format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"))
        .await;
    let answer = client.answer().await.unwrap();
    let set = answer.header("set-cookie").expect("a newcomer is told");
    let pair = set.split(';').next().unwrap();
    pair.strip_prefix("pin=").unwrap().to_owned()
}

/// Cookie headers that nobody was given for `app` in its epoch 2, and what they are.
async fn forgeries(rig: &mut Rig, stranger: &Rig) -> Vec<(&'static str, String)> {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut all = vec![];
    let mut add = |kind, value: String| all.push((kind, format!("pin={value}")));
    for _ in 0..500 {
        add("of another epoch", told(rig.addr, "app").await);
        add("of another shifter", told(stranger.addr, "app").await);
    }
    rig.publish(|route| route.epoch = 2);
    stranger
        .board
        .publish(rig.table.clone(), None, shifter::store::Clock::now());
    for _ in 0..500 {
        add("of another shifter", told(stranger.addr, "app").await);
        add("of another service", told(rig.addr, "other").await);
    }
    for n in 0..2_300 {
        let length = 1 + dice.roll() as usize % 80;
        add("random", dice.text(b"0123456789abcdefXYZ.=+-_%\"/", length));
        let seat = dice.roll() % 10_000;
        add(
            "random signature",
            format!("2.{seat}.{}", dice.text(HEX, 32)),
        );
        add("no signature", format!("2.{n}"));
    }
    let good = told(rig.addr, "app").await;
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            // What no header may carry is refused before anybody looks for cookies.
            if bytes[at].is_ascii_graphic() && bytes[at] != b';' {
                add("bit flipped", String::from_utf8(bytes).unwrap());
            }
        }
        add("cut", good[..at].to_owned());
        add("longer", format!("{good}{}", &good[..=at]));
    }
    let (epoch_seat, signature) = good.rsplit_once('.').unwrap();
    for other in 0..500 {
        add(
            "signature of another seat",
            format!("2.{other}x.{signature}"),
        );
        add(
            "upper case",
            format!("{epoch_seat}.{}", signature.to_uppercase()),
        );
    }
    let many = |dice: &mut Dice| format!("2.0.{}; ", dice.text(HEX, 32));
    for _ in 0..10 {
        add("oversized", dice.text(HEX, 16_000));
        let crowd: Vec<String> = (0..900).map(|_| many(&mut dice)).collect();
        add("many", crowd.join("pin="));
    }
    all
}

/// Each is a newcomer: it goes where the next newcomer would, and is told a place.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_cookie_is_worth_nothing() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let toml = format!(
        "[proxy]\nkeepalive_requests = 1000000\n\
         [service.app]\nhosts = [\"app\"]\nblue = \"{}\"\ngreen = \"{}\"\n{STICKY}{RARE_CHECKS}\
         [service.other]\nhosts = [\"other\"]\nblue = \"{}\"\n{STICKY}",
        blue.addr, green.addr, blue.addr
    );
    let (mut rig, stranger) = (Rig::start(&toml).await, Rig::start(&toml).await);
    rig.weigh(30);
    rig.table.routes[1].epoch = 2;
    let forged = forgeries(&mut rig, &stranger).await;
    assert!(forged.len() >= 10_000, "{}", forged.len());
    let thirty = Weight::percent(30).unwrap();
    // Who was told a cookie before was a newcomer too.
    let known = 500 + 1;
    let mut client = Client::connect(rig.addr).await;
    let mut greens = 0;
    for (n, (kind, cookie)) in (known..).zip(&forged) {
        // Each by a program of its own: one connection is one user's for a moment.
        let headers = format!("cookie: {cookie}\r\nuser-agent: {n}\r\n");
        let answer = client.get("/", &headers).await?;
        let expected = if thirty.covers(newcomer(n, 7)) {
            "green"
        } else {
            "blue"
        };
        let short = &cookie[..cookie.len().min(80)];
        assert_eq!(answer.body, expected, "{kind}: {short}");
        assert!(answer.header("set-cookie").is_some(), "{kind}: {short}");
        greens += usize::from(answer.body == "green");
    }
    let share = greens as f64 / forged.len() as f64;
    assert!((share - 0.3).abs() < 0.001, "{share}");
    println!(
        "{} forged cookies: {:.2} % on green at 30 %",
        forged.len(),
        100.0 * share
    );
    rig.weigh(0);
    let before = green.requests();
    for (kind, cookie) in forged.iter().step_by(7) {
        let answer = client.get("/", &format!("cookie: {cookie}\r\n")).await?;
        assert_eq!(answer.body, "blue", "{kind}");
    }
    assert_eq!(green.requests(), before, "none at weight 0");
    Ok(())
}

/// Headers that mean something inside shifter mean nothing from outside.
#[tokio::test(flavor = "multi_thread")]
async fn headers_of_ours_lead_nobody_anywhere() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("token");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef")?;
    let keys = format!("{STICKY}preview = {{ token = {{ file = {file:?} }} }}\n");
    let rig = Rig::app(&[blue.addr], &[green.addr], &keys).await;
    let mut client = Client::connect(rig.addr).await;
    for header in [
        "x-shifter-preview: ",
        "x-shifter-preview: 0123456789abcdef0123456789abcde",
        "x-shifter-preview: 0123456789ABCDEF0123456789ABCDEF",
        "x-shifter-preview: 0123456789abcdef\r\nx-shifter-preview: 0123456789abcdef",
        "x_shifter_preview: 0123456789abcdef0123456789abcdef",
        "x-shifter-probe: smoke",
        "x-shifter-mirror: 1",
        "x-shifter-pool: green",
        "x-forwarded-host: green",
        "set-cookie: pin=1.0",
    ] {
        let answer = client.get("/", &format!("{header}\r\n")).await?;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "blue"),
            "{header}"
        );
    }
    assert_eq!(green.requests(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_given_by_tls_is_never_sent_without() -> Done {
    let (blue, authority) = (Backend::named("blue").await, Authority::new());
    let folder = tempfile::tempdir()?;
    authority.sign(&["a.test"]).write(folder.path(), "one");
    let at = folder.path().display();
    let rig = Rig::start(&format!(
        "[proxy]\ntrust_forwarded = true\n[proxy.tls]\n\
         certificates = [{{ cert = \"{at}/one.pem\", key = \"{at}/one.key\" }}]\n\
         [service.app]\nblue = \"{}\"\n{STICKY}{RARE_CHECKS}",
        blue.addr
    ))
    .await;
    let pipe = outward(rig.tls(), "a.test", authority.client(None, "http/1.1")).await;
    let stranger = Rig::app(&[blue.addr], &[], STICKY).await;
    for (addr, headers, secure) in [
        (stranger.addr, "x-forwarded-proto: https\r\n", false),
        (rig.addr, "", false),
        (pipe.addr, "", true),
        (rig.addr, "x-forwarded-proto: https\r\n", true),
        (rig.addr, "x-forwarded-proto: http\r\n", false),
    ] {
        let answer = get(addr, "/", headers).await?;
        let set = answer.header("set-cookie").unwrap();
        assert_eq!(set.ends_with("; Secure"), secure, "{set}");
        assert!(set.contains("; Path=/; HttpOnly; SameSite=Lax"), "{set}");
    }
    Ok(())
}

/// Who was told a place keeps it when shifter is started anew, and when another one takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn cookies_outlive_the_process() -> Done {
    let (blue, green) = pair();
    let home = Home::new(&blue, &green, &format!("{STICKY}{STILL}{PATIENT}"));
    let mut shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    home.weigh(50).await;
    let mut users = vec![];
    for _ in 0..20 {
        let answer = get(home.proxy, "/", "").await?;
        let set = answer.header("set-cookie").unwrap();
        let cookie = format!("cookie: {}\r\n", set.split(';').next().unwrap());
        users.push((cookie, answer.header("x-app-version").unwrap().to_owned()));
    }
    let keep = async |how| {
        for (cookie, version) in &users {
            let answer = get(home.proxy, "/", cookie).await.unwrap();
            assert_eq!(answer.header("set-cookie"), None, "{how}");
            assert_eq!(
                answer.header("x-app-version"),
                Some(version.as_str()),
                "{how}"
            );
        }
    };
    keep("at once").await;
    shifter.kill();
    let mut shifter = home.serve().await;
    keep("after kill -9 and a restart").await;
    let mut new = shifter.spawn(&mut shifter.command(&["serve", "--take-over"]));
    assert!(shifter.ended().await.0.success(), "{}", home.log());
    new.answers().await;
    keep("after a hand-over").await;
    // Without its key it knows nobody, and says so.
    new.kill();
    std::fs::write(home.state().join("cookie.key"), "damaged")?;
    let _shifter = home.serve().await;
    for (cookie, _) in &users {
        assert!(
            get(home.proxy, "/", cookie)
                .await?
                .header("set-cookie")
                .is_some()
        );
    }
    let notes = home.client.notes(0, 0).await.unwrap();
    let told = notes
        .iter()
        .any(|note| note.text.contains("sticky cookies"));
    assert!(told, "{notes:?}");
    Ok(())
}

/// Two shifters that share a secret know each other's cookies.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_secret_is_understood_by_both() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("secret");
    std::fs::write(&file, "0123456789abcdef0123456789abcdef\n")?;
    let toml = format!(
        "[proxy]\ncookie_secret = {{ file = {file:?} }}\n\
         [service.app]\nblue = \"{}\"\ngreen = \"{}\"\n{STICKY}{RARE_CHECKS}",
        blue.addr, green.addr
    );
    let (one, other) = (Rig::start(&toml).await, Rig::start(&toml).await);
    for _ in 0..10 {
        let cookie = format!("cookie: pin={}\r\n", told(one.addr, "app").await);
        assert_eq!(
            get(other.addr, "/", &cookie).await?.header("set-cookie"),
            None
        );
    }
    Ok(())
}

// ---- Rules ----------------------------------------------------------------------------------------

const RULES: &str = "rules = [\n\
    { header = { x-beta = \"1\" }, to = \"green\" },\n\
    { cookie = { team = \"qa\" }, to = \"green\", early = true },\n\
    { query = { pool = \"green\" }, path = \"/deep\", to = \"green\" },\n\
    { path = \"/legacy\", to = \"blue\" },\n\
    { header = { x-only = \"*\" }, to = \"green\", strict = true },\n\
    { exact_path = \"/fifth\", weight = 20 },\n\
    ]\n";

fn label(color: Color) -> &'static str {
    color.name()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rule_that_fits_decides_and_nobody_is_judged_by_it() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let mut rig = Rig::app(&[blue.addr], &[green.addr], &format!("{STICKY}{RULES}")).await;
    let user = User::connect(rig.addr).await;
    let cases = [
        ("/", "x-beta: 1", Green, Blue),
        ("/", "x-beta: 2", Blue, Blue),
        ("/", "cookie: a=b; team=qa", Green, Green),
        ("/", "cookie: team=qatar", Blue, Blue),
        ("/deep/er?a=b&pool=green", "", Green, Blue),
        ("/deeper?pool=green", "", Blue, Blue),
        ("/deep?pool=blue", "", Blue, Blue),
        ("/legacy/x", "", Blue, Blue),
        // The first one that fits, not the last.
        ("/legacy/x", "x-beta: 1", Green, Blue),
        ("/", "x-only: anything", Green, Blue),
    ];
    for small in [1, 0] {
        // At 0.01 % hardly anybody is green's by weight.
        rig.publish(|route| route.weight = Weight::basis_points(small).unwrap());
        let before = (rig.judged(Blue).requests, rig.judged(Green).requests);
        let mut plain = 0;
        for (path, header, with_share, without) in cases {
            let expected = if small > 0 { with_share } else { without };
            let line = if header.is_empty() {
                String::new()
            } else {
                format!("{header}\r\n")
            };
            let answer = get(rig.addr, path, &line).await?;
            assert_eq!(answer.body, label(expected), "{path} {header} at {small}");
            let told = answer.header("set-cookie").is_some();
            plain += u64::from(told);
            let mut request = Request::get(format!("http://app{path}"));
            for (name, value) in header.split_once(": ").iter() {
                for piece in value.split("; ") {
                    request = request.header(*name, piece);
                }
            }
            let got = user.ask(request.body(()).unwrap()).await.unwrap();
            assert_eq!(got.body, label(expected), "over HTTP/2: {path} {header}");
            plain += u64::from(got.headers.contains_key("set-cookie"));
        }
        // Who is told a place is a part of the experiment, and nobody else.
        rig.judged_to_be(Green, before.1, 0).await;
        rig.judged_to_be(Blue, before.0 + plain, 0).await;
        assert_eq!(plain, if small > 0 { 8 } else { 16 });
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_leads_to_nobody_who_is_not_there() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let mut rig = Rig::app(&[blue.addr], &[green.addr], RULES).await;
    rig.publish(|route| route.weight = Weight::basis_points(1).unwrap());
    let addr = rig.addr;
    let ask = async |header: &str| {
        let answer = get(addr, "/x", &format!("{header}\r\n")).await?;
        std::io::Result::Ok((answer.status, answer.body))
    };
    assert_eq!(ask("x-only: 1").await?, (200, "green".into()));
    let member = rig.board.snapshot().services[0].pools[1][0].clone();
    rig.board.set_health(&member, Health::Down);
    for header in ["x-beta: 1", "cookie: team=qa"] {
        assert_eq!(ask(header).await?, (200, "blue".into()), "{header}");
    }
    assert_eq!(ask("x-only: 1").await?.0, 503, "strict");
    // What a rule has sent to green and green cannot take goes to blue, but for the strict one.
    rig.board.set_health(&member, Health::Up);
    let dead = green.addr;
    drop(green);
    crate::support::eventually("nobody listens", || {
        std::net::TcpStream::connect(dead).is_err()
    })
    .await;
    assert_eq!(ask("x-beta: 1").await?, (200, "blue".into()));
    assert_eq!(ask("x-only: 1").await?.0, 502, "strict");
    rig.publish(|route| route.green = None);
    for header in ["x-beta: 1", "cookie: team=qa"] {
        assert_eq!(ask(header).await?, (200, "blue".into()), "{header}");
    }
    rig.idle().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_may_have_a_weight_of_its_own() -> Done {
    let (blue, green) = (Backend::named("blue").await, Backend::named("green").await);
    let mut rig = Rig::app(&[blue.addr], &[green.addr], RULES).await;
    rig.publish(|route| route.weight = Weight::basis_points(1).unwrap());
    let mut client = Client::connect(rig.addr).await;
    let mut greens = 0;
    for n in 0..4_000 {
        if n % 900 == 0 {
            client = Client::connect(rig.addr).await;
        }
        greens += usize::from(client.get("/fifth", "").await?.body == "green");
    }
    // Six standard deviations.
    assert!((648..=952).contains(&greens), "{greens} of 4,000 at 20 %");
    assert_eq!(
        (rig.judged(Green).requests, rig.judged(Blue).requests),
        (0, 0)
    );
    Ok(())
}

// ---- shifter route --------------------------------------------------------------------------------

/// What `shifter route` says of a request, as JSON.
fn explained(home: &Home, arguments: &[&str]) -> serde_json::Value {
    let mut command = home.command(&["route", "--json", "--explain", "GET"]);
    let output = command
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", home.log());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What it says is what users get: the same cookies, headers and rules, told and asked.
#[tokio::test(flavor = "multi_thread")]
async fn what_route_says_is_what_users_get() -> Done {
    let (blue, green) = pair();
    let rules = "hosts = [\"app\", \"app.example.com\"]\nrules = [{ header = { x-beta = \"1\" }, to = \"green\" }]\n";
    let home = Home::new(&blue, &green, &format!("{rules}{STICKY}{STILL}{PATIENT}"));
    let said = explained(&home, &["http://app/"]);
    assert_eq!(said["running"], false);
    assert_eq!(
        (&said["pool"], &said["judged"]),
        (&"blue".into(), &true.into())
    );
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    home.weigh(50).await;
    let mut colours = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let answer = get(home.proxy, "/", "").await?;
        let got = answer.header("x-app-version").unwrap();
        let set = answer.header("set-cookie").unwrap();
        let cookie = format!("Cookie: {}", set.split(';').next().unwrap());
        let said = explained(&home, &["http://app/", "-H", &cookie]);
        assert_eq!(said["pool"], got, "{said}");
        assert_eq!(
            (&said["running"], &said["sets_cookie"]),
            (&true.into(), &false.into())
        );
        colours.insert(got.to_owned());
        let forged = explained(&home, &["http://app/", "-H", &format!("{cookie}0")]);
        assert_eq!(
            (&forged["pool"], &forged["sets_cookie"]),
            (&().into(), &true.into())
        );
    }
    assert_eq!(colours.len(), 2);
    let ruled = explained(&home, &["http://app/", "-H", "X-Beta: 1"]);
    assert_eq!(
        (&ruled["rule"], &ruled["pool"]),
        (&1.into(), &"green".into())
    );
    let unknown = explained(&home, &["http://app.exmaple.com/"]);
    assert_eq!(
        (&unknown["status"], &unknown["nearest_host"]),
        (&404.into(), &"app.example.com".into())
    );
    Ok(())
}

// ---- Small weights --------------------------------------------------------------------------------

/// Shares below one percent, from the file over the machine to the requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenth_and_a_hundredth_of_a_percent_are_what_they_say() -> Done {
    let (blue, green) = pair();
    let steps = "steps = [{ weight = 0.01, hold = \"1h\", deadline = \"1h\" }, { weight = 0.1, hold = \"1h\", deadline = \"1h\" }, { weight = 100 }]\n";
    let home = Home::new(&blue, &green, &format!("{steps}{PATIENT}"));
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    for percent in [0.01, 0.1] {
        if percent > 0.01 {
            let weight = Weight::from_percent(percent).unwrap();
            home.client.set_weight(None, weight).await.unwrap();
        }
        home.share(percent).await;
        let load = Load::on(home.proxy);
        load.more(if percent < 0.1 { 60_000 } else { 30_000 }).await;
        let (seen, _) = load.stop_clean().await;
        let (all, green) = (seen.answered(), seen.green.load(Relaxed));
        let expected = all as f64 * percent / 100.0;
        println!("{percent} %: {green} of {all} on green, {expected:.1} expected");
        // Blocks are exact down to one percent; below it a place is a draw, whose spread is that of a Poisson number.
        assert!(
            (green as f64 - expected).abs() <= 5.0 * expected.sqrt(),
            "{green} of {all} at {percent} %"
        );
    }
    Ok(())
}

// ---- The retry budget -----------------------------------------------------------------------------

/// A blue that breaks every request off is asked a fifth more, not twice.
#[tokio::test(flavor = "multi_thread")]
async fn retries_are_no_second_load() -> Done {
    let reset = |_: &str| Act::Reset(String::new());
    let (one, two) = (Backend::start(reset).await, Backend::start(reset).await);
    let more =
        "retry_budget = { percent = 20, per_second = 1 }\n[service.app.eject]\nfailures = 0\n";
    let rig = Rig::app(&[one.addr, two.addr], &[], more).await;
    let mut asked = 0;
    for _ in 0..1_000 {
        assert_eq!(get(rig.addr, "/", "").await?.status, 502);
        asked += 1;
    }
    let tried = one.requests() + two.requests();
    let pool = "{pool=\"blue\",service=\"app\"}";
    let retried = rig.metric(&format!("shifter_upstream_retries_total{pool}"));
    let refused = rig.metric(&format!("shifter_upstream_retries_refused_total{pool}"));
    println!("{asked} requests, {retried} tried again, {refused} not");
    assert_eq!(tried as f64, f64::from(asked) + retried);
    assert_eq!(f64::from(asked), retried + refused);
    // A fifth, and ten seconds of one a second, and those of the time that this took.
    assert!((150.0..=280.0).contains(&retried), "{retried}");
    rig.judged_to_be(Blue, 1_000, 1_000).await;
    assert_eq!(
        rig.judged(Green),
        Judged {
            requests: 0,
            failed: 0
        }
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_budget_nothing_is_tried_again() -> Done {
    let blue = Backend::named("blue").await;
    let more = "retry_budget = { percent = 0, per_second = 0 }\n";
    let mut rig = Rig::app(&[blue.addr], &[crate::support::backend::nobody()], more).await;
    rig.weigh(100);
    assert_eq!(get(rig.addr, "/", "").await?.status, 502);
    assert_eq!(blue.requests(), 0);
    rig.judged_to_be(Green, 1, 1).await;
    Ok(())
}

/// A user whose page fails tries again at once: its requests are counted each, and it as one user, beside a
/// newcomer's request that nothing is known of.
#[tokio::test(flavor = "multi_thread")]
async fn a_sticky_user_who_tries_again_is_one_user() -> Done {
    let blue = Backend::start(|_| Act::Say(answer(500, "no"))).await;
    let green = Backend::start(|_| Act::Say(answer(500, "no"))).await;
    let mut rig = Rig::app(&[blue.addr], &[green.addr], STICKY).await;
    rig.publish(|route| {
        (route.rollout, route.mark) = (1, 2);
        route.weight = Weight::basis_points(1).unwrap();
    });
    let cookie = format!("Cookie: pin={}\r\n", told(rig.addr, "app").await);
    for _ in 0..20 {
        assert_eq!(get(rig.addr, "/", &cookie).await?.status, 500);
    }
    let series = "shifter_http_requests_total{code=\"500\",pool=\"blue\",service=\"app\"}";
    eventually("all were counted", || rig.metric(series) == 21.0).await;
    rig.idle().await;
    let users = rig.users(Blue);
    assert_eq!((users.active, users.groups[0].failed), (1, 1));
    assert_eq!((users.fresh.requests, users.fresh.failed), (1, 1));
    assert!(users.one.requests < 21, "{users:?}");
    Ok(())
}

/// The cookie of an answer with these headers to a newcomer, where `sticky` has these attributes.
async fn cookie_of(attributes: &str, headers: &str) -> Option<String> {
    let said = format!("HTTP/1.1 {headers}content-length: 0\r\n\r\n");
    let blue = Backend::start(move |_| Act::Say(said.clone())).await;
    let sticky = format!("sticky = {{ cookie = \"pin\"{attributes} }}\n");
    let rig = Rig::app(&[blue.addr], &[], &sticky).await;
    let mut client = Client::connect(rig.addr).await;
    client.send("GET / HTTP/1.1\r\nhost: app\r\n\r\n").await;
    let answer = client.answer().await.unwrap();
    let set = answer.header("set-cookie")?;
    let (_, attributes) = set.split_once("; ").unwrap();
    Some(attributes.to_owned())
}

/// A cache that keeps an answer for everybody would hand one user's cookie to all.
#[tokio::test(flavor = "multi_thread")]
async fn answers_for_everybody_carry_no_cookie() {
    for (headers, told) in [
        ("200 OK\r\n", true),
        ("200 OK\r\ncache-control: private, max-age=60\r\n", true),
        ("200 OK\r\ncache-control: no-store\r\n", true),
        ("200 OK\r\ncache-control: Public, max-age=60\r\n", false),
        ("200 OK\r\ncache-control: max-age=60, immutable\r\n", false),
        ("200 OK\r\ncache-control: s-maxage=60\r\n", false),
        ("304 Not Modified\r\n", false),
    ] {
        assert_eq!(cookie_of("", headers).await.is_some(), told, "{headers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attributes_of_the_cookie_are_as_the_file_says() {
    let plain = "200 OK\r\n";
    for (attributes, expected) in [
        ("", "Path=/; HttpOnly; SameSite=Lax"),
        (
            ", same_site = \"none\", partitioned = true",
            "Path=/; HttpOnly; SameSite=None; Partitioned; Secure",
        ),
        (
            ", same_site = \"strict\", domain = \"Example.com\", path = \"/app\", max_age = \"720h\"",
            "Path=/app; Domain=example.com; Max-Age=2592000; HttpOnly; SameSite=Strict",
        ),
    ] {
        let told = cookie_of(attributes, plain).await;
        assert_eq!(told.as_deref(), Some(expected), "{attributes}");
    }
}

/// One path has many spellings; a rule or a service that guards it guards all of them.
#[tokio::test(flavor = "multi_thread")]
async fn other_spellings_of_a_path_go_the_same_way() -> Done {
    let [blue, green, api] = [
        Backend::named("blue").await,
        Backend::named("green").await,
        Backend::named("api").await,
    ];
    let toml = format!(
        "[service.app]\nhosts = [\"*\"]\nblue = [\"{}\"]\ngreen = [\"{}\"]\nrules = [{{ exact_path = \"/pay\", to = \"blue\" }}]\n{RARE_CHECKS}[service.api]\nhosts = [\"*\"]\npaths = [\"/api\"]\nblue = [\"{}\"]\n[service.api.health]\ninterval = \"1h\"\n",
        blue.addr, green.addr, api.addr
    );
    let mut rig = Rig::start(&toml).await;
    rig.weigh(100);
    for path in [
        "/api/x",
        "/%61pi/x",
        "//api/x",
        "/public/../api/x",
        "/./api/x",
        "/%2e/api/x",
    ] {
        assert_eq!(get(rig.addr, path, "").await?.body, "api", "{path}");
    }
    for path in ["/pay", "/p%61y", "//pay", "/x/../pay"] {
        assert_eq!(get(rig.addr, path, "").await?.body, "blue", "{path}");
    }
    for path in ["/apis", "/api%2Fx", "/payment"] {
        assert_eq!(get(rig.addr, path, "").await?.body, "green", "{path}");
    }
    let head = api.heads();
    assert!(
        head[1].starts_with("GET /%61pi/x "),
        "as it came: {}",
        head[1]
    );
    Ok(())
}
