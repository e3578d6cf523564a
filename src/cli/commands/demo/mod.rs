//! `shifter demo`: two built-in apps, users, a rollout and a fault; it ends by itself within a minute.

pub mod app;
pub mod load;
mod story;

use crate::cli::Global;
use crate::config::Config;
use crate::core::plan::Strategy;
use crate::daemon::process::{self, Prepared, Process};
use crate::exit::Exit;
use app::App;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Options of `shifter demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// How traffic moves.
    #[arg(long, value_enum, default_value_t = Recipe::Canary)]
    pub strategy: Recipe,
    /// What is wrong with the new version; without it two acts are played: a bad version, then a good one.
    #[arg(long, value_enum)]
    pub fault: Option<Fault>,
    /// Requests a second that the built-in users send.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(20..=2_000))]
    pub rate: u32,
}

impl Args {
    /// Longest time at 5 %, in seconds. A slower version is harder to tell from noise than a failing one.
    const fn first_deadline(&self) -> u64 {
        match self.fault {
            Some(Fault::Latency | Fault::Tail) => 35,
            Some(Fault::Errors | Fault::Down) => 25,
            Some(Fault::None) | None => 14,
        }
    }
}

/// A strategy on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Recipe {
    /// Traffic in growing shares, judged at each.
    Canary,
    /// All traffic at once, then watched.
    BlueGreen,
}

impl From<Recipe> for Strategy {
    fn from(recipe: Recipe) -> Strategy {
        match recipe {
            Recipe::Canary => Strategy::Canary,
            Recipe::BlueGreen => Strategy::BlueGreen,
        }
    }
}

/// What is wrong with the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Nothing.
    None,
    /// A fifth of its answers are 500.
    Errors,
    /// Every answer takes twice as long.
    Latency,
    /// One answer in five takes half a second longer.
    Tail,
    /// It stops answering altogether soon after it got its first users.
    Down,
}

impl Fault {
    /// A description of the fault in the new version.
    pub const fn story(self) -> &'static str {
        match self {
            Fault::None => "nothing is wrong with it",
            Fault::Errors => "one in five of its answers is an error",
            Fault::Latency => "every answer takes twice as long",
            Fault::Tail => "one answer in five takes half a second longer",
            Fault::Down => "it dies soon after it got its first users",
        }
    }

    fn apply(self, app: &App) {
        app.latency_us.store(TYPICAL_US, Relaxed);
        app.error_ppm.store(500, Relaxed);
        app.tail_ppm.store(0, Relaxed);
        match self {
            Fault::None | Fault::Down => {}
            Fault::Errors => app.error_ppm.store(200_000, Relaxed),
            Fault::Latency => app.latency_us.store(2 * TYPICAL_US, Relaxed),
            Fault::Tail => {
                app.tail_ppm.store(200_000, Relaxed);
                app.tail_us.store(500_000, Relaxed);
            }
        }
    }
}

/// How long both apps take to answer when nothing is wrong, in microseconds.
const TYPICAL_US: u64 = 12_000;

/// The plan: much shorter than a real one, as the demo says.
const PLAN: &str = r#"
holdback = 0
monitor = "12s"
health = { path = "/health", interval = "200ms", timeout = "200ms", rise = 2, fall = 2 }
smoke = [{ path = "/health", expect = 200 }]
latency_grace = "1s"
keep_blue = "1s"
drain = "2s"
"#;

/// One of the two built-in apps, with a method to kill it.
pub(in crate::cli) struct Stage {
    pub(in crate::cli) app: Arc<App>,
    pub(in crate::cli) addr: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Stage {
    fn raise(
        version: &str,
        start_delay: Duration,
        listener: TcpListener,
    ) -> std::io::Result<Stage> {
        let addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let app = App::new(version, start_delay);
        let serving = app.clone();
        let server = tokio::spawn(async move {
            let _ = serving.serve(listener).await;
        });
        Ok(Stage { app, addr, server })
    }

    /// Makes it answer nothing from now on.
    pub(in crate::cli) fn kill(&self) {
        self.app.hangs.store(true, Relaxed);
        self.server.abort();
    }
}

/// Runs the command.
pub fn run(global: &Global, args: Args) -> Exit {
    match prepare(args.first_deadline()) {
        Ok((config, proxy, [blue, green])) => {
            let runtime =
                match process::runtime(&config, Some(global.log.as_deref().unwrap_or("error"))) {
                    Ok(runtime) => runtime,
                    Err(exit) => return exit,
                };
            process::block_on(runtime, async move {
                match play(config, proxy, blue, green, &args).await {
                    Ok(exit) => exit,
                    Err(error) => {
                        anstream::eprintln!("shifter: the demo cannot go on: {error}");
                        Exit::Internal
                    }
                }
            })
        }
        Err(error) => {
            anstream::eprintln!(
                "shifter: the demo cannot start: {error}. It needs three free ports on 127.0.0.1"
            );
            Exit::Internal
        }
    }
}

fn prepare(
    first_deadline: u64,
) -> Result<(Config, TcpListener, [TcpListener; 2]), Box<dyn std::error::Error>> {
    let free = || TcpListener::bind(("127.0.0.1", 0));
    let (proxy, blue, green) = (free()?, free()?, free()?);
    let text = format!(
        "state = \"/nonexistent/never-used\"\n[proxy]\nlisten = [\"{}\"]\n[proxy.shutdown]\nlame_duck = \"50ms\"\ndeadline = \"3s\"\n[admin]\nlisten = \"off\"\nsocket = \"/nonexistent/never-used\"\n[service.shop]\nblue = [\"{}\"]\ngreen = [\"{}\"]\nsteps = [{{ weight = 5, hold = \"5s\", deadline = \"{first_deadline}s\" }}, {{ weight = 50, hold = \"4s\", deadline = \"6s\" }}, {{ weight = 100, hold = \"4s\", deadline = \"6s\" }}]\n{PLAN}",
        proxy.local_addr()?,
        blue.local_addr()?,
        green.local_addr()?
    );
    let config =
        Config::parse("the demo's configuration", &text).map_err(|error| error.one_line())?;
    Ok((config, proxy, [blue, green]))
}

async fn play(
    config: Config,
    proxy: TcpListener,
    blue: TcpListener,
    green: TcpListener,
    args: &Args,
) -> Result<Exit, Box<dyn std::error::Error>> {
    let address = proxy.local_addr()?;
    let start_delay = Duration::from_millis(500);
    let stages = [
        Stage::raise("1.0", Duration::ZERO, blue)?,
        Stage::raise("1.1", start_delay, green)?,
    ];
    Fault::None.apply(&stages[0].app);
    proxy.set_nonblocking(true)?;
    let process = Process::start(Prepared::in_memory(config, proxy)?).await?;
    let mut story = story::Story::begin(&process, address, &stages, args);
    let acts = match args.fault {
        Some(fault) => vec![fault],
        None => vec![Fault::Errors, Fault::None],
    };
    let mut as_told = true;
    for (i, fault) in acts.iter().enumerate() {
        fault.apply(&stages[1].app);
        as_told &= story.act(i + 1, acts.len(), *fault, args.strategy).await?;
    }
    story.end();
    process.stop().await;
    Ok(if as_told { Exit::Ok } else { Exit::Internal })
}
