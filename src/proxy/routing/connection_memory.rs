//! A newcomer that its connection still knows: its requests before the first cookie is back go to
//! one version.
//!
//! A page asks for ten things at once, on one HTTP/2 connection or one after the other. Each would
//! be a newcomer, and land on either version with a cookie of its own. So for one second the
//! connection remembers where chance put the first of them: the others count as the same client's,
//! as they would with the cookie, and chance decides once.
//!
//! A connection of a proxy in front carries many clients. It is recognized by `trusted_proxies` or
//! by the headers that such proxies add, and remembers none of them; a request with another
//! `User-Agent` is another client's.

use crate::core::fnv::Fnv;
use crate::core::time::Time;
use crate::proxy::downstream::client_address::{FORWARDED_FOR, peer};
use crate::proxy::routing::newcomers::Newcomers;
use crate::proxy::routing::snapshot::Settings;
use crate::proxy::routing::sticky::{Assignment, TrafficSplit};
use http::header::{FORWARDED, USER_AGENT, VIA};
use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::proxy::Session;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a newcomer is remembered: browsers have the first answer, and its cookie, by then.
const REMEMBERED: Duration = Duration::from_secs(1);

/// Newcomers of different services that one connection remembers.
const MET_MAX: usize = 4;

/// What one connection remembers of its client.
#[derive(Debug, Default)]
pub struct ConnectionMemory(Mutex<Vec<Met>>);

/// A newcomer of one service, under one salt and epoch.
#[derive(Debug)]
struct Met {
    newcomers: Arc<Newcomers>,
    epoch: u32,
    agent: u64,
    since: Time,
    place: Assignment,
}

/// A request on a connection that remembers.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    memory: &'a ConnectionMemory,
    /// The hash of the `User-Agent`.
    agent: u64,
    now: Time,
}

impl ConnectionMemory {
    /// A new memory, in the form in which Pingora carries it from a connection to each request on
    /// it.
    pub fn digest() -> Option<Arc<ProxyDigest>> {
        let header = ResponseHeader::build(200, Some(0)).ok()?;
        let memory = Box::new(ConnectionMemory::default());
        Some(Arc::new(ProxyDigest::new(Box::new(header), Some(memory))))
    }

    /// A request at the time `now` with this `User-Agent`.
    pub fn visit(&self, agent: &[u8], now: Time) -> Visit<'_> {
        Visit {
            memory: self,
            agent: Fnv::hash(agent),
            now,
        }
    }
}

impl<'a> Visit<'a> {
    /// A request on a connection of one client; `None` where the connection remembers no client.
    pub fn of(session: &'a Session, settings: &Settings, now: Time) -> Option<Visit<'a>> {
        let digest = session.digest()?.proxy_digest.as_ref()?;
        let memory: &ConnectionMemory = digest.user_data.as_ref()?.downcast_ref()?;
        let headers = &session.req_header().headers;
        let relayed = [FORWARDED_FOR, FORWARDED, VIA]
            .iter()
            .any(|name| headers.contains_key(name));
        let trusted = || peer(session).is_none_or(|peer| settings.trust.trusts(peer));
        if relayed || trusted() {
            return None;
        }
        let agent = headers
            .get(USER_AGENT)
            .map_or(&b""[..], |agent| agent.as_bytes());
        Some(memory.visit(agent, now))
    }

    /// Where a client without a cookie stands: where it stood a moment ago, or where chance puts it
    /// now.
    pub fn place(&self, line: &TrafficSplit, draw: impl FnOnce() -> Assignment) -> Assignment {
        let mut met = self.memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        met.retain(|met| self.now.since(met.since) < REMEMBERED);
        let known = met.iter().find(|met| {
            Arc::ptr_eq(&met.newcomers, &line.newcomers)
                && (met.epoch, met.agent) == (line.epoch, self.agent)
        });
        if let Some(met) = known {
            return met.place;
        }
        let place = draw();
        if met.len() < MET_MAX {
            met.push(Met {
                newcomers: line.newcomers.clone(),
                epoch: line.epoch,
                agent: self.agent,
                since: self.now,
                place: Assignment {
                    known: true,
                    ..place
                },
            });
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cookie, Mark, Sticky};
    use crate::proxy::routing::cookie_signature::CookieSigner;
    use crate::proxy::routing::sticky::Pin;
    use http::HeaderMap;

    fn line(epoch: u32, salt: u64) -> TrafficSplit {
        let sticky = Sticky {
            by: Mark::Cookie(Cookie::named("pin".to_owned())),
            member: false,
        };
        TrafficSplit {
            pin: Pin::new(Some(&sticky)),
            member: false,
            salt,
            epoch,
            signer: CookieSigner::new(b"secret", "app"),
            newcomers: Newcomers::under(salt, None),
        }
    }

    #[test]
    fn a_connection_asks_chance_once_a_second_for_each_service() {
        let (memory, nobody) = (ConnectionMemory::default(), HeaderMap::new());
        let (app, api) = (line(1, 7), line(1, 8));
        let start = Time(1_000_000);
        let later = |time: u64| start.after(Duration::from_millis(time));
        let place = |line: &TrafficSplit, agent: &[u8], now| {
            line.place(&nobody, Some(memory.visit(agent, now)))
        };
        let first = place(&app, b"browser", start);
        assert!(!first.known && first.tell, "a newcomer: {first:?}");
        let again = place(&app, b"browser", later(999));
        assert_eq!(
            again,
            Assignment {
                known: true,
                ..first
            }
        );
        assert!(!place(&api, b"browser", later(1)).known);
        assert!(!place(&app, b"script", later(2)).known);
        assert!(!place(&line(2, 7), b"browser", later(3)).known);
        let before = app.newcomers.counted();
        assert!(!place(&app, b"browser", later(1_000)).known);
        assert_eq!(app.newcomers.counted(), before + 1);
        for n in 0..20 {
            place(&app, format!("{n}").as_bytes(), later(1_001));
        }
        assert!(memory.0.lock().unwrap().len() <= MET_MAX);
    }
}
