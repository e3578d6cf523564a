//! The least that Pingora can do between two backends: what shifter's own work is measured against.
//!
//! `cargo run --release --example bare_pingora -- --listen 127.0.0.1:8081 127.0.0.1:3001 127.0.0.1:3002`

use async_trait::async_trait;
use clap::Parser;
use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

// The same allocator as shifter's, so that the two differ in what they do only.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(all(feature = "mimalloc", not(feature = "jemalloc")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about = "A bare Pingora proxy: round robin over the backends, nothing else")]
struct Args {
    /// Where users reach it.
    #[arg(long)]
    listen: SocketAddr,
    /// PEM file of the certificate: users come by TLS, with HTTP/2 where they offer it.
    #[arg(long, requires = "key")]
    cert: Option<String>,
    /// PEM file of its key.
    #[arg(long)]
    key: Option<String>,
    /// Threads that move requests.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Where the requests go.
    #[arg(required = true)]
    backends: Vec<SocketAddr>,
}

struct RoundRobin {
    backends: Vec<SocketAddr>,
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for RoundRobin {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let backend = self.backends[turn % self.backends.len()];
        Ok(Box::new(HttpPeer::new(backend, false, String::new())))
    }
}

fn main() {
    let args = Args::parse();
    let conf = ServerConf {
        threads: args.threads,
        upstream_keepalive_pool_size: 1024,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = RoundRobin {
        backends: args.backends,
        next: AtomicUsize::new(0),
    };
    let mut service = http_proxy_service(&server.configuration, proxy);
    let listen = args.listen.to_string();
    match (&args.cert, &args.key) {
        (Some(cert), Some(key)) => {
            let mut tls = match TlsSettings::intermediate(cert, key) {
                Ok(tls) => tls,
                Err(problem) => {
                    eprintln!("bare_pingora: {cert}, {key}: {problem}");
                    std::process::exit(2);
                }
            };
            tls.enable_h2();
            service.add_tls_with_settings(&listen, None, tls);
        }
        _ => service.add_tcp(&listen),
    }
    let mut speaks = HttpServerOptions::default();
    speaks.h2c = true;
    if let Some(app) = service.app_logic_mut() {
        app.server_options = Some(speaks);
    }
    server.add_service(service);
    server.run_forever();
}
