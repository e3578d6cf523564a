//! Nanoseconds for what every request pays: a routing decision, and counting its end. Microseconds for
//! what every second pays: one judge tick for one service.

// A bench that cannot be set up has nothing to measure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use pingora::http::RequestHeader;
use shifter::config::Config;
use shifter::core::class::Class;
use shifter::core::judge::{Judge, Policy};
use shifter::core::newcomer::{Newcomers, newcomer};
use shifter::core::stats::{History, Limits};
use shifter::core::table::{Color, Route, Table};
use shifter::core::time::Time;
use shifter::core::users::Caller;
use shifter::core::weight::{Weight, point};
use shifter::metrics::Metrics;
use shifter::proxy::routing::decision::decide;
use shifter::proxy::routing::newcomers::Newcomers as Queue;
use shifter::proxy::routing::snapshot::RoutingSnapshot;
use shifter::store::groups::Groups;
use shifter::store::window::{Cursor, Window};
use shifter::store::{Clock, SharedState};
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Twenty services, as on a busy host; the last is asked for.
fn live(more: &str) -> RoutingSnapshot {
    let mut toml = String::new();
    for n in 0..20 {
        let _ = write!(
            toml,
            "[service.s{n}]\nhosts = [\"s{n}.example.com\"]\npaths = [\"/\", \"/api\"]\n\
             blue = [\"127.0.0.1:1{n:03}\", \"127.0.0.1:2{n:03}\"]\n\
             green = [\"127.0.0.1:3{n:03}\", \"127.0.0.1:4{n:03}\"]\n{more}"
        );
    }
    let config = Arc::new(Config::parse("bench.toml", &toml).expect("valid"));
    let board = SharedState::new(config.clone());
    let routes = config
        .services
        .iter()
        .map(|service| Route {
            rollout: 1,
            green: service.green.as_ref().map(|green| green.pool()),
            weight: Weight::percent(5).expect("a weight"),
            salt: 7,
            epoch: 1,
            ..Route::at_rest(&service.name, service.blue.pool())
        })
        .collect();
    board.publish(Table { version: 0, routes }, None, Clock::now());
    RoutingSnapshot::new(&board.snapshot(), &Metrics::new().expect("metrics"), None)
}

/// As many paths as a judge has places, and some more.
const PATHS: [&str; 24] = [
    "/", "/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j", "/k", "/l", "/m", "/n", "/o",
    "/p", "/q", "/r", "/s", "/t", "/u", "/v", "/w",
];

/// What a browser calls itself: the longest way through patterns of agents.
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

fn decision(c: &mut Criterion) {
    let now = Clock::now();
    let measure = |c: &mut Criterion, name, more, cookie: bool| {
        let live = live(more);
        let mut request =
            RequestHeader::build("GET", b"/api/users/7?page=2", None).expect("a request");
        request
            .insert_header("host", "s19.example.com")
            .expect("a host");
        request
            .insert_header("user-agent", AGENT)
            .expect("an agent");
        if cookie {
            let set = live.services[19].line.cookie(17, None, false);
            let set = set.expect("a cookie").to_str().expect("text").to_owned();
            let pair = set.split(';').next().expect("a pair").to_owned();
            let value = format!("session=0123456789abcdef0123456789abcdef; {pair}");
            request.insert_header("cookie", value).expect("a cookie");
        }
        c.bench_function(name, |b| {
            b.iter(|| {
                let at = live.find(black_box(&request)).expect("a service");
                decide(&live.services[at], &request, None, now)
            });
        });
    };
    measure(c, "routing decision", "", false);
    let sticky = "sticky = { cookie = \"pin\" }\n";
    measure(c, "routing decision, signed cookie", sticky, true);
    let rule = |n| {
        format!(
            "{{ header = {{ x-beta = \"{n}\" }}, cookie = {{ beta = \"{n}\" }}, to = \"green\" }}"
        )
    };
    let rules: Vec<String> = (0..10).map(rule).collect();
    let rules = format!("{sticky}rules = [{}]\n", rules.join(", "));
    measure(
        c,
        "routing decision, ten rules that do not fit",
        &rules,
        true,
    );
    let paths = "unjudged = [{ path = \"/up\" }, { exact_path = \"/healthz\" }]\n";
    measure(c, "routing decision, two unjudged paths", paths, false);
    let agents = "unjudged = [{ path = \"/up\" }, { agent = \"UptimeRobot/*\" }, { agent = \"kube-probe/*\" }]\n";
    measure(c, "routing decision, two unjudged agents", agents, false);
    let live = live(sticky);
    c.bench_function("writing a signed cookie", |b| {
        b.iter(|| live.services[19].line.cookie(black_box(17), None, true));
    });
}

/// A newcomer's place as it is given now, without the order of its block that is kept, and by the golden ratio as
/// before there were blocks: all with the counter that workers share.
fn places(c: &mut Criterion) {
    let queue = Queue::since(0, 7);
    c.bench_function("place of a newcomer", |b| {
        b.iter(|| black_box(&queue).next());
    });
    let counter = AtomicU64::new(0);
    let next = || counter.fetch_add(1, Ordering::Relaxed);
    c.bench_function("place of a newcomer, block dealt anew", |b| {
        b.iter(|| newcomer(next(), black_box(7)));
    });
    c.bench_function("place of a newcomer, golden ratio", |b| {
        let golden = |n: u64, salt| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(salt);
        b.iter(|| point(golden(next(), black_box(7))));
    });
    let mut newcomers = Newcomers::new(7);
    c.bench_function("place of a newcomer, simulated", |b| {
        b.iter(|| newcomers.next());
    });
    let share = Weight::percent(5).expect("a weight");
    c.bench_function("5,000 newcomers counted, simulated", |b| {
        b.iter(|| newcomers.on_green(black_box(4_999), share));
    });
}

fn recording(c: &mut Criterion) {
    let live = live("");
    let service = &live.services[19];
    let now = Clock::now();
    c.bench_function("recording", |b| {
        b.iter(|| {
            let mut begun = service.window.begin(Color::Green, now);
            service.window.answered(&mut begun, black_box(1_234), now);
            service.window.end(begun, Class::Ok, now);
            service
                .metrics(Color::Green)
                .finish(200, Class::Ok, 0.001_3, Some(0.001_2));
        });
    });
}

/// What counting by status class and last byte adds to that, clocks included.
fn answers(c: &mut Criterion) {
    let limits = Limits {
        last_byte: Some([3_000, 4_300]),
        ..Limits::alone([1_000, 2_000, 3_000])
    };
    let window = Window::new(1, Some(limits), [None; 3], Time(0));
    let slot = window.groups.place("GET", "/api/cart");
    for (name, more, color, status) in [
        ("counting an answer", false, Color::Green, 200),
        (
            "counting an answer and its last byte, green",
            true,
            Color::Green,
            200,
        ),
        (
            "counting an answer and its last byte, blue",
            true,
            Color::Blue,
            200,
        ),
        (
            "counting an answer of 404 and its last byte, green",
            true,
            Color::Green,
            404,
        ),
    ] {
        c.bench_function(name, |b| {
            b.iter(|| {
                let (started, now) = (Instant::now(), Clock::now());
                let mut begun = window.begin(color, now).of(slot);
                window.answered(&mut begun, black_box(1_234), now);
                if more {
                    window.header(&mut begun, black_box(status));
                    window.await_last_byte(&mut begun, Clock::now());
                    let micros = started.elapsed().as_micros() as u64;
                    window.last_byte(&mut begun, Class::Ok, micros, now);
                }
                window.end(begun, Class::Ok, now);
            });
        });
    }
}

/// The same for requests of pinned users: a few busy ones, and one of 10,000 after the other.
fn recording_users(c: &mut Criterion) {
    let live = live("sticky = { cookie = \"pin\" }\n");
    let service = &live.services[19];
    let now = Clock::now();
    for users in [10, 10_000] {
        let mut next = 0;
        c.bench_function(&format!("recording, {users} pinned users"), |b| {
            b.iter(|| {
                next = (next + 1) % users;
                let caller = Caller::Pinned(black_box(next));
                let mut begun = service
                    .window
                    .by(service.window.begin(Color::Green, now), caller);
                service.window.answered(&mut begun, black_box(1_234), now);
                service.window.end(begun, Class::Ok, now);
                service
                    .metrics(Color::Green)
                    .finish(200, Class::Ok, 0.001_3, Some(0.001_2));
            });
        });
    }
}

/// What counting by route adds to a request.
fn by_route(c: &mut Criterion) {
    let groups = Groups::new(16, None);
    for (name, path) in [
        ("route group of a short path", "/api/cart"),
        (
            "route group of a long path with an id",
            "/api/v1/customers/8f14e45f-ceea-467f-9b1a-2d7d0f3b1c11/orders/1234567/items",
        ),
    ] {
        c.bench_function(name, |b| {
            b.iter(|| {
                let slot = groups.place("GET", black_box(path));
                groups.count(3, Color::Green, slot, false);
            });
        });
    }
    let slot = groups.place("GET", "/");
    c.bench_function("sampling an agent (one request in 16)", |b| {
        b.iter(|| groups.sample(slot, black_box(AGENT.as_bytes())));
    });
}

/// A second of a service that shifts: the counters are read, kept, judged, and told in numbers.
///
/// Requests are spread over as many threads' counters as one thread has: what differs with more
/// threads is which cells are full, and all are read either way.
fn judge_tick(c: &mut Criterion) {
    const SECOND: u64 = 1_000;
    for each_pool in [25_u64, 500, 25_000] {
        let limits = Limits {
            blue: [1_000, 2_000, 3_000],
            fail: [2_100, 3_200, 4_300],
            pass: [11_500, 13_000, 14_500],
            last_byte: Some([3_000, 4_300]),
        };
        let window = Window::new(1, Some(limits), [None; 3], Time(0));
        let (mut cursor, mut history) = (Cursor::new(&window), History::default());
        let mut judge = Judge::new(Policy::default());
        judge.set_limits(Some(limits));
        let mut now = Time(0);
        c.bench_function(
            &format!("judge tick, {each_pool} requests/s in each pool"),
            |b| {
                b.iter_custom(|times| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..times {
                        for n in 0..each_pool {
                            for color in Color::BOTH {
                                let slot =
                                    window.groups.place("GET", PATHS[n as usize % PATHS.len()]);
                                let mut begun = window.begin(color, now).of(slot);
                                window.answered(&mut begun, 500 + n * 37 % 3_000, now);
                                let class = if n % 1_000 == 0 {
                                    Class::ServerError
                                } else {
                                    Class::Ok
                                };
                                window.end(begun, class, now);
                            }
                        }
                        now.0 += SECOND;
                        let start = Instant::now();
                        let reading = cursor.read(&window, now);
                        history.push(&reading.spans[0]);
                        let routes = judge.sort_routes(&reading.groups);
                        judge.count_routes(&routes);
                        for tick in &reading.ticks {
                            judge.tick(tick);
                            black_box(judge.verdict());
                        }
                        black_box(judge.report());
                        spent += start.elapsed();
                    }
                    spent
                });
            },
        );
    }
}

criterion_group!(
    benches,
    decision,
    places,
    recording,
    answers,
    recording_users,
    by_route,
    judge_tick
);
criterion_main!(benches);
