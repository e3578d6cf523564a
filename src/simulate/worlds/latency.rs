//! How long requests take: lognormal, 97 % around 40 ms, 3 % around 200 ms.

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Distribution, StandardNormal};

/// One pool's latency in one second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    /// Logarithm of the factor on all latencies.
    pub(super) shift: f64,
    /// Factor on the slow 3 %.
    pub(super) tail: f64,
    /// Share of requests that take `late_millis` longer, 0 to 1.
    pub(super) late: f64,
    /// In milliseconds.
    pub(super) late_millis: f64,
}

/// Most requests: their share, and their median in milliseconds.
pub(super) const BODY: (f64, f64) = (0.97, 40.0);
/// Slow requests: their share, and their median in milliseconds.
pub(super) const TAIL: (f64, f64) = (0.03, 200.0);
/// Standard deviation of the logarithm of a time, in both kinds.
pub(super) const SIGMA: f64 = 0.5;

impl Latency {
    /// The chance of more than so many milliseconds.
    pub(super) fn above(&self, millis: f64) -> f64 {
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

    /// The time of one request, in milliseconds.
    pub(super) fn draw(&self, rng: &mut Xoshiro256PlusPlus) -> f64 {
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
