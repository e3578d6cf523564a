//! The counts made under one entry of the routing table.
//!
//! A window belongs to one mark (step) of one service. Every request holds the window that was
//! current when it was routed, so late ends and foreign numbers can never be mixed in (invariant
//! I8): they are counted where no reader looks any more.
//!
//! Failures are stratified by the second in which a request *ended*, latency by the second in which
//! it *started*: a second's latency sample is complete only when all its requests have ended or have
//! become slow at every level, `Limits::settle_seconds` later. A request that is still open then
//! counts as slow, so that a hanging pool is seen before its timeouts.

use crate::core::class::Class;
use crate::core::contents::ContentCounts;
use crate::core::fault::{Fault, Faults};
use crate::core::monitors::Sample;
use crate::core::routes::RouteCounts;
use crate::core::stats::{
    Ceilings, Histogram, Limits, PoolCounts, SpanStats, Tick, settle_seconds,
};
use crate::core::table::{Color, Route};
use crate::core::time::Time;
use crate::core::users::Caller;
use crate::store::answers::{Answering, Answers, LAST_LAG_MAX};
use crate::store::baseline::Times;
use crate::store::contents::Contents;
use crate::store::groups::Groups;
pub use crate::store::request_token::RequestToken;
use crate::store::shard::{Pair, Shard, Slot};
pub(super) use crate::store::shard::{RING, SHARDS};
use crate::store::users::Users;
use crate::store::voices::Voices;
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Live counters for one mark of one service.
#[derive(Debug)]
pub struct Window {
    /// The table entry's mark that these counts belong to.
    pub mark: u64,
    /// The limits that latency is counted against.
    pub limits: Option<Limits>,
    /// The absolute latency limits.
    pub ceilings: Ceilings,
    pub(super) opened: Time,
    shards: Box<[Pair]>,
    users: Arc<Users>,
    /// Allocated with the first request where users are pinned and divided.
    pub(super) voices: OnceLock<Box<Voices>>,
    /// Times of the baseline, where there is one: then blue's latency sample is the baseline's alone.
    pub(super) baseline: Option<Times>,
    /// Counts by route.
    pub groups: Groups,
    /// Counts of answers.
    pub(super) answers: Answers,
    /// Allocated with the first answer that is counted while green has users.
    pub(super) contents: OnceLock<Box<Contents>>,
    /// Where the failed requests of both pools failed; other requests never wait for the lock.
    faults: Mutex<[Faults; 2]>,
}

impl Window {
    /// Fresh counters for a mark.
    pub fn new(mark: u64, limits: Option<Limits>, ceilings: Ceilings, now: Time) -> Window {
        let shards = (0..SHARDS).map(|_| Pair::default()).collect();
        Window {
            mark,
            limits,
            ceilings,
            opened: now,
            shards,
            users: Arc::default(),
            voices: OnceLock::new(),
            baseline: None,
            groups: Groups::new(SHARDS, None),
            answers: Answers::new(SHARDS),
            contents: OnceLock::new(),
            faults: Mutex::default(),
        }
    }

    /// These counters with the baseline's times as blue's latency sample.
    pub fn beside(self, baseline: bool) -> Window {
        let baseline = baseline.then(|| Times::new(SHARDS));
        Window { baseline, ..self }
    }

    /// These counters with the users of this share.
    pub fn of(self, users: Arc<Users>) -> Window {
        Window { users, ..self }
    }

    /// The users of this share.
    pub fn users(&self) -> &Arc<Users> {
        &self.users
    }

    /// Counts the request that has just begun for the judge of users.
    pub fn by(&self, begun: RequestToken, caller: Caller) -> RequestToken {
        if caller == Caller::Anybody || !self.users.divided() {
            return begun;
        }
        let voices = self.voices.get_or_init(|| Voices::beside(self));
        let speaks = match caller {
            Caller::Pinned(point) => self.users.begins(point, begun.second),
            Caller::Newcomer | Caller::Anybody => true,
        };
        let begun = RequestToken {
            caller,
            speaks,
            ..begun
        };
        voices.begin(begun);
        begun
    }

    /// Counts the begin of a request in further counters.
    pub(super) fn count(&self, begun: RequestToken) {
        if begun.compared {
            self.slot(begun).started.fetch_add(1, Relaxed);
        }
    }

    fn slot(&self, begun: RequestToken) -> &Slot {
        &self.shard(begun.color).ring[begun.second as usize % RING]
    }

    /// These counters with the busier route groups of the window before.
    pub fn after(self, before: Option<&Window>) -> Window {
        let groups = before.map(|before| Groups::new(SHARDS, Some(&before.groups)));
        Window {
            groups: groups.unwrap_or(self.groups),
            ..self
        }
    }

    /// Whether these are the counters of this entry of the table.
    pub fn counts_for(&self, route: &Route) -> bool {
        self.mark == route.mark
            && self.limits == route.limits
            && self.ceilings == route.ceilings
            && self.baseline.is_some() == route.places(route.weight).is_some()
    }

    /// Counts a request's start.
    pub fn begin(&self, color: Color, now: Time) -> RequestToken {
        self.begin_as(color, color == Color::Green || self.baseline.is_none(), now)
    }

    /// Counts the start of a request of blue's that goes to the baseline.
    pub fn begin_on_baseline(&self, now: Time) -> RequestToken {
        self.begin_as(Color::Blue, true, now)
    }

    fn begin_as(&self, color: Color, compared: bool, now: Time) -> RequestToken {
        let begun = RequestToken {
            color,
            second: now.0 / 1000,
            timed: false,
            caller: Caller::Anybody,
            speaks: false,
            compared,
            group: None,
            answer: Answering::default(),
        };
        self.count(begun);
        begun
    }

    /// Counts an answer's header, of a status below 500, as this request's latency sample.
    ///
    /// `first_byte` is the time to it in microseconds. A long download after a quick header is not
    /// slow, so the sample is taken here and not at the end.
    pub fn answered(&self, begun: &mut RequestToken, first_byte: u64, now: Time) {
        if begun.timed {
            return;
        }
        begun.timed = true;
        self.answered_to(*begun, first_byte, now);
        let shard = self.shard(begun.color);
        shard.latency[Histogram::bucket(first_byte)].fetch_add(1, Relaxed);
        if let Some(baseline) = &self.baseline
            && begun.color == Color::Blue
            && begun.compared
        {
            baseline.add(thread_shard(), first_byte);
        }
        if self.settled(begun.second, now) || !begun.compared {
            return;
        }
        let slot = &shard.ring[begun.second as usize % RING];
        slot.timed.fetch_add(1, Relaxed);
        for (slow, ceiling) in slot.slow_slo.iter().zip(self.ceilings) {
            if ceiling.is_some_and(|ceiling| first_byte > ceiling) {
                slow.fetch_add(1, Relaxed);
            }
        }
        let Some(limits) = &self.limits else { return };
        if first_byte > limits.gross() {
            slot.slow_gross.fetch_add(1, Relaxed);
        }
        let (fail, pass) = match begun.color {
            Color::Blue => (&limits.blue, &limits.blue),
            Color::Green => (&limits.fail, &limits.pass),
        };
        for level in 0..3 {
            if first_byte > fail[level] {
                slot.slow_fail[level].fetch_add(1, Relaxed);
            }
            if first_byte > pass[level] {
                slot.slow_pass[level].fetch_add(1, Relaxed);
            }
        }
    }

    /// Counts a request that its client gave up before the answer, after `waited` microseconds.
    ///
    /// Its time is known from below (it is right-censored). Above every limit it is a slow one of its pool; below, its
    /// time is unknown, and it is in no count. The bound is the same for both pools, so that impatience alone does not
    /// make their shares differ: as many requests are left out of each.
    pub fn gave_up(&self, begun: &mut RequestToken, waited: u64, now: Time) {
        begun.answer = Answering::gave_up();
        let Some(limits) = &self.limits else { return };
        let all = limits.blue.iter().chain(&limits.fail).chain(&limits.pass);
        let ceilings = self.ceilings.into_iter().flatten();
        if all.copied().chain(ceilings).all(|limit| waited > limit) {
            self.answered(begun, waited, now);
        }
    }

    /// Counts a request's end on the pool that first got it (intention to treat).
    ///
    /// True when it was counted as a failure: then [`Window::blame`] adds where it failed.
    pub fn end(&self, begun: RequestToken, class: Class, now: Time) -> bool {
        let shard = self.shard(begun.color);
        let mut blamed = false;
        if let Some(failed) = class.failed() {
            shard.requests.fetch_add(1, Relaxed);
            if failed {
                shard.failed.fetch_add(1, Relaxed);
            }
            if let Some(group) = begun.group {
                self.groups
                    .count(thread_shard(), begun.color, group, failed);
            }
            blamed = failed;
        }
        if !begun.timed && begun.compared && !self.settled(begun.second, now) {
            let slot = &shard.ring[begun.second as usize % RING];
            slot.excluded.fetch_add(1, Relaxed);
        }
        self.end_answer(begun, class, now);
        if let Some(voices) = self.voices.get() {
            voices.end(begun, class, now);
        }
        if let Caller::Pinned(point) = begun.caller {
            self.users.ended(point, class.failed() == Some(true));
        }
        blamed
    }

    fn answered_to(&self, begun: RequestToken, first_byte: u64, now: Time) {
        if let Some(voices) = self.voices.get() {
            voices.answered(begun, first_byte, now);
        }
        let Caller::Pinned(point) = begun.caller else {
            return;
        };
        // A result of blue's own pool for a user of the baseline is no evidence on the baseline.
        let stands_in = !begun.compared && self.users.compares(point);
        let Some(limits) = self.limits.as_ref().filter(|_| !stands_in) else {
            return self.users.heard(point);
        };
        let fail = match begun.color {
            Color::Blue => &limits.blue,
            Color::Green => &limits.fail,
        };
        self.users
            .answered(point, fail.map(|limit| first_byte > limit));
    }

    /// Adds the counts of users to the seconds from this one on.
    fn read_voices(&self, first: u64, now: Time, ticks: &mut [Tick]) {
        let Some(voices) = self.voices.get() else {
            return;
        };
        let patience = self.limits.map(|_| self.settle_seconds() + 1);
        let groups = self.users.read(now.0 / 1000, patience);
        voices.read(first, now, groups, ticks);
    }

    /// Adds where and how a counted failure failed.
    pub fn blame(&self, color: Color, fault: Fault) {
        self.faults()[color.index()].add(fault);
    }

    fn faults(&self) -> MutexGuard<'_, [Faults; 2]> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A second's slot is read after the settling time and then used again: a later request was
    /// counted as slow already.
    fn settled(&self, second: u64, now: Time) -> bool {
        now.0 / 1000 > second + self.settle_seconds()
    }

    fn settle_seconds(&self) -> u64 {
        let compared = self.limits.map_or(1, |limits| limits.settle_seconds());
        compared.max(settle_seconds(self.ceilings.into_iter().flatten()))
    }

    fn shard(&self, color: Color) -> &Shard {
        &self.shards[thread_shard()].0[color.index()]
    }

    fn sample(&self, color: Color, second: u64) -> PoolCounts {
        let mut sum = PoolCounts::default();
        let (mut started, mut excluded) = (0u64, 0u64);
        let mut done = 0u64;
        let take = |counter: &AtomicU32| u64::from(counter.swap(0, Relaxed));
        for pair in &self.shards {
            let slot = &pair.0[color.index()].ring[second as usize % RING];
            started += take(&slot.started);
            excluded += take(&slot.excluded);
            done += take(&slot.timed);
            sum.slow_gross += take(&slot.slow_gross);
            for level in 0..3 {
                sum.slow_fail[level] += take(&slot.slow_fail[level]);
                sum.slow_pass[level] += take(&slot.slow_pass[level]);
                sum.slow_slo[level] += take(&slot.slow_slo[level]);
            }
        }
        let open = started.saturating_sub(excluded + done);
        sum.timed = done + open;
        // A request that is open when its second is read has waited for the settling time at least.
        let waited = 1_000_000 * self.settle_seconds();
        if self.limits.is_some_and(|limits| limits.gross() <= waited) {
            sum.slow_gross += open;
        }
        for level in 0..3 {
            sum.slow_fail[level] += open;
            sum.slow_pass[level] += open;
            sum.slow_slo[level] += open;
        }
        sum
    }

    fn ended(&self, color: Color) -> (u64, u64) {
        self.shards.iter().fold((0, 0), |(requests, failed), pair| {
            let shard = &pair.0[color.index()];
            (
                requests + shard.requests.load(Relaxed),
                failed + shard.failed.load(Relaxed),
            )
        })
    }

    fn latency(&self, color: Color) -> Histogram {
        let mut sum = Histogram::default();
        for pair in &self.shards {
            for (bucket, counter) in pair.0[color.index()].latency.iter().enumerate() {
                // Most buckets are 0 most of the time: look before taking the cache line.
                if counter.load(Relaxed) > 0 {
                    sum.add(bucket, u64::from(counter.swap(0, Relaxed)));
                }
            }
        }
        sum
    }
}

/// One reading of a window: whole seconds for the judge, and both pools' span for all other uses.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// One entry for each second that passed since the last reading; empty within a second.
    pub ticks: Vec<Tick>,
    /// Both pools' statistics since the last reading, blue first.
    pub spans: [SpanStats; 2],
    /// Times of the baseline's answers, which are among blue's; empty where there is none.
    pub baseline: Histogram,
    /// Where their failed requests failed.
    pub faults: [Faults; 2],
    /// Both pools' requests since the last reading by route.
    pub groups: Vec<RouteCounts>,
    /// Contents of both pools' answers since then, while green has users.
    pub contents: Vec<ContentCounts>,
    /// Sampled agents of the requests.
    pub sample: Sample,
}

/// A reader's position in a window. There is one reader for each window: reading takes the counts away.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    second: u64,
    ended: [(u64, u64); 2],
}

impl Cursor {
    /// This reader without the seconds before this one.
    pub(super) fn not_before(self, second: u64) -> Cursor {
        Cursor {
            second: self.second.max(second),
            ..self
        }
    }

    /// A reader at the start of the window.
    pub fn new(window: &Window) -> Cursor {
        Cursor {
            second: window.opened.0 / 1000,
            ended: [(0, 0); 2],
        }
    }

    /// Reads the counts since the last call.
    pub fn read(&mut self, window: &Window, now: Time) -> Reading {
        let mut reading = Reading::default();
        let current = now.0 / 1000;
        if current <= self.second {
            return reading;
        }
        let mut ended = [PoolCounts::default(); 2];
        let (by_request, told) = window.answers.read(&window.groups);
        for color in Color::BOTH {
            let (requests, failed) = window.ended(color);
            let (old_requests, old_failed) = self.ended[color.index()];
            self.ended[color.index()] = (requests, failed);
            let tick = &mut ended[color.index()];
            tick.answers.by_request = by_request[color.index()];
            (tick.requests, tick.failed) = (requests - old_requests, failed - old_failed);
            reading.spans[color.index()] = SpanStats {
                requests: tick.requests,
                failed: tick.failed,
                latency: window.latency(color),
                last_byte: window.answers.latency(color),
            };
        }
        if let Some(baseline) = &window.baseline {
            reading.baseline = baseline.take();
        }
        reading.faults = std::mem::take(&mut *window.faults());
        for (faults, told) in reading.faults.iter_mut().zip(told) {
            faults.answers = told;
        }
        reading.groups = window.groups.read();
        let contents = window.contents.get();
        reading.contents = contents.map_or_else(Vec::new, |contents| contents.read(&window.groups));
        reading.sample = window.groups.read_sample();
        let lag = window.settle_seconds() + 1;
        let opened = window.opened.0 / 1000;
        // After a late wake-up a slot must not be read twice: the ring has turned.
        let first = self
            .second
            .max(current.saturating_sub(RING as u64 - lag.max(LAST_LAG_MAX) - 1));
        for second in first..current {
            let [mut blue, mut green] = std::mem::take(&mut ended);
            if let Some(settled) = (second + 1).checked_sub(lag).filter(|&at| at >= opened) {
                for (tick, color) in [(&mut blue, Color::Blue), (&mut green, Color::Green)] {
                    let latency = window.sample(color, settled);
                    tick.timed = latency.timed;
                    tick.slow_fail = latency.slow_fail;
                    tick.slow_pass = latency.slow_pass;
                    tick.slow_slo = latency.slow_slo;
                    tick.slow_gross = latency.slow_gross;
                }
            }
            window.last_bytes(second, &mut blue, &mut green);
            reading.ticks.push(Tick { blue, green });
        }
        window.read_voices(self.second, now, &mut reading.ticks);
        self.second = current;
        reading
    }
}

pub(super) fn thread_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SHARD: Cell<usize> = Cell::new(NEXT.fetch_add(1, Relaxed) % SHARDS));
    SHARD.with(Cell::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            blue: [1_000, 2_000, 3_000],
            fail: [1_100, 2_200, 3_300],
            pass: [1_500, 3_000, 4_500],
            last_byte: None,
        }
    }

    fn at(millis: u64) -> Time {
        Time(millis)
    }

    #[test]
    fn failures_count_in_the_second_of_their_end_and_latency_in_that_of_their_start() {
        let window = Window::new(1, Some(limits()), [None; 3], at(0));
        let mut cursor = Cursor::new(&window);
        let mut begun = window.begin(Color::Green, at(500));
        window.answered(&mut begun, 1_200, at(501));
        window.end(begun, Class::Ok, at(900));
        let begun = window.begin(Color::Green, at(600));
        window.end(begun, Class::ServerError, at(1_500));
        let first = cursor.read(&window, at(1_000));
        assert_eq!(first.ticks.len(), 1);
        assert_eq!(
            first.ticks[0].green.requests, 2,
            "whatever has ended by now"
        );
        let later: Vec<Tick> = (2..=4)
            .flat_map(|s| cursor.read(&window, at(s * 1_000)).ticks)
            .collect();
        let timed: Vec<u64> = later.iter().map(|tick| tick.green.timed).collect();
        assert_eq!(
            timed.iter().sum::<u64>(),
            1,
            "the failed one is not a latency sample: {timed:?}"
        );
        let slow: Vec<[u64; 3]> = later.iter().map(|tick| tick.green.slow_fail).collect();
        assert!(
            slow.contains(&[1, 0, 0]),
            "1.2 ms is above 1.1 ms only: {slow:?}"
        );
    }

    #[test]
    fn a_request_that_hangs_is_slow_at_every_level_once_and_only_once() {
        let window = Window::new(1, Some(limits()), [None; 3], at(0));
        let mut cursor = Cursor::new(&window);
        let mut begun = window.begin(Color::Green, at(100));
        let mut slow = 0;
        for second in 1..=5 {
            for tick in cursor.read(&window, at(second * 1_000)).ticks {
                slow += tick.green.slow_fail[2];
                assert!(tick.green.timed <= 1);
            }
        }
        assert_eq!(slow, 1);
        window.answered(&mut begun, 6_000_000, at(6_100));
        window.end(begun, Class::Ok, at(6_100));
        for second in 6..=80 {
            for tick in cursor.read(&window, at(second * 1_000)).ticks {
                assert_eq!(tick.green.slow_fail, [0; 3], "counted as slow already");
            }
        }
    }

    #[test]
    fn absolute_limits_are_counted_without_a_blue_and_for_what_hangs() {
        let window = Window::new(1, None, [None, None, Some(2_500_000)], at(0));
        let mut cursor = Cursor::new(&window);
        for (start, micros) in [(100, 2_400_000), (200, 2_600_000)] {
            let mut begun = window.begin(Color::Green, at(start));
            let end = at(start + micros / 1_000);
            window.answered(&mut begun, micros, end);
            window.end(begun, Class::Ok, end);
        }
        let _hangs = window.begin(Color::Green, at(300));
        let (mut timed, mut slow) = (0, [0; 3]);
        for second in 1..=20 {
            for tick in cursor.read(&window, at(second * 1_000)).ticks {
                timed += tick.green.timed;
                (0..3).for_each(|level| slow[level] += tick.green.slow_slo[level]);
            }
        }
        assert_eq!((timed, slow[2]), (3, 2));
    }

    #[test]
    fn a_long_download_after_a_quick_header_is_not_slow() {
        let window = Window::new(1, Some(limits()), [None; 3], at(0));
        let mut cursor = Cursor::new(&window);
        let mut begun = window.begin(Color::Green, at(100));
        window.answered(&mut begun, 500, at(101));
        let ticks: Vec<Tick> = (1..=20)
            .flat_map(|s| cursor.read(&window, at(s * 1_000)).ticks)
            .collect();
        window.end(begun, Class::Ok, at(20_100));
        assert_eq!(ticks.iter().map(|tick| tick.green.timed).sum::<u64>(), 1);
        assert!(ticks.iter().all(|tick| tick.green.slow_fail == [0; 3]));
        assert_eq!(cursor.read(&window, at(21_000)).ticks[0].green.requests, 1);
    }

    #[test]
    fn a_client_that_gave_up_above_every_limit_met_a_slow_answer() {
        let limits = limits();
        for (waited, slow) in [(4_501, 1), (4_500, 0), (3_301, 0), (100, 0)] {
            for color in Color::BOTH {
                let window = Window::new(1, Some(limits), [None; 3], at(0));
                let mut cursor = Cursor::new(&window);
                let mut begun = window.begin(color, at(100));
                window.gave_up(&mut begun, waited, at(110));
                window.end(begun, Class::ClientGaveUp, at(110));
                let ticks =
                    (1..=10).flat_map(|second| cursor.read(&window, at(1_000 * second)).ticks);
                let ticks: Vec<PoolCounts> = ticks
                    .map(|tick| match color {
                        Color::Blue => tick.blue,
                        Color::Green => tick.green,
                    })
                    .collect();
                let sum = |of: fn(&PoolCounts) -> u64| ticks.iter().map(of).sum::<u64>();
                assert_eq!(sum(|tick| tick.requests), 0, "no failure, no success");
                assert_eq!(sum(|tick| tick.timed), slow, "{color} {waited}");
                for level in 0..3 {
                    let slow_ones: u64 = ticks.iter().map(|tick| tick.slow_pass[level]).sum();
                    assert_eq!(slow_ones, slow, "{color} {waited} {level}");
                }
            }
        }
    }

    #[test]
    fn what_a_client_caused_is_in_no_count() {
        let window = Window::new(1, Some(limits()), [None; 3], at(0));
        let mut cursor = Cursor::new(&window);
        for class in [Class::ClientGaveUp, Class::Unknown] {
            let begun = window.begin(Color::Blue, at(10));
            window.end(begun, class, at(20));
        }
        for second in 1..=10 {
            for tick in cursor.read(&window, at(second * 1_000)).ticks {
                assert_eq!(tick, Tick::default());
            }
        }
    }

    #[test]
    fn no_count_is_lost_or_doubled_under_threads_and_a_reader_that_oversleeps() {
        let window = Window::new(1, Some(limits()), [None; 3], at(0));
        let mut cursor = Cursor::new(&window);
        let (mut requests, mut failed, mut latency) = (0, 0, 0);
        let mut now = 0;
        for round in 0..50u64 {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for i in 0..100 {
                            let mut begun = window.begin(Color::Blue, at(now + i));
                            let class = if i % 10 == 0 { Class::Reset } else { Class::Ok };
                            if class == Class::Ok {
                                window.answered(&mut begun, i, at(now + i));
                            }
                            window.end(begun, class, at(now + i));
                        }
                    });
                }
            });
            now += 1_000 + (round % 3) * 700;
            let reading = cursor.read(&window, at(now));
            requests += reading
                .ticks
                .iter()
                .map(|tick| tick.blue.requests)
                .sum::<u64>();
            failed += reading.spans[0].failed;
            latency += reading.spans[0].latency.count();
        }
        assert_eq!((requests, failed, latency), (20_000, 2_000, 18_000));
    }
}
