//! A small web app that misbehaves on demand, to try shifter on.
//!
//! `cargo run --example app -- --listen 127.0.0.1:3001 --version 1.0 --errors 0.1`

use clap::Parser;
use shifter::cli::commands::demo::app::App;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

#[derive(Parser)]
#[command(about = "A small web app that misbehaves on demand")]
struct Args {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The name in the answers.
    #[arg(long, default_value = "1.0")]
    version: String,
    /// Percent of answers that are 500.
    #[arg(long, default_value_t = 0.0)]
    errors: f64,
    /// Only what is asked under `/checkout` fails so.
    #[arg(long)]
    checkout_only: bool,
    /// Percent of answers that break off.
    #[arg(long, default_value_t = 0.0)]
    broken: f64,
    /// Seconds from the first request in which every answer takes `--tail-ms` longer.
    #[arg(long, default_value_t = 0)]
    cold: u64,
    /// Megabytes that are lost each second from the first request on.
    #[arg(long, default_value_t = 0)]
    leak: usize,
    /// Typical milliseconds to an answer; 0 answers at once.
    #[arg(long, default_value_t = 0.0)]
    latency: f64,
    /// Spread of the time to an answer: sigma of a log-normal distribution.
    #[arg(long, default_value_t = 0.25)]
    spread: f64,
    /// Percent of answers that take `--tail-ms` longer.
    #[arg(long, default_value_t = 0.0)]
    tail: f64,
    /// How much longer, in milliseconds.
    #[arg(long, default_value_t = 1000.0)]
    tail_ms: f64,
    /// Milliseconds until `/health` answers 200.
    #[arg(long, default_value_t = 0)]
    start_delay: u64,
    /// The status of good answers; 302 leads to `/login`.
    #[arg(long, default_value_t = 200)]
    status: u16,
    /// Good answers have no body.
    #[arg(long)]
    empty: bool,
    /// Milliseconds from the header of a good answer to its body.
    #[arg(long, default_value_t = 0)]
    body_ms: u64,
    /// Accept requests and never answer, /health included.
    #[arg(long)]
    hang: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let app = App::new(&args.version, Duration::from_millis(args.start_delay));
    app.error_ppm.store((args.errors * 1e4) as u32, Relaxed);
    app.checkout_only.store(args.checkout_only, Relaxed);
    app.broken_ppm.store((args.broken * 1e4) as u32, Relaxed);
    app.cold_ms.store(args.cold * 1_000, Relaxed);
    app.latency_us.store((args.latency * 1e3) as u64, Relaxed);
    app.spread_ppm.store((args.spread * 1e6) as u32, Relaxed);
    app.tail_ppm.store((args.tail * 1e4) as u32, Relaxed);
    app.tail_us.store((args.tail_ms * 1e3) as u64, Relaxed);
    app.status.store(args.status, Relaxed);
    app.empty.store(args.empty, Relaxed);
    app.body_us.store(args.body_ms * 1_000, Relaxed);
    app.hangs.store(args.hang, Relaxed);
    if args.leak > 0 {
        tokio::spawn(leak(app.clone(), args.leak << 20));
    }
    let served = match tokio::net::TcpListener::bind(args.listen).await {
        Ok(listener) => app.serve(listener).await,
        Err(error) => Err(error),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot serve on {}: {error}", args.listen);
            ExitCode::FAILURE
        }
    }
}

/// Takes memory each second, once somebody has asked for something, until the system ends it.
async fn leak(app: Arc<App>, bytes: usize) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        if app.served.load(Relaxed) > 0 {
            // Written, so that it is really taken.
            std::mem::forget(vec![1u8; bytes]);
        }
    }
}
