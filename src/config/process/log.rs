//! `[log]`: the log on standard error, and the access log.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::Text;
use crate::config::parse::value::{self, Check, file_path};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The log on standard error, and the access log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// The least important level that is shown.
    pub level: LogLevel,
    /// The access log, with a line for each request; `None`: off.
    pub access: Option<AccessLog>,
}

/// The access log's file and format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The format of the lines.
    pub format: AccessFormat,
    /// The file, reopened on SIGHUP and SIGUSR1; `None`: standard output.
    pub file: Option<PathBuf>,
    /// Whether upgraded connections and streams also have a line when they begin.
    pub begins: bool,
}

/// The format of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object on each line.
    Json,
    /// The combined format of Apache and nginx.
    Combined,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object on each line.
    Json,
}

/// The log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// Also what may fail soon.
    Warn,
    /// Also the progress of rollouts.
    Info,
    /// Also the reasons.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The name in filters.
    pub const fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: [log]")]
pub(crate) struct RawLog {
    pub(crate) format: Text,
    pub(crate) level: Text,
    pub(crate) access: Text,
    pub(crate) access_file: Text,
    pub(crate) access_begins: Option<bool>,
}

/// Readable on a terminal, JSON elsewhere.
const DEFAULT: Log = Log {
    format: LogFormat::Auto,
    level: LogLevel::Info,
    access: None,
};

pub(crate) fn log(raw: &RawLog, dir: &Path) -> Check<Log> {
    let formats = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
    ];
    let levels = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
    ];
    Ok(Log {
        format: value::choice("format", &raw.format, &formats, DEFAULT.format)?,
        level: value::choice(
            "level",
            &raw.level,
            &levels.map(|level| (level.name(), level)),
            DEFAULT.level,
        )?,
        access: access(raw, dir)?,
    })
}

fn access(raw: &RawLog, dir: &Path) -> Check<Option<AccessLog>> {
    let formats = [
        ("off", None),
        ("json", Some(AccessFormat::Json)),
        ("combined", Some(AccessFormat::Combined)),
    ];
    let format = value::choice("access", &raw.access, &formats, None)?;
    match (format, &raw.access_file) {
        (None, Some(file)) if raw.access.is_none() => Err(Problem::at(
            file.span(),
            "`access_file` is named, and nothing would be written to it",
            "for which lines?",
            "add access = \"json\" or access = \"combined\", or leave `access_file` out",
        )),
        (None, _) => Ok(None),
        (Some(format), file) => Ok(Some(AccessLog {
            format,
            file: file
                .as_ref()
                .map(|file| file_path("access_file", file, dir))
                .transpose()?,
            begins: raw.access_begins.unwrap_or(false),
        })),
    }
}
