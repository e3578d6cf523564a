//! Host, path and cookie of a request: never a panic, and a point on the line.

#![no_main]

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use shifter::config::{Config, Cookie, Mark, Sticky};
use shifter::proxy::routing::newcomers::Newcomers;
use shifter::proxy::routing::sticky::{Line, Pin};
use shifter::proxy::routing::router::Routes;
use shifter::proxy::routing::cookie_signature::CookieSigner;
use std::sync::LazyLock;

static ROUTES: LazyLock<Routes> = LazyLock::new(|| {
    let text = "[service.a]\nhosts = [\"a.test\", \"*.b.test\"]\npaths = [\"/x\", \"/x/y\"]\nblue = \"127.0.0.1:1\"\n[service.c]\nblue = \"127.0.0.1:2\"\n";
    let config = Config::parse("fuzz.toml", text).expect("it is right");
    Routes::new(&config, |name| Some(usize::from(name == "c")))
});

fuzz_target!(|input: (&[u8], &str, Vec<&[u8]>)| {
    let (host, path, cookies) = input;
    let found = ROUTES.find(host, path);
    assert!(found.is_some(), "the second service takes all");
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_bytes(cookie) {
            headers.append(COOKIE, value);
        }
    }
    let line = Line {
        pin: Pin::new(Some(&Sticky {
            by: Mark::Cookie(Cookie::named("pin".to_owned())),
            member: true,
        })),
        member: true,
        salt: 7,
        epoch: 3,
        seal: CookieSigner::new(b"secret", "app"),
        newcomers: Newcomers::under(7, None),
    };
    let place = line.place(&headers, None);
    assert!(place.point < 10_000);
});
