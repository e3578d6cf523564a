//! Sends probes: both versions get the same requests at the same time, and their answers are counted apart from users'.

use crate::config::{self, Service, Timed};
use crate::core::analysis::{RecordedLine, Trial};
use crate::core::class::Class;
use crate::core::fault::{self, Fault};
use crate::core::stats::Limits;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::store::Clock;
use crate::store::shared_state::BackendState;
use crate::store::window::{Cursor, RequestToken, Window};
use crate::visit::{Question, Way};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Highest number of pairs in flight; further pairs are not sent.
const PAIRS_MAX: usize = 1_000;

/// Bytes of an answer that are read.
const BODY_MAX: usize = 1 << 20;

/// The probes of one rollout.
pub struct Prober {
    rules: Rules,
    window: Arc<Window>,
    cursor: Cursor,
    since: Time,
    /// Pairs sent since then.
    sent: u64,
    room: Arc<Semaphore>,
    still: bool,
}

/// Fresh counters of probes.
fn counters(limits: Option<Limits>, now: Time) -> Arc<Window> {
    Arc::new(Window::new(0, limits, Default::default(), now))
}

/// The settings of a probe.
#[derive(Clone)]
struct Rules {
    spec: Arc<config::Probes>,
    way: Way,
    by_total: bool,
}

impl Prober {
    /// The probes of a service, for one rollout; `None` where there are none.
    ///
    /// # Errors
    /// When its members cannot be connected to as configured.
    pub fn of(service: &Service) -> Result<Option<Prober>, String> {
        let Some(spec) = &service.probes else {
            return Ok(None);
        };
        let now = Clock::now();
        let window = counters(None, now);
        Ok(Some(Prober {
            rules: Rules {
                spec: Arc::new(spec.clone()),
                way: Way::new(service.protocol, service.tls.as_ref())?,
                by_total: service.judgement.latency == Timed::Total,
            },
            cursor: Cursor::new(&window),
            window,
            since: now,
            sent: 0,
            room: Arc::new(Semaphore::new(PAIRS_MAX)),
            still: false,
        }))
    }

    /// Starts a share: earlier probes do not count for it. Latency is counted against these limits.
    pub fn start_share(&mut self, limits: Option<Limits>, now: Time) {
        self.renew(limits, now);
        (self.since, self.sent) = (now, 0);
    }

    /// Counts from now on against these limits; later ends of earlier probes are not read.
    fn renew(&mut self, limits: Option<Limits>, now: Time) {
        self.window = counters(limits, now);
        self.cursor = Cursor::new(&self.window);
    }

    /// One pass: judges what has ended and sends what is due; the lines to record.
    ///
    /// Beside a dead blue every green looks good: a `still` pass sends nothing and is no evidence.
    pub fn pass(
        &mut self,
        trial: &mut Trial,
        still: bool,
        host: &str,
        pools: &[Vec<Arc<BackendState>>; 2],
        now: Time,
    ) -> Vec<RecordedLine> {
        self.keep_still(still, now);
        if still {
            return vec![];
        }
        let lines = self.read(trial, now);
        self.send(host, pools, now);
        lines
    }

    /// Pauses the probes, or resumes them: probes in flight at that moment are not counted.
    fn keep_still(&mut self, still: bool, now: Time) {
        if std::mem::replace(&mut self.still, still) != still {
            self.renew(self.window.limits, now);
        }
    }

    /// Judges the counts; the lines to record.
    fn read(&mut self, trial: &mut Trial, now: Time) -> Vec<RecordedLine> {
        let mut reading = self.cursor.read(&self.window, now);
        if reading.ticks.is_empty() {
            return vec![];
        }
        let judged = reading.ticks.iter();
        let mut lines: Vec<RecordedLine> =
            judged.filter_map(|tick| trial.probe_second(tick)).collect();
        let faults = std::mem::take(&mut reading.faults[Color::Green.index()]);
        let blue = &reading.spans[Color::Blue.index()];
        let limits = trial
            .probes_mut()
            .and_then(|probes| probes.span(blue, faults));
        if let Some(limits) = limits {
            lines.push(RecordedLine::ProbeLimits(limits));
            self.renew(Some(limits), now);
        }
        lines
    }

    /// The numbers of the probes that are due; each is due once.
    fn due(&mut self, now: Time) -> Range<u64> {
        let millis = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        let all = millis.saturating_mul(u64::from(self.rules.spec.per_second)) / 1_000;
        // Probes missed by a late wake-up are not sent later.
        let missed = all.saturating_sub(self.sent);
        let due = missed.min(u64::from(self.rules.spec.per_second).div_ceil(5));
        self.sent = all;
        all - due..all
    }

    /// Sends the probes that are due.
    fn send(&mut self, host: &str, pools: &[Vec<Arc<BackendState>>; 2], now: Time) {
        for number in self.due(now) {
            let turn = Turn::of(number, self.rules.spec.paths.len());
            let member = |color: Color| pick(&pools[color.index()], turn.member, now);
            // Beside a blue without members every green looks good.
            let (Some(blue), green) = (member(Color::Blue), member(Color::Green)) else {
                continue;
            };
            let Ok(room) = self.room.clone().try_acquire_owned() else {
                continue;
            };
            let mut both = [(Color::Blue, Some(blue)), (Color::Green, green)];
            if turn.green_first {
                both.reverse();
            }
            let (rules, window, host) = (self.rules.clone(), self.window.clone(), host.to_owned());
            tokio::spawn(async move {
                let path = &rules.spec.paths[turn.path];
                let one = |(color, at)| probe(&rules, &window, color, at, path, &host);
                futures::future::join_all(both.map(one)).await;
                drop(room);
            });
        }
    }
}

/// The member, path and order for a probe of this number: every member gets every path, and as often first as second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    green_first: bool,
    path: usize,
    member: usize,
}

impl Turn {
    fn of(number: u64, paths: usize) -> Turn {
        let number = usize::try_from(number).unwrap_or(0);
        Turn {
            green_first: number % 2 == 1,
            path: number / 2 % paths,
            member: number / 2 / paths,
        }
    }
}

/// The next member in turn that can take a request.
fn pick(pool: &[Arc<BackendState>], turn: usize, now: Time) -> Option<SocketAddr> {
    let usable: Vec<_> = pool.iter().filter(|one| one.usable(now)).collect();
    let place = turn.checked_rem(usable.len())?;
    usable.get(place).map(|one| one.addr)
}

/// One probe, from its start to its count.
async fn probe(
    rules: &Rules,
    window: &Window,
    color: Color,
    at: Option<SocketAddr>,
    path: &str,
    host: &str,
) {
    let mut begun = window.begin(color, Clock::now());
    let class = match at {
        Some(at) => {
            let asked = ask(rules, window, &mut begun, at, path, host);
            let class = timeout(rules.spec.timeout, asked).await;
            class.unwrap_or(Class::Timeout)
        }
        None => Class::NoBackend,
    };
    if window.end(begun, class, Clock::now()) {
        let fault = Fault {
            how: class.name().replace('_', " "),
            route: fault::route("GET", path.split('?').next().unwrap_or(path)),
            backend: at.map(|at| at.to_string()),
        };
        window.blame(color, fault);
    }
}

/// The result of a probe. It requests what must exist, so an answer of 400 or above is a failure: two versions that
/// both lack a path are not shown to be equal.
async fn ask(
    rules: &Rules,
    window: &Window,
    begun: &mut RequestToken,
    at: SocketAddr,
    path: &str,
    host: &str,
) -> Class {
    let started = Instant::now();
    let micros = || u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let question = Question::get(path, host).with("x-shifter-probe", "judge");
    let mut answer = match rules.way.ask(at, question).await {
        Ok(answer) => answer,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Class::ConnectRefused;
        }
        Err(_) => return Class::Reset,
    };
    let class = match answer.status() {
        500.. => Class::ServerError,
        400.. => Class::ClientError,
        _ => Class::Ok,
    };
    if class == Class::Ok && !rules.by_total {
        window.answered(begun, micros(), Clock::now());
    }
    let mut length = 0;
    while length < BODY_MAX {
        match answer.part().await {
            Ok(Some(part)) => length += part.len(),
            Ok(None) => break,
            Err(_) => return Class::Reset,
        }
    }
    if class == Class::Ok && rules.by_total {
        window.answered(begun, micros(), Clock::now());
    }
    class
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn prober(per_second: u32) -> Prober {
        let text = format!(
            "[service.app]\nblue = \"127.0.0.1:1\"\n[service.app.probes]\nper_second = {per_second}\n"
        );
        let config = config::Config::parse("t.toml", &text).expect("a configuration");
        let prober = Prober::of(&config.services[0]).expect("probes");
        prober.expect("probes")
    }

    #[test]
    fn each_probe_is_due_once_and_what_was_missed_is_not_made_up_for() {
        let mut prober = prober(10);
        prober.start_share(None, Time(1_000));
        for (millis, due) in [
            (1_000, 0..0),
            (1_099, 0..0),
            (1_100, 0..1),
            (1_150, 1..1),
            (1_300, 1..3),
            // Late by a second: only a fifth of a second is sent at once.
            (2_300, 11..13),
            (2_400, 13..14),
        ] {
            assert_eq!(prober.due(Time(millis)), due, "{millis}");
        }
        prober.start_share(None, Time(9_000));
        assert_eq!(
            prober.due(Time(9_100)),
            0..1,
            "a share counts from its start"
        );
    }

    #[test]
    fn probes_from_before_a_pause_are_not_counted() {
        let mut prober = prober(5);
        let window = prober.window.clone();
        prober.keep_still(false, Time(0));
        assert!(Arc::ptr_eq(&window, &prober.window));
        prober.keep_still(true, Time(0));
        assert!(
            !Arc::ptr_eq(&window, &prober.window),
            "their ends go nowhere"
        );
        let paused = prober.window.clone();
        prober.keep_still(true, Time(0));
        assert!(Arc::ptr_eq(&paused, &prober.window));
        prober.keep_still(false, Time(0));
        assert!(!Arc::ptr_eq(&paused, &prober.window));
    }

    #[test]
    fn only_backends_that_take_requests_are_probed() {
        let backend = |port: u16| {
            let at = SocketAddr::from(([127, 0, 0, 1], port));
            Arc::new(BackendState::new(&at.to_string(), at))
        };
        let pool = [backend(1), backend(2)];
        let port = |turn| pick(&pool, turn, Time(0)).map(|at| at.port());
        assert_eq!([0, 1, 2].map(port), [Some(1), Some(2), Some(1)]);
        pool[0]
            .ejected_until
            .store(10, std::sync::atomic::Ordering::Relaxed);
        assert_eq!([0, 1].map(port), [Some(2), Some(2)]);
        assert_eq!(pick(&[], 0, Time(0)), None);
    }

    #[test]
    fn every_member_is_asked_every_path_first_and_second() {
        for (paths, members) in [(1, 1), (2, 4), (3, 3), (4, 2)] {
            let all = 2 * paths * members;
            let turns: HashSet<_> = (0..all as u64)
                .map(|number| Turn::of(number, paths))
                .map(|turn| (turn.green_first, turn.path, turn.member % members))
                .collect();
            assert_eq!(turns.len(), all, "{paths} paths, {members} members");
        }
    }
}
