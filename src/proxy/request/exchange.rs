//! One HTTP/2 exchange, which can be ended from outside: its connection has others beside it, and
//! is not to end.
//!
//! Pingora gives each request of a connection a task. While a backend takes nothing, or both sides
//! are silent, that task polls neither the client nor us. So it is run beside the signal that can
//! end it, and dropped then; the client's stream is reset.

use crate::proxy::downstream::close_signal::CloseSignal;
use crate::proxy::downstream::timeout_stream::LOOK;
use crate::proxy::request::gateway::Gateway;
use crate::proxy::upstream::deadline::SocketHandle;
use crate::store::shared_state::BackendState;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;

/// How long exchanges that end with their connection may take to be counted.
const COUNTING: Duration = Duration::from_millis(500);

tokio::task_local! {
    static HERE: Exchange;
}

/// An exchange in flight.
#[derive(Clone, Debug, Default)]
pub struct Exchange(Arc<State>);

#[derive(Debug, Default)]
struct State {
    cut: CloseSignal,
    left: AtomicBool,
    /// The connection to the backend that has yet to answer, and that backend.
    waits: Mutex<Option<(SocketHandle, Arc<BackendState>)>>,
    lost: AtomicBool,
}

impl Exchange {
    /// The exchange of the current task; `None` over HTTP/1.
    pub fn here() -> Option<Exchange> {
        HERE.try_with(Exchange::clone).ok()
    }

    /// The signal that ends the exchange.
    pub fn cut(&self) -> CloseSignal {
        self.0.cut.clone()
    }

    /// Whether the client's connection was over before the exchange was.
    pub fn was_left(&self) -> bool {
        self.0.left.load(Relaxed)
    }

    /// From now on this backend is waited for; when it is lost, the connection to it is shut.
    pub fn waits_for(&self, line: &SocketHandle, backend: &Arc<BackendState>) {
        self.0.lost.store(false, Relaxed);
        *self.waiting() = Some((line.clone(), backend.clone()));
    }

    /// No backend is waited for any more.
    pub fn waits_no_more(&self) {
        *self.waiting() = None;
    }

    /// Whether the connection to the backend was shut because that was lost.
    pub fn lost(&self) -> bool {
        self.0.lost.load(Relaxed)
    }

    fn waiting(&self) -> MutexGuard<'_, Option<(SocketHandle, Arc<BackendState>)>> {
        self.0.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shuts the connection to a backend that is lost, for as long as the exchange lasts: Pingora takes that for its
    /// end, and the request can be asked again.
    async fn shuts_lost(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let mut waiting = self.waiting();
            if let Some((line, _)) = waiting.take_if(|(_, backend)| backend.lost()) {
                self.0.lost.store(true, Relaxed);
                line.shut();
            }
        }
    }

    async fn is_cut(&self) {
        poll_fn(|cx| match self.0.cut.told(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Waits until the client's connection is over, and [`COUNTING`] longer.
    async fn is_left(&self, mut connection: watch::Receiver<()>) {
        // Nothing is sent on it: it only ends.
        while connection.changed().await.is_ok() {}
        tokio::time::sleep(COUNTING).await;
        self.0.left.store(true, Relaxed);
    }
}

/// The data plane for one HTTP/2 connection.
pub struct Exchanges {
    app: Arc<HttpProxy<Gateway>>,
    connection: watch::Receiver<()>,
}

impl Exchanges {
    /// The exchanges of a connection, which lasts for as long as the sender of `connection` lives.
    pub fn of(app: Arc<HttpProxy<Gateway>>, connection: watch::Receiver<()>) -> Arc<Exchanges> {
        Arc::new(Exchanges { app, connection })
    }
}

#[async_trait]
impl HttpServerApp for Exchanges {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let exchange = Exchange::default();
        let work = self.app.process_new_http(session, shutdown);
        tokio::select! {
            biased;
            done = HERE.scope(exchange.clone(), work) => done,
            () = exchange.is_cut() => None,
            () = exchange.is_left(self.connection.clone()) => None,
            () = exchange.shuts_lost() => None,
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.app.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.app.server_options()
    }
}
