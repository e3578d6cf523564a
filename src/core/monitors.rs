//! Recognises health checks of balancers and monitors by their `User-Agent` and path.
//!
//! Such requests are no users: always answered and quick, they count for the minimum of requests and dilute errors.

use crate::core::fault;
use std::fmt;

/// The longest pattern, in bytes.
pub const PATTERN_MAX: usize = 128;

/// Number of sampled requests below which no advice is given.
const SAMPLES_MIN: u64 = 30;

/// A pattern for a `User-Agent`: a text with at most one `*`, which stands for anything.
///
/// It begins where a word of the header begins, because many agents name themselves in the middle of it
/// (`Mozilla/5.0+(compatible; UptimeRobot/2.0; ...)`), and ends where a word ends. Case does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    head: String,
    /// The text after the `*`, where there is one.
    tail: Option<String>,
}

impl Pattern {
    /// A pattern of plain characters; `None` where it has two `*`, matches everything, or cannot be in a header.
    pub fn new(text: &str) -> Option<Pattern> {
        let plain = text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if !plain || text.trim() != text || text.len() > PATTERN_MAX {
            return None;
        }
        let (head, tail) = match text.split_once('*') {
            None => (text, None),
            Some((head, tail)) => (head, Some(tail.to_owned())),
        };
        let two = tail.as_ref().is_some_and(|tail| tail.contains('*'));
        let empty = head.is_empty() && tail.as_ref().is_none_or(String::is_empty);
        (!two && !empty).then(|| Pattern {
            head: head.to_owned(),
            tail,
        })
    }

    /// Whether a header's value matches.
    pub fn fits(&self, agent: &[u8]) -> bool {
        fits(&self.head, self.tail.as_deref(), agent)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tail {
            None => f.write_str(&self.head),
            Some(tail) => write!(f, "{}*{tail}", self.head),
        }
    }
}

fn fits(head: &str, tail: Option<&str>, agent: &[u8]) -> bool {
    let same = |a: &[u8], b: &str| a.eq_ignore_ascii_case(b.as_bytes());
    let starts = |at: usize| at == 0 || between(agent[at - 1]);
    let here = |at: usize| {
        let Some(found) = agent.get(at..at + head.len()) else {
            return false;
        };
        let rest = &agent[at + head.len()..];
        same(found, head)
            && match tail {
                None => rest.first().is_none_or(|byte| between(*byte)),
                Some(tail) => rest
                    .len()
                    .checked_sub(tail.len())
                    .is_some_and(|from| same(&rest[from..], tail)),
            }
    };
    let first = head.bytes().next().map(|byte| byte.to_ascii_lowercase());
    (0..=agent.len().saturating_sub(head.len())).any(|at| {
        let may =
            first.is_none_or(|first| agent.get(at).map(u8::to_ascii_lowercase) == Some(first));
        may && starts(at) && here(at)
    })
}

/// Agents that are health checks or monitors: the common name, and the head of the pattern that matches them.
///
/// Taken from the documentation of each. HAProxy sends no agent, Traefik and old Prometheus exporters that of
/// their library: those are recognised by their path.
pub const KNOWN: [(&str, &str); 24] = [
    ("AWS load balancer", "ELB-HealthChecker/"),
    ("Route 53", "Amazon-Route53-Health-Check-Service"),
    ("Google Cloud", "GoogleHC/"),
    ("Google Cloud Monitoring", "GoogleStackdriverMonitoring-"),
    ("Azure Front Door", "Edge Health Probe"),
    ("Azure load balancer", "Load Balancer Agent"),
    ("Azure App Service", "AlwaysOn"),
    ("Kubernetes", "kube-probe/"),
    ("Envoy", "Envoy/HC"),
    ("Consul", "Consul Health Check"),
    ("Cloudflare", "Cloudflare-Healthchecks/"),
    ("DigitalOcean", "DigitalOcean Uptime Probe"),
    ("Uptime Kuma", "Uptime-Kuma/"),
    ("UptimeRobot", "UptimeRobot/"),
    ("Pingdom", "Pingdom"),
    ("StatusCake", "StatusCake"),
    ("Better Uptime", "Better Uptime"),
    ("Blackbox exporter", "Blackbox Exporter/"),
    ("Nagios", "check_http/"),
    ("Zabbix", "Zabbix"),
    ("Datadog", "Datadog/Synthetics"),
    ("New Relic", "NewRelicPinger"),
    ("Site24x7", "Site24x7"),
    ("HetrixTools", "HetrixTools"),
];

/// The index in [`KNOWN`] of an agent, if it is a known one: one of its words begins with that head.
pub fn known(agent: &[u8]) -> Option<usize> {
    let mut begins = true;
    for (at, &byte) in agent.iter().enumerate() {
        if begins && FIRST & bit(byte) != 0 {
            let here = &agent[at..];
            let found = KNOWN.iter().position(|(_, head)| {
                let word = here.get(..head.len());
                word.is_some_and(|word| word.eq_ignore_ascii_case(head.as_bytes()))
            });
            if found.is_some() {
                return found;
            }
        }
        begins = between(byte);
    }
    None
}

/// The first letters of all known agents as a bit set: most words of most agents are no candidates.
const FIRST: u32 = {
    let (mut bits, mut at) = (0, 0);
    while at < KNOWN.len() {
        bits |= bit(KNOWN[at].1.as_bytes()[0]);
        at += 1;
    }
    bits
};

/// One bit for a letter, whatever its case.
const fn bit(byte: u8) -> u32 {
    1 << (byte & 31)
}

/// Whether a byte separates words.
const fn between(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric() && byte != b'-' && byte != b'_'
}

/// Last segments of paths that are meant for machines.
const CHECKED: [&str; 18] = [
    "up",
    "health",
    "healthz",
    "healthy",
    "healthcheck",
    "health-check",
    "health_check",
    "live",
    "livez",
    "liveness",
    "ready",
    "readyz",
    "readiness",
    "ping",
    "heartbeat",
    "alive",
    "status",
    "_health",
];

/// Whether a route group (`GET /up`) is that of a health check.
pub fn is_check(group: &str) -> bool {
    let path = group
        .strip_prefix("GET ")
        .or_else(|| group.strip_prefix("HEAD "));
    path.and_then(|path| path.rsplit('/').next())
        .is_some_and(|last| CHECKED.contains(&last))
}

/// Sampled requests of one service that were judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The total.
    pub all: u64,
    /// By agent of [`KNOWN`].
    pub agents: [u64; KNOWN.len()],
    /// The route group that each agent was last seen to request.
    pub asked: [Option<String>; KNOWN.len()],
}

impl Sample {
    /// Adds the counts of another span.
    pub fn merge(&mut self, other: &Sample) {
        self.all += other.all;
        for (mine, theirs) in self.agents.iter_mut().zip(other.agents) {
            *mine += theirs;
        }
        for (mine, theirs) in self.asked.iter_mut().zip(&other.asked) {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
    }

    /// Halves the counts: older requests count less.
    pub fn fade(&mut self) {
        self.all /= 2;
        for agent in &mut self.agents {
            *agent /= 2;
        }
    }
}

/// The advice where checks and monitors are most of what is judged, with the setting that leaves them out.
///
/// `groups` are route groups with their requests, of about the same span as the sample.
pub fn advice<'a>(
    sample: &Sample,
    groups: impl Iterator<Item = (&'a str, u64)> + Clone,
) -> Option<String> {
    let share = |part: u64, all: u64| format!("{:.0}%", 100.0 * part as f64 / all.max(1) as f64);
    let monitors: u64 = sample.agents.iter().sum();
    if sample.all >= SAMPLES_MIN && 2 * monitors > sample.all {
        let most = (0..KNOWN.len()).max_by_key(|&at| (sample.agents[at], KNOWN.len() - at))?;
        let (name, _) = KNOWN[most];
        let asked = sample.asked[most].as_ref();
        let asked = asked.map_or_else(String::new, |group| format!(" ({group})"));
        let others = match monitors - sample.agents[most] {
            0 => "",
            _ => " and other monitors",
        };
        let keys: Vec<String> = (0..KNOWN.len())
            .filter(|&at| sample.agents[at] > 0)
            .map(|at| format!("{{ agent = \"{}*\" }}", KNOWN[at].1))
            .collect();
        return Some(format!(
            "{} of the judged requests are of {name}{asked}{others}: unjudged = [{}] keeps them out of the judgement",
            share(monitors, sample.all),
            keys.join(", ")
        ));
    }
    let all: u64 = groups.clone().map(|(_, requests)| requests).sum();
    let (group, requests) = groups
        .filter(|(group, _)| is_check(group))
        .max_by_key(|(_, requests)| *requests)?;
    let path = group.split_once(' ').map_or(group, |(_, path)| path);
    (all >= SAMPLES_MIN && 2 * requests > all && !fault::is_template(path)).then(|| {
        format!(
            "{} of the judged requests are {group}, as health checks are: if they are, unjudged = [{{ exact_path = \"{path}\" }}] keeps them out of the judgement",
            share(requests, all)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_what_it_says_and_nothing_near() {
        for (pattern, agent, fits) in [
            ("UptimeRobot/*", "UptimeRobot/2.0", true),
            (
                "UptimeRobot/*",
                "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
                true,
            ),
            ("uptimerobot/*", "UptimeRobot/2.0", true),
            ("UptimeRobot/*", "MyUptimeRobot/2.0", false),
            ("UptimeRobot/*", "UptimeRobot", false),
            ("curl/8.1", "curl/8.1", true),
            ("curl/8.1", "curl/8.10", false),
            ("curl/8.1", "curl/8.1 (linux)", true),
            ("kube*/1.29", "kube-probe/1.29", true),
            ("kube*/1.29", "kube-probe/1.28", false),
            ("*bot", "some bot", true),
            ("a*a", "a", false),
            ("a", "", false),
            ("*", "", false),
        ] {
            let found = Pattern::new(pattern).is_some_and(|it| it.fits(agent.as_bytes()));
            assert_eq!(found, fits, "{pattern} of {agent}");
        }
        for bad in ["", "*", "a**", " a", "\u{e9}*", "*a*"] {
            assert_eq!(Pattern::new(bad), None, "{bad}");
        }
        assert_eq!(Pattern::new("a*b").unwrap().to_string(), "a*b");
    }

    #[test]
    fn known_monitors_are_known_by_what_they_send() {
        for (agent, name) in [
            ("ELB-HealthChecker/2.0", "AWS load balancer"),
            ("GoogleHC/1.0", "Google Cloud"),
            ("kube-probe/1.29+", "Kubernetes"),
            ("Uptime-Kuma/1.23.11", "Uptime Kuma"),
            (
                "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
                "UptimeRobot",
            ),
            (
                "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
                "Pingdom",
            ),
            ("Better Uptime Bot Mozilla/5.0 (Macintosh)", "Better Uptime"),
            ("Blackbox Exporter/0.25.0", "Blackbox exporter"),
        ] {
            let found = known(agent.as_bytes()).map(|at| KNOWN[at].0);
            assert_eq!(found, Some(name), "{agent}");
        }
        let chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36";
        for user in [chrome, "curl/8.1", "Go-http-client/1.1", ""] {
            assert_eq!(known(user.as_bytes()), None, "{user}");
        }
        for (_, head) in KNOWN {
            let pattern = Pattern::new(&format!("{head}*"));
            assert!(pattern.is_some(), "the advice must be a pattern: {head}");
        }
    }

    #[test]
    fn the_advice_names_monitor_share_and_line() {
        let mut sample = Sample {
            all: 100,
            ..Sample::default()
        };
        let at = KNOWN.iter().position(|known| known.0 == "UptimeRobot");
        sample.agents[at.unwrap()] = 82;
        sample.asked[at.unwrap()] = Some("GET /up".to_owned());
        let none = || std::iter::empty::<(&str, u64)>();
        assert_eq!(
            advice(&sample, none()).as_deref(),
            Some(
                "82% of the judged requests are of UptimeRobot (GET /up): unjudged = [{ agent = \"UptimeRobot/*\" }] keeps them out of the judgement"
            )
        );
        sample.agents[at.unwrap()] = 50;
        assert_eq!(advice(&sample, none()), None, "half is not most");
        let groups = [("GET /up", 60), ("GET /", 30), ("GET /buy", 9)];
        let told = advice(&sample, groups.into_iter()).unwrap();
        assert!(told.contains("exact_path = \"/up\""), "{told}");
        let groups = [("GET /", 600), ("GET /up", 300)];
        assert_eq!(advice(&sample, groups.into_iter()), None);
        let few = [("GET /up", 20)];
        assert_eq!(advice(&Sample::default(), few.into_iter()), None);
    }
}
