//! `shifter init`: a configuration to start from.

use crate::cli::Global;
use crate::cli::commands::check;
use crate::cli::output::{self, narrate};
use crate::config::Config;
use crate::core::plan::Strategy;
use crate::driver::docker::{Container, Engine};
use crate::exit::Exit;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Options of `shifter init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where users reach shifter.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: String,
    /// The service's name: a-z, 0-9 and `-`.
    #[arg(long, default_value = "app", value_name = "NAME")]
    pub service: String,
    /// Where the version that runs now listens; one or several.
    #[arg(
        long,
        default_value = "127.0.0.1:3001",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub blue: Vec<String>,
    /// The container of the version that runs now, instead of an address: `run --image` replaces it.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["blue", "green"])]
    pub container: Option<String>,
    /// The port inside the container that serves; left out, the one that its image exposes.
    #[arg(long, value_name = "PORT", requires = "container")]
    pub port: Option<u16>,
    /// Where the version that is to replace it will listen; one or several.
    #[arg(
        long,
        default_value = "127.0.0.1:3002",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub green: Vec<String>,
    /// canary or blue-green.
    #[arg(long, default_value = "canary", value_name = "STRATEGY", value_parser = Strategy::ALL.map(Strategy::name))]
    pub strategy: String,
    /// A path of the app that answers 200 when it is well, such as /health.
    #[arg(long, value_name = "PATH")]
    pub health: Option<String>,
    /// Write over a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// Runs the command.
pub fn run(global: &Global, args: Args) -> Exit {
    let path = &global.config;
    let pools = match pools(&args) {
        Ok(pools) => pools,
        Err(why) => {
            narrate(&format!("shifter: {why}; nothing was written"));
            return Exit::Usage;
        }
    };
    let text = text(&args, &pools);
    if let Err(error) = Config::parse(&path.display().to_string(), &text) {
        narrate("shifter: what was asked for makes no good configuration; nothing was written");
        narrate(&format!("{:?}", miette::Report::new(error)));
        return Exit::Usage;
    }
    match write(path, &text, args.force) {
        Ok(()) => {
            output::narrate(&format!("wrote {}", path.display()));
            let checked = check::run(global, check::Args { ports: false });
            output::narrate(&next(&args));
            checked
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            narrate(&format!(
                "shifter: {} is there already and was left as it is; --force writes over it, --config FILE names another",
                path.display()
            ));
            Exit::Usage
        }
        Err(error) => {
            narrate(&format!(
                "shifter: cannot write {}: {error}; name another place with --config FILE",
                path.display()
            ));
            Exit::Usage
        }
    }
}

/// Writes all or nothing: the existing file stays whole until the new text is on disk.
fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    if !force {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        return file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_all());
    }
    let fresh = path.with_extension(format!("toml.{}", std::process::id()));
    let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(addresses: &[String]) -> String {
    let all: Vec<String> = addresses
        .iter()
        .map(|address| quoted(address.trim()))
        .collect();
    format!("[{}]", all.join(", "))
}

fn next(args: &Args) -> String {
    let service = &args.service;
    match &args.container {
        Some(_) => format!(
            "next: `shifter run {service} --image NAME:TAG` serves and replaces it; `shifter serve` only serves"
        ),
        None => "next: `shifter demo` shows how it works, `shifter serve` serves, `shifter run` replaces blue by green".to_owned(),
    }
}

/// The settings of blue and green: addresses, or a running container.
fn pools(args: &Args) -> Result<String, String> {
    let Some(name) = &args.container else {
        return Ok(format!(
            "# Where the version that runs now listens.\nblue = {}\n# Where the version that is to replace it listens.\ngreen = {}",
            list(&args.blue),
            list(&args.green)
        ));
    };
    let seen = look(name)?;
    let port = match (args.port, seen.ports.as_slice()) {
        (Some(port), _) => port,
        (None, [port]) => *port,
        (None, []) => {
            return Err(format!(
                "`{name}` exposes no port: say which one serves with --port"
            ));
        }
        (None, several) => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            return Err(format!(
                "`{name}` exposes the ports {}: say which one serves with --port",
                several.join(", ")
            ));
        }
    };
    let network = match seen.addresses.as_slice() {
        [] => {
            return Err(format!(
                "`{name}` has no address: does it run, and on a network of its own?"
            ));
        }
        [_] => String::new(),
        [(first, _), ..] => format!(", network = {}", quoted(first)),
    };
    Ok(format!(
        "# The container that runs now. `shifter run --image NAME:TAG` makes the next one from its settings.\nblue = {{ container = {}, port = {port}{network} }}",
        quoted(name)
    ))
}

/// The container as Docker shows it.
fn look(name: &str) -> Result<Container, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let seen = runtime.block_on(async { Engine::default().find(name).await });
    let seen = seen.map_err(|error| error.to_string())?;
    let seen =
        seen.ok_or_else(|| format!("No such container: {name}. `docker ps` lists those that run"))?;
    match seen.unread {
        Some(why) => Err(format!(
            "Docker's answer about `{name}` cannot be read: {why}"
        )),
        None => Ok(seen),
    }
}

fn text(args: &Args, pools: &str) -> String {
    // A name that is no bare TOML key is quoted, so that the check of the file can report its problem.
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let service = &args.service;
    let key = if !service.is_empty() && service.bytes().all(bare) {
        service.clone()
    } else {
        quoted(service)
    };
    let health = match &args.health {
        Some(path) => format!("path = {}", quoted(path)),
        None => "#path = \"/health\"".to_owned(),
    };
    let strategy = Strategy::ALL
        .into_iter()
        .find(|strategy| strategy.name() == args.strategy);
    let steps = match strategy {
        Some(Strategy::Canary) => {
            "# The shares of green: at least `hold`, at most `deadline`; a person's approval is a step too: { approve = true }.\nsteps = [\n  { weight = 5, hold = \"1m\", deadline = \"15m\" },\n  { weight = 50, hold = \"1m\", deadline = \"15m\" },\n  { weight = 100, hold = \"2m\", deadline = \"15m\" },\n]"
        }
        Some(Strategy::BlueGreen) => {
            "# How long green is watched after the swap, with the judge on.\nmonitor = \"10m\""
        }
        // The argument parser allows no other name; the check of the file would refuse it.
        None => "",
    };
    format!(
        "# shifter.toml. `shifter check` says what is wrong with it, where, and how to mend it.

[proxy]
# Where users reach shifter; \"0.0.0.0:80\" for the world.
listen = {listen}

[service.{key}]
# The hosts that it answers for; \"*\" is every host that no other service names.
hosts = [\"*\"]
{pools}
# \"canary\": growing shares, judged at each. \"blue-green\": all at once, then watched.
strategy = {strategy}
{steps}
# How sure a rollback must be: at most one false one in a hundred rollouts.
confidence = 0.99

[service.{key}.health]
# The path that must answer 200 to 399; left out, that the app accepts a connection is enough.
{health}
interval = \"1s\"
",
        listen = quoted(args.listen.trim()),
        strategy = quoted(&args.strategy),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ask;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn written(words: &[&str]) -> String {
        let args = args(words);
        text(&args, &pools(&args).unwrap())
    }

    fn args(words: &[&str]) -> Args {
        Line::parse_from(std::iter::once("init").chain(words.iter().copied())).args
    }

    #[test]
    fn what_is_written_is_a_good_configuration() {
        let lines: [&[&str]; 4] = [
            &[],
            &[
                "--strategy",
                "blue-green",
                "--service",
                "api-2",
                "--health",
                "/health",
            ],
            &[
                "--blue",
                "10.0.0.1:80,10.0.0.2:80",
                "--green",
                "10.0.0.3:80",
            ],
            &["--listen", "[::]:8080"],
        ];
        for words in lines {
            let args = args(words);
            let config = Config::parse("shifter.toml", &written(words))
                .unwrap_or_else(|error| panic!("{}", error.one_line()));
            let service = config.service(&args.service).unwrap();
            assert_eq!(service.strategy.name(), args.strategy);
            let path = args.health.clone().map_or(Ask::Connect, Ask::Path);
            assert_eq!(service.health.ask, path);
            assert_eq!(service.blue.pool().backends.len(), args.blue.len());
        }
    }

    #[test]
    fn words_cannot_smuggle_in_keys() {
        for service in ["a]\n[admin", "a.b", "", "A", "ü"] {
            assert!(
                Config::parse("shifter.toml", &written(&["--service", service])).is_err(),
                "{service:?}"
            );
        }
        let smuggled = written(&["--listen", "127.0.0.1:1\"\nthreads = 3\n#"]);
        assert!(Config::parse("shifter.toml", &smuggled).is_err());
    }

    #[test]
    fn a_file_that_is_there_stays_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shifter.toml");
        fs::write(&path, "mine").unwrap();
        assert_eq!(
            write(&path, "new", false).unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        write(&path, "new", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
