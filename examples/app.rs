//! A small web app that misbehaves on demand, to try shifter on.
//!
//! `cargo run --example app -- --listen 127.0.0.1:3001 --version 1.0 --errors 0.1`

use clap::Parser;
use shifter::cli::demo::app::App;
use std::net::SocketAddr;
use std::process::ExitCode;
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
    /// Accept requests and never answer, but for `/health` until the first of them.
    #[arg(long)]
    hang: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let app = App::new(&args.version, Duration::from_millis(args.start_delay));
    app.error_ppm.store((args.errors * 1e4) as u32, Relaxed);
    app.latency_us.store((args.latency * 1e3) as u64, Relaxed);
    app.spread_ppm.store((args.spread * 1e6) as u32, Relaxed);
    app.tail_ppm.store((args.tail * 1e4) as u32, Relaxed);
    app.tail_us.store((args.tail_ms * 1e3) as u64, Relaxed);
    app.hangs.store(args.hang, Relaxed);
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
