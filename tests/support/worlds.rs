//! Simulated traffic: worlds that both pools live in, and faults of green.
//!
//! Requests arrive by a Poisson process and fall on green as the proxy gives them: by the shipped chooser. A latency is lognormal: 97 % around
//! 40 ms, 3 % around 200 ms. Worlds add what real traffic adds; faults make green worse than blue.
//! Counts above limits are drawn from exact tail probabilities, so no single request is simulated and
//! what the judge sees has the distribution that it would have.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, Exp1, Geometric, Poisson, StandardNormal};
use shifter::core::answers::{AnswerKind, AnswerTick};
use shifter::core::judge::{Policy, Unit};
use shifter::core::newcomer::Newcomers;
use shifter::core::stats::{Histogram, Limits, PoolCounts, Tick};
use shifter::core::stats::{History, Margin, SpanStats};
use shifter::core::users::{Group, Sample, UserTick};
use shifter::core::weight::Weight;

/// What both pools live through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// Requests independent of each other.
    Iid,
    /// A shared slow wave of latency (AR(1), 15 %), as in all worlds below; nothing else.
    Wave,
    /// Every 120 s for 8 s, on both pools: 5 % errors, three times the latency.
    SharedBursts,
    /// From the middle on, on both pools: ten times the errors, half as much latency again.
    Incident,
    /// Every 180 s for 1 to 3 s, on each pool alone: 20 % errors, five times the latency.
    PrivateBursts,
    /// Green starts four times slower and warms up within seconds.
    ColdStart,
    /// Each pool's latency drifts by itself (AR(1), 5 %).
    PrivateDrift,
    /// A day in the length of the run: from 0.2 to 1.8 times the requests and back, with errors and latency that follow.
    Day,
    /// From the middle on, on both pools: a route that fails ten times as often and takes 80 ms more is asked by a third instead of 2 %.
    OtherRoutes,
    /// An error makes its client retry three times on average, on the same pool; judged by users.
    ClustersSticky,
    /// The same, judged by requests.
    ClustersCounted,
    /// The same, each retry a newcomer again.
    ClustersByRequest,
}

impl World {
    /// The eight worlds of the false-rollback tables.
    pub(crate) const ALL: [World; 8] = [
        World::Iid,
        World::SharedBursts,
        World::Incident,
        World::PrivateBursts,
        World::ColdStart,
        World::PrivateDrift,
        World::ClustersSticky,
        World::ClustersByRequest,
    ];

    /// The policy of a judge in this world.
    pub(crate) fn judged_by(self, policy: &Policy) -> Policy {
        let mut policy = policy.clone();
        if self == World::ClustersSticky {
            policy.unit = Unit::Users;
        }
        policy
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            World::Iid => "iid",
            World::Wave => "AR",
            World::SharedBursts => "AR + shared bursts",
            World::Incident => "AR + shared incident x10",
            World::PrivateBursts => "AR + private bursts",
            World::ColdStart => "AR + cold start x4",
            World::PrivateDrift => "AR + private drift 5%",
            World::Day => "AR + a day's ramp",
            World::OtherRoutes => "AR + other mix of routes",
            World::ClustersSticky => "AR + clustered errors, sticky",
            World::ClustersCounted => "AR + clustered errors, sticky, each retry counted",
            World::ClustersByRequest => "AR + clustered errors, per request",
        }
    }

    const fn clustered(self) -> bool {
        matches!(
            self,
            World::ClustersSticky | World::ClustersCounted | World::ClustersByRequest
        )
    }
}

/// What is wrong with green, from the first second on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) blue_errors: f64,
    pub(crate) green_errors: f64,
    /// Factor on all latencies.
    pub(crate) slower: f64,
    /// Factor on the slow 3 %.
    pub(crate) tail: f64,
    /// Share of requests that take `late_millis` longer.
    pub(crate) late: f64,
    pub(crate) late_millis: f64,
}

impl Fault {
    /// Green equals blue.
    pub(crate) const NONE: Fault = Fault {
        name: "none",
        blue_errors: 0.001,
        green_errors: 0.001,
        slower: 1.0,
        tail: 1.0,
        late: 0.0,
        late_millis: 0.0,
    };

    const fn errors(name: &'static str, blue_errors: f64, green_errors: f64) -> Fault {
        Fault {
            name,
            blue_errors,
            green_errors,
            ..Fault::NONE
        }
    }

    /// The seven regressions of the detection tables.
    pub(crate) const ALL: [Fault; 7] = [
        Fault::errors("err 0->100%", 0.0, 1.0),
        Fault::errors("err 0.1->1%", 0.001, 0.01),
        Fault::errors("err 0.1->5%", 0.001, 0.05),
        Fault::errors("err 0.5->1%", 0.005, 0.01),
        Fault {
            name: "lat 5% +1s",
            late: 0.05,
            late_millis: 1_000.0,
            ..Fault::NONE
        },
        Fault {
            name: "lat p50 +20%",
            slower: 1.2,
            ..Fault::NONE
        },
        Fault {
            name: "lat tail x2",
            tail: 2.0,
            ..Fault::NONE
        },
    ];
}

/// One pool's latency in one second.
#[derive(Clone, Copy, Debug)]
struct Latency {
    /// Logarithm of the factor on all latencies.
    shift: f64,
    tail: f64,
    late: f64,
    late_millis: f64,
}

const BODY: (f64, f64) = (0.97, 40.0);
const TAIL: (f64, f64) = (0.03, 200.0);
const SIGMA: f64 = 0.5;

impl Latency {
    /// The chance of more than so many milliseconds.
    fn above(&self, millis: f64) -> f64 {
        let plain = self.plain_above(millis);
        if self.late == 0.0 {
            return plain;
        }
        let rest = millis - self.late_millis;
        let late = if rest <= 0.0 {
            1.0
        } else {
            self.plain_above(rest)
        };
        (1.0 - self.late) * plain + self.late * late
    }

    fn plain_above(&self, millis: f64) -> f64 {
        let beyond = |(share, middle): (f64, f64), tail: f64| {
            let z = (millis.ln() - self.shift - tail - middle.ln()) / SIGMA;
            share * 0.5 * statrs::function::erf::erfc(z / std::f64::consts::SQRT_2)
        };
        beyond(BODY, 0.0) + beyond(TAIL, self.tail.ln())
    }

    fn draw(&self, rng: &mut Xoshiro256PlusPlus) -> f64 {
        let z: f64 = StandardNormal.sample(rng);
        let slow = rng.random::<f64>() < TAIL.0;
        let middle = if slow { TAIL.1 * self.tail } else { BODY.1 };
        let millis = middle * (self.shift + SIGMA * z).exp();
        let late = self.late > 0.0 && rng.random::<f64>() < self.late;
        if late {
            millis + self.late_millis
        } else {
            millis
        }
    }
}

/// One rollout's traffic.
pub(crate) struct Traffic {
    rng: Xoshiro256PlusPlus,
    /// Chance of its own for what answers are like: all else is drawn as it was without.
    likeness: Xoshiro256PlusPlus,
    /// Green's rate of one kind of answers.
    pub(crate) otherwise: Option<(AnswerKind, f64)>,
    /// Share of the clients that leave before the answer, of both versions, at the usual speed.
    pub(crate) leaving: f64,
    newcomers: Newcomers,
    rate: f64,
    world: World,
    fault: Fault,
    at: usize,
    /// When green came.
    since: usize,
    /// When the shared incident begins.
    incident: usize,
    /// The planned length.
    seconds: usize,
    wave: f64,
    burst: bool,
    private: [u32; 2],
    drift: [f64; 2],
    /// Retries to come: per pool and second; those that are newcomers again are all among blue's.
    retries: [Vec<u64>; 2],
    /// Points of the line that have not failed in this share, blue's and green's, and green's share.
    at_risk: ([u64; 2], f64),
    limits: Option<Limits>,
    /// Green serves everybody, and what blue has is copies of what is not green's share.
    pub(crate) mirrors: bool,
    /// Blue's requests of this step and their shift: what its histogram is drawn from.
    blue: Vec<(u64, f64)>,
}

/// Blue and green, or one of them, in one second.
struct Moment {
    errors: [f64; 2],
    shift: [f64; 2],
}

impl Traffic {
    /// `seconds` is the planned length: incidents begin in its middle.
    pub(crate) fn new(seed: u64, rate: f64, seconds: usize, world: World, fault: Fault) -> Traffic {
        Traffic {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            likeness: Xoshiro256PlusPlus::seed_from_u64(seed ^ 0xA5),
            otherwise: None,
            leaving: 0.01,
            newcomers: Newcomers::new(seed),
            rate,
            world,
            fault,
            at: 0,
            since: 0,
            incident: seconds / 2,
            seconds,
            wave: 0.0,
            burst: false,
            private: [0; 2],
            drift: [0.0; 2],
            retries: [vec![0; seconds + 60], vec![0; seconds + 60]],
            at_risk: ([0; 2], -1.0),
            limits: None,
            mirrors: false,
            blue: Vec::new(),
        }
    }

    fn chance(&mut self, share: f64) -> bool {
        self.rng.random::<f64>() < share
    }

    fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p <= 0.0 {
            0
        } else if p >= 1.0 {
            n
        } else {
            Binomial::new(n, p).map_or(0, |binomial| binomial.sample(&mut self.rng))
        }
    }

    fn poisson(&mut self, mean: f64) -> u64 {
        Poisson::new(mean).map_or(0, |poisson| poisson.sample(&mut self.rng) as u64)
    }

    fn wander(&mut self, from: f64, spread: f64) -> f64 {
        let z: f64 = StandardNormal.sample(&mut self.rng);
        0.98 * from + spread * (1.0f64 - 0.98 * 0.98).sqrt() * z
    }

    /// How much is asked now, 1 on average.
    fn load(&self) -> f64 {
        if self.world != World::Day {
            return 1.0;
        }
        let part = (self.at - self.since) as f64 / self.seconds.max(1) as f64;
        1.0 - 0.8 * (std::f64::consts::TAU * part).cos()
    }

    /// The share of the costly route.
    fn costly(&self) -> f64 {
        match self.world {
            World::OtherRoutes if self.at >= self.incident => 0.33,
            World::OtherRoutes => 0.02,
            _ => 0.0,
        }
    }

    /// The policy of its judge.
    pub(crate) fn judged_by(&self, policy: &Policy) -> Policy {
        self.world.judged_by(policy)
    }

    /// What the world does to both pools in second `at`.
    fn moment(&mut self) -> Moment {
        let (mut shift, mut more_errors, mut times_errors) = (0.0, 0.0, 1.0);
        if self.world != World::Iid {
            self.wave = self.wander(self.wave, 0.15);
            shift += self.wave;
        }
        if self.world == World::SharedBursts {
            let turn = if self.burst { 1.0 / 8.0 } else { 1.0 / 120.0 };
            self.burst ^= self.chance(turn);
            if self.burst {
                shift += 3f64.ln();
                more_errors += 0.05;
            }
        }
        if self.world == World::Incident && self.at >= self.incident {
            times_errors = 10.0;
            shift += 1.5f64.ln();
        }
        times_errors *= 1.0 + 9.0 * self.costly();
        let busy = self.load() - 1.0;
        times_errors *= 1.0 + busy;
        shift += 0.3 * busy;
        let Fault {
            blue_errors,
            green_errors,
            slower,
            ..
        } = self.fault;
        let down = green_errors >= 0.5;
        let mut moment = Moment {
            errors: [
                blue_errors * times_errors + more_errors,
                green_errors * if down { 1.0 } else { times_errors } + more_errors,
            ],
            shift: [shift, shift + slower.ln()],
        };
        self.alone(&mut moment);
        moment
    }

    /// What happens to each pool by itself.
    fn alone(&mut self, moment: &mut Moment) {
        if self.world == World::ColdStart {
            moment.shift[1] += (1.0 + 3.0 * (-((self.at - self.since) as f64) / 8.0).exp()).ln();
        }
        for pool in 0..2 {
            if self.world == World::PrivateBursts {
                if self.private[pool] > 0 {
                    self.private[pool] -= 1;
                } else if self.chance(1.0 / 180.0) {
                    self.private[pool] = self.rng.random_range(1..=3);
                }
                if self.private[pool] > 0 {
                    moment.errors[pool] += 0.2;
                    moment.shift[pool] += 5f64.ln();
                }
            }
            if self.world == World::PrivateDrift {
                self.drift[pool] = self.wander(self.drift[pool], 0.05);
                moment.shift[pool] += self.drift[pool];
            }
        }
    }

    /// The next second, with this share of requests on green.
    pub(crate) fn second(&mut self, weight: f64) -> Tick {
        let moment = self.moment();
        let arrived = self.poisson(self.rate * self.load());
        let requests = if self.mirrors && weight > 0.0 {
            [self.binomial(arrived, 1.0 - weight), arrived]
        } else {
            self.split(arrived, weight)
        };
        let again = self.again(weight);
        let mut pools = [PoolCounts::default(); 2];
        for (pool, tick) in pools.iter_mut().enumerate() {
            let quarter = if self.world.clustered() { 0.25 } else { 1.0 };
            let share = moment.errors[pool].min(1.0) * quarter;
            let failed = self.binomial(requests[pool], share);
            *tick = PoolCounts {
                requests: requests[pool],
                failed,
                timed: requests[pool] - failed,
                ..PoolCounts::default()
            };
            if self.world.clustered() {
                tick.requests += again[pool];
                tick.failed += again[pool];
                self.plan_retries(pool, failed);
            }
            self.time(pool, tick, moment.shift[pool]);
            tick.answers = self.answers(pool, tick, moment.shift[pool]);
            if self.world == World::ClustersSticky {
                self.told_apart(pool, tick, failed, weight);
            }
        }
        self.blue.push((pools[0].timed, moment.shift[0]));
        self.at += 1;
        Tick {
            blue: pools[0],
            green: pools[1],
        }
    }

    /// 3 % of answers are 4xx; 1 % of clients leave (or [`Traffic::leaving`]), more of them the slower it is; a body comes with its first byte.
    fn answers(&mut self, pool: usize, tick: &PoolCounts, shift: f64) -> AnswerTick {
        let otherwise = self.otherwise.filter(|_| pool == 1);
        let rate = |kind, usual: f64| match otherwise {
            Some((other, rate)) if other == kind => rate,
            _ => usual,
        };
        let mut draw = |n: u64, p: f64| {
            let drawn = Binomial::new(n, p).map(|binomial| binomial.sample(&mut self.likeness));
            drawn.unwrap_or(0)
        };
        let good = tick.requests - tick.failed;
        let gave_up = rate(AnswerKind::GaveUp, (self.leaving * shift.exp()).min(0.5));
        let redirects = draw(good, rate(AnswerKind::Redirect, 0.0));
        let by_request = [
            redirects,
            draw(good - redirects, rate(AnswerKind::ClientError, 0.03)),
            draw(tick.requests, gave_up),
        ];
        let late = match otherwise {
            Some((AnswerKind::LastByte, rate)) => draw(tick.timed, rate),
            _ => tick.slow_fail[1],
        };
        let timed = self.limits.and_then(|limits| limits.last_byte).is_some();
        AnswerTick {
            by_request,
            timed: if timed { tick.timed } else { 0 },
            late: if timed { late } else { 0 },
        }
    }

    /// So many newcomers, given to blue and green as the proxy gives them.
    fn split(&mut self, arrived: u64, weight: f64) -> [u64; 2] {
        let share = Weight::from_percent(100.0 * weight).unwrap_or(Weight::ALL);
        let on_green = self.newcomers.on_green(arrived, share);
        [arrived - on_green, on_green]
    }

    /// The retries of this second, on each pool.
    fn again(&mut self, weight: f64) -> [u64; 2] {
        let due = [0, 1].map(|pool: usize| self.retries[pool].get(self.at).copied().unwrap_or(0));
        match self.world {
            World::ClustersByRequest => self.split(due[0] + due[1], weight),
            _ => due,
        }
    }

    /// Every request that is no retry is another user's.
    fn told_apart(&mut self, pool: usize, tick: &mut PoolCounts, first: u64, weight: f64) {
        if self.at_risk.1 != weight {
            let green = (weight * 10_000.0).round() as u64;
            self.at_risk = ([10_000 - green, green], weight);
        }
        let at_risk = self.at_risk.0[pool];
        let failed = first.min(at_risk);
        self.at_risk.0[pool] -= failed;
        let group = Group {
            at_risk,
            failed,
            timed: tick.timed,
            slow: tick.slow_fail,
        };
        tick.users = Some(UserTick {
            one: Sample {
                requests: tick.requests,
                failed: tick.failed,
                timed: tick.timed,
                slow_fail: tick.slow_fail,
                slow_pass: tick.slow_pass,
            },
            active: tick.requests - (tick.failed - first),
            groups: [group, Group::default()],
            ..UserTick::default()
        });
    }

    fn plan_retries(&mut self, pool: usize, failed: u64) {
        let Ok(times) = Geometric::new(0.25) else {
            return;
        };
        for _ in 0..failed {
            let mut at = self.at as f64;
            for _ in 0..times.sample(&mut self.rng) {
                let wait: f64 = Exp1.sample(&mut self.rng);
                at += 1.0 + wait;
                let on = match self.world {
                    World::ClustersByRequest => 0,
                    _ => pool,
                };
                if let Some(slot) = self.retries[on].get_mut(at as usize) {
                    *slot += 1;
                }
            }
        }
    }

    fn latency(&self, pool: usize, shift: f64) -> Latency {
        let plain = Latency {
            shift,
            tail: 1.0,
            late: self.costly(),
            late_millis: 80.0,
        };
        if pool == 0 || self.world == World::OtherRoutes {
            return plain;
        }
        let Fault {
            tail,
            late,
            late_millis,
            ..
        } = self.fault;
        Latency {
            tail,
            late,
            late_millis,
            ..plain
        }
    }

    /// Draws how many requests lie above each limit, jointly: those above a higher limit are among those
    /// above every lower one.
    fn time(&mut self, pool: usize, tick: &mut PoolCounts, shift: f64) {
        let Some(limits) = self.limits else { return };
        let latency = self.latency(pool, shift);
        let (fail, pass) = if pool == 0 {
            (limits.blue, limits.blue)
        } else {
            (limits.fail, limits.pass)
        };
        let mut order: [(u64, usize); 6] =
            std::array::from_fn(|i| (if i < 3 { fail[i] } else { pass[i - 3] }, i));
        order.sort_unstable();
        let (mut left, mut share, mut before) = (tick.timed, 1.0, None);
        for (limit, i) in order {
            if before != Some(limit) {
                let above = latency.above(limit as f64 / 1_000.0);
                left = self.binomial(left, above / share);
                (share, before) = (above.max(f64::MIN_POSITIVE), Some(limit));
            }
            if i < 3 {
                tick.slow_fail[i] = left
            } else {
                tick.slow_pass[i - 3] = left
            }
        }
        // Those above ten times blue's median are among those above the highest limit below it.
        let gross = limits.gross();
        let below = order.iter().rfind(|(limit, _)| *limit <= gross);
        let counted = |i: usize| {
            if i < 3 {
                tick.slow_fail[i]
            } else {
                tick.slow_pass[i - 3]
            }
        };
        let (of, share) = below.map_or((tick.timed, 1.0), |(limit, i)| {
            (counted(*i), latency.above(*limit as f64 / 1_000.0))
        });
        let part = latency.above(gross as f64 / 1_000.0) / share.max(f64::MIN_POSITIVE);
        let drawn = Binomial::new(of, part.min(1.0));
        tick.slow_gross = drawn.map_or(0, |drawn| drawn.sample(&mut self.likeness));
    }

    /// Freezes limits from what blue did since the last time; the first time from before the rollout.
    ///
    /// Blue's histogram is drawn anew from the same mixture of seconds instead of being kept, and from no
    /// more than [`Traffic::DRAWN`] requests.
    pub(crate) fn freeze(&mut self, (fail, pass): (Margin, Margin)) -> Option<Limits> {
        let mut histogram = Histogram::default();
        if self.limits.is_none() {
            let requests = (self.rate * 300.0).clamp(200.0, 5_000.0) as u64;
            self.draw_into(&mut histogram, requests, 0.0);
        } else {
            let seconds = std::mem::take(&mut self.blue);
            let all: u64 = seconds.iter().map(|(n, _)| n).sum();
            let part = (Self::DRAWN as f64 / all.max(1) as f64).min(1.0);
            for (requests, shift) in seconds {
                let requests = if part < 1.0 {
                    self.binomial(requests, part)
                } else {
                    requests
                };
                self.draw_into(&mut histogram, requests, shift);
            }
        }
        let frozen = Limits::freeze(&histogram, fail, pass);
        let frozen = frozen.map(|limits| limits.with_last_byte(&histogram, fail));
        self.limits = frozen.or(self.limits);
        self.limits
    }

    const DRAWN: u64 = 60_000;

    fn draw_into(&mut self, histogram: &mut Histogram, requests: u64, shift: f64) {
        let latency = self.latency(0, shift);
        for _ in 0..requests {
            histogram.record((latency.draw(&mut self.rng) * 1_000.0).round() as u64);
        }
    }

    /// Ten minutes of blue alone, before a green that will have no blue beside it.
    pub(crate) fn past(&mut self) -> History {
        let mut history = History::default();
        let incident = std::mem::replace(&mut self.incident, usize::MAX);
        for _ in 0..Self::PAST {
            let moment = self.moment();
            self.at = 0;
            let requests = self.poisson(self.rate);
            let failed = self.binomial(requests, moment.errors[0].min(1.0));
            let mut stats = SpanStats {
                requests,
                failed,
                ..SpanStats::default()
            };
            self.draw_into(&mut stats.latency, requests - failed, moment.shift[0]);
            history.push(&stats);
        }
        self.incident = incident;
        history
    }

    /// Seconds of blue alone that a history is made of.
    const PAST: usize = 600;

    /// Moves the shared incident to another second after green came.
    pub(crate) fn incident_at(&mut self, second: usize) {
        self.incident = self.since + second;
    }

    /// Ten minutes of blue alone, of which nothing is spared: retries and bursts go on into what follows.
    pub(crate) fn blue_alone(&mut self) -> History {
        let mut history = History::default();
        let incident = std::mem::replace(&mut self.incident, usize::MAX);
        for retries in &mut self.retries {
            retries.resize(retries.len() + Self::PAST, 0);
        }
        for _ in 0..Self::PAST {
            self.second_kept(0.0, &mut history);
        }
        self.since = self.at;
        self.incident = self.since.saturating_add(incident);
        history
    }

    /// [`Traffic::second`], with blue's part kept as the product keeps it.
    pub(crate) fn second_kept(&mut self, weight: f64, history: &mut History) -> Tick {
        let tick = self.second(weight);
        let Some((timed, shift)) = self.blue.pop() else {
            return tick;
        };
        if weight < 1.0 {
            let mut stats = SpanStats {
                requests: tick.blue.requests,
                failed: tick.blue.failed,
                ..SpanStats::default()
            };
            self.spread_into(&mut stats.latency, timed, shift);
            // A body comes with its first byte.
            stats.last_byte = stats.latency.clone();
            history.push(&stats);
        }
        tick
    }

    /// Like `draw_into` for blue, straight to the buckets: their borders are even in the logarithm.
    fn spread_into(&mut self, histogram: &mut Histogram, requests: u64, shift: f64) {
        let slow = self.binomial(requests, TAIL.0);
        let octave = std::f64::consts::LN_2;
        for (count, middle) in [(requests - slow, BODY.1), (slow, TAIL.1)] {
            let at = 8.0 * ((32.0 * middle).log2() + shift / octave);
            for _ in 0..count {
                let z: f64 = StandardNormal.sample(&mut self.rng);
                let bucket = (at + 8.0 * SIGMA / octave * z).floor().max(0.0);
                histogram.add((bucket as usize).min(Histogram::BUCKETS - 1), 1);
            }
        }
    }

    /// Counts green's slow requests against these limits from now on.
    pub(crate) fn limits(&mut self, limits: Option<Limits>) {
        self.limits = limits;
    }

    /// Counts green's slow requests against fixed limits: there is no blue.
    pub(crate) fn limit_to(&mut self, limits: [u64; 3]) {
        self.limits = Some(Limits {
            blue: limits,
            fail: limits,
            pass: limits,
            last_byte: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts drawn from tail probabilities must have the distribution that single requests have.
    #[test]
    fn counts_above_limits_are_those_of_single_requests() {
        let mut traffic = Traffic::new(1, 200.0, 100, World::Iid, Fault::ALL[4]);
        let margins = Margin {
            ratio: 0.1,
            millis: 1.0,
        };
        traffic.freeze((
            margins,
            Margin {
                ratio: 0.5,
                millis: 10.0,
            },
        ));
        let limits = traffic.limits.unwrap();
        let latency = traffic.latency(1, 0.3);
        let (mut counted, mut drawn) = ([0u64; 6], [0u64; 6]);
        for _ in 0..1_000 {
            let mut tick = PoolCounts {
                timed: 200,
                ..PoolCounts::default()
            };
            traffic.time(1, &mut tick, 0.3);
            for j in 0..3 {
                assert!(tick.slow_pass[j] <= tick.slow_fail[j]);
                counted[j] += tick.slow_fail[j];
                counted[j + 3] += tick.slow_pass[j];
            }
            for _ in 0..200 {
                let micros = (latency.draw(&mut traffic.rng) * 1_000.0) as u64;
                for j in 0..3 {
                    drawn[j] += u64::from(micros > limits.fail[j]);
                    drawn[j + 3] += u64::from(micros > limits.pass[j]);
                }
            }
        }
        for (counted, drawn) in counted.into_iter().zip(drawn) {
            let spread = 5.0 * ((counted + drawn + 1) as f64).sqrt();
            assert!(
                (counted as f64 - drawn as f64).abs() < spread,
                "{counted} {drawn}"
            );
        }
    }

    /// Both ways to fill a histogram give the same quantiles.
    #[test]
    fn a_histogram_filled_by_buckets_is_that_of_single_requests() {
        let mut traffic = Traffic::new(3, 500.0, 100, World::Iid, Fault::NONE);
        let (mut single, mut spread) = (Histogram::default(), Histogram::default());
        traffic.draw_into(&mut single, 200_000, 0.2);
        traffic.spread_into(&mut spread, 200_000, 0.2);
        for q in [0.1, 0.5, 0.9, 0.99] {
            let ratio = single.quantile(q) / spread.quantile(q);
            assert!((ratio - 1.0).abs() < 0.03, "{q}: {ratio}");
        }
    }

    /// A limit frozen from blue lies where blue's quantile is.
    #[test]
    fn blue_is_slower_than_its_own_quantile_as_often_as_it_should() {
        let mut traffic = Traffic::new(2, 500.0, 1_800, World::Wave, Fault::NONE);
        let margins = (
            Margin {
                ratio: 0.1,
                millis: 1.0,
            },
            Margin {
                ratio: 0.5,
                millis: 10.0,
            },
        );
        traffic.freeze(margins);
        for _ in 0..900 {
            traffic.second(0.05);
        }
        let limits = traffic.freeze(margins).unwrap();
        for (j, share) in [0.5, 0.1, 0.01].into_iter().enumerate() {
            let millis = limits.blue[j] as f64 / 1_000.0;
            assert!(millis > 20.0 && traffic.latency(0, 0.0).above(millis) < 2.0 * share);
        }
    }
}
