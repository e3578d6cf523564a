//! Where and how the failed requests of a pool failed: the first question when green is worse.
//!
//! Clients choose the paths, so a group of paths is a short plain template, and the number of templates is limited.

use crate::core::answers::Told;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Number of names of one kind that are counted separately.
const NAMES_MAX: usize = 64;

/// The name under which all further names are counted.
const OTHERS: &str = "others";

/// Segments of a path that a template keeps.
const SEGMENTS_MAX: usize = 5;

/// The longest segment that can be a name, in bytes.
const SEGMENT_MAX: usize = 32;

/// The longest method that is kept, in bytes.
const METHOD_MAX: usize = 16;

/// One failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The status, or what went wrong instead of an answer.
    pub how: String,
    /// Method and template of the path.
    pub route: String,
    /// The backend that had it, if one had.
    pub backend: Option<String>,
}

/// How often each name occurred.
pub type Tally = BTreeMap<String, u64>;

/// The failed requests of one pool, by what they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// The total.
    pub total: u64,
    /// By status, or by what went wrong instead of an answer.
    pub how: Tally,
    /// By method and template of the path.
    pub routes: Tally,
    /// By backend.
    pub backends: Tally,
    /// Answers that are no failures and are compared: redirects, 4xx, and clients that gave up before the answer.
    #[serde(default, skip_serializing_if = "Told::is_empty")]
    pub answers: Told,
}

impl Faults {
    /// Counts one failed request.
    pub fn add(&mut self, fault: Fault) {
        self.total += 1;
        count(&mut self.how, fault.how, 1);
        count(&mut self.routes, fault.route, 1);
        if let Some(backend) = fault.backend {
            count(&mut self.backends, backend, 1);
        }
    }

    /// Adds the counts of another span.
    pub fn merge(&mut self, other: Faults) {
        self.total += other.total;
        for (mine, theirs) in [
            (&mut self.how, other.how),
            (&mut self.routes, other.routes),
            (&mut self.backends, other.backends),
        ] {
            for (name, times) in theirs {
                count(mine, name, times);
            }
        }
        for (kind, alike) in other.answers {
            self.answers.entry(kind).or_default().merge(alike);
        }
    }

    /// What most failed requests have in common, in a pool of `backends` backends:
    /// `worst route POST /checkout (31 of 41 failures), mostly 503 (40 of 41), worst backend 10.0.0.3:80 (41 of 41)`.
    ///
    /// A backend is named when it has clearly more than its part: more than halfway from an even part to all of them.
    pub fn words(&self, backends: usize) -> Option<String> {
        let common = |what, tally, part| {
            let (name, times) = most(tally)?;
            let clearly = name != OTHERS && times as f64 >= part * self.total as f64;
            clearly.then(|| format!("{what} {name} ({times} of {}", self.total))
        };
        let part = (1.0 + 1.0 / backends.max(1) as f64) / 2.0;
        let backend = (backends > 1).then(|| common("worst backend", &self.backends, part));
        let words = [
            common("worst route", &self.routes, 0.5),
            common("mostly", &self.how, 0.5),
            backend.flatten(),
        ];
        // What the numbers count is named once.
        let ends = std::iter::once(" failures)").chain(std::iter::repeat(")"));
        let words = words.into_iter().flatten().zip(ends);
        let words: Vec<String> = words.map(|(text, end)| text + end).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// Adds `times` to a name; once there are too many names, further ones are counted together.
pub(crate) fn count(tally: &mut Tally, name: String, times: u64) {
    let known = tally.len() < NAMES_MAX || tally.contains_key(&name);
    let name = if known { name } else { OTHERS.to_owned() };
    *tally.entry(name).or_default() += times;
}

/// The most frequent name; the first one of a tie.
pub fn most(tally: &Tally) -> Option<(&str, u64)> {
    let ranked = tally.iter().rev().max_by_key(|(_, times)| **times);
    ranked.map(|(name, times)| (name.as_str(), *times))
}

/// The group of a request: its method, and its path without what differs from one user to the next.
///
/// A segment that has a digit and at least eight characters, is all digits, or is too long for a name
/// becomes `{id}`; what is not a plain character becomes `?`.
pub fn route(method: &str, path: &str) -> String {
    let mut text = String::new();
    walk(method, path, |part| match part {
        " " => text.push(' '),
        part => text.extend(part.chars().map(plain)),
    });
    text
}

/// A hash of [`route`] without building the string: requests of one group have one number, of two groups two
/// (except by chance, once in 2^64 pairs). Never 0. It does not allocate.
pub fn route_number(method: &str, path: &str) -> u64 {
    let mut hash = 0;
    walk(method, path, |part| {
        if part.bytes().all(|byte| byte.is_ascii_graphic()) {
            hash = mixed(hash, part.as_bytes());
        } else {
            let mut buffer = [0; 4];
            for c in part.chars() {
                hash = mixed(hash, plain(c).encode_utf8(&mut buffer).as_bytes());
            }
        }
    });
    finished(hash)
}

/// The hash of a name, as [`route_number`] makes it of a group's name; never 0.
pub fn number(name: &str) -> u64 {
    finished(mixed(0, name.as_bytes()))
}

/// Finaliser of splitmix64 (Steele, Lea, Flood 2014): all bits depend on all. Never 0.
fn finished(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (hash ^ (hash >> 31)).max(1)
}

/// Mixes in eight bytes at a time, by rotation and multiplication.
fn mixed(mut hash: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x517C_C1B7_2722_0A95;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    hash
}

/// Walks the parts of a group's name in order; plain characters are not substituted yet.
fn walk(method: &str, path: &str, mut part: impl FnMut(&str)) {
    let end = method.char_indices().nth(METHOD_MAX);
    part(end.map_or(method, |(at, _)| &method[..at]));
    part(" ");
    let mut segments = path.split('/').skip(1);
    for segment in segments.by_ref().take(SEGMENTS_MAX) {
        part("/");
        part(if is_id(segment) { "{id}" } else { segment });
    }
    if segments.next().is_some() {
        part("/...");
    }
}

/// Whether a group's path stands for several paths.
pub fn is_template(path: &str) -> bool {
    path.contains("{id}") || path.ends_with("/...") || path.contains('?')
}

fn is_id(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    segment.len() > SEGMENT_MAX || digits > 0 && (segment.len() >= 8 || digits == segment.len())
}

fn plain(c: char) -> char {
    if c.is_ascii_graphic() { c } else { '?' }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(how: &str, route: &str, backend: &str) -> Fault {
        Fault {
            how: how.to_owned(),
            route: route.to_owned(),
            backend: Some(backend.to_owned()),
        }
    }

    #[test]
    fn paths_of_one_kind_are_one_group() {
        for (method, path, group) in [
            ("GET", "/", "GET /"),
            ("POST", "/checkout", "POST /checkout"),
            ("GET", "/v1/users/17/cart", "GET /v1/users/{id}/cart"),
            (
                "GET",
                "/o/2f1c9a70-aa11-4c1e-9a51-5b1f0c1d2e3f",
                "GET /o/{id}",
            ),
            ("GET", "/files/report-2024.pdf", "GET /files/{id}"),
            ("GET", "/a/b/c/d/e/f/g", "GET /a/b/c/d/e/..."),
            ("GET", "/caf\u{e9}\n", "GET /caf??"),
            ("OPTIONS", "*", "OPTIONS "),
        ] {
            assert_eq!(route(method, path), group);
        }
        let token = "a".repeat(33);
        assert_eq!(route("GET", &format!("/reset/{token}")), "GET /reset/{id}");
    }

    #[test]
    fn what_most_have_in_common_is_named_and_nothing_else() {
        let mut faults = Faults::default();
        assert_eq!(faults.words(1), None);
        for _ in 0..31 {
            faults.add(fault("503", "POST /checkout", "b"));
        }
        for n in 0..10 {
            faults.add(fault("reset", &format!("GET /{n}"), "a"));
        }
        let named = "worst route POST /checkout (31 of 41 failures), mostly 503 (31 of 41)";
        assert_eq!(faults.words(1).as_deref(), Some(named));
        let three = format!("{named}, worst backend b (31 of 41)");
        assert_eq!(faults.words(3).as_deref(), Some(three.as_str()));
        let mut spread = Faults::default();
        for n in 0..30 {
            let backend = ["a", "b", "c"][n % 3];
            spread.add(fault(
                &format!("50{}", n % 3),
                &format!("GET /{n}"),
                backend,
            ));
        }
        assert_eq!(spread.words(3), None, "nothing stands out");
    }

    proptest! {
        #[test]
        fn however_many_paths_are_asked_only_so_many_are_kept(paths in prop::collection::vec("/[a-z]{1,5}", 0..400), parts in 1usize..4) {
            let mut all = Faults::default();
            for part in paths.chunks(paths.len() / parts + 1) {
                let mut faults = Faults::default();
                for path in part {
                    faults.add(fault("500", &route("GET", path), "a"));
                }
                all.merge(faults);
            }
            prop_assert!(all.routes.len() <= NAMES_MAX + 1);
            prop_assert_eq!(all.routes.values().sum::<u64>(), paths.len() as u64);
            prop_assert_eq!(all.total, paths.len() as u64);
        }

        #[test]
        fn requests_have_one_number_where_they_have_one_group(
            a in ("(GET|POST|[a-z]{14,20})", "(/[a-b1/é ]{0,3}|/12345678|/[a-z]{8}7|/[a-z]{33}){0,7}"),
            b in ("(GET|POST|[a-z]{14,20})", "(/[a-b1/é ]{0,3}|/12345678|/[a-z]{8}7|/[a-z]{33}){0,7}"),
        ) {
            let same = route(&a.0, &a.1) == route(&b.0, &b.1);
            prop_assert_eq!(route_number(&a.0, &a.1) == route_number(&b.0, &b.1), same);
        }

        #[test]
        fn a_group_is_short_and_plain_whatever_is_asked(method in "\\PC{0,40}", path in "\\PC{0,400}") {
            let group = route(&method, &path);
            prop_assert!(group.len() <= METHOD_MAX + 1 + (SEGMENTS_MAX + 1) * (SEGMENT_MAX + 1));
            prop_assert!(group.chars().all(|c| c.is_ascii_graphic() || c == ' '));
        }
    }
}
