//! What a world does to both pools in one second.

use super::Traffic;
use crate::simulate::worlds::fault::Fault;
use crate::simulate::worlds::world::World;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// Blue and green, or one of them, in one second.
pub(super) struct Moment {
    /// Share of requests that fail; above 1 where all do.
    pub(super) errors: [f64; 2],
    /// Logarithm of the factor on all latencies.
    pub(super) shift: [f64; 2],
}

impl Traffic {
    /// How much is asked now, 1 on average.
    pub(super) fn load(&self) -> f64 {
        if self.world != World::Day {
            return 1.0;
        }
        let part = (self.at - self.since) as f64 / self.seconds.max(1) as f64;
        1.0 - 0.8 * (std::f64::consts::TAU * part).cos()
    }

    /// The share of the costly route.
    pub(super) fn costly(&self) -> f64 {
        match self.world {
            World::OtherRoutes if self.at >= self.incident => 0.33,
            World::OtherRoutes => 0.02,
            _ => 0.0,
        }
    }

    /// What the world does to both pools in second `at`.
    pub(super) fn moment(&mut self) -> Moment {
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

    /// The next value of an AR(1) process with this standard deviation.
    fn wander(&mut self, from: f64, spread: f64) -> f64 {
        let z: f64 = StandardNormal.sample(&mut self.rng);
        0.98 * from + spread * (1.0f64 - 0.98 * 0.98).sqrt() * z
    }
}
