//! The exposition, the rules and their tests, as Prometheus' own tool sees them.

use shifter::core::table::Color;
use shifter::metrics::Metrics;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Runs promtool in `config/prometheus`, gives it `input`, and wants success and silence about faults.
fn promtool(arguments: &[&str], input: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/prometheus");
    let started = Command::new("promtool")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            panic!("promtool cannot be run ({error}): `./dev test` installs it with prometheus")
        }
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success(), "promtool {arguments:?}: {told}");
}

#[test]
fn promtool_finds_nothing_to_complain_about_in_the_metrics() {
    let metrics = Metrics::new().unwrap();
    let service = metrics.service("api");
    service.set_backends(Color::Blue, [("127.0.0.1:3001", true)].into_iter());
    service.set_release(Color::Blue, Some("1.0"));
    service.set_rollout(Some((1, "canary")), 1, 5);
    promtool(&["check", "metrics"], &metrics.render());
}

#[test]
fn the_rules_and_the_scrape_configuration_are_valid() {
    promtool(&["check", "rules", "shifter.rules.yml"], "");
    promtool(&["check", "config", "prometheus.yml"], "");
}

#[test]
fn every_alert_is_quiet_when_all_is_well_and_fires_when_it_is_not() {
    promtool(&["test", "rules", "test.yml"], "");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/prometheus");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let tests = read("test.yml");
    for alert in read("shifter.rules.yml")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        let quiet = format!("alertname: {alert}}}");
        let fires = format!("alertname: {alert}\n        exp_alerts:");
        assert!(
            tests.contains(&quiet),
            "test.yml never expects silence of {alert}"
        );
        assert!(
            tests.contains(&fires),
            "test.yml never expects {alert} to fire"
        );
    }
}
