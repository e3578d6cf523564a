//! The point of a caller on the line 0..10 000, and how it is found again.

use crate::config::{Cookie, Mark, SameSite, Sticky};
use crate::core::fnv::Fnv;
use crate::core::seat;
use crate::core::weight::{Weight, point, salted};
use crate::proxy::routing::connection_memory::Visit;
use crate::proxy::routing::cookie_signature::CookieSigner;
use crate::proxy::routing::newcomers::Newcomers;
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;

/// The maximum length of a caller id that is looked at, in bytes; of a longer one only this much
/// counts.
const ID_MAX: usize = 512;

/// The most cookies of our name that are verified; a browser sends one, or one for each domain
/// above.
const COOKIES_MAX: usize = 4;

/// What keeps a caller on one colour.
#[derive(Clone, Debug)]
pub enum Pin {
    /// Nothing: each request is a newcomer.
    None,
    /// A cookie that we set: its name, and its attributes as they are written; `true`: it is always
    /// `Secure`.
    Cookie(Box<str>, Box<str>, bool),
    /// A header that the caller sets.
    Header(HeaderName),
}

impl Pin {
    /// The pin that a service's `sticky` configures.
    pub fn new(sticky: Option<&Sticky>) -> Pin {
        match sticky.map(|sticky| &sticky.by) {
            None => Pin::None,
            Some(Mark::Cookie(cookie)) => Pin::Cookie(
                cookie.name.as_str().into(),
                attributes(cookie).into(),
                cookie.same_site == SameSite::None,
            ),
            // A name that is no header name is refused with the configuration.
            Some(Mark::Header(name)) => name.parse().map_or(Pin::None, Pin::Header),
        }
    }
}

/// The attributes of a cookie as `Set-Cookie` has them, without `Secure`.
fn attributes(cookie: &Cookie) -> String {
    let mut text = format!("; Path={}", cookie.path);
    if let Some(domain) = &cookie.domain {
        text.push_str(&format!("; Domain={domain}"));
    }
    if let Some(age) = cookie.max_age {
        text.push_str(&format!("; Max-Age={}", age.as_secs()));
    }
    text.push_str("; HttpOnly; SameSite=");
    text.push_str(match cookie.same_site {
        SameSite::Lax => "Lax",
        SameSite::Strict => "Strict",
        SameSite::None => "None",
    });
    if cookie.partitioned {
        text.push_str("; Partitioned");
    }
    text
}

/// The traffic split of one service under one table entry.
///
/// What is left to chance, and for which unit:
///
/// - A newcomer (no pin, or none that is valid) has the next place of [`Newcomers`]: shuffled
///   blocks under the salt. All workers share the counter of a service; each service has its own,
///   and a salt that is drawn for each of its rollouts, so two services that one client asks in
///   turn are not in step. At rest the salt is that of the last rollout, or 0; green has no share
///   then. A process that takes a rollout up again counts from 0 under the rollout's salt, and its
///   judge begins anew, too.
/// - Further requests of a client on one connection, before it has its cookie, stand with its first
///   request ([`connection_memory`](crate::proxy::routing::connection_memory)): chance placed the
///   client once.
/// - A client with our cookie stands where chance put it as a newcomer, permuted by the salt:
///   chance decided per client.
/// - A client with a header stands where the salted hash of its id is: a draw for each id and
///   rollout.
/// - Rules with a weight, and copies for a green without users, draw for each request: no version
///   is judged by these.
#[derive(Debug)]
pub struct TrafficSplit {
    /// What keeps a caller on one colour.
    pub pin: Pin,
    /// The pin also keeps a caller on one member of a pool.
    pub member: bool,
    /// Permutes the points, anew for each release.
    pub salt: u64,
    /// The epoch of this split: cookies of another epoch pin nothing.
    pub epoch: u32,
    /// Tells our cookies from forged ones.
    pub signer: CookieSigner,
    /// Counts newcomers under the salt; outlives the entry.
    pub newcomers: Arc<Newcomers>,
}

/// The assignment of a caller, and whether it must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The caller's point now.
    pub point: u16,
    /// The caller had this point before, as its cookie or header says.
    pub known: bool,
    /// The caller has no cookie of this epoch: it gets one.
    pub tell: bool,
    /// The key that selects the member of a pool that the caller stays on, where it does; no
    /// release changes it.
    pub home: Option<u64>,
}

impl Assignment {
    fn known(point: u16, home: Option<u64>) -> Assignment {
        Assignment {
            point,
            known: true,
            tell: false,
            home,
        }
    }
}

/// What a caller's cookies say: the seat in the one that is valid now, and the home in any that is ours.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    seat: Option<u16>,
    home: Option<u16>,
}

/// What a cookie claims; its signature is not verified yet.
struct Claim<'a> {
    epoch: u32,
    seat: u16,
    home: Option<u16>,
    signature: &'a str,
}

impl TrafficSplit {
    /// The assignment of the caller with these headers; `visit` is what its connection remembers.
    pub fn place(&self, headers: &HeaderMap, visit: Option<Visit<'_>>) -> Assignment {
        match &self.pin {
            Pin::None => self.newcomer(),
            Pin::Cookie(name, ..) => {
                let told = self.told(headers, name);
                match (told.seat, visit) {
                    (Some(seat), _) => {
                        Assignment::known(seat::point(seat, self.salt), told.home.map(u64::from))
                    }
                    (None, None) => self.to_be_told(told.home),
                    (None, Some(visit)) => visit.place(self, || self.to_be_told(told.home)),
                }
            }
            Pin::Header(name) => match headers.get(name) {
                Some(id) => Assignment::known(self.point_of_id(id), self.home_of_id(id)),
                None => self.newcomer(),
            },
        }
    }

    fn newcomer(&self) -> Assignment {
        Assignment {
            point: self.newcomers.next(),
            known: false,
            tell: false,
            home: None,
        }
    }

    /// A newcomer that gets a cookie; its home is its first seat.
    fn to_be_told(&self, home: Option<u16>) -> Assignment {
        let place = self.newcomer();
        let first = || seat::seat(place.point, self.salt);
        Assignment {
            tell: true,
            home: self.member.then(|| u64::from(home.unwrap_or_else(first))),
            ..place
        }
    }

    /// The key that selects the member of a pool that the caller stays on, where a pin gives one.
    pub fn home(&self, headers: &HeaderMap) -> Option<u64> {
        match &self.pin {
            Pin::Cookie(name, ..) if self.member => self.told(headers, name).home.map(u64::from),
            Pin::Header(name) => self.home_of_id(headers.get(name)?),
            _ => None,
        }
    }

    /// The point of a caller that is not to be told: its own where a pin gives one, else a random
    /// one.
    pub fn point_of(&self, headers: &HeaderMap) -> u16 {
        let own = match &self.pin {
            Pin::None => None,
            Pin::Cookie(name, ..) => self
                .told(headers, name)
                .seat
                .map(|seat| seat::point(seat, self.salt)),
            Pin::Header(name) => headers.get(name).map(|id| self.point_of_id(id)),
        };
        own.unwrap_or_else(|| point(fastrand::u64(..)))
    }

    fn point_of_id(&self, id: &HeaderValue) -> u16 {
        point(salted(hash_of_id(id), self.salt))
    }

    fn home_of_id(&self, id: &HeaderValue) -> Option<u64> {
        self.member.then(|| hash_of_id(id))
    }

    /// The `Set-Cookie` that brings a caller back to `point`; `None` when no cookie is used.
    ///
    /// The value is `epoch.seat.signature`, followed by `.home` where a rollback gave the caller
    /// another seat. The release's salt says which point a seat is in ([`seat`]), so that the same
    /// clients are not the canaries of every release. `secure`: adds `Secure`, so that the cookie
    /// is never sent without TLS.
    pub fn cookie(&self, point: u16, home: Option<u64>, secure: bool) -> Option<HeaderValue> {
        let Pin::Cookie(name, attributes, always) = &self.pin else {
            return None;
        };
        let seat = seat::seat(point, self.salt);
        let home = home.and_then(|home| u16::try_from(home).ok());
        let home = home.filter(|home| *home != seat);
        let signature = self.signer.sign(self.epoch, seat, home);
        let signature = std::str::from_utf8(&signature).ok()?;
        let home = home.map_or_else(String::new, |home| format!(".{home}"));
        let secure = if secure || *always { "; Secure" } else { "" };
        let text = format!(
            "{name}={}.{seat}.{signature}{home}{attributes}{secure}",
            self.epoch
        );
        HeaderValue::from_str(&text).ok()
    }

    /// What the first cookie of this name says that is ours and of this epoch; one of an older
    /// epoch still gives the home.
    fn told(&self, headers: &HeaderMap, name: &str) -> Told {
        // HTTP/2 clients may send several cookie lines (RFC 9113, 8.2.3).
        let claims = headers
            .get_all(COOKIE)
            .iter()
            .flat_map(|line| line.as_bytes().split(|&b| b == b';'))
            .filter_map(|pair| {
                let value = pair
                    .trim_ascii()
                    .strip_prefix(name.as_bytes())?
                    .strip_prefix(b"=")?;
                claim(std::str::from_utf8(value).ok()?)
            })
            .filter(|claim| claim.epoch == self.epoch || self.member)
            .take(COOKIES_MAX)
            .filter(|claim| {
                let signature = claim.signature.as_bytes();
                self.signer
                    .holds(claim.epoch, claim.seat, claim.home, signature)
            });
        let mut told = Told::default();
        for claim in claims {
            let home = self.member.then(|| claim.home.unwrap_or(claim.seat));
            if claim.epoch == self.epoch {
                return Told {
                    seat: Some(claim.seat),
                    home,
                };
            }
            told.home = told.home.or(home);
        }
        told
    }
}

fn hash_of_id(id: &HeaderValue) -> u64 {
    let id = id.as_bytes();
    Fnv::hash(&id[..id.len().min(ID_MAX)])
}

/// Parses the value of a cookie; `None` when it does not have the form of ours.
fn claim(value: &str) -> Option<Claim<'_>> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let place = |text: &str| {
        let place = text.parse().ok().filter(|place| *place < Weight::FULL);
        place.filter(|_| digits(text))
    };
    let mut parts = value.split('.');
    let epoch = parts.next().filter(|text| digits(text))?;
    let claim = Claim {
        epoch: epoch.parse().ok()?,
        seat: place(parts.next()?)?,
        signature: parts.next()?,
        home: match parts.next() {
            None => None,
            Some(home) => Some(place(home)?),
        },
    };
    parts.next().is_none().then_some(claim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pin: Pin, salt: u64, epoch: u32) -> TrafficSplit {
        TrafficSplit {
            pin,
            member: false,
            salt,
            epoch,
            signer: CookieSigner::new(b"secret", "app"),
            newcomers: Newcomers::under(salt, None),
        }
    }

    fn cookie_line(salt: u64, epoch: u32) -> TrafficSplit {
        line(
            Pin::new(Some(&Sticky {
                by: Mark::Cookie(Cookie::named("pin".to_owned())),
                member: false,
            })),
            salt,
            epoch,
        )
    }

    fn sent(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, cookie.parse().unwrap());
        headers
    }

    fn value(line: &TrafficSplit, point: u16) -> String {
        let cookie = line.cookie(point, None, false).unwrap();
        cookie
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_cookie_brings_every_point_back_and_is_set_once() {
        for salt in [0, 7, u64::MAX] {
            let line = cookie_line(salt, 3);
            for point in [0, 1, 499, 500, 9_999] {
                let headers = sent(&format!("other=1; {}; more=2", value(&line, point)));
                assert_eq!(
                    line.place(&headers, None),
                    Assignment::known(point, None),
                    "salt {salt}"
                );
            }
        }
    }

    #[test]
    fn attributes_keep_the_cookie_from_scripts_and_other_sites() {
        for (secure, end) in [(false, "SameSite=Lax"), (true, "SameSite=Lax; Secure")] {
            let cookie = cookie_line(0, 0).cookie(5, None, secure).unwrap();
            let cookie = cookie.to_str().unwrap();
            let expected = format!("; Path=/; HttpOnly; {end}");
            assert!(cookie.ends_with(&expected), "{cookie}");
        }
    }

    /// Green's share of each combination, where one client asks two services in turn.
    #[test]
    fn two_services_that_one_client_asks_in_turn_are_not_in_step() {
        let lines = [line(Pin::None, 1, 0), line(Pin::None, 2, 0)];
        let (nobody, half) = (HeaderMap::new(), Weight::percent(50).unwrap());
        let mut counts = [0u32; 4];
        for _ in 0..20_000 {
            let on_green = lines
                .each_ref()
                .map(|line| half.covers(line.place(&nobody, None).point));
            counts[2 * usize::from(on_green[0]) + usize::from(on_green[1])] += 1;
        }
        // Four standard deviations of random draws; two services in step would have none of two
        // combinations.
        let near = |count: &u32| count.abs_diff(5_000) < 250;
        assert!(counts.iter().all(near), "{counts:?}");
    }

    #[test]
    fn another_epoch_or_nonsense_is_a_newcomer() {
        let line = cookie_line(0, 3);
        let (good, old) = (value(&line, 17), value(&cookie_line(0, 2), 17));
        let mut stranger = cookie_line(0, 3);
        stranger.signer = CookieSigner::new(b"secret", "other");
        let (_, signature) = good.rsplit_once('.').unwrap();
        for bad in [
            "pin=3.17",
            "pin=3.17.",
            "pin=3.",
            "pin=3",
            "pin=",
            &old,
            &old.replace("pin=2", "pin=3"),
            &value(&stranger, 17),
            &format!("pin=3.10017.{signature}"),
            &format!("pin=3.18.{signature}"),
            &format!("pin=+3.17.{signature}"),
            &format!("pin=3.17.{}", signature.to_uppercase()),
            &format!("{good}.6"),
            good.strip_prefix('p').unwrap(),
        ] {
            let before = line.newcomers.counted();
            assert!(line.place(&sent(bad), None).tell, "{bad}");
            assert_eq!(line.newcomers.counted(), before + 1, "{bad}");
        }
    }

    #[test]
    fn any_of_several_cookie_lines_counts() {
        let line = cookie_line(0, 3);
        let mut headers = sent("a=1");
        headers.append(COOKIE, value(&line, 42).parse().unwrap());
        assert_eq!(line.place(&headers, None), Assignment::known(42, None));
    }

    #[test]
    fn the_next_release_has_other_canaries() {
        let (old, new) = (cookie_line(1, 3), cookie_line(2, 3));
        let five = Weight::percent(5).unwrap();
        let both = (0..10_000)
            .filter(|&point| five.covers(point))
            .filter(|&point| five.covers(new.place(&sent(&value(&old, point)), None).point))
            .count();
        assert!(
            both < 500,
            "all 500 canaries of one release are those of the next"
        );
    }

    #[test]
    fn a_header_is_the_same_place_every_time_and_another_one_after_a_release() {
        let header = || Pin::Header(HeaderName::from_static("x-user"));
        let (line, next) = (line(header(), 1, 0), line(header(), 2, 0));
        let mut moved = 0;
        for user in 0..200 {
            let mut headers = HeaderMap::new();
            headers.insert("x-user", format!("user-{user}").parse().unwrap());
            assert_eq!(line.place(&headers, None), line.place(&headers, None));
            moved += usize::from(line.place(&headers, None) != next.place(&headers, None));
        }
        assert!(moved > 190, "{moved}");
        assert_eq!(line.newcomers.counted(), 0);
        let nobody = HeaderMap::new();
        assert_ne!(
            line.place(&nobody, None),
            line.place(&nobody, None),
            "without the header: a newcomer"
        );
    }
}
