//! The rules that people write: whether a request matches one.
//!
//! Pure. The work for one request is bounded, by the limits on rules, on conditions, and on bytes
//! of cookies.

use crate::config::{Condition, Rule};
use crate::core::path;
use crate::proxy::routing::router;
use http::header::COOKIE;
use pingora::http::RequestHeader;

/// The most bytes of all cookies together that are searched.
const COOKIES_MAX: usize = 16 * 1024;

/// The index of the first rule that matches a request.
pub fn first(rules: &[Rule], request: &RequestHeader) -> Option<usize> {
    rules.iter().position(|rule| fits(rule, request))
}

fn fits(rule: &Rule, request: &RequestHeader) -> bool {
    all_hold(&rule.when, request)
}

/// Whether a request meets all of these conditions.
pub fn all_hold(conditions: &[Condition], request: &RequestHeader) -> bool {
    conditions.iter().all(|condition| holds(condition, request))
}

fn holds(condition: &Condition, request: &RequestHeader) -> bool {
    let path = || path::comparable(request.uri.path());
    match condition {
        Condition::Header(name, wanted) => request
            .headers
            .get_all(name)
            .iter()
            .any(|given| is(wanted, given.as_bytes())),
        Condition::Cookie(name, wanted) => {
            cookies(request).any(|pair| has(pair.trim_ascii(), name, wanted))
        }
        Condition::Query(name, wanted) => request.uri.query().is_some_and(|query| {
            let mut pairs = query.as_bytes().split(|&byte| byte == b'&');
            pairs.any(|pair| has(pair, name, wanted))
        }),
        Condition::Below(prefix) => router::begins_with(&path(), prefix),
        Condition::Exactly(wanted) => path() == *wanted,
    }
}

/// The `name=value` pairs of all cookie lines; HTTP/2 may send several lines.
fn cookies(request: &RequestHeader) -> impl Iterator<Item = &[u8]> {
    let lines = request.headers.get_all(COOKIE).iter();
    lines
        .scan(COOKIES_MAX, |left, line| {
            let line = line.as_bytes();
            let seen = line.get(..*left).unwrap_or(line);
            *left -= seen.len();
            Some(seen)
        })
        .flat_map(|line| line.split(|&byte| byte == b';'))
}

/// Whether `pair` is `name=value` with the wanted value; a name alone has an empty one.
fn has(pair: &[u8], name: &str, wanted: &Option<String>) -> bool {
    match pair.strip_prefix(name.as_bytes()) {
        Some([b'=', value @ ..]) => is(wanted, value),
        Some([]) => is(wanted, b""),
        _ => false,
    }
}

fn is(wanted: &Option<String>, given: &[u8]) -> bool {
    wanted
        .as_ref()
        .is_none_or(|wanted| wanted.as_bytes() == given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn rules(text: &str) -> Vec<Rule> {
        let text = format!("[service.s]\nblue = \"127.0.0.1:1\"\nrules = [{text}]\n");
        let mut config =
            Config::parse("test.toml", &text).unwrap_or_else(|error| panic!("{error}"));
        config.services.remove(0).rules
    }

    fn request(target: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    #[test]
    fn a_condition_holds_for_what_it_says_and_nothing_near() {
        for (rule, target, headers, fits) in [
            (
                "header = { X-Beta = \"1\" }",
                "/",
                &[("x-beta", "1")][..],
                true,
            ),
            (
                "header = { x-beta = \"1\" }",
                "/",
                &[("x-beta", "11")],
                false,
            ),
            (
                "header = { x-beta = \"1\" }",
                "/",
                &[("x-beta", "0"), ("x-beta", "1")],
                true,
            ),
            ("header = { x-beta = \"*\" }", "/", &[("x-beta", "")], true),
            ("header = { x-beta = \"*\" }", "/", &[("x-bet", "1")], false),
            (
                "cookie = { beta = \"1\" }",
                "/",
                &[("cookie", "a=b; beta=1;c=d")],
                true,
            ),
            (
                "cookie = { beta = \"1\" }",
                "/",
                &[("cookie", "a=b"), ("cookie", "beta=1")],
                true,
            ),
            (
                "cookie = { beta = \"1\" }",
                "/",
                &[("cookie", "xbeta=1; beta=12; beta-1=1")],
                false,
            ),
            (
                "cookie = { beta = \"*\" }",
                "/",
                &[("cookie", "beta")],
                true,
            ),
            ("query = { v = \"2\" }", "/a?x=1&v=2", &[], true),
            ("query = { v = \"2\" }", "/a?xv=2&v=22&V=2", &[], false),
            ("query = { v = \"*\" }", "/a?v", &[], true),
            ("query = { v = \"2\" }", "/v=2", &[], false),
            ("path = \"/a/\"", "/a/b?c", &[], true),
            ("path = \"/a\"", "/ab", &[], false),
            ("exact_path = \"/a\"", "/a?b", &[], true),
            ("exact_path = \"/a\"", "/a/", &[], false),
            ("path = \"/a\", query = { v = \"2\" }", "/a?v=2", &[], true),
            ("path = \"/a\", query = { v = \"2\" }", "/a?v=1", &[], false),
        ] {
            let rules = rules(&format!("{{ {rule}, to = \"green\" }}"));
            let found = first(&rules, &request(target, headers));
            assert_eq!(found.is_some(), fits, "{rule} of {target} {headers:?}");
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = rules(
            "{ path = \"/a/b\", to = \"blue\" }, { path = \"/a\", to = \"green\" }, { query = { x = \"*\" }, weight = 1 }",
        );
        let found = |target| first(&rules, &request(target, &[]));
        assert_eq!(found("/a/b?x=1"), Some(0));
        assert_eq!(found("/a/c?x=1"), Some(1));
        assert_eq!(found("/?x=1"), Some(2));
        assert_eq!(found("/"), None);
        let all = self::rules("{ path = \"/\", to = \"green\" }");
        assert_eq!(first(&all, &request("/ab", &[])), Some(0));
    }

    #[test]
    fn only_so_much_of_the_cookies_is_looked_at() {
        let rules = rules("{ cookie = { beta = \"1\" }, to = \"green\" }");
        let filler = "x".repeat(COOKIES_MAX - 8);
        let found = |line: String| first(&rules, &request("/", &[("cookie", &line)])).is_some();
        assert!(found(format!("{filler}; beta=1")));
        assert!(!found(format!("{filler}x; beta=1")));
        let two = [
            ("cookie", filler.as_str()),
            ("cookie", "aaaaaaaaaaa; beta=1"),
        ];
        assert_eq!(first(&rules, &request("/", &two)), None);
    }
}
