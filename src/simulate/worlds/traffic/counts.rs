//! What is counted of a pool's requests in one second: slow ones, what answers are like, users.

use super::Traffic;
use crate::core::answers::{AnswerKind, AnswerTick};
use crate::core::stats::PoolCounts;
use crate::core::users::{Group, Sample, UserTick};
use rand_distr::{Binomial, Distribution};

impl Traffic {
    /// 3 % of answers are 4xx; 1 % of clients leave (or [`Traffic::leaving`]), more of them the slower it is; a body comes with its first byte.
    pub(super) fn answers(&mut self, pool: usize, tick: &PoolCounts, shift: f64) -> AnswerTick {
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

    /// Every request that is no retry is another user's.
    pub(super) fn told_apart(
        &mut self,
        pool: usize,
        tick: &mut PoolCounts,
        first: u64,
        weight: f64,
    ) {
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

    /// Draws how many requests lie above each limit, jointly: those above a higher limit are among those
    /// above every lower one.
    pub(super) fn time(&mut self, pool: usize, tick: &mut PoolCounts, shift: f64) {
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
}
