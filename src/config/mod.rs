//! The configuration: one TOML file as checked types.
//!
//! The text is read into raw data (`file`), which is checked into a [`Config`]: two types for
//! two states, so that no code has to ask whether a value was checked. A file is taken whole or not
//! at all, and the first fault is reported with its place and its fix.

mod answers;
mod check;
mod checks;
mod contents;
mod control;
mod copying;
mod defaults;
mod docker;
mod doubts;
mod endpoint;
mod file;
mod host;
mod judgement;
mod labelled;
mod mirror;
mod parse;
mod plan;
mod probes;
mod process;
mod reach;
mod service;
mod shares;
mod sources;
mod steps;
mod switchback;
mod tls;
mod types;
mod unjudged;
mod users;

pub use answers::Answers;
pub use control::Control;
pub use copying::{Copying, Naming, Pull};
pub use docker::image;
pub use endpoint::Endpoint;
pub use host::Host;
pub use judgement::{Judgement, Timed};
pub use labelled::Labelled;
pub use mirror::Mirror;
pub use parse::certificate::Certificate;
pub use parse::error::ConfigError;
pub use parse::secret::Secret;
pub(crate) use parse::suggest::nearest;
pub use probes::Probes;
pub use process::acme::Acme;
pub use process::admin::Admin;
pub use process::docker::{Access, Docker};
pub use process::limits::Limits;
pub use process::log::{AccessFormat, AccessLog, Log, LogFormat, LogLevel};
pub use process::proxy::Proxy;
pub use process::shutdown::Shutdown;
pub use process::tls::Tls;
pub use process::trust::Trust;
pub use sources::{Asked, Source};
pub use types::{
    Ask, BackendTls, Config, Containers, Eject, Find, Health, Hook, HookCall, HttpCheck, PoolSpec,
    Protocol, RetryBudget, Service, SmokeCheck, Timeouts, Warmup,
};
pub use unjudged::Unjudged;
pub use users::{Condition, Cookie, Mark, Preview, Rule, SameSite, Sticky, Then};

use parse::error::Problem;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Highest size in bytes: a larger file is the wrong one.
const FILE_BYTES_MAX: usize = 1 << 20;

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let name = path.display().to_string();
        let whole =
            |what: String, help: &str| ConfigError::new(&name, "", Problem::whole(what, help));
        let mut bytes = Vec::new();
        let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX) + 1;
        std::fs::File::open(path)
            .and_then(|file| file.take(most).read_to_end(&mut bytes))
            .map_err(|error| {
                let help =
                    "name the file with --config FILE; `shifter init` writes one to start from";
                whole(format!("the configuration cannot be read: {error}"), help)
            })?;
        if bytes.len() > FILE_BYTES_MAX {
            let help = "is this the right file? A configuration is some lines of TOML";
            return Err(whole("the configuration is larger than 1 MiB".into(), help));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Config::parse(&name, &text),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let what = "the configuration is not UTF-8 text";
                let help = "save the file as UTF-8, or remove what is here";
                Err(ConfigError::new(
                    &name,
                    &text,
                    Problem::at(good..good + 3, what, "from here on", help),
                ))
            }
        }
    }

    /// The admin socket of a file that cannot be loaded, as far as it can be read: a rollback that is needed now
    /// needs the socket and nothing else.
    pub fn socket_of(path: &Path) -> Option<PathBuf> {
        let text = std::fs::read_to_string(path).ok()?;
        let dir = path.parent().unwrap_or(Path::new(""));
        let (table, _) = toml::de::DeTable::parse_recoverable(&text);
        let word = |value: Option<&toml::Spanned<toml::de::DeValue<'_>>>| {
            value.and_then(|value| value.get_ref().as_str().map(|word| dir.join(word)))
        };
        let table = table.get_ref();
        let admin = table
            .get("admin")
            .and_then(|admin| admin.get_ref().as_table());
        let named = admin.and_then(|admin| word(admin.get("socket")));
        let state = || word(table.get("state")).unwrap_or_else(process::state::usual_state);
        Some(named.unwrap_or_else(|| state().join(process::admin::SOCKET)))
    }

    /// Checks a text; `name` is for messages, and its folder is the base of relative paths.
    pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
        let dir = Path::new(name).parent().unwrap_or(Path::new(""));
        parse::read::read(text)
            .and_then(|raw| check::check(&raw, dir))
            .map_err(|problem| ConfigError::new(name, text, problem))
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}
