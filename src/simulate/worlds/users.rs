//! Rollouts with users: each asks in its own way, and a cookie keeps it on one version.
//!
//! Every request goes through the shipped counters ([`Window`], [`Users`]) and its place through the shipped chooser.
//! Two judges look at equal seconds: one by users, one by requests as it was before (a user's failure that follows
//! another within ten seconds is not counted).

use crate::core::class::Class;
use crate::core::judge::{Control, Judge, Policy, Unit, Verdict};
use crate::core::newcomer::newcomer;
use crate::core::seat;
use crate::core::stats::{Histogram, Limits, Tick};
use crate::core::table::{Color, Pool, Route};
use crate::core::time::Time;
use crate::core::users::Caller;
use crate::core::weight::{Weight, salted};
use crate::store::users::Users;
use crate::store::window::{Cursor, Window};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp1, Poisson, StandardNormal};
use std::collections::HashMap;
use std::sync::Arc;

/// A population of users: how many, how active, and how their requests end.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    /// Users at any one time.
    pub users: usize,
    /// Requests a second of all users together.
    pub rate: f64,
    /// Exponent of Zipf's law: the activity of the k-th user is `k^-zipf`.
    pub zipf: f64,
    /// Share of users whose requests fail always, whatever the version, 0 to 1.
    pub broken: f64,
    /// The bot's share of all requests, and the share of these that fail, 0 to 1.
    pub bot: (f64, f64),
    /// Mean seconds after which a user leaves and a new one comes; 0 for never.
    pub stay: f64,
    /// Share of users that keep no cookie, 0 to 1.
    pub cookieless: f64,
    /// Mean number of retries of a client whose request failed.
    pub retries: f64,
    /// Share of all other requests that fail on blue, and on green, 0 to 1.
    pub errors: [f64; 2],
    /// Factor on green's latencies.
    pub slower: f64,
}

impl Population {
    /// Users without faults of their own, on equal versions.
    pub const PLAIN: Population = Population {
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
pub struct Detection {
    /// The judge by users.
    pub by_users: Option<u64>,
    /// The judge by requests.
    pub by_requests: Option<u64>,
}

/// One rollout.
pub struct Simulation {
    population: Population,
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

impl Simulation {
    /// A rollout from this seed.
    pub fn new(population: Population, seed: u64) -> Simulation {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut sum = 0.0;
        let mut activity: Vec<f64> = (1..=population.users)
            .map(|rank| {
                sum += (rank as f64).powf(-population.zipf);
                sum
            })
            .collect();
        activity
            .iter_mut()
            .for_each(|part| *part *= (1.0 - population.bot.0) / sum);
        let salt = rng.random();
        let mut simulation = Simulation {
            population,
            rng,
            users: vec![],
            activity,
            salt,
            newcomers: 0,
            failed_at: HashMap::new(),
            retries: vec![vec![]; 4_000],
            second: 0,
        };
        // Users from before this release have a cookie of an earlier one.
        for _ in 0..=population.users {
            let mut user = simulation.comes();
            user.seat = user
                .keeps
                .then(|| simulation.rng.random_range(0..Weight::FULL));
            simulation.users.push(user);
        }
        let bot = &mut simulation.users[population.users];
        (bot.broken, bot.until) = (false, f64::INFINITY);
        simulation
    }

    fn comes(&mut self) -> User {
        let population = self.population;
        let z: f64 = StandardNormal.sample(&mut self.rng);
        let life: f64 = Exp1.sample(&mut self.rng);
        User {
            seat: None,
            broken: self.rng.random::<f64>() < population.broken,
            keeps: self.rng.random::<f64>() >= population.cookieless,
            heavy: HEAVY * z,
            until: match population.stay {
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
        let (population, user) = (self.population, self.users[who]);
        let chance = match color {
            _ if who == population.users => population.bot.1.max(population.errors[color.index()]),
            _ if user.broken => 1.0,
            color => population.errors[color.index()],
        };
        let failed = self.rng.random::<f64>() < chance;
        let z: f64 = StandardNormal.sample(&mut self.rng);
        let slower = if color == Color::Green {
            population.slower
        } else {
            1.0
        };
        let millis = MEDIAN * slower * (user.heavy + SPREAD * z).exp();
        ((millis * 1_000.0) as u64, failed)
    }

    /// All requests of this second; the requests and failures that the old rule would not count come back.
    fn second(&mut self, window: &Window, weight: Weight) -> [u64; 2] {
        let arrived =
            Poisson::new(self.population.rate).map_or(0, |all| all.sample(&mut self.rng) as u64);
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
        let again = self.population.retries / (1.0 + self.population.retries);
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

    /// Runs it: so many seconds at each share in percent, whatever the evidence says for green.
    ///
    /// # Panics
    ///
    /// After 4,000 seconds: retries are kept for no more.
    pub fn run(mut self, shares: &[(u16, u64)], policy: &Policy) -> Detection {
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
        Detection {
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
