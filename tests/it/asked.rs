//! How sources are asked: with TLS, passwords and headers, which are told to nobody else.

use crate::sources::{Measured, ends, home, users};
use crate::support::apps::pair;
use crate::support::backend::{Act, Backend, nobody};
use crate::support::shifter::outcome_of;
use crate::support::tls::{self, Authority, NOW, OVER, inward};
use shifter::core::plan::Strategy;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::Ordering::Relaxed;
use tempfile::TempDir;

const PASSWORD: &str = "secret-of-a-test";
/// Of the password above, by bcrypt.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuWF5xLxbFEYcgKzhJRr.Tnen4mSayl0C";
/// Of `team:` and the password above, in base64.
const ENCODED: &str = "dGVhbTpzZWNyZXQtb2YtYS10ZXN0";

/// Files for a test, and an authority that signs for `localhost`.
struct Desk {
    folder: TempDir,
    authority: Authority,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk {
            folder: tempfile::tempdir().unwrap(),
            authority: Authority::new(),
        };
        tls::write(desk.folder.path(), "ca.pem", &desk.authority);
        desk.authority
            .sign_for(&["localhost", "127.0.0.1"], NOW)
            .write(desk.folder.path(), "localhost");
        desk.file("password", &format!("{PASSWORD}\n"));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A web configuration of Prometheus: with TLS, and with a password.
    fn web(&self) -> String {
        format!(
            "tls_server_config: {{cert_file: '{}', key_file: '{}'}}\nbasic_auth_users: {{team: '{HASH}'}}\n",
            self.path("localhost.pem").display(),
            self.path("localhost.key").display(),
        )
    }

    fn ca(&self) -> String {
        format!("ca = \"{}\"\n", self.path("ca.pem").display())
    }

    fn user(&self, password: &str) -> String {
        let path = self.path(password);
        format!(
            "user = \"team\"\npassword = {{ file = \"{}\" }}\n",
            path.display()
        )
    }
}

/// Whether a word stands in a file below.
fn written(folder: &Path, word: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = written(&path, word) {
                return Some(found);
            }
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes
                .windows(word.len())
                .any(|part| part == word.as_bytes())
        {
            return Some(path);
        }
    }
    None
}

fn told(output: &Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_with_tls_and_a_password_is_asked_and_a_fall_ends_the_rollout() {
    let desk = Desk::new();
    let measured = Measured::behind(Some(&desk.web())).await;
    measured.green.store(3, Relaxed);
    let (blue, green) = pair();
    let source = format!(
        "name = \"orders\"\nprometheus = \"{}\"\nquery = 'sum(lost{{pool=\"$pool\"}})'\nmargin_below = \"10%\"\n{}{}",
        measured.prometheus.base,
        desk.ca(),
        desk.user("password"),
    );
    let home = home(&blue, &green, &source);
    let shifter = home.serve().await;
    let load = users(&home);
    home.run(Strategy::Canary).await;
    // As much as blue has: the first share passes.
    home.share(100.0).await;
    measured.green.store(2, Relaxed);
    let service = home.phase("finished").await;
    load.stop_clean().await;
    let notes = home.notes().await;
    assert_eq!(outcome_of(&service), "rolled_back", "{notes}");
    let words = "source `orders`: green has 2, blue 3: needed is at least 2.7, 2 times in a row";
    assert!(notes.contains(words), "{notes}");

    let told = [
        notes,
        serde_json::to_string(&home.view().await).unwrap(),
        home.metrics().await,
        told(
            &home
                .command(&["check"])
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .output()
                .unwrap(),
        ),
    ];
    drop(shifter);
    for secret in [PASSWORD, ENCODED] {
        for text in &told {
            assert!(!text.is_empty() && !text.contains(secret), "{text}");
        }
        // State, recordings and logs.
        assert_eq!(written(home.folder.path(), secret), None);
    }
    assert!(written(home.folder.path(), "needed is at least").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_must_not_fall_ends_a_rollout_below_its_minimum_only() {
    let measured = Measured::behind(None).await;
    let source = |limit: &str| {
        format!(
            "name = \"hits\"\nprometheus = \"{}\"\nquery = 'sum(lost{{pool=\"$pool\"}})'\n{limit}",
            measured.prometheus.base
        )
    };
    let good = source("min = 3.0\nmargin_below = \"10%\"\n");
    let fallen = source("min = 3.5\n");
    let nothing = source("min = 3.0\n").replace("lost{", "never_seen{");
    let (good, fallen, nothing) = (ends(&good).await, ends(&fallen).await, ends(&nothing).await);
    assert_eq!(good.0, "promoted", "{}", good.1);
    assert_eq!(fallen.0, "rolled_back", "{}", fallen.1);
    let words = "source `hits`: green has 3, the minimum is 3.5, 2 times in a row";
    assert!(fallen.1.contains(words), "{}", fallen.1);
    // Silence is no minimum.
    assert_eq!(nothing.0, "inconclusive", "{}", nothing.1);
    assert!(nothing.1.contains("no series for green"), "{}", nothing.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_come_to_an_address_and_what_it_repeats_of_them_is_not_told() {
    let judge = Backend::start(|head| {
        let lower = head.to_ascii_lowercase();
        for line in [
            "x-scope-orgid: team-a",
            "authorization: bearer of-a-very-long-token",
            "x-api-key: from-a-file",
        ] {
            assert!(lower.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
        }
        let why = head.replace("\r\n", " ");
        Act::ok(&serde_json::json!({ "verdict": "bad", "why": why }).to_string())
    })
    .await;
    let desk = Desk::new();
    desk.file("key", "from-a-file\n");
    let source = format!(
        "name = \"orders\"\nget = \"http://{}/judge\"\ntoken = {{ env = \"TEST_TOKEN\" }}\n\
         headers = {{ X-Scope-OrgID = \"team-a\", X-Api-Key = {{ file = \"{}\" }} }}\n",
        judge.addr,
        desk.path("key").display(),
    );
    let (blue, green) = pair();
    let home = home(&blue, &green, &source);
    let mut command = home.command(&["serve"]);
    let mut shifter = home.spawn(command.env("TEST_TOKEN", "of-a-very-long-token"));
    shifter.answers().await;
    let load = users(&home);
    home.run(Strategy::Canary).await;
    let service = home.phase("finished").await;
    load.stop_clean().await;
    let notes = home.notes().await;
    assert_eq!(outcome_of(&service), "rolled_back", "{notes}");
    let lower = notes.to_ascii_lowercase();
    assert!(lower.contains("authorization: bearer ***"), "{notes}");
    assert!(lower.contains("x-scope-orgid: team-a"), "{notes}");
    drop(shifter);
    for secret in ["of-a-very-long-token", "from-a-file"] {
        assert_eq!(written(home.folder.path(), secret), None);
    }

    // Without the variable it does not start, and `check` says the same.
    for arguments in [["check"], ["serve"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shifter"));
        let output = command
            .args(arguments)
            .arg("--config")
            .arg(home.config())
            .output();
        let output = output.unwrap();
        let told = told(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(
            told.contains("TEST_TOKEN is not set") && told.contains("export"),
            "{told}"
        );
    }
}

/// The port of a server that answers in plain HTTP whatever it is asked, as most do.
async fn plain() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
            let mut asked = vec![];
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut asked).await;
        }
    });
    port
}

/// What cannot be asked is neither good nor bad, and says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_be_asked_says_why_and_nothing_passes() {
    let desk = Desk::new();
    desk.file("wrong", "another-password\n");
    let measured = Measured::behind(Some(&desk.web())).await;
    let prometheus = &measured.prometheus.base;
    let app = Backend::start(|_| Act::ok("{\"verdict\": \"good\"}")).await;
    let expired = desk.authority.sign_for(&["localhost"], OVER);
    let expired = inward(app.addr, &expired, "http/1.1", None).await;
    let named = desk.authority.sign(&["other.test"]);
    let named = inward(app.addr, &named, "http/1.1", None).await;
    let stranger = Authority::new().sign(&["localhost"]);
    let stranger = inward(app.addr, &stranger, "http/1.1", None).await;
    let elsewhere = app.addr;
    let sends_on = Backend::start(move |_| {
        Act::Say(format!(
            "HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
        ))
    })
    .await;
    let asked = |name: &str, how: &str, more: &str| {
        format!("name = \"{name}\"\n{how}\n{more}every = \"1s\"\ntimes = 2\ntimeout = \"1s\"\n")
    };
    let numbers = format!(
        "prometheus = \"{prometheus}\"\nquery = 'sum(lost{{pool=\"$pool\"}})'\nmargin = \"10%\""
    );
    let get = |port: u16| format!("get = \"https://localhost:{port}/\"");
    let (ca, user) = (desk.ca(), desk.user("password"));
    let cases = [
        (
            asked("password", &numbers, &(ca.clone() + &desk.user("wrong"))),
            "answers 401 Unauthorized: who asks is not accepted",
        ),
        (
            asked("nobody", &numbers, &ca),
            "answers 401 Unauthorized: it wants to know who asks",
        ),
        (
            asked("authority", &numbers, &user),
            "signed by an authority that this system does not know: name it, ca = ",
        ),
        (
            asked("other-authority", &get(stranger.addr.port()), &ca),
            "signed by another authority than `ca` has",
        ),
        (
            asked("expired", &get(expired.addr.port()), &ca),
            "has expired: renew it there",
        ),
        (
            asked("name", &get(named.addr.port()), &ca),
            "is not for localhost: write the address by a name that it has",
        ),
        (
            asked("no-tls", &get(plain().await), &ca),
            "does not speak TLS",
        ),
        (
            asked(
                "redirect",
                &format!("get = \"http://{}/\"", sends_on.addr),
                &user,
            ),
            "redirects are not followed",
        ),
        (asked("gone", &get(nobody().port()), &ca), "refused"),
    ];
    let sources: Vec<&str> = cases.iter().map(|(source, _)| source.as_str()).collect();
    let (blue, green) = pair();
    let home = home(&blue, &green, "name = \"first\"\nexec = [\"true\"]\n");
    let text = std::fs::read_to_string(home.config()).unwrap();
    let tables = sources.join("[[service.app.sources]]\n");
    std::fs::write(
        home.config(),
        format!("{text}[[service.app.sources]]\n{tables}"),
    )
    .unwrap();
    let _shifter = home.serve().await;
    let load = users(&home);
    home.run(Strategy::Canary).await;
    let service = home.phase("finished").await;
    load.stop_clean().await;
    let notes = home.notes().await;
    assert_eq!(outcome_of(&service), "inconclusive", "{notes}");
    for (source, words) in &cases {
        let name = source.split('"').nth(1).unwrap();
        let start = format!("source `{name}`: no data: ");
        let line = notes.lines().find(|line| line.contains(&start));
        let line = line.unwrap_or_else(|| panic!("{start}\n{notes}"));
        assert!(line.contains(words), "{line}");
    }
    assert!(
        !notes.contains("another-password") && !notes.contains(PASSWORD),
        "{notes}"
    );
    // The password went where it was to go, and not on from there.
    assert!(sends_on.heads()[0].contains(ENCODED));
    assert_eq!(app.requests(), 0, "{:?}", app.heads());
}
