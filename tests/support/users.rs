//! A world of users: each asks in its own way, and a cookie keeps it on one version.
//!
//! Every request goes through the shipped counters ([`Window`], [`Users`]) and its place through the shipped chooser.
//! Two judges look at equal seconds: one by users, one by requests as it was before (a user's failure that follows
//! another within ten seconds is not counted).

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, Poisson, StandardNormal};
use shifter::core::class::Class;
use shifter::core::judge::{Control, Judge, Policy, Unit, Verdict};
use shifter::core::newcomer::newcomer;
use shifter::core::seat;
use shifter::core::stats::{Histogram, Limits, Tick};
use shifter::core::table::{Color, Pool, Route};
use shifter::core::time::Time;
use shifter::core::users::Caller;
use shifter::core::weight::{Weight, salted};
use shifter::store::users::Users;
use shifter::store::window::{Cursor, Window};
use std::collections::HashMap;
use std::sync::Arc;

/// Who the users are and how they behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) users: usize,
    /// Requests a second of all users together.
    pub(crate) rate: f64,
    /// Exponent of Zipf's law: the activity of the k-th user is `k^-zipf`.
    pub(crate) zipf: f64,
    /// Share of users whose requests fail always, whatever the version.
    pub(crate) broken: f64,
    /// The bot's share of all requests, and how many of its requests fail.
    pub(crate) bot: (f64, f64),
    /// Mean seconds after which a user leaves and a new one comes; 0 for never.
    pub(crate) stay: f64,
    /// Share of users that keep no cookie.
    pub(crate) cookieless: f64,
    /// Mean number of retries of a client whose request failed.
    pub(crate) retries: f64,
    /// Share of all other requests that fail on blue, and on green.
    pub(crate) errors: [f64; 2],
    /// Factor on green's times.
    pub(crate) slower: f64,
}

impl Kind {
    /// Users without faults of their own, on equal versions.
    pub(crate) const PLAIN: Kind = Kind {
        users: 1_000,
        rate: 50.0,
        zipf: 1.0,
        broken: 0.0,
        bot: (0.0, 0.0),
        stay: 0.0,
        cookieless: 0.0,
        retries: 0.0,
        errors: [0.001; 2],
        slower: 1.0,
    };
}

#[derive(Clone, Copy)]
struct User {
    /// Its cookie; none before its first answer.
    seat: Option<u16>,
    broken: bool,
    keeps: bool,
    /// Logarithm of the factor on its times.
    heavy: f64,
    until: f64,
}

/// When each judge took green for worse, in seconds; none where it did not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) by_users: Option<u64>,
    pub(crate) by_requests: Option<u64>,
}

/// One rollout.
pub(crate) struct World {
    kind: Kind,
    rng: Xoshiro256PlusPlus,
    users: Vec<User>,
    /// Sums of the activities up to each user, the last being 1.
    activity: Vec<f64>,
    salt: u64,
    newcomers: u64,
    /// The last failure of a seat that counted, by the old rule.
    failed_at: HashMap<(Color, u16), u64>,
    retries: Vec<Vec<usize>>,
    second: u64,
}

/// The bot is the user behind all others.
const MEDIAN: f64 = 40.0;
const SPREAD: f64 = 0.5;
/// How much users differ: standard deviation of the logarithm of their times.
const HEAVY: f64 = 0.3;

impl World {
    pub(crate) fn new(kind: Kind, seed: u64) -> World {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut sum = 0.0;
        let mut activity: Vec<f64> = (1..=kind.users)
            .map(|rank| {
                sum += (rank as f64).powf(-kind.zipf);
                sum
            })
            .collect();
        activity
            .iter_mut()
            .for_each(|part| *part *= (1.0 - kind.bot.0) / sum);
        let salt = rng.random();
        let mut world = World {
            kind,
            rng,
            users: vec![],
            activity,
            salt,
            newcomers: 0,
            failed_at: HashMap::new(),
            retries: vec![vec![]; 4_000],
            second: 0,
        };
        // Who was there before this release has a cookie of an earlier one.
        for _ in 0..=kind.users {
            let mut user = world.comes();
            user.seat = user.keeps.then(|| world.rng.random_range(0..Weight::FULL));
            world.users.push(user);
        }
        let bot = &mut world.users[kind.users];
        (bot.broken, bot.until) = (false, f64::INFINITY);
        world
    }

    fn comes(&mut self) -> User {
        let kind = self.kind;
        let z: f64 = StandardNormal.sample(&mut self.rng);
        let life: f64 = Exp1.sample(&mut self.rng);
        User {
            seat: None,
            broken: self.rng.random::<f64>() < kind.broken,
            keeps: self.rng.random::<f64>() >= kind.cookieless,
            heavy: HEAVY * z,
            until: match kind.stay {
                0.0 => f64::INFINITY,
                stay => self.second as f64 + stay * life,
            },
        }
    }

    fn someone(&mut self) -> usize {
        let at: f64 = self.rng.random();
        self.activity.partition_point(|&sum| sum <= at)
    }

    /// The time of one request in microseconds, and whether it fails, on this version.
    fn request(&mut self, who: usize, color: Color) -> (u64, bool) {
        let (kind, user) = (self.kind, self.users[who]);
        let chance = match color {
            _ if who == kind.users => kind.bot.1.max(kind.errors[color.index()]),
            _ if user.broken => 1.0,
            color => kind.errors[color.index()],
        };
        let failed = self.rng.random::<f64>() < chance;
        let z: f64 = StandardNormal.sample(&mut self.rng);
        let slower = if color == Color::Green {
            kind.slower
        } else {
            1.0
        };
        let millis = MEDIAN * slower * (user.heavy + SPREAD * z).exp();
        ((millis * 1_000.0) as u64, failed)
    }

    /// All requests of this second; the requests and failures that the old rule would not count come back.
    fn second(&mut self, window: &Window, weight: Weight) -> [u64; 2] {
        let arrived =
            Poisson::new(self.kind.rate).map_or(0, |all| all.sample(&mut self.rng) as u64);
        let mut who: Vec<usize> = (0..arrived).map(|_| self.someone()).collect();
        who.append(&mut self.retries[self.second as usize]);
        let (start, mut repeats) = (Time(1_000 * self.second + 1), [0; 2]);
        for who in who {
            if self.users[who].until < self.second as f64 {
                self.users[who] = self.comes();
            }
            let user = self.users[who];
            let (point, caller) = match user.seat {
                Some(seat) => {
                    let point = seat::point(seat, self.salt);
                    (point, Caller::Pinned(point))
                }
                None => {
                    self.newcomers += 1;
                    (newcomer(self.newcomers, self.salt), Caller::Newcomer)
                }
            };
            if user.seat.is_none() && user.keeps {
                self.users[who].seat = Some(seat::seat(point, self.salt));
            }
            let color = if weight.covers(point) {
                Color::Green
            } else {
                Color::Blue
            };
            let (micros, failed) = self.request(who, color);
            let mut begun = window.by(window.begin(color, start), caller);
            if failed {
                window.end(begun, Class::ServerError, start);
                repeats[color.index()] += u64::from(self.repeated(color, caller));
                self.retry(who);
            } else {
                window.answered(&mut begun, micros, start);
                window.end(begun, Class::Ok, start);
            }
        }
        self.second += 1;
        repeats
    }

    fn repeated(&mut self, color: Color, caller: Caller) -> bool {
        let Caller::Pinned(point) = caller else {
            return false;
        };
        let now = self.second;
        match self.failed_at.get(&(color, point)) {
            Some(&last) if now < last + 10 => true,
            _ => {
                self.failed_at.insert((color, point), now);
                false
            }
        }
    }

    fn retry(&mut self, who: usize) {
        let again = self.kind.retries / (1.0 + self.kind.retries);
        if self.rng.random::<f64>() < again {
            let wait: f64 = Exp1.sample(&mut self.rng);
            let at = self.second as usize + 1 + wait as usize;
            if let Some(slot) = self.retries.get_mut(at) {
                slot.push(who);
            }
        }
    }

    /// Limits from blue alone, as before a rollout.
    fn limits(&mut self, judge: &Judge) -> Option<Limits> {
        let mut past = Histogram::default();
        for _ in 0..20_000 {
            let who = self.someone();
            let (micros, failed) = self.request(who, Color::Blue);
            if !failed {
                past.record(micros);
            }
        }
        let (fail, pass) = judge.margins();
        Limits::freeze(&past, fail, pass)
    }

    /// One rollout: so many seconds at each share in percent, whatever the evidence says for green.
    pub(crate) fn rollout(mut self, shares: &[(u16, u64)], policy: &Policy) -> Found {
        let unit = |unit| Policy {
            unit,
            ..policy.clone()
        };
        let mut judges =
            [Unit::Users, Unit::Requests].map(|one| Judge::new(unit(one)).without_intervals());
        let mut found = [None; 2];
        let limits = self.limits(&judges[0]);
        let mut users: Option<Arc<Users>> = None;
        for (at, &(percent, seconds)) in shares.iter().enumerate() {
            let weight = Weight::percent(percent).unwrap_or(Weight::ALL);
            let route = self.route(weight, at as u64 + 1);
            let next = Users::under(&route, users.as_ref());
            let now = Time(1_000 * self.second);
            let window = Window::new(route.mark, limits, [None; 3], now).of(next.clone());
            let mut cursor = Cursor::new(&window);
            users = Some(next);
            for judge in &mut judges {
                judge.start_step(at + 1 == shares.len(), Control::Concurrent);
            }
            for _ in 0..seconds {
                let repeats = self.second(&window, weight);
                let reading = cursor.read(&window, Time(1_000 * self.second));
                for tick in reading.ticks {
                    judges[0].tick(&tick);
                    judges[1].tick(&before(tick, repeats));
                }
                window.users().time(judges[0].hears_latency());
                for (found, judge) in found.iter_mut().zip(&judges) {
                    if found.is_none() && matches!(judge.verdict(), Verdict::Fail { .. }) {
                        *found = Some(self.second);
                    }
                }
                if found.iter().all(Option::is_some) {
                    break;
                }
            }
        }
        Found {
            by_users: found[0],
            by_requests: found[1],
        }
    }

    fn route(&self, weight: Weight, mark: u64) -> Route {
        Route {
            service: "app".to_owned(),
            rollout: 1,
            blue: Pool::default(),
            green: Some(Pool::default()),
            weight,
            ramp: None,
            withheld: false,
            baseline: None,
            salt: salted(self.salt, 1),
            epoch: 0,
            limits: None,
            ceilings: [None; 3],
            mark,
        }
    }
}

/// What the judge by requests was fed before there were users.
fn before(tick: Tick, repeats: [u64; 2]) -> Tick {
    let mut before = tick;
    for (pool, repeats) in [&mut before.blue, &mut before.green]
        .into_iter()
        .zip(repeats)
    {
        pool.requests -= repeats;
        pool.failed -= repeats;
        pool.users = None;
    }
    before
}
