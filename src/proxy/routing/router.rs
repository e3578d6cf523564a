//! Maps host and path to the service, and the caller's point to the colour.
//!
//! Pure: the same request and the same table always lead to the same place.

use crate::config::{Config, Host};
use crate::core::path;
use crate::core::table::Color;
use crate::core::weight::Weight;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The longest host name that DNS knows (RFC 1035, 2.3.4); a longer one belongs to no service.
const HOST_MAX: usize = 253;

/// The routes: which service answers for which host and path.
#[derive(Debug, Default)]
pub struct Routes {
    exact: HashMap<Box<str>, Paths, BuildHasherDefault<Words>>,
    /// Longest suffix first.
    below: Vec<(Box<str>, Paths)>,
    any: Paths,
}

/// The service of a request, and the entries that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// The index of the service.
    pub service: usize,
    /// The entry of `hosts` that matches.
    pub host: Entry<'a>,
    /// The entry of `paths` that matches, without a `/` at the end.
    pub path: &'a str,
}

/// The kind of entry that matches a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// The host itself.
    Exact(&'a str),
    /// Names below this suffix, which begins with a dot.
    Below(&'a str),
    /// Every host.
    Any,
}

/// Path prefixes and the service of each, longest first.
#[derive(Debug, Default)]
struct Paths(Vec<(Box<str>, usize)>);

impl Routes {
    /// The routes of a configuration, for the services that `index` knows an index for.
    pub fn new(config: &Config, index: impl Fn(&str) -> Option<usize>) -> Routes {
        let mut routes = Routes::default();
        for service in &config.services {
            let Some(at) = index(&service.name) else {
                continue;
            };
            for host in &service.hosts {
                let paths = routes.paths_of(host);
                // The root is written `/`; as a prefix of whole segments it is empty.
                let bare = |path: &String| path.trim_end_matches('/').into();
                paths
                    .0
                    .extend(service.paths.iter().map(|path| (bare(path), at)));
            }
        }
        routes
            .below
            .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        let below = routes.below.iter_mut().map(|(_, paths)| paths);
        for paths in routes
            .exact
            .values_mut()
            .chain(below)
            .chain([&mut routes.any])
        {
            paths
                .0
                .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        }
        routes
    }

    fn paths_of(&mut self, host: &Host) -> &mut Paths {
        match host {
            Host::Exact(name) => self.exact.entry(name.as_str().into()).or_default(),
            Host::Below(suffix) => {
                let at = self.below.iter().position(|(known, _)| **known == **suffix);
                let at = at.unwrap_or_else(|| {
                    self.below.push((suffix.as_str().into(), Paths::default()));
                    self.below.len() - 1
                });
                &mut self.below[at].1
            }
            Host::Any => &mut self.any,
        }
    }

    /// The service of a request: the exact host before `*.suffix` before `*`, then the longest prefix.
    ///
    /// `host` is the `Host` header as it came; `path` is compared byte by byte, in the usual spelling ([`path::comparable`]).
    pub fn find(&self, host: &[u8], path: &str) -> Option<Found<'_>> {
        let path = &*path::comparable(path);
        let mut buffer = Vec::new();
        let any = || self.any.find(path, Entry::Any);
        let Some(host) = bare_host(host, &mut buffer) else {
            return any();
        };
        let exact = self
            .exact
            .get_key_value(host)
            .and_then(|(name, paths)| paths.find(path, Entry::Exact(name)));
        exact
            .or_else(|| {
                let matching = |suffix: &str| host.len() > suffix.len() && host.ends_with(suffix);
                self.below
                    .iter()
                    .filter(|(suffix, _)| matching(suffix))
                    .find_map(|(suffix, paths)| paths.find(path, Entry::Below(suffix)))
            })
            .or_else(any)
    }
}

impl Paths {
    fn find<'a>(&'a self, path: &str, host: Entry<'a>) -> Option<Found<'a>> {
        let (prefix, service) = self
            .0
            .iter()
            .find(|(prefix, _)| begins_with(path, prefix))?;
        Some(Found {
            service: *service,
            host,
            path: prefix,
        })
    }
}

/// Whether `path` is `prefix` or lies below it: `/a` holds `/a` and `/a/b`, not `/ab`.
pub fn begins_with(path: &str, prefix: &str) -> bool {
    match path.as_bytes().get(prefix.len()) {
        None | Some(b'/') => path.starts_with(prefix),
        Some(_) => prefix.is_empty(),
    }
}

/// A `Host` header without port and final dot, in lower case; `None` when it cannot be a host name.
fn bare_host<'a>(host: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<&'a str> {
    let end = match host.first() {
        Some(b'[') => host
            .iter()
            .position(|&b| b == b']')
            .map_or(host.len(), |at| at + 1),
        _ => host.iter().position(|&b| b == b':').unwrap_or(host.len()),
    };
    let name = &host[..end];
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.len() > HOST_MAX {
        return None;
    }
    if name.iter().any(u8::is_ascii_uppercase) {
        // Browsers send lower case: only other clients pay for this copy.
        *buffer = name.to_ascii_lowercase();
        return std::str::from_utf8(buffer).ok();
    }
    std::str::from_utf8(name).ok()
}

/// The colour of a caller at `point`.
pub fn color(weight: Weight, point: u16) -> Color {
    if weight.covers(point) {
        Color::Green
    } else {
        Color::Blue
    }
}

/// A hash for host names that the configuration chose: eight bytes at a time, no defence needed.
#[derive(Clone, Copy, Debug, Default)]
struct Words(u64);

impl Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        // The table takes the low bits for the place and the high ones to compare.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(services: &[(&[&str], &[&str])]) -> Routes {
        let mut text = String::new();
        for (at, (hosts, paths)) in services.iter().enumerate() {
            text.push_str(&format!(
                "[service.s{at}]\nhosts = {hosts:?}\npaths = {paths:?}\nblue = \"127.0.0.1:1\"\n"
            ));
        }
        let config = Config::parse("test.toml", &text).unwrap();
        Routes::new(&config, |name| name[1..].parse().ok())
    }

    fn at(routes: &Routes, host: &[u8], path: &str) -> Option<usize> {
        routes.find(host, path).map(|found| found.service)
    }

    #[test]
    fn what_was_found_says_by_what() {
        let routes = routes(&[
            (&["a.org"], &["/api/"]),
            (&["*.org"], &["/"]),
            (&["*"], &["/x"]),
        ]);
        let found = |host: &str, path| {
            let found = routes.find(host.as_bytes(), path).unwrap();
            (found.host, found.path)
        };
        assert_eq!(found("A.org:80", "/api/7"), (Entry::Exact("a.org"), "/api"));
        assert_eq!(found("a.org", "/7"), (Entry::Below(".org"), ""));
        assert_eq!(found("a.com", "/x"), (Entry::Any, "/x"));
    }

    #[test]
    fn the_more_exact_host_wins_and_then_the_longer_path() {
        let routes = routes(&[
            (&["*"], &["/"]),
            (&["*.example.com"], &["/"]),
            (&["*.eu.example.com"], &["/"]),
            (&["api.eu.example.com"], &["/"]),
            (&["api.eu.example.com"], &["/v1"]),
            (&["api.eu.example.com"], &["/v1/users"]),
        ]);
        let found = |host: &str, path| at(&routes, host.as_bytes(), path);
        assert_eq!(found("elsewhere.org", "/"), Some(0));
        assert_eq!(
            found("example.com", "/"),
            Some(0),
            "a suffix means names below it"
        );
        assert_eq!(found("www.example.com", "/"), Some(1));
        assert_eq!(found("www.eu.example.com", "/"), Some(2));
        assert_eq!(
            found("API.eu.Example.com.:8080", "/"),
            Some(3),
            "case, final dot, port"
        );
        assert_eq!(found("api.eu.example.com", "/v1"), Some(4));
        assert_eq!(found("api.eu.example.com", "/v1/"), Some(4));
        assert_eq!(
            found("api.eu.example.com", "/v10"),
            Some(3),
            "whole segments only"
        );
        assert_eq!(found("api.eu.example.com", "/v1/users/7"), Some(5));
        assert_eq!(found("", "/"), Some(0));
    }

    #[test]
    fn a_path_that_the_exact_host_does_not_know_falls_to_the_next() {
        let routes = routes(&[(&["a.org"], &["/api"]), (&["*.org", "*"], &["/web"])]);
        assert_eq!(at(&routes, b"a.org", "/api/x"), Some(0));
        assert_eq!(at(&routes, b"a.org", "/web"), Some(1));
        assert_eq!(at(&routes, b"a.org", "/"), None);
    }

    #[test]
    fn an_ipv6_host_keeps_its_brackets_and_loses_its_port() {
        let routes = routes(&[(&["::1"], &["/"])]);
        assert_eq!(at(&routes, b"[::1]:8080", "/"), Some(0));
        assert_eq!(at(&routes, b"[::1]", "/"), Some(0));
        assert_eq!(at(&routes, b"::1", "/"), None);
    }

    #[test]
    fn no_host_can_make_it_panic() {
        let routes = routes(&[(&["*.a.org"], &["/"])]);
        for host in [
            &b"."[..],
            b":",
            b"[",
            b"\xff\xfe",
            &[b'a'; 4_000],
            b".a.org",
            b"",
        ] {
            assert_eq!(at(&routes, host, "/"), None, "{host:?}");
        }
    }

    #[test]
    fn a_point_below_the_weight_is_greens() {
        let five = Weight::percent(5).unwrap();
        assert_eq!(
            (color(five, 499), color(five, 500)),
            (Color::Green, Color::Blue)
        );
    }
}
