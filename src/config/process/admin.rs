//! `[admin]`: the listeners for people and tools.

use crate::config::parse::address::{LOOPBACK, address, dns_name};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Many, Text, Value};
use crate::config::parse::secret::{RawSecret, Secret, secret};
use crate::config::parse::value::{self, Check, file_path};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The listeners for people and tools.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// The TCP address for reading, metrics and (with the token) commands; `None` when off.
    pub listen: Option<SocketAddr>,
    /// The unix socket for all requests.
    pub socket: PathBuf,
    /// The token that a command over TCP must carry; without it TCP is read-only.
    pub token: Option<Secret>,
    /// Further names (in lower case) by which clients reach the TCP address: in DNS, or of a proxy in front.
    pub hosts: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table: [admin]")]
pub(crate) struct RawAdmin {
    pub(crate) listen: Text,
    pub(crate) socket: Text,
    pub(crate) token: Value<RawSecret>,
    pub(crate) hosts: Option<Many>,
}

/// The admin listener.
const LISTEN: SocketAddr = SocketAddr::new(LOOPBACK, 9600);

/// The admin socket, inside the state folder.
pub(crate) const SOCKET: &str = "shifter.sock";

/// The longest path of a unix socket that works on every known system (macOS: 104 with the final zero).
const SOCKET_PATH_MAX: usize = 103;

pub(crate) fn admin(raw: &RawAdmin, dir: &Path, state: &Path) -> Check<Admin> {
    let listen = match &raw.listen {
        None => Some(LISTEN),
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
            Some(many) => value::non_empty("hosts", many)?
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
        None => state.join(SOCKET),
        Some(text) => file_path("socket", text, dir)?,
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
