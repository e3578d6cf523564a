//! A real Prometheus for a test: scrapes one address each second, with the rules that are shipped.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Ends with the value.
pub(crate) struct Prometheus {
    child: Child,
    folder: TempDir,
    /// `http://127.0.0.1:PORT`, with TLS `https://localhost:PORT`.
    pub(crate) base: String,
}

impl Prometheus {
    /// Starts it and waits until it answers.
    pub(crate) async fn scraping(target: SocketAddr, client: &reqwest::Client) -> Prometheus {
        let mut prometheus = Prometheus::start(target, None);
        let ready = format!("{}/-/ready", prometheus.base);
        let answers = async || {
            let answer = client.get(&ready).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        prometheus.until(answers).await;
        prometheus
    }

    /// Starts it with a web configuration, `https` and perhaps a password, and waits until it says that it is ready.
    pub(crate) async fn behind(target: SocketAddr, web: &str) -> Prometheus {
        let mut prometheus = Prometheus::start(target, Some(web));
        let log = prometheus.folder.path().join("log");
        let says = async || {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            log.contains("Server is ready to receive web requests")
        };
        prometheus.until(says).await;
        prometheus
    }

    fn start(target: SocketAddr, web: Option<&str>) -> Prometheus {
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
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(log);
        let mut base = format!("http://{free}");
        if let Some(web) = web {
            let path = folder.path().join("web.yml");
            std::fs::write(&path, web).unwrap();
            command.arg(format!("--web.config.file={}", path.display()));
            base = format!("https://localhost:{}", free.port());
        }
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("prometheus cannot be run ({error}): `./dev test` installs it"),
        };
        Prometheus {
            child,
            folder,
            base,
        }
    }

    /// Ends it, as a machine that goes away does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) async fn until(&mut self, ready: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !ready().await {
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
