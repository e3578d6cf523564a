//! The log on standard error while shifter serves.

use crate::config::LogFormat;
use crate::control::timeline::LOG_TARGET;
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Libraries that log every failed request, which shifter counts and logs itself; and each connection that another
/// request took out of the pool first, which is no error.
const QUIET: &str = "pingora_core=warn,pingora_core::connectors=off,pingora_proxy=off,hyper=warn,hyper_util=warn,reqwest=warn";

/// The level of a command that prints the lines of its rollout itself: warnings, without those lines.
pub const NARRATED: &str = "narrated";

/// Starts logging. `level` is a level or, for debugging, a list such as
/// `info,shifter::proxy=trace`. A second call changes nothing.
pub fn init(format: LogFormat, level: &str) {
    let (filter, wrong) = filter(level);
    let terminal = io::stderr().is_terminal();
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    let colours =
        terminal && anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    // If standard error is closed, the error cannot be reported either.
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    let started = if json {
        registry
            .with(
                lines
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false),
            )
            .try_init()
    } else {
        registry
            .with(lines.with_ansi(colours).with_target(false))
            .try_init()
    };
    if started.is_ok() && wrong {
        tracing::warn!(
            level,
            "this is no log level; info is used. Give error, warn, info, debug or trace"
        );
    }
}

fn filter(level: &str) -> (EnvFilter, bool) {
    let level = level.trim();
    if level == NARRATED {
        let filter = format!("warn,{LOG_TARGET}=off,{QUIET}");
        return (EnvFilter::new(filter), false);
    }
    let named = ["error", "warn", "info", "debug", "trace", "off"]
        .iter()
        .find(|name| level.eq_ignore_ascii_case(name));
    match named {
        Some(name @ (&"debug" | &"trace" | &"off")) => (EnvFilter::new(name), false),
        Some(name) => (EnvFilter::new(format!("{name},{QUIET}")), false),
        None if level.contains(['=', ',']) => match EnvFilter::try_new(level) {
            Ok(filter) => (filter, false),
            Err(_) => (EnvFilter::new(format!("info,{QUIET}")), true),
        },
        None => (EnvFilter::new(format!("info,{QUIET}")), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_noticed() {
        for (level, wrong) in [
            ("info", false),
            ("WARN", false),
            ("info,shifter=trace", false),
            ("loud", true),
            ("", true),
            ("a=b=c", true),
        ] {
            assert_eq!(filter(level).1, wrong, "{level}");
        }
        let quiet = filter("warn").0.to_string();
        for target in ["pingora_proxy=off", "pingora_core::connectors=off"] {
            assert!(quiet.contains(target), "{quiet}");
        }
    }
}
