//! The file as a whole.

use crate::config::parse::error::ConfigError;
use crate::config::parse::read::read;
use crate::config::process::admin::SOCKET;
use crate::config::process::state::usual_state;
use std::io::Read;

use crate::config::conflicts::{Named, listeners_apart, no_loop, routes_apart};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::Text;
use crate::config::parse::value::Check;
use crate::config::process::admin::{Admin, RawAdmin, admin};
use crate::config::process::docker::{self, Docker, RawDocker};
use crate::config::process::log::{Log, RawLog, log};
use crate::config::process::proxy::{Proxy, RawProxy, proxy};
use crate::config::process::state::state;
use crate::config::service::access::need;
use crate::config::service::{self, RawService, Service};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// One configuration file, checked as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The listener for users, and the settings for all services.
    pub proxy: Proxy,
    /// The listeners for people and tools.
    pub admin: Admin,
    /// The settings of log and access log.
    pub log: Log,
    /// The Docker engine, and what shifter may do there.
    pub docker: Docker,
    /// The folder for the journal and the admin socket.
    pub state: PathBuf,
    /// The services, in the order of the file; at least one, unless labels may make containers services.
    pub services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawConfig {
    pub(crate) state: Text,
    #[serde(default)]
    pub(crate) proxy: RawProxy,
    #[serde(default)]
    pub(crate) admin: RawAdmin,
    #[serde(default)]
    pub(crate) log: RawLog,
    #[serde(default)]
    pub(crate) docker: RawDocker,
    #[serde(default)]
    pub(crate) service: BTreeMap<Spanned<String>, RawService>,
}

/// Checks everything; relative paths are relative to `dir`.
pub(crate) fn check(raw: &RawConfig, dir: &Path) -> Check<Config> {
    let state = state(&raw.state, dir)?;
    let proxy = proxy(&raw.proxy, dir)?;
    let admin = admin(&raw.admin, dir, &state)?;
    let log = log(&raw.log, dir)?;
    let mut named: Vec<Named<'_>> = raw.service.iter().collect();
    named.sort_by_key(|(name, _)| name.span().start);
    if named.is_empty() && raw.docker.discovery != Some(true) {
        return Err(Problem::whole(
            "there is no service: nothing would be served",
            "add one:\n[service.api]\nblue = [\"127.0.0.1:3001\"]\ngreen = [\"127.0.0.1:3002\"]",
        ));
    }
    let services: Vec<Service> = named
        .iter()
        .map(|(name, raw)| service::service(name, raw, dir))
        .collect::<Check<_>>()?;
    let needs: Vec<_> = services.iter().map(need).collect();
    let docker = docker::docker(&raw.docker, &needs)?;
    let config = Config {
        docker,
        proxy,
        admin,
        log,
        state,
        services,
    };
    listeners_apart((&config.proxy, &raw.proxy), (&config.admin, &raw.admin))?;
    no_loop(&config.proxy, &config.admin, &config.services, &named)?;
    routes_apart(&config.services, &named)?;
    Ok(config)
}

/// Highest size in bytes: a larger file is the wrong one.
const FILE_BYTES_MAX: usize = 1 << 20;

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When the file cannot be read, or is no good configuration: the first fault, with its place and its fix.
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
        let state = || word(table.get("state")).unwrap_or_else(usual_state);
        Some(named.unwrap_or_else(|| state().join(SOCKET)))
    }

    /// Checks a text; `name` is for messages, and its folder is the base of relative paths.
    ///
    /// # Errors
    /// When the text is no good configuration: the first fault, with its place and its fix.
    pub fn parse(name: &str, text: &str) -> Result<Config, ConfigError> {
        let dir = Path::new(name).parent().unwrap_or(Path::new(""));
        read(text)
            .and_then(|raw| check(&raw, dir))
            .map_err(|problem| ConfigError::new(name, text, problem))
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}
