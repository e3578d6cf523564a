//! Users who forgive nothing: kept-alive connections, no retry, every byte of every answer counted.
//!
//! A connection that ends without having said so is a failed request, and so are a reset, a refused
//! connection, a 5xx and a body that is cut.

use crate::support::PATIENCE;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// One answered request.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub sent: Instant,
    pub done: Instant,
    pub green: bool,
}

/// What the users saw so far.
#[derive(Default)]
pub struct Seen {
    pub answered: AtomicU64,
    pub blue: AtomicU64,
    pub green: AtomicU64,
    /// Answers of 5xx that an app gave itself.
    pub errors: AtomicU64,
    /// Connections that ended although nobody said so, or could not be made.
    pub cut: AtomicU64,
    /// Connections that ended as announced.
    pub closed: AtomicU64,
    pub failures: Mutex<Vec<String>>,
}

impl Seen {
    pub fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    pub fn failed(&self) -> usize {
        self.failures.lock().unwrap().len()
    }

    fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
    }
}

/// How a load behaves.
#[derive(Clone)]
pub struct Plan {
    pub connections: usize,
    /// All together in a second; as fast as the answers come when `None`.
    pub rate: Option<f64>,
    pub path: String,
    /// Keep a record of each request.
    pub records: bool,
    /// What an app answers with 5xx is the app's business.
    pub errors_allowed: bool,
    /// No failure: the process is killed under this load.
    pub breaks_allowed: bool,
    /// Nor are 5xx of the proxy: what it says instead of an app that hangs.
    pub proxy_errors_allowed: bool,
    /// Who is refused goes home: the process ends under this load.
    pub leaves: bool,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            connections: 24,
            rate: None,
            path: "/".into(),
            records: false,
            errors_allowed: false,
            breaks_allowed: false,
            proxy_errors_allowed: false,
            leaves: false,
        }
    }
}

/// A load that runs until it is stopped.
pub struct Load {
    pub seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Vec<Record>>,
}

impl Load {
    /// The usual 24 connections as fast as answers come.
    pub fn on(addr: SocketAddr) -> Load {
        Load::start(addr, Plan::default())
    }

    /// So many requests in a second.
    pub fn paced(addr: SocketAddr, rate: f64) -> Load {
        Load::start(
            addr,
            Plan {
                rate: Some(rate),
                ..Plan::default()
            },
        )
    }

    pub fn start(addr: SocketAddr, plan: Plan) -> Load {
        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        for n in 0..plan.connections {
            tasks.spawn(user(addr, n, plan.clone(), seen.clone(), stop.clone()));
        }
        Load { seen, stop, tasks }
    }

    /// Waits until so many more requests were answered.
    pub async fn more(&self, count: u64) {
        let goal = self.seen.answered() + count;
        let (mut last, mut at) = (0, Instant::now());
        while self.seen.answered() < goal {
            let now = self.seen.answered();
            if now > last {
                (last, at) = (now, Instant::now());
            }
            assert!(
                at.elapsed() < PATIENCE,
                "the load stands still: {:?}",
                self.failures()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn failures(&self) -> Vec<String> {
        self.seen.failures.lock().unwrap().clone()
    }

    /// Lets every request under way end, and gives the records.
    pub async fn stop(mut self) -> (Arc<Seen>, Vec<Record>) {
        self.stop.store(true, Relaxed);
        let mut records = vec![];
        while let Some(mine) = self.tasks.join_next().await {
            records.extend(mine.unwrap());
        }
        (self.seen.clone(), records)
    }

    /// The same, and nothing may have failed.
    pub async fn stop_clean(self) -> (Arc<Seen>, Vec<Record>) {
        let (seen, records) = self.stop().await;
        let failures = seen.failures.lock().unwrap().clone();
        assert!(
            failures.is_empty(),
            "{} of {} failed: {:?}",
            failures.len(),
            seen.answered(),
            &failures[..failures.len().min(10)]
        );
        assert_eq!(seen.cut.load(Relaxed), 0, "no connection is cut");
        (seen, records)
    }
}

async fn user(
    addr: SocketAddr,
    n: usize,
    plan: Plan,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
) -> Vec<Record> {
    let request = format!("GET {} HTTP/1.1\r\nhost: app\r\n\r\n", plan.path).into_bytes();
    let mut records = vec![];
    let mut line: Option<Line> = None;
    let every = plan
        .rate
        .map(|rate| Duration::from_secs_f64(plan.connections as f64 / rate));
    let mut due = Instant::now()
        + every
            .unwrap_or_default()
            .mul_f64(n as f64 / plan.connections as f64);
    while !stop.load(Relaxed) {
        if let Some(every) = every {
            tokio::time::sleep_until(due.into()).await;
            // Who is late does not hurry: a pause of the machine must not become a burst.
            due = (due + every).max(Instant::now());
        }
        if line.is_none() {
            match Line::open(addr).await {
                Ok(open) => line = Some(open),
                // Between the door's last look into the queue and its closing, the kernel resets.
                Err(error)
                    if plan.leaves
                        && matches!(
                            error.kind(),
                            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
                        ) =>
                {
                    break;
                }
                Err(error) => {
                    seen.cut.fetch_add(1, Relaxed);
                    if !plan.breaks_allowed {
                        seen.fail(format!("connect: {error}"));
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
            }
        }
        let Some(open) = &mut line else { continue };
        let sent = Instant::now();
        match open.ask(&request).await {
            Ok(answer) => {
                let green = answer.version == *b"green";
                if answer.closes {
                    seen.closed.fetch_add(1, Relaxed);
                    line = None;
                }
                let own = !answer.version.is_empty();
                if answer.status >= 500 {
                    seen.errors.fetch_add(1, Relaxed);
                }
                let allowed = if own {
                    plan.errors_allowed
                } else {
                    plan.proxy_errors_allowed
                };
                if answer.status != 200 && !allowed {
                    seen.fail(format!(
                        "status {} of {}",
                        answer.status,
                        if own { "an app" } else { "the proxy" }
                    ));
                }
                (if green { &seen.green } else { &seen.blue }).fetch_add(1, Relaxed);
                seen.answered.fetch_add(1, Relaxed);
                if plan.records {
                    records.push(Record {
                        sent,
                        done: Instant::now(),
                        green,
                    });
                }
            }
            Err(error) => {
                seen.cut.fetch_add(1, Relaxed);
                if !plan.breaks_allowed {
                    seen.fail(format!("request {} on its connection: {error}", open.asked));
                }
                line = None;
            }
        }
    }
    records
}

/// One answer, as far as a load cares.
pub struct Short {
    pub status: u16,
    pub version: Vec<u8>,
    pub closes: bool,
}

/// One kept-alive connection.
pub struct Line {
    stream: TcpStream,
    read: Vec<u8>,
    asked: u64,
}

impl Line {
    pub async fn open(addr: SocketAddr) -> io::Result<Line> {
        let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(addr)).await??;
        stream.set_nodelay(true)?;
        Ok(Line {
            stream,
            read: Vec::with_capacity(1024),
            asked: 0,
        })
    }

    /// Sends a request and reads the whole answer.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Short> {
        self.asked += 1;
        tokio::time::timeout(PATIENCE, self.converse(request)).await?
    }

    async fn converse(&mut self, request: &[u8]) -> io::Result<Short> {
        self.stream.write_all(request).await?;
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = std::str::from_utf8(&self.read[..end]).map_err(io::Error::other)?;
        let value = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<usize>().ok());
        let status = number(head.get(9..12)).ok_or_else(|| io::Error::other("no status"))? as u16;
        let length =
            number(value("content-length")).ok_or_else(|| io::Error::other("no length"))?;
        let version = value("x-app-version")
            .unwrap_or_default()
            .as_bytes()
            .to_vec();
        let closes = value("connection").is_some_and(|text| text.eq_ignore_ascii_case("close"));
        while self.read.len() < end + length {
            self.more().await?;
        }
        self.read.drain(..end + length);
        if !self.read.is_empty() {
            return Err(io::Error::other("more than was asked for"));
        }
        Ok(Short {
            status,
            version,
            closes,
        })
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// How long after a moment the last request was sent that this colour answered.
pub fn last_sent_after(records: &[Record], green: bool, moment: Instant) -> Duration {
    let sent = records
        .iter()
        .filter(|record| record.green == green)
        .map(|record| record.sent);
    sent.max().map_or(Duration::ZERO, |last| {
        last.saturating_duration_since(moment)
    })
}

/// The share `q` of these, sorted or not.
pub fn quantile(values: &mut [Duration], q: f64) -> Duration {
    values.sort();
    values[((values.len() as f64 * q).ceil() as usize).clamp(1, values.len()) - 1]
}

/// A size for CI, or the one that the environment asks for.
pub fn size(name: &str, usual: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(usual)
}
