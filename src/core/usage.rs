//! Resource usage of both versions while green has users: a memory leak or high CPU use is a warning, never a verdict.

use crate::core::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// The shortest and the longest time between two samples.
const EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));

/// Samples at the beginning that are left out: a new version fills its caches.
const GRACE: u32 = 6;

/// Samples after the grace that are needed to judge a slope: memory that is freed in turns rises and falls.
const LOOKS_MIN: usize = 24;

/// Number of samples that are kept.
const LOOKS: usize = 360;

/// Requests of each version that are needed to judge the CPU time per request.
const REQUESTS_MIN: u64 = 300;

/// Bytes by which green must have grown.
const GROWTH_MIN: f64 = 8e6;

/// How much steeper than blue's, and how straight (the square of the correlation with time), green's growth must be.
const STEEPER: f64 = 3.0;
const STRAIGHT: f64 = 0.8;

/// Ratio of green's CPU time per request to blue's from which a warning is given.
const BUSIER: f64 = 1.5;

/// CPU nanoseconds per second and container by which green must exceed what blue uses for as many requests.
const BURN_MIN: f64 = 0.02e9;

/// A container uses CPU time for itself, whatever its requests: checks that run in it, timers, garbage collection. The
/// fewer requests it has, the larger the part of that per request. So CPU time per request is compared where a
/// container of green has at least this many of the requests of one of blue (as a ratio).
const LIKE: f64 = 0.8;

/// Failed samples in a row after which the engine is queried less often: it is busy, or has no data.
const SILENT: u32 = 3;
const RARELY: Duration = Duration::from_secs(60);

/// Resource usage of the containers of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageSample {
    /// Memory of all containers, in bytes.
    pub memory: u64,
    /// Memory limit of all containers, in bytes; 0 for no limit.
    pub limit: u64,
    /// CPU time since they were started, in nanoseconds.
    pub cpu: u64,
    /// Requests that have ended on the containers.
    pub requests: u64,
    /// Number of containers.
    pub containers: usize,
}

/// The samples of one rollout.
#[derive(Clone, Debug)]
pub struct ResourceUsage {
    every: Duration,
    asked: Option<Time>,
    under_way: bool,
    early: u32,
    silent: u32,
    looks: VecDeque<(Time, [UsageSample; 2])>,
    told: [bool; 2],
}

impl ResourceUsage {
    /// No samples yet; the interval yields enough samples within the shortest time of the first share, where that is a
    /// minute or more.
    pub fn within(hold: Duration) -> ResourceUsage {
        // A tenth more samples than needed: each comes a little late.
        let every = hold * 10 / (11 * (GRACE + LOOKS_MIN as u32));
        ResourceUsage {
            every: every.clamp(EVERY.0, EVERY.1),
            asked: None,
            under_way: false,
            early: 0,
            silent: 0,
            looks: VecDeque::new(),
            told: [false; 2],
        }
    }

    /// Whether a sample is due, which is then under way until [`ResourceUsage::look`] or [`ResourceUsage::nothing`]: of
    /// two samples at a time the later one may be answered first, and time would seem to run backwards.
    pub fn due(&mut self, now: Time) -> bool {
        let every = if self.silent < SILENT {
            self.every
        } else {
            RARELY
        };
        let due = !self.under_way && self.asked.is_none_or(|asked| now.since(asked) >= every);
        if due {
            self.asked = Some(now);
            self.under_way = true;
        }
        due
    }

    /// Starts another share: usage follows the number of requests, so earlier samples are dropped.
    pub fn restart(&mut self) {
        self.looks.clear();
        self.early = 0;
    }

    /// A sample failed; after a few failures the engine is queried rarely.
    pub fn nothing(&mut self) {
        self.under_way = false;
        self.silent += 1;
    }

    /// Takes a sample of blue and green; returns new warnings.
    pub fn look(&mut self, now: Time, looks: [UsageSample; 2]) -> Vec<String> {
        self.under_way = false;
        self.silent = 0;
        // A container was replaced or added: earlier samples cannot be compared.
        let begun = |(old, new): (&UsageSample, &UsageSample)| {
            new.cpu < old.cpu || new.containers != old.containers
        };
        if self
            .looks
            .back()
            .is_some_and(|(_, last)| last.iter().zip(&looks).any(begun))
        {
            self.restart();
        }
        if self.early < GRACE {
            self.early += 1;
            return vec![];
        }
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((now, looks));
        let found = [self.leak(), self.burn()];
        let fresh = found.into_iter().zip(&mut self.told);
        fresh
            .filter_map(|(found, told)| found.filter(|_| !std::mem::replace(told, true)))
            .collect()
    }

    /// The warning on a leak: green's memory grows, steadily and much faster than blue's.
    fn leak(&self) -> Option<String> {
        let (_, last) = self.looks.back()?;
        if self.looks.len() < LOOKS_MIN {
            return None;
        }
        let [blue, green] = [0, 1].map(|pool| self.slope(pool));
        let grown = green.per_second * self.seconds();
        let mean = self.looks.iter().map(|(_, looks)| looks[1].memory as f64);
        let mean = mean.sum::<f64>() / self.looks.len() as f64;
        let steep = green.per_second > STEEPER * blue.per_second.max(0.0);
        if !steep || green.straight < STRAIGHT || grown < GROWTH_MIN.max(0.05 * mean) {
            return None;
        }
        let a_minute = |slope: f64| format!("{:.1} MB", 60.0 * slope / 1e6);
        let mut text = format!(
            "green's memory grows by {} a minute (blue's by {})",
            a_minute(green.per_second),
            a_minute(blue.per_second.max(0.0))
        );
        if last[1].limit > 0 {
            let left = last[1].limit.saturating_sub(last[1].memory) as f64 / green.per_second;
            text.push_str(&format!(
                "; at this pace its limit of {:.0} MB is reached in {}",
                last[1].limit as f64 / 1e6,
                match left {
                    left if left < 120.0 => format!("{left:.0} s"),
                    left if left < 7_200.0 => format!("{:.0} min", left / 60.0),
                    left => format!("{:.0} h", left / 3_600.0),
                }
            ));
        }
        Some(text)
    }

    /// The warning on CPU use: green uses much more CPU time per request.
    fn burn(&self) -> Option<String> {
        let ((_, from), (_, to)) = (self.looks.front()?, self.looks.back()?);
        if self.looks.len() < LOOKS_MIN {
            return None;
        }
        let of = |pool: usize| {
            let requests = to[pool].requests.saturating_sub(from[pool].requests);
            let nanos = to[pool].cpu.saturating_sub(from[pool].cpu) as f64;
            let containers = to[pool].containers.max(1) as f64;
            (requests >= REQUESTS_MIN).then_some((requests as f64, nanos, containers))
        };
        let ((blue_requests, blue_nanos, blue_containers), (requests, nanos, containers)) =
            (of(0)?, of(1)?);
        // At unlike rates all CPU time of a container of blue is taken for idle: green's own idle time is not known.
        let like = requests / containers >= LIKE * blue_requests / blue_containers;
        let idle = if like {
            0.0
        } else {
            blue_nanos / blue_containers * containers
        };
        let (blue, green) = (blue_nanos / blue_requests, (nanos - idle) / requests);
        let more = (green - blue) * requests;
        let burns = green > BUSIER * blue && more > BURN_MIN * self.seconds() * containers;
        (burns && blue > 0.0).then(|| {
            format!(
                "green takes {}{:.1} times blue's processor time for a request ({:.2} ms against {:.2} ms)",
                if like { "" } else { "at least " },
                green / blue,
                green / 1e6,
                blue / 1e6
            )
        })
    }

    fn seconds(&self) -> f64 {
        let times = self.looks.front().zip(self.looks.back());
        times.map_or(0.0, |((first, _), (last, _))| {
            last.since(*first).as_secs_f64()
        })
    }

    /// Ordinary least squares of a version's memory over time.
    fn slope(&self, pool: usize) -> Slope {
        let count = self.looks.len() as f64;
        let first = self.looks.front().map_or(Time(0), |(first, _)| *first);
        let points = || {
            let point = move |(at, looks): &(Time, [UsageSample; 2])| {
                (at.since(first).as_secs_f64(), looks[pool].memory as f64)
            };
            self.looks.iter().map(point)
        };
        let mean_x = points().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = points().map(|(_, y)| y).sum::<f64>() / count;
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (x, y) in points() {
            let (x, y) = (x - mean_x, y - mean_y);
            xx += x * x;
            xy += x * y;
            yy += y * y;
        }
        Slope {
            per_second: if xx > 0.0 { xy / xx } else { 0.0 },
            straight: if xx * yy > 0.0 {
                xy * xy / (xx * yy)
            } else {
                0.0
            },
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slope {
    per_second: f64,
    straight: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// Samples every five seconds for `seconds` seconds; blue has 50 MB and a tenth of a CPU for 10 requests per
    /// second.
    fn watch(seconds: u64, green: impl Fn(u64) -> (u64, u64)) -> Vec<(u64, String)> {
        let (mut usage, mut told) = (ResourceUsage::within(HOUR), vec![]);
        for second in 0..seconds {
            if !usage.due(Time(1_000 * second)) {
                continue;
            }
            let blue = UsageSample {
                memory: 50_000_000 + second % 7 * 100_000,
                limit: 0,
                cpu: second * 100_000_000,
                requests: second * 10,
                containers: 1,
            };
            let (memory, cpu) = green(second);
            let green = UsageSample {
                memory,
                limit: 256_000_000,
                cpu,
                requests: second * 10,
                containers: 1,
            };
            let fresh = usage.look(Time(1_000 * second), [blue, green]);
            told.extend(fresh.into_iter().map(|text| (second, text)));
        }
        told
    }

    #[test]
    fn a_leak_is_told_once_with_the_time_that_is_left() {
        let told = watch(600, |second| {
            (60_000_000 + second * 200_000, second * 100_000_000)
        });
        assert_eq!(told.len(), 1, "{told:?}");
        let (second, text) = &told[0];
        assert!((145..=180).contains(second), "{told:?}");
        assert!(
            text.starts_with("green's memory grows by 12.0 MB a minute (blue's by 0."),
            "{text}"
        );
        assert!(
            text.contains("its limit of 256 MB is reached in 14 min"),
            "{text}"
        );
    }

    #[test]
    fn caches_that_fill_and_memory_that_swings_are_no_leak() {
        let filled = |second: u64| 40_000_000 + second.min(25) * 4_000_000;
        assert_eq!(
            watch(600, |second| (filled(second), second * 100_000_000)),
            []
        );
        let swings = |second: u64| 60_000_000 + second % 50 * 1_000_000;
        assert_eq!(
            watch(1_800, |second| (swings(second), second * 100_000_000)),
            []
        );
    }

    #[test]
    fn a_request_that_takes_twice_as_long_of_a_processor_is_told_once() {
        let told = watch(300, |second| (60_000_000, second * 240_000_000));
        assert_eq!(told.len(), 1, "{told:?}");
        let text =
            "green takes 2.4 times blue's processor time for a request (24.00 ms against 10.00 ms)";
        assert_eq!(told[0].1, text);
        assert_eq!(watch(300, |second| (60_000_000, second * 120_000_000)), []);
    }

    /// The warnings for versions with these rates of requests and CPU time in ms per second.
    fn burns(blue: (u64, f64, usize), green: (u64, f64, usize)) -> Vec<String> {
        let mut usage = ResourceUsage::within(HOUR);
        let mut told = vec![];
        for second in (0..300).step_by(5) {
            let look = |(rate, millis, containers): (u64, f64, usize)| UsageSample {
                memory: 50_000_000,
                limit: 0,
                cpu: (millis * 1e6) as u64 * second,
                requests: rate * second,
                containers,
            };
            told.extend(usage.look(Time(1_000 * second), [look(blue), look(green)]));
        }
        told
    }

    #[test]
    fn what_a_container_takes_for_itself_is_not_laid_on_its_few_requests() {
        // One image as both: 23.2 ms per second for itself, 0.0266 ms per request. It was reported as 3.1 times.
        let takes = |rate: u64, each: f64| (rate, 23.2 + each * rate as f64, 1);
        let table: &[(&str, _, _, &str)] = &[
            ("5 %", takes(950, 0.0266), takes(50, 0.0266), ""),
            ("50 %", takes(500, 0.0266), takes(500, 0.0266), ""),
            ("95 %", takes(50, 0.0266), takes(950, 0.0266), ""),
            ("a little of each", takes(5, 0.0266), takes(5, 0.0266), ""),
            (
                "three times at 50 %",
                takes(500, 0.5),
                takes(500, 1.5),
                "green takes 2.8 times",
            ),
            (
                "three times at 95 %",
                takes(50, 0.5),
                takes(950, 1.5),
                "green takes 1.6 times",
            ),
            (
                "three times at 5 %: not known",
                takes(950, 0.5),
                takes(50, 1.5),
                "",
            ),
            (
                "fifty times at 5 %",
                takes(950, 0.5),
                takes(50, 25.0),
                "green takes at least 29.",
            ),
            (
                "three containers beside one",
                (750, 3.0 * 23.2 + 750.0 * 0.5, 3),
                (250, 23.2 + 250.0 * 1.5, 1),
                "green takes 2.7 times",
            ),
            (
                "twice of next to nothing",
                (500, 5.0, 1),
                (500, 12.0, 1),
                "",
            ),
        ];
        for (what, blue, green, expected) in table {
            let told = burns(*blue, *green);
            match told.first() {
                Some(text) => assert!(
                    !expected.is_empty() && text.starts_with(expected),
                    "{what}: {text}"
                ),
                None => assert_eq!(*expected, "", "{what}"),
            }
        }
    }

    #[test]
    fn a_container_that_begins_anew_is_not_compared_with_the_one_before() {
        // Restarted after 100 s: its CPU counter starts at 0, its memory is small again.
        let told = watch(160, |second| match second {
            0..100 => (90_000_000, second * 100_000_000),
            _ => (30_000_000, (second - 100) * 100_000_000),
        });
        assert_eq!(told, []);
    }

    #[test]
    fn what_follows_its_share_is_no_leak_and_what_idles_is_no_burn() {
        // Each share lasts 200 s and uses 60 MB more; green has a tenth of blue's requests and idles at 1 %.
        let mut usage = ResourceUsage::within(HOUR);
        for second in (0..600).step_by(5) {
            if second % 200 == 0 {
                usage.restart();
            }
            let look = |requests: u64, memory: u64| UsageSample {
                memory,
                limit: 0,
                cpu: second * 10_000_000 + requests * 1_000_000,
                requests,
                containers: 1,
            };
            let green = look(second * 10, 50_000_000 + second / 200 * 60_000_000);
            let told = usage.look(
                Time(1_000 * second),
                [look(second * 100, 50_000_000), green],
            );
            assert_eq!(told, [""; 0], "after {second} s");
        }
    }

    #[test]
    fn who_gets_no_answer_asks_rarely_and_never_twice_at_a_time() {
        let mut usage = ResourceUsage::within(HOUR);
        assert!(usage.due(Time(0)) && !usage.due(Time(100_000)));
        usage.nothing();
        assert!(!usage.due(Time(4_999)));
        for second in [5, 10] {
            assert!(usage.due(Time(1_000 * second)));
            usage.nothing();
        }
        assert!(!usage.due(Time(69_999)) && usage.due(Time(70_000)));
        // After one answer the usual interval holds again.
        usage.look(Time(70_500), [UsageSample::default(); 2]);
        assert!(!usage.due(Time(74_999)) && usage.due(Time(75_000)));
        // A short share is sampled more often.
        let mut quick = ResourceUsage::within(Duration::from_secs(60));
        assert!(quick.due(Time(0)));
        quick.nothing();
        assert!(!quick.due(Time(1_818)) && quick.due(Time(1_819)));
    }
}
