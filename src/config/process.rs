//! Checks of the settings for the whole process: `state`, `[proxy]`, `[admin]`, `[log]`.

use crate::config::file::proxy::{RawProxy, RawShutdown};
use crate::config::file::{RawAdmin, RawLog};
use crate::config::parse::address::{address, addresses, dns_name};
use crate::config::parse::duration::{OPTIONAL, SHORT, duration};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Text};
use crate::config::parse::secret::secret;
use crate::config::parse::value::{self, Check, below, unmeaning};
use crate::config::tls::tls;
use crate::config::types::{
    AccessFormat, AccessLog, Admin, Log, LogFormat, LogLevel, Proxy, Shutdown, Tls,
};
use crate::config::{defaults, edge};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The longest path of a unix socket that works on every known system (macOS: 104 with the final zero).
const SOCKET_PATH_MAX: usize = 103;

pub(crate) fn proxy(raw: &RawProxy, dir: &Path) -> Check<Proxy> {
    let listen = match &raw.listen {
        None => vec![defaults::LISTEN],
        Some(many) if off(many) && raw.tls.is_some() => vec![],
        Some(many) => addresses("listen", many)?,
    };
    let tls = tls(&raw.tls, dir)?;
    can_be_proven(&tls, raw, &listen)?;
    Ok(Proxy {
        listen,
        threads: value::number("threads", &raw.threads, 0..=1024, defaults::THREADS)?,
        max_connections: value::number(
            "max_connections",
            &raw.max_connections,
            1..=10_000_000,
            defaults::MAX_CONNECTIONS,
        )?,
        keepalive_requests: value::number(
            "keepalive_requests",
            &raw.keepalive_requests,
            1..=1_000_000_000,
            defaults::KEEPALIVE_REQUESTS,
        )?,
        keepalive_idle: duration(
            "keepalive_idle",
            &raw.keepalive_idle,
            SHORT,
            defaults::KEEPALIVE_IDLE,
        )?,
        retries: value::number("retries", &raw.retries, 0..=3, defaults::RETRIES)?,
        via: raw.via.unwrap_or(defaults::VIA),
        request_id_header: request_id_header(&raw.request_id_header)?,
        cookie_secret: match &raw.cookie_secret {
            None => None,
            Some(raw) => Some(secret("cookie_secret", raw, dir)?),
        },
        trust: edge::trust(
            &raw.trust_forwarded,
            &raw.trusted_proxies,
            &raw.proxy_protocol,
        )?,
        proxy_protocol: raw
            .proxy_protocol
            .as_ref()
            .is_some_and(|told| *told.get_ref()),
        limits: edge::limits(&raw.limits)?,
        tls,
        shutdown: shutdown(&raw.shutdown)?,
    })
}

/// The times of the end.
pub(crate) fn shutdown(raw: &RawShutdown) -> Check<Shutdown> {
    let default = defaults::SHUTDOWN;
    Ok(Shutdown {
        lame_duck: duration("lame_duck", &raw.lame_duck, OPTIONAL, default.lame_duck)?,
        deadline: duration("deadline", &raw.deadline, SHORT, default.deadline)?,
    })
}

/// Checks that a listener without TLS can answer the authority's challenges.
fn can_be_proven(tls: &Option<Tls>, raw: &RawProxy, listen: &[SocketAddr]) -> Check<()> {
    let asked = tls.as_ref().is_some_and(|tls| tls.acme.is_some());
    let (true, true, Some(raw)) = (asked, listen.is_empty(), &raw.tls) else {
        return Ok(());
    };
    Err(Problem::at(
        raw.span(),
        "`acme` needs a listener without TLS, and `listen` of [proxy] is \"off\"",
        "cannot prove who it is",
        "write listen = \"0.0.0.0:80\" in [proxy]: authorities ask at port 80 (HTTP-01)",
    ))
}

/// Whether the listener without TLS is off.
fn off(many: &Many) -> bool {
    matches!(many.items.as_slice(), [one] if one.get_ref() == "off")
}

fn request_id_header(raw: &Text) -> Check<String> {
    let Some(raw) = raw else {
        return Ok(defaults::REQUEST_ID_HEADER.to_owned());
    };
    let name = value::token("request_id_header", raw)?.to_ascii_lowercase();
    unmeaning(raw, name)
}

pub(crate) fn admin(raw: &RawAdmin, dir: &Path, state: &Path) -> Check<Admin> {
    let listen = match &raw.listen {
        None => Some(defaults::ADMIN_LISTEN),
        Some(text) if text.get_ref() == "off" => None,
        Some(text) => Some(address("listen", text).map_err(or_off)?),
    };
    let token = match &raw.token {
        None => None,
        Some(token) => Some(secret("token", token, dir)?),
    };
    if let (Some(listen), None, Some(raw)) = (listen, &token, &raw.listen)
        && !listen.ip().is_loopback()
    {
        return Err(Problem::at(
            raw.span(),
            format!("the admin listener {listen} can be reached from other hosts and has no token"),
            "not loopback",
            format!(
                "listen on \"127.0.0.1:{}\", or add token = {{ file = \"/run/secrets/shifter_token\" }}",
                listen.port()
            ),
        ));
    }
    Ok(Admin {
        listen,
        socket: socket(&raw.socket, dir, state)?,
        token,
        hosts: match &raw.hosts {
            None => vec![],
            Some(many) => value::some("hosts", many)?
                .iter()
                .map(dns_name_of)
                .collect::<Check<_>>()?,
        },
    })
}

/// A name by which clients reach the admin listener.
fn dns_name_of(raw: &Spanned<String>) -> Check<String> {
    dns_name(raw.get_ref()).ok_or_else(|| {
        Problem::at(
            raw.span(),
            format!(
                "`hosts` of [admin] has \"{}\", which is no name",
                value::brief(raw.get_ref())
            ),
            "not a name",
            "write a name without scheme and port, such as \"shifter.example.com\"; addresses and localhost need none",
        )
    })
}

fn or_off(problem: Problem) -> Problem {
    Problem {
        help: format!("{}, or \"off\"", problem.help),
        ..problem
    }
}

fn socket(raw: &Text, dir: &Path, state: &Path) -> Check<PathBuf> {
    let path = match raw {
        None => state.join(defaults::SOCKET),
        Some(text) => below("socket", text, dir)?,
    };
    let length = path.as_os_str().len();
    if length <= SOCKET_PATH_MAX {
        return Ok(path);
    }
    let what = format!(
        "the admin socket's path has {length} bytes; systems take {SOCKET_PATH_MAX}: {}",
        path.display()
    );
    let help = "write a shorter one under [admin]: socket = \"/run/shifter/shifter.sock\"";
    Err(match raw {
        Some(text) => Problem::at(text.span(), what, "too long", help),
        None => Problem::whole(what, help),
    })
}

pub(crate) fn state(raw: &Text, dir: &Path) -> Check<PathBuf> {
    match raw {
        Some(text) => below("state", text, dir),
        None => Ok(usual_state()),
    }
}

/// The state folder of a configuration without `state`.
pub(crate) fn usual_state() -> PathBuf {
    default_state(|name| std::env::var_os(name), ours)
}

/// `/var/lib/shifter` where it was made for us, else the user's own state folder, else here.
fn default_state(
    var: impl Fn(&str) -> Option<std::ffi::OsString>,
    ours: impl Fn(&Path) -> bool,
) -> PathBuf {
    let system = Path::new("/var/lib/shifter");
    if ours(system) {
        return system.to_owned();
    }
    let absolute = |name| {
        var(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map_or_else(|| PathBuf::from(".shifter"), |base| base.join("shifter"))
}

/// Whether the user of this process owns a folder.
fn ours(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.uid());
    path.is_dir() && owner(path).is_some_and(|uid| owner(Path::new("/proc/self")) == Some(uid))
}

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
        format: value::choice("format", &raw.format, &formats, defaults::LOG.format)?,
        level: value::choice(
            "level",
            &raw.level,
            &levels.map(|level| (level.name(), level)),
            defaults::LOG.level,
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
                .map(|file| below("access_file", file, dir))
                .transpose()?,
            begins: raw.access_begins.unwrap_or(false),
        })),
    }
}

/// Whether a process could not listen on both.
pub(crate) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

#[cfg(test)]
mod tests_state {
    use super::*;

    #[test]
    fn the_state_folder_is_the_first_that_fits() {
        let var = |set: &'static [(&str, &str)]| {
            move |name: &str| {
                set.iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| (*v).into())
            }
        };
        let state = |set, ours: bool| default_state(var(set), |_| ours);
        assert_eq!(
            state(&[("HOME", "/h")], true),
            Path::new("/var/lib/shifter")
        );
        assert_eq!(
            state(&[("HOME", "/h"), ("XDG_STATE_HOME", "/x")], false),
            Path::new("/x/shifter")
        );
        assert_eq!(
            state(&[("HOME", "/h"), ("XDG_STATE_HOME", "x")], false),
            Path::new("/h/.local/state/shifter")
        );
        assert_eq!(state(&[], false), Path::new(".shifter"));
    }
}

#[cfg(test)]
mod tests_collide {
    use super::*;

    #[test]
    fn an_address_for_all_collides_with_each() {
        let a = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(collide(a("0.0.0.0:80"), a("127.0.0.1:80")));
        assert!(!collide(a("127.0.0.2:80"), a("127.0.0.1:80")));
        assert!(!collide(a("0.0.0.0:80"), a("0.0.0.0:81")));
    }
}
