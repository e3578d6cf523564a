//! The demo's app as a test's backend: on a runtime of its own, so that it can die with all its connections.

use shifter::cli::commands::demo::app::App;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// A port that nobody has. Not from the range that the kernel gives to outgoing connections: under
/// load it would be taken before it is bound.
pub fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(61);
    loop {
        let step = u32::from(NEXT.fetch_add(1, Relaxed)) * 7;
        let port = 10_000 + (start.wrapping_add(step) % 22_000) as u16;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// A running app.
pub struct Running {
    pub app: Arc<App>,
    pub addr: SocketAddr,
    runtime: Option<Runtime>,
}

impl Running {
    /// A healthy app of this version.
    pub fn start(version: &str) -> Running {
        Running::after(version, Duration::ZERO)
    }

    /// One that is healthy only after a while.
    pub fn after(version: &str, start_delay: Duration) -> Running {
        let mut running = Running {
            app: App::new(version, start_delay),
            addr: free_port(),
            runtime: None,
        };
        running.revive();
        running
    }

    /// Nobody listens any more, and every connection is gone.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again, on the same address.
    pub fn revive(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (app, addr) = (self.app.clone(), self.addr);
        let listener = {
            let _inside = runtime.enter();
            let deadline = Instant::now() + crate::support::PATIENCE;
            loop {
                // The tasks of the one that was killed may hold the address a moment longer.
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                match socket.bind(addr).and_then(|()| socket.listen(1024)) {
                    Ok(listener) => break listener,
                    Err(error) if Instant::now() > deadline => panic!("{addr}: {error}"),
                    Err(_) => std::thread::yield_now(),
                }
            }
        };
        runtime.spawn(app.serve(listener));
        self.runtime = Some(runtime);
    }

    pub fn listens(&self) -> bool {
        self.runtime.is_some()
    }

    pub fn served(&self) -> u64 {
        self.app.served.load(Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Blue and green, as every test calls them.
pub fn pair() -> (Running, Running) {
    (Running::start("blue"), Running::start("green"))
}
