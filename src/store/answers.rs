//! Counts of answers beside failures and the first byte: by status class and route, clients that gave up
//! before the answer, and the time until the last byte.
//!
//! Requests are counted in the second in which they end, as failures are. The last byte is counted in the second in
//! which its request started, as the first byte is: an answer still open when that second is read counts as late. An
//! answer without a header by then is left out: the comparison of the first byte covers it. An answer that is cut
//! (by the client before it was late, or by the backend, which is a failure) is left out too.
//!
//! Most answers are 2xx and cost two increments here, three on blue; the others one or two more. Nothing is allocated
//! for a request.

use crate::core::answers::{Alike, AnswerKind, Told};
use crate::core::class::Class;
use crate::core::stats::{Histogram, PoolCounts};
use crate::core::table::Color;
use crate::core::time::Time;
use crate::store::groups::{Groups, SLOTS, Slot as Group};
use crate::store::request_token::RequestToken;
use crate::store::window::{RING, Window, thread_shard};
use std::array::from_fn;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Number of statuses that are counted one by one: 300 to 499.
const STATUSES: usize = 200;

/// The first of these statuses.
const FIRST: u16 = 300;

/// Highest number of seconds between a second and its reading.
pub(super) const LAST_LAG_MAX: u64 = 11;

/// The state of the answer to a request in flight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answering {
    kind: Option<AnswerKind>,
    status: u16,
    /// Whether its time to the last byte is counted.
    timed: bool,
    /// Whether its last byte is still awaited in the slot of its second.
    awaited: bool,
}

impl Answering {
    /// The client has left before the header.
    pub(super) fn gave_up() -> Answering {
        Answering {
            kind: Some(AnswerKind::GaveUp),
            ..Answering::default()
        }
    }
}

/// Last bytes of the requests that started in one second.
#[derive(Debug, Default)]
struct Slot {
    /// Answers with a header.
    headers: AtomicU32,
    /// Whole answers, of those in `headers`.
    whole: AtomicU32,
    /// Late answers, of those in `whole`.
    late: AtomicU32,
    /// Answers that were cut.
    cut: AtomicU32,
}

#[derive(Debug)]
struct Pool {
    routes: [[AtomicU32; 3]; SLOTS + 1],
    ring: [Slot; RING],
    /// Times to the last byte, for blue only: limits are frozen from it.
    latency: [AtomicU32; Histogram::BUCKETS],
}

/// Both pools' counters of one thread.
#[derive(Debug)]
#[repr(align(128))]
struct Lane([Pool; 2]);

/// The counters of one window.
#[derive(Debug)]
pub(super) struct Answers {
    lanes: Box<[Lane]>,
    statuses: [[AtomicU32; STATUSES]; 2],
}

fn zero() -> AtomicU32 {
    AtomicU32::new(0)
}

fn take(counter: &AtomicU32) -> u64 {
    // Most counters are 0 most of the time: look before taking the cache line.
    match counter.load(Relaxed) {
        0 => 0,
        _ => u64::from(counter.swap(0, Relaxed)),
    }
}

impl Answers {
    /// Counters for `lanes` threads.
    pub(super) fn new(lanes: usize) -> Answers {
        let pool = |_| Pool {
            routes: from_fn(|_| from_fn(|_| zero())),
            ring: from_fn(|_| Slot::default()),
            latency: from_fn(|_| zero()),
        };
        Answers {
            lanes: (0..lanes.max(1)).map(|_| Lane(from_fn(pool))).collect(),
            statuses: from_fn(|_| from_fn(|_| zero())),
        }
    }

    fn mine(&self, color: Color) -> &Pool {
        &self.lanes[thread_shard() % self.lanes.len()].0[color.index()]
    }

    fn slot(&self, begun: RequestToken) -> &Slot {
        &self.mine(begun.color).ring[begun.second as usize % RING]
    }

    fn count(&self, begun: RequestToken, kind: AnswerKind) {
        let at = begun.group.map_or(SLOTS, Group::index);
        self.mine(begun.color).routes[at][kind as usize].fetch_add(1, Relaxed);
        let status = begun.answer.status.checked_sub(FIRST).map(usize::from);
        let statuses = &self.statuses[begun.color.index()];
        if let Some(counter) = status.and_then(|at| statuses.get(at)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    fn last_byte(&self, begun: RequestToken, late: bool) {
        let slot = self.slot(begun);
        slot.whole.fetch_add(1, Relaxed);
        if late {
            slot.late.fetch_add(1, Relaxed);
        }
    }

    /// The counts since the last call, of blue and of green. There is one reader.
    pub(super) fn read(&self, groups: &Groups) -> ([[u64; 3]; 2], [Told; 2]) {
        let mut told = [Told::new(), Told::new()];
        let mut sums = [[0; 3]; 2];
        for color in Color::BOTH {
            let (told, sums) = (&mut told[color.index()], &mut sums[color.index()]);
            for at in 0..=SLOTS {
                for kind in AnswerKind::BY_REQUEST {
                    let of = |lane: &Lane| take(&lane.0[color.index()].routes[at][kind as usize]);
                    let times = self.lanes.iter().map(of).sum::<u64>();
                    if times > 0 {
                        sums[kind as usize] += times;
                        told.entry(kind).or_default().route(groups.name(at), times);
                    }
                }
            }
            self.read_statuses(color, told);
        }
        (sums, told)
    }

    fn read_statuses(&self, color: Color, told: &mut Told) {
        for (status, counter) in (FIRST..).zip(&self.statuses[color.index()]) {
            let times = take(counter);
            let kind = AnswerKind::of_status(status).filter(|_| times > 0);
            if let Some(alike) = kind.and_then(|kind| told.get_mut(&kind)) {
                Alike::status(alike, status, times);
            }
        }
    }

    /// Answers to the requests of a second, and the late ones among them; read once.
    fn settled(&self, color: Color, second: u64) -> (u64, u64) {
        let mut sums = [0; 4];
        for lane in &self.lanes {
            let slot = &lane.0[color.index()].ring[second as usize % RING];
            let counts = [&slot.headers, &slot.whole, &slot.late, &slot.cut].map(take);
            sums.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
        let [headers, whole, late, cut] = sums;
        let open = headers.saturating_sub(whole + cut);
        (whole + open, late + open)
    }

    /// Times to the last byte since the last call.
    pub(super) fn latency(&self, color: Color) -> Histogram {
        let mut sum = Histogram::default();
        if color == Color::Green {
            return sum;
        }
        for lane in &self.lanes {
            for (bucket, counter) in lane.0[color.index()].latency.iter().enumerate() {
                sum.add(bucket, take(counter));
            }
        }
        sum
    }
}

impl Window {
    /// The header of an answer that is no failure has come.
    pub fn header(&self, begun: &mut RequestToken, status: u16) {
        begun.answer.kind = AnswerKind::of_status(status);
        begun.answer.status = status;
    }

    /// The last byte of an answer is awaited, and compared: for answers other than streams.
    pub fn await_last_byte(&self, begun: &mut RequestToken, now: Time) {
        if std::mem::replace(&mut begun.answer.timed, true) {
            return;
        }
        let compared = self.limits.is_some_and(|limits| limits.last_byte.is_some());
        if !compared || self.is_past(begun.second, now) {
            return;
        }
        begun.answer.awaited = true;
        for answers in self.heard(*begun) {
            answers.slot(*begun).headers.fetch_add(1, Relaxed);
        }
    }

    /// An answer has ended `micros` microseconds after its request, whole or (`Class::ClientGaveUp`) cut by its client.
    ///
    /// An answer that the client cuts after the limit was late; one that it cuts before has an unknown time.
    pub fn last_byte(&self, begun: &mut RequestToken, class: Class, micros: u64, now: Time) {
        if class == Class::Ok && begun.answer.timed && begun.color == Color::Blue {
            let latency = &self.answers.mine(Color::Blue).latency;
            latency[Histogram::bucket(micros)].fetch_add(1, Relaxed);
        }
        let limits = self.limits.and_then(|limits| limits.last_byte);
        let (true, Some(limits)) = (begun.answer.awaited, limits) else {
            return;
        };
        let late = micros > limits[begun.color.index()];
        if class != Class::Ok && !late {
            return;
        }
        begun.answer.awaited = false;
        if self.is_past(begun.second, now) {
            // It was counted as late when its second was read.
            return;
        }
        for answers in self.heard(*begun) {
            answers.last_byte(*begun, late);
        }
    }

    /// Counts an ended answer by its kind; an answer with an awaited last byte is cut.
    pub(super) fn end_answer(&self, begun: RequestToken, class: Class, now: Time) {
        let answer = begun.answer;
        let kind = answer.kind.filter(|kind| match kind {
            AnswerKind::GaveUp => class == Class::ClientGaveUp,
            _ => class == Class::Ok,
        });
        for answers in self.heard(begun) {
            if let Some(kind) = kind {
                answers.count(begun, kind);
            }
            if answer.awaited && !self.is_past(begun.second, now) {
                answers.slot(begun).cut.fetch_add(1, Relaxed);
            }
        }
    }

    /// The counters for a request: these, and those of newcomers where they are counted separately.
    fn heard(&self, begun: RequestToken) -> impl Iterator<Item = &Answers> {
        let apart = self.voices.get().and_then(|voices| voices.newcomers(begun));
        [&self.answers].into_iter().chain(apart)
    }

    fn last_lag(&self) -> u64 {
        let settle = |limits: crate::core::stats::Limits| limits.last_byte_seconds();
        self.limits.map_or(1, settle) + 1
    }

    /// Whether a second's slot has been read: open answers have been counted as late.
    fn is_past(&self, second: u64, now: Time) -> bool {
        now.0 / 1000 >= second + self.last_lag()
    }

    /// Adds the last bytes of the second that is final in this one.
    pub(super) fn last_bytes(&self, second: u64, blue: &mut PoolCounts, green: &mut PoolCounts) {
        let opened = self.opened.0 / 1000;
        let compared = self.limits.is_some_and(|limits| limits.last_byte.is_some());
        let settled = (second + 1).checked_sub(self.last_lag());
        let Some(at) = settled.filter(|&at| compared && at >= opened) else {
            return;
        };
        for (tick, color) in [(blue, Color::Blue), (green, Color::Green)] {
            let counted = self.answers.settled(color, at);
            // Beside a baseline the limit of blue's own pool does not apply to two colder ones.
            if self.baseline.is_none() {
                (tick.answers.timed, tick.answers.late) = counted;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::stats::Limits;
    use crate::core::users::Caller;
    use crate::store::window::{Cursor, Reading};

    fn limits() -> Limits {
        Limits {
            last_byte: Some([1_000_000, 1_500_000]),
            ..Limits::alone([1_000; 3])
        }
    }

    fn window() -> Window {
        Window::new(1, Some(limits()), [None; 3], Time(0))
    }

    fn begun(window: &Window, color: Color, path: &str, at: u64) -> RequestToken {
        let slot = window.groups.place("GET", path);
        let begun = window.begin(color, Time(at)).of(slot);
        window.by(begun, Caller::Anybody)
    }

    fn answer(window: &Window, color: Color, path: &str, status: u16, class: Class) {
        let mut begun = begun(window, color, path, 10);
        window.header(&mut begun, status);
        window.end(begun, class, Time(20));
    }

    fn read(window: &Window, cursor: &mut Cursor, seconds: std::ops::Range<u64>) -> Vec<Reading> {
        seconds
            .map(|at| cursor.read(window, Time(1_000 * at)))
            .collect()
    }

    #[test]
    fn answers_are_counted_by_class_status_and_route_and_read_once() {
        let window = window();
        let mut cursor = Cursor::new(&window);
        for (path, status) in [
            ("/a", 404),
            ("/a", 404),
            ("/b", 401),
            ("/b", 302),
            ("/c", 200),
            ("/c", 304),
        ] {
            answer(&window, Color::Green, path, status, Class::Ok);
        }
        answer(&window, Color::Blue, "/a", 404, Class::Ok);
        answer(&window, Color::Green, "/a", 404, Class::Reset);
        answer(&window, Color::Green, "/a", 404, Class::ClientGaveUp);
        let mut left = begun(&window, Color::Green, "/d", 10);
        window.gave_up(&mut left, 300_000, Time(300));
        window.end(left, Class::ClientGaveUp, Time(300));
        let reading = &read(&window, &mut cursor, 1..2)[0];
        let tick = reading.ticks[0];
        assert_eq!(tick.green.answers.by_request, [1, 3, 1]);
        assert_eq!(tick.blue.answers.by_request, [0, 1, 0]);
        assert_eq!(tick.green.requests, 7, "who left is in none of these");
        let told = &reading.faults[Color::Green.index()].answers;
        let refused = &told[&AnswerKind::ClientError];
        assert_eq!(
            (
                refused.total,
                refused.statuses["404"],
                refused.routes["GET /a"]
            ),
            (3, 2, 2)
        );
        assert_eq!(told[&AnswerKind::Redirect].statuses["302"], 1);
        let left = &told[&AnswerKind::GaveUp];
        assert_eq!(
            (left.total, left.routes["GET /d"], left.statuses.len()),
            (1, 1, 0)
        );
        let again = &read(&window, &mut cursor, 2..3)[0];
        assert_eq!(again.ticks[0].green.answers, Default::default());
        assert!(again.faults[Color::Green.index()].answers.is_empty());
    }

    /// One answer: the times of its header and its end, and how it ends.
    fn timed(window: &Window, color: Color, header: u64, end: u64, class: Class) {
        let mut begun = begun(window, color, "/", 500);
        window.header(&mut begun, 200);
        window.await_last_byte(&mut begun, Time(500 + header));
        window.last_byte(&mut begun, class, 1_000 * end, Time(500 + end));
        window.end(begun, class, Time(500 + end));
    }

    #[test]
    fn the_last_byte_counts_in_the_second_of_the_start_against_each_version_s_limit() {
        let window = window();
        let mut cursor = Cursor::new(&window);
        for color in Color::BOTH {
            for end in [20, 900, 1_200, 1_600] {
                timed(&window, color, 10, end, Class::Ok);
            }
            timed(&window, color, 10, 100, Class::ClientGaveUp);
            timed(&window, color, 10, 1_700, Class::ClientGaveUp);
            timed(&window, color, 10, 100, Class::Reset);
            // One is still open, and one has no header yet.
            let mut open = begun(&window, color, "/", 500);
            window.await_last_byte(&mut open, Time(600));
            begun(&window, color, "/", 500);
        }
        let all = read(&window, &mut cursor, 1..8);
        let ticks: Vec<_> = all.iter().flat_map(|reading| &reading.ticks).collect();
        let of = |at: usize| (ticks[at].blue.answers, ticks[at].green.answers);
        // Limits of 1.5 s are settled after three seconds.
        let (blue, green) = of(3);
        assert_eq!((blue.timed, blue.late), (6, 4));
        assert_eq!((green.timed, green.late), (6, 3));
        for at in [0, 1, 2, 4, 5, 6] {
            assert_eq!(of(at).0.timed + of(at).1.timed, 0, "{at}");
        }
        let past: u64 = all.iter().map(|one| one.spans[0].last_byte.count()).sum();
        assert_eq!(past, 4, "whole answers of blue");
        let greens: u64 = all.iter().map(|one| one.spans[1].last_byte.count()).sum();
        assert_eq!(greens, 0);
    }

    #[test]
    fn what_ends_after_its_second_was_read_is_late_once() {
        let window = window();
        let mut cursor = Cursor::new(&window);
        let mut open = begun(&window, Color::Green, "/", 500);
        window.header(&mut open, 200);
        window.await_last_byte(&mut open, Time(600));
        let early = read(&window, &mut cursor, 1..6);
        window.last_byte(&mut open, Class::Ok, 5_100_000, Time(5_600));
        window.end(open, Class::Ok, Time(5_600));
        let later = read(&window, &mut cursor, 6..45);
        let late = |all: &[Reading]| -> u64 {
            let ticks = all.iter().flat_map(|one| &one.ticks);
            ticks.map(|tick| tick.green.answers.late).sum()
        };
        assert_eq!((late(&early), late(&later)), (1, 0));
    }

    #[test]
    fn without_limits_blue_s_times_are_kept_and_a_stream_has_none() {
        let window = Window::new(1, None, [None; 3], Time(0));
        let mut cursor = Cursor::new(&window);
        timed(&window, Color::Blue, 10, 50, Class::Ok);
        let mut stream = begun(&window, Color::Blue, "/", 500);
        window.header(&mut stream, 200);
        window.last_byte(&mut stream, Class::Ok, 10_000, Time(510));
        window.end(stream, Class::Ok, Time(510));
        let all = read(&window, &mut cursor, 1..4);
        let past: u64 = all.iter().map(|one| one.spans[0].last_byte.count()).sum();
        assert_eq!(past, 1);
        let ticks = all.iter().flat_map(|one| &one.ticks);
        assert!(
            ticks
                .map(|tick| tick.blue.answers)
                .all(|one| one.is_empty())
        );
    }
}
