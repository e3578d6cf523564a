//! What people see of a rollout while it is under way.

use crate::support::docker::Engine;
use crate::support::load::{Load, Plan};
use crate::support::shifter::{Home, PATIENT, STILL};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `shifter status --watch` on a terminal of its own; it ends when this is dropped.
struct Terminal {
    home: Home,
    child: Child,
}

impl Terminal {
    fn watching(home: &Home) -> Terminal {
        let shifter = env!("CARGO_BIN_EXE_shifter");
        let watch = format!("{shifter} status -w --config {}", home.config().display());
        let child = Command::new("script")
            .args(["-qfc", &watch, "terminal"])
            .current_dir(home.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Terminal {
            home: home.clone(),
            child: child.unwrap(),
        }
    }

    /// The last whole picture.
    fn picture(&self) -> String {
        let drawn = std::fs::read_to_string(self.home.folder.path().join("terminal"));
        let drawn = drawn.unwrap_or_default();
        let mut pictures = drawn.rsplit("\x1b[H");
        let whole = pictures.find(|picture| picture.contains("Ctrl-C ends this view"));
        whole.unwrap_or_default().replace("\x1b[K", "")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Requests a second, percent failed, and p50, p95 and p99 in milliseconds, as drawn for a pool.
fn numbers(picture: &str, pool: &str, version: &str) -> Option<[f64; 5]> {
    let row = picture.lines().find(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(pool) && words.next() == Some(version)
    })?;
    let words = row
        .split_whitespace()
        .map(|word| word.trim_end_matches('%'));
    let all: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
    all.get(..5)?.try_into().ok()
}

/// Row 36: `status --watch` shows of each pool how much it serves, how much of that fails, and how long it takes.
#[tokio::test(flavor = "multi_thread")]
async fn row_36_the_live_view_tells_rates_errors_and_times() {
    let engine = Engine::shared();
    // Both have the same faults, so that the judge lets green stay.
    engine.run(
        "blue",
        "app:blue",
        &["-e", "ERRORS=5", "-e", "LATENCY_MS=20"],
    );
    let shifter = engine.home(&format!("{STILL}{PATIENT}")).serve().await;
    let users = Plan {
        rate: Some(200.0),
        errors_allowed: true,
        ..Plan::default()
    };
    let load = Load::start(shifter.proxy, users);
    let terminal = Terminal::watching(&shifter);
    shifter.run_image("app:green").await.unwrap();
    shifter.share(5.0).await;
    shifter.weigh(50).await;
    let heading = ["req/s", "failed", "p50", "p95", "p99", "in flight"];
    let about = |value: f64, wanted: f64, slack: f64| (value - wanted).abs() <= slack;
    let good = |numbers: [f64; 5]| {
        let [rate, failed, p50, p95, p99] = numbers;
        about(rate, 100.0, 25.0)
            && about(failed, 5.0, 2.5)
            && p50 >= 20.0
            && p50 <= p95
            && p95 <= p99
            && p99 < 2_000.0
    };
    let deadline = Instant::now() + Duration::from_secs(40);
    let (picture, blue, green) = loop {
        let picture = terminal.picture();
        let blue = numbers(&picture, "blue", "app:blue");
        let green = numbers(&picture, "green", "app:green");
        if let (Some(blue), Some(green)) = (blue, green)
            && good(blue)
            && good(green)
        {
            break (picture, blue, green);
        }
        assert!(Instant::now() < deadline, "{picture}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    for word in heading {
        assert!(picture.contains(word), "{word}: {picture}");
    }
    assert!(picture.contains("50% set"), "{picture}");
    println!("blue {blue:?}, green {green:?}\n{picture}");
    load.stop_clean().await;
}
