//! Which requests are routed as all others and say nothing about green.
//!
//! Pure. Headers are looked up only where an entry asks for one.

use crate::config::Unjudged;
use crate::proxy::routing::rules;
use http::header::USER_AGENT;
use pingora::http::RequestHeader;

/// The most bytes of a `User-Agent` that are looked at.
pub const AGENT_MAX: usize = 512;

/// The index of the first entry that matches a request.
pub fn first(entries: &[Unjudged], request: &RequestHeader) -> Option<usize> {
    entries.iter().position(|entry| fits(entry, request))
}

fn fits(entry: &Unjudged, request: &RequestHeader) -> bool {
    let named = |pattern: &crate::core::monitors::Pattern| pattern.fits(agent(request));
    rules::all_hold(&entry.when, request) && entry.agent.as_ref().is_none_or(named)
}

/// The `User-Agent` of a request, cut to [`AGENT_MAX`] bytes; empty when there is none.
pub fn agent(request: &RequestHeader) -> &[u8] {
    let given = request.headers.get(USER_AGENT);
    let given = given.map_or(&b""[..], |value| value.as_bytes());
    given.get(..AGENT_MAX).unwrap_or(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn an_entry_fits_what_it_says_and_nothing_near() {
        for (entry, path, agent, fits) in [
            ("path = \"/up\"", "/up", "", true),
            ("path = \"/up\"", "/up/db", "", true),
            ("path = \"/up\"", "/upper", "", false),
            ("exact_path = \"/up\"", "/up?x=1", "", true),
            ("exact_path = \"/up\"", "/up/", "", false),
            ("agent = \"kube-probe/*\"", "/", "kube-probe/1.29", true),
            ("agent = \"kube-probe/*\"", "/", "", false),
            (
                "path = \"/up\", agent = \"kube-probe/*\"",
                "/up",
                "curl/8",
                false,
            ),
            (
                "path = \"/\", header = { x-check = \"1\" }",
                "/up",
                "curl/8",
                false,
            ),
        ] {
            let text = format!("[service.s]\nblue = \"127.0.0.1:1\"\nunjudged = [{{ {entry} }}]\n");
            let config = Config::parse("t.toml", &text).unwrap_or_else(|error| panic!("{error}"));
            let mut request = RequestHeader::build("GET", path.as_bytes(), None).unwrap();
            if !agent.is_empty() {
                request.append_header("user-agent", agent).unwrap();
            }
            let found = first(&config.services[0].unjudged, &request);
            assert_eq!(found.is_some(), fits, "{entry} of {path} by {agent}");
        }
    }
}
