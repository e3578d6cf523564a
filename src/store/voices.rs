//! Further counts of a window: with one request per user and second, and of newcomers alone.
//!
//! That green is good enough is shown by requests, of which a busy user has no more than one per second: the first that
//! it begins, so that how a request ends does not decide whether it counts. Newcomers are placed one by one, so their
//! requests are like those of a service without pinned users.

use crate::core::class::Class;
use crate::core::stats::{PoolCounts, Tick};
use crate::core::time::Time;
use crate::core::users::{Caller, Group, Sample, UserTick};
use crate::store::answers::Answers;
use crate::store::window::{Cursor, RequestToken, Window};
use std::sync::{Mutex, PoisonError};

/// Two more sets of counters for a window, with its limits; about 150 kB.
#[derive(Debug)]
pub(super) struct Voices {
    one: Window,
    fresh: Window,
    cursors: Mutex<[Cursor; 2]>,
}

impl Voices {
    /// Empty counters.
    pub(super) fn beside(window: &Window) -> Box<Voices> {
        let again = || Window::new(window.mark, window.limits, window.ceilings, window.opened);
        let (one, fresh) = (again(), again());
        let cursors = Mutex::new([Cursor::new(&one), Cursor::new(&fresh)]);
        Box::new(Voices {
            one,
            fresh,
            cursors,
        })
    }

    fn of(&self, begun: RequestToken) -> impl Iterator<Item = &Window> {
        let one = begun.speaks.then_some(&self.one);
        let fresh = (begun.caller == Caller::Newcomer).then_some(&self.fresh);
        one.into_iter().chain(fresh)
    }

    pub(super) fn begin(&self, begun: RequestToken) {
        self.of(begun).for_each(|window| window.count(begun));
    }

    pub(super) fn answered(&self, begun: RequestToken, first_byte: u64, now: Time) {
        for window in self.of(begun) {
            window.answered(&mut begun.anew(), first_byte, now);
        }
    }

    /// The counters for contents of answers to newcomers.
    pub(super) fn newcomers(&self, begun: RequestToken) -> Option<&Answers> {
        (begun.caller == Caller::Newcomer).then_some(&self.fresh.answers)
    }

    pub(super) fn end(&self, begun: RequestToken, class: Class, now: Time) {
        for window in self.of(begun) {
            window.end(begun.alone(), class, now);
        }
    }

    /// Adds the counts of users to these seconds, the first of which is `first`.
    pub(super) fn read(
        &self,
        first: u64,
        now: Time,
        counted: [(u64, [Group; 2]); 2],
        ticks: &mut [Tick],
    ) {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let [one, fresh] = [(&self.one, 0), (&self.fresh, 1)].map(|(window, at)| {
            let mut cursor = cursors[at].not_before(first);
            let ticks = cursor.read(window, now).ticks;
            cursors[at] = cursor;
            ticks
        });
        let mut counted = counted.map(Some);
        for (tick, (one, fresh)) in ticks.iter_mut().zip(one.iter().zip(&fresh)) {
            let pools = [
                (&mut tick.blue, &one.blue, &fresh.blue),
                (&mut tick.green, &one.green, &fresh.green),
            ];
            for ((pool, one, fresh), counted) in pools.into_iter().zip(&mut counted) {
                let (active, groups) = counted.take().unwrap_or_default();
                pool.answers = fresh.answers;
                pool.users = Some(UserTick {
                    one: sample(one),
                    fresh: sample(fresh),
                    active,
                    groups,
                });
            }
        }
    }
}

fn sample(pool: &PoolCounts) -> Sample {
    Sample {
        requests: pool.requests,
        failed: pool.failed,
        timed: pool.timed,
        slow_fail: pool.slow_fail,
        slow_pass: pool.slow_pass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::table::{Color, Pool, Route};
    use crate::core::weight::Weight;
    use crate::store::users::Users;

    fn window(percent: u16) -> Window {
        let route = Route {
            rollout: 1,
            weight: Weight::percent(percent).unwrap(),
            salt: 7,
            ..Route::at_rest("app", Pool::default())
        };
        let users = Users::under(&route, None);
        Window::new(1, None, [None; 3], Time(0)).of(users)
    }

    fn ask(window: &Window, caller: Caller, color: Color, class: Class, at: u64) {
        let begun = window.by(window.begin(color, Time(at)), caller);
        window.end(begun, class, Time(at));
    }

    #[test]
    fn a_busy_user_has_one_voice_a_second_and_newcomers_one_each() {
        let window = window(50);
        let mut cursor = Cursor::new(&window);
        for second in 0..3 {
            for at in 0..10 {
                let at = 1_000 * second + 100 * at;
                ask(
                    &window,
                    Caller::Pinned(3),
                    Color::Green,
                    Class::ServerError,
                    at,
                );
                ask(&window, Caller::Newcomer, Color::Blue, Class::Ok, at);
            }
        }
        ask(
            &window,
            Caller::Pinned(9_000),
            Color::Blue,
            Class::Ok,
            2_500,
        );
        let seconds: Vec<Tick> = (1..=4)
            .flat_map(|second| cursor.read(&window, Time(1_000 * second)).ticks)
            .collect();
        let sum = |of: &dyn Fn(&Tick) -> u64| seconds.iter().map(of).sum::<u64>();
        let green = |tick: &Tick| tick.green.users.unwrap_or_default();
        let blue = |tick: &Tick| tick.blue.users.unwrap_or_default();
        assert_eq!(sum(&|tick| tick.green.failed), 30, "all are counted");
        assert_eq!(sum(&|tick| green(tick).one.failed), 3);
        assert_eq!(sum(&|tick| green(tick).groups[0].failed), 1);
        assert_eq!(sum(&|tick| green(tick).active), 1);
        assert_eq!(sum(&|tick| green(tick).fresh.requests), 0);
        assert_eq!(sum(&|tick| blue(tick).fresh.requests), 30);
        assert_eq!(sum(&|tick| blue(tick).one.requests), 31);
        assert_eq!(sum(&|tick| blue(tick).active), 1);
    }

    #[test]
    fn where_nobody_is_pinned_or_nothing_is_divided_there_are_no_users() {
        for (percent, caller) in [
            (50, Caller::Anybody),
            (0, Caller::Pinned(3)),
            (100, Caller::Pinned(3)),
        ] {
            let window = window(percent);
            let mut cursor = Cursor::new(&window);
            ask(&window, caller, Color::Green, Class::Ok, 10);
            let tick = cursor.read(&window, Time(1_000)).ticks[0];
            assert_eq!((tick.green.requests, tick.green.users), (1, None));
        }
    }
}
