//! A real Prometheus for a test: scrapes one address each second, with the rules that are shipped.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Ends with the value.
pub(crate) struct Prometheus {
    child: Child,
    folder: TempDir,
    /// `http://127.0.0.1:PORT`.
    pub(crate) base: String,
}

impl Prometheus {
    /// Starts it and waits until it answers.
    pub(crate) async fn scraping(target: SocketAddr, client: &reqwest::Client) -> Prometheus {
        let folder = tempfile::tempdir().unwrap();
        let rules = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/config/prometheus/shifter.rules.yml"
        );
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: ['{rules}']\n\
             scrape_configs:\n- job_name: shifter\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let started = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) => panic!("prometheus cannot be run ({error}): `./dev test` installs it"),
        };
        let mut prometheus = Prometheus {
            child,
            folder,
            base: format!("http://{free}"),
        };
        prometheus.ready(client).await;
        prometheus
    }

    /// Ends it, as a machine that goes away does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn ready(&mut self, client: &reqwest::Client) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = client.get(format!("{}/-/ready", self.base)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let log =
                    std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("prometheus is not ready ({ended:?}):\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
