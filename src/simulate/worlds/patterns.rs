//! Traffic with a pattern, request by request, that two equal versions share: what repeats itself must meet chance.
//!
//! Tail probabilities would not do here: which request of a pattern goes where is the question. Fast requests take
//! 2 ms, slow ones 200 ms, each with a lognormal spread of 20 %, so no margin of latency lies between the two.

use crate::core::analysis::{Evidence, Past, Share};
use crate::core::judge::{Policy, Verdict};
use crate::core::newcomer::Newcomers;
use crate::core::stats::{History, Limits, PoolCounts, SpanStats, Tick};
use crate::core::weight::{Weight, point};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, StandardNormal};

/// How newcomers get their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chooser {
    /// As the proxy gives them.
    Shipped,
    /// By the golden ratio, as it did before: a sequence that a pattern can be in step with.
    Golden,
}

impl Chooser {
    fn points(self, salt: u64) -> Box<dyn Iterator<Item = u16>> {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        match self {
            Chooser::Shipped => Box::new(Newcomers::new(salt)),
            Chooser::Golden => {
                Box::new((0..).map(move |n: u64| point(n.wrapping_mul(GOLDEN).wrapping_add(salt))))
            }
        }
    }
}

/// What clients do, the same on both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Clients go round and round `period` requests, one of which is bad.
    Periodic {
        /// Requests of a round.
        period: u64,
        /// Clients, each with a part of the rate.
        clients: u64,
        /// A client sends its next request when the answer is there, not at a fixed pace.
        closed: bool,
        /// The bad one is slow; otherwise it fails.
        slow: bool,
    },
    /// Users come by chance and load a page of so many requests, six at a time; one of these fails.
    Pages {
        /// Requests of a page.
        requests: u64,
    },
    /// Every half minute four workers do a batch; a fifth of it fails: the first, or one of each five.
    Batch {
        /// Whether the first fifth fails.
        first: bool,
    },
    /// One client asks two services in turn, and of each one request of `period` fails. Both have a rollout.
    TwoServices {
        /// Of so many requests of each service one fails.
        period: u64,
    },
    /// Four of five requests are of pollers and succeed; users come by chance, and one of twenty requests fails.
    Monitors {
        /// Pollers, each at a fixed pace.
        pollers: u64,
    },
}

/// One request, wherever it goes.
#[derive(Clone, Copy, Debug)]
struct Request {
    /// Seconds since the start.
    at: f64,
    took: f64,
    failed: bool,
    service: usize,
}

/// One rollout at one share.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Requests a second.
    pub rate: f64,
    /// Green's share.
    pub share: Weight,
    /// Its length in seconds.
    pub seconds: usize,
    /// How newcomers get their places.
    pub chooser: Chooser,
}

/// Draws one rollout's requests.
struct Source {
    rng: Xoshiro256PlusPlus,
    rate: f64,
    seconds: f64,
    requests: Vec<Request>,
}

impl Source {
    fn took(&mut self, slow: bool) -> f64 {
        let z: f64 = StandardNormal.sample(&mut self.rng);
        (if slow { 0.2 } else { 0.002 }) * (0.2 * z).exp()
    }

    /// Adds a request and says when it ends.
    fn push(&mut self, at: f64, slow: bool, failed: bool, service: usize) -> f64 {
        let took = self.took(slow);
        self.requests.push(Request {
            at,
            took,
            failed,
            service,
        });
        at + took
    }

    /// Times at which something comes by chance, so often a second.
    fn by_chance(&mut self, rate: f64) -> Vec<f64> {
        let mut times = Vec::new();
        let Ok(gap) = Exp::new(rate) else {
            return times;
        };
        let mut at = gap.sample(&mut self.rng);
        while at < self.seconds {
            times.push(at);
            at += gap.sample(&mut self.rng);
        }
        times
    }

    fn periodic(&mut self, period: u64, clients: u64, closed: bool, slow: bool) {
        let gap = clients as f64 / self.rate;
        let phase = self.rng.random_range(0..period);
        for client in 0..clients {
            let (mut at, mut n) = (gap * client as f64 / clients as f64, client + phase);
            while at < self.seconds {
                let bad = n.is_multiple_of(period);
                let end = self.push(at, bad && slow, bad && !slow, 0);
                at = if closed {
                    end + (gap - 0.002).max(0.0)
                } else {
                    at + gap
                };
                n += 1;
            }
        }
    }

    fn pages(&mut self, requests: u64) {
        let bad = self.rng.random_range(0..requests);
        for start in self.by_chance(self.rate / requests as f64) {
            let mut free = [start; 6];
            for n in 0..requests {
                let next = (0..6).fold(0, |best, i| if free[i] < free[best] { i } else { best });
                free[next] = self.push(free[next], false, n == bad, 0);
            }
        }
    }

    fn batches(&mut self, first: bool) {
        const EVERY: f64 = 30.0;
        let size = (EVERY * self.rate) as u64;
        let mut start = 1.0;
        while start < self.seconds {
            let mut free = [start; 4];
            for n in 0..size {
                let next = (0..4).fold(0, |best, i| if free[i] < free[best] { i } else { best });
                let failed = if first { n < size / 5 } else { n % 5 == 0 };
                free[next] = self.push(free[next], false, failed, 0);
            }
            start += EVERY;
        }
    }

    fn two_services(&mut self, period: u64) {
        let (mut at, mut n) = (0.0, self.rng.random_range(0..period));
        while at < self.seconds {
            for service in 0..2 {
                at = self.push(at, false, n.is_multiple_of(period), service);
                at += (0.5 / self.rate - 0.002).max(0.0);
            }
            n += 1;
        }
    }

    fn monitors(&mut self, pollers: u64) {
        let gap = pollers as f64 / (0.8 * self.rate);
        for poller in 0..pollers {
            let mut at = gap * poller as f64 / pollers as f64;
            while at < self.seconds {
                self.push(at, false, false, 0);
                at += gap;
            }
        }
        for at in self.by_chance(0.2 * self.rate) {
            let failed = self.rng.random::<f64>() < 0.05;
            self.push(at, false, failed, 0);
        }
    }
}

impl Pattern {
    /// Its requests in the order in which they come.
    fn requests(self, rate: f64, seconds: usize, seed: u64) -> Vec<Request> {
        let mut source = Source {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            rate,
            seconds: seconds as f64,
            requests: Vec::new(),
        };
        match self {
            Pattern::Periodic {
                period,
                clients,
                closed,
                slow,
            } => source.periodic(period, clients, closed, slow),
            Pattern::Pages { requests } => source.pages(requests),
            Pattern::Batch { first } => source.batches(first),
            Pattern::TwoServices { period } => source.two_services(period),
            Pattern::Monitors { pollers } => source.monitors(pollers),
        }
        source.requests.sort_by(|a, b| a.at.total_cmp(&b.at));
        source.requests
    }

    const fn services(self) -> usize {
        match self {
            Pattern::TwoServices { .. } => 2,
            _ => 1,
        }
    }

    /// Whether a green that equals blue is rolled back, on any of the services.
    pub fn goes_back(self, setting: &Setting, policy: &Policy, seed: u64) -> bool {
        let requests = self.requests(setting.rate, setting.seconds, seed);
        (0..self.services()).any(|service| {
            let requests = || requests.iter().filter(move |one| one.service == service);
            let mut history = History::default();
            history.push(&stats(requests()));
            let past = Past {
                history: &history,
                kept: None,
            };
            let share = Share {
                weight: setting.share,
                last: false,
                blue_can_answer: false,
                terms: Default::default(),
            };
            let mut evidence = Evidence::new(policy.clone(), false).without_intervals();
            evidence.start_share(share, &past);
            // Each rollout of each service has a salt of its own.
            let points = setting.chooser.points(2 * seed + service as u64);
            let ticks = ticks(requests(), points, setting, evidence.limits());
            let fails = |tick| matches!(evidence.second(tick), (Verdict::Fail { .. }, _));
            ticks.iter().any(fails)
        })
    }
}

/// What was seen of blue before: as it is now.
fn stats<'a>(requests: impl Iterator<Item = &'a Request>) -> SpanStats {
    let mut stats = SpanStats::default();
    for one in requests {
        stats.requests += 1;
        if one.failed {
            stats.failed += 1;
        } else {
            stats.latency.record(micros(one));
        }
    }
    stats
}

fn micros(one: &Request) -> u64 {
    (one.took * 1e6) as u64
}

/// Counts as the proxy makes them: failures in the second of the end, latency in that of the start.
fn ticks<'a>(
    requests: impl Iterator<Item = &'a Request>,
    points: impl Iterator<Item = u16>,
    setting: &Setting,
    limits: Option<Limits>,
) -> Vec<Tick> {
    let mut ticks = vec![Tick::default(); setting.seconds];
    for (one, point) in requests.zip(points) {
        let green = setting.share.covers(point);
        fn pool(tick: &mut Tick, green: bool) -> &mut PoolCounts {
            if green {
                &mut tick.green
            } else {
                &mut tick.blue
            }
        }
        if let Some(tick) = ticks.get_mut((one.at + one.took) as usize) {
            let tick = pool(tick, green);
            tick.requests += 1;
            tick.failed += u64::from(one.failed);
        }
        let Some(tick) = ticks.get_mut(one.at as usize).filter(|_| !one.failed) else {
            continue;
        };
        let tick = pool(tick, green);
        tick.timed += 1;
        if let Some(limits) = limits {
            let (fail, pass) = if green {
                (limits.fail, limits.pass)
            } else {
                (limits.blue, limits.blue)
            };
            for j in 0..3 {
                tick.slow_fail[j] += u64::from(micros(one) > fail[j]);
                tick.slow_pass[j] += u64::from(micros(one) > pass[j]);
            }
        }
    }
    ticks
}
