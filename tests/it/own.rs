//! Requests of our own carry the host that the file says; why a member is ill is shown; the loss and return of all members is told.

use crate::support::apps::pair;
use crate::support::backend::{Act, Backend};
use crate::support::shifter::{Home, PATIENT, STILL};
use shifter::core::plan::Strategy;

/// An app that knows its users' host only, as Django, Rails and Spring do.
async fn particular() -> Backend {
    Backend::start(|head| {
        match head
            .to_ascii_lowercase()
            .contains("\r\nhost: app.example.com\r\n")
        {
            true => Act::ok("well"),
            false => Act::status(403),
        }
    })
    .await
}

fn home(blue: &Backend, green: &Backend, host: &str, more: &str) -> Home {
    let home = Home::at(tempfile::tempdir().unwrap(), blue.addr, green.addr, more);
    let text = std::fs::read_to_string(home.config()).unwrap();
    let text = text.replace("health = { path", &format!("health = {{ {host}path"));
    std::fs::write(home.config(), text).unwrap();
    home
}

/// Checks, warm-up, smoke checks and probes: each kind comes, and none under another host.
#[tokio::test(flavor = "multi_thread")]
async fn all_requests_of_our_own_carry_the_host_of_the_file() {
    let (blue, green) = (particular().await, particular().await);
    let more = format!(
        "{STILL}{PATIENT}warmup = {{ paths = [\"/warm\"], requests = 3, concurrency = 1 }}\nsmoke = [{{ path = \"/smoke\", expect = 200 }}]\n[service.app.probes]\npaths = [\"/probe\"]\nper_second = 50\n"
    );
    let home = home(&blue, &green, "host = \"app.example.com\", ", &more);
    let _shifter = home.serve().await;
    home.run(Strategy::Canary).await;
    home.share(5.0).await;
    let came = |backend: &Backend, path: &str| {
        let heads = backend.heads();
        heads
            .iter()
            .any(|head| head.starts_with(&format!("GET {path} ")))
    };
    home.until("each kind came", |_| {
        ["/health", "/warm", "/smoke", "/probe"]
            .iter()
            .all(|path| came(&green, path))
            && came(&blue, "/probe")
    })
    .await;
    for head in blue.heads().iter().chain(&green.heads()) {
        let host = head
            .to_ascii_lowercase()
            .contains("\r\nhost: app.example.com\r\n");
        assert!(host, "{head}");
    }
}

/// Without that key such an app is down, and whoever looks sees why.
#[tokio::test(flavor = "multi_thread")]
async fn why_a_member_is_down_is_in_status() {
    let (blue, green) = (particular().await, particular().await);
    let home = home(&blue, &green, "", STILL);
    let _shifter = home.serve().await;
    let seen = home
        .until("it is down", |service| {
            service.blue.backends[0].health == "down"
        })
        .await;
    let reason = seen.blue.backends[0].reason.clone();
    assert_eq!(reason.as_deref(), Some("/health answers 403"));
    let status = home
        .command(&["status"])
        .stdout(std::process::Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    let line = format!("down: {} (/health answers 403)", blue.addr);
    assert!(text.contains(&line), "{text}");
}

async fn noted(home: &Home, rollout: i64, part: &str) {
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    loop {
        let notes = home.client.notes(0, rollout).await.unwrap();
        if notes.iter().any(|note| note.text.contains(part)) {
            return;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{part}: {notes:?}\n{}",
            home.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// All members of the pool that serves are lost and come back: a warning and a line, in `status` and in the metric; and in a rollout too.
#[tokio::test(flavor = "multi_thread")]
async fn the_loss_and_return_of_a_serving_pool_is_told() {
    let (mut blue, green) = pair();
    let home = Home::new(&blue, &green, &format!("{STILL}{PATIENT}"));
    let _shifter = home.serve().await;
    let up = format!(
        "shifter_backend_up{{backend=\"{}\",pool=\"blue\",service=\"app\"}}",
        blue.addr
    );
    home.until("it is up", |service| {
        service.blue.backends[0].health == "up"
    })
    .await;
    blue.kill();
    noted(&home, 0, "no backend of blue is healthy any more").await;
    assert!(
        home.log()
            .contains("no backend of blue is healthy any more"),
        "at a level that is heard"
    );
    assert_eq!(home.service().await.blue.backends[0].health, "down");
    assert_eq!(home.metric(&up).await, 0.0);
    blue.revive();
    noted(&home, 0, "a backend of blue is healthy again").await;
    assert_eq!(home.metric(&up).await, 1.0);

    let rollout = home.run(Strategy::Canary).await;
    home.share(5.0).await;
    blue.kill();
    noted(&home, rollout, "DEGRADED").await;
    blue.revive();
    noted(&home, rollout, "no longer DEGRADED").await;
    let degraded = home.service().await.rollout.map(|rollout| rollout.degraded);
    assert_eq!(degraded, Some(false));
}
