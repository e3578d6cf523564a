//! Simulated traffic of one rollout, second by second.
//!
//! Requests arrive by a Poisson process and fall on green as the proxy gives them: by the shipped chooser. A latency is lognormal: 97 % around
//! 40 ms, 3 % around 200 ms. Worlds add what real traffic adds; faults make green worse than blue.
//! Counts above limits are drawn from exact tail probabilities, so no single request is simulated and
//! what the judge sees has the distribution that it would have.

mod counts;
mod moment;
mod past;

use crate::core::answers::AnswerKind;
use crate::core::judge::Policy;
use crate::core::newcomer::Newcomers;
use crate::core::stats::{Limits, PoolCounts, Tick};
use crate::core::weight::Weight;
use crate::simulate::worlds::fault::Fault;
use crate::simulate::worlds::latency::Latency;
use crate::simulate::worlds::world::World;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution, Exp1, Geometric, Poisson};

/// One rollout's traffic.
pub struct Traffic {
    rng: Xoshiro256PlusPlus,
    /// Chance of its own for what answers are like: all else is drawn as it was without.
    likeness: Xoshiro256PlusPlus,
    /// One kind of answers of which green has another share than blue, and that share, 0 to 1.
    pub otherwise: Option<(AnswerKind, f64)>,
    /// Share of the clients that leave before the answer, of both versions, at the usual speed, 0 to 1.
    pub leaving: f64,
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
    pub mirrors: bool,
    /// Blue's requests of this step and their shift: what its histogram is drawn from.
    blue: Vec<(u64, f64)>,
}

impl Traffic {
    /// Traffic from this seed with `rate` requests a second on average; `seconds` is the planned length: incidents begin in its middle.
    pub fn new(seed: u64, rate: f64, seconds: usize, world: World, fault: Fault) -> Traffic {
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

    /// This policy, as its judge has it.
    pub fn judged_by(&self, policy: &Policy) -> Policy {
        self.world.judged_by(policy)
    }

    /// The next second, with this share of requests on green, 0 to 1.
    pub fn second(&mut self, weight: f64) -> Tick {
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

    /// Moves the shared incident to so many seconds after green came.
    pub fn incident_at(&mut self, second: usize) {
        self.incident = self.since + second;
    }

    /// Counts green's slow requests against these limits from now on.
    pub fn set_limits(&mut self, limits: Option<Limits>) {
        self.limits = limits;
    }

    /// Counts green's slow requests against fixed limits in microseconds: there is no blue.
    pub fn limit_to(&mut self, limits: [u64; 3]) {
        self.limits = Some(Limits {
            blue: limits,
            fail: limits,
            pass: limits,
            last_byte: None,
        });
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::stats::{Histogram, Margin};

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
