//! One exchange of HTTP/2, which can be ended from outside: its connection has others beside it, and is not to end.
//!
//! Pingora gives each request of a connection a task. While a backend takes nothing, or both sides are silent, that task
//! looks neither at the user nor at us. So it is run beside what can end it, and dropped then; the user's stream is reset.

use crate::proxy::downstream::close_signal::CloseSignal;
use crate::proxy::request::gateway::Gateway;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;

/// How long what had ended with its connection may take to be counted.
const COUNTING: Duration = Duration::from_millis(500);

tokio::task_local! {
    static HERE: Exchange;
}

/// An exchange under way.
#[derive(Clone, Debug, Default)]
pub struct Exchange(Arc<State>);

#[derive(Debug, Default)]
struct State {
    cut: CloseSignal,
    left: AtomicBool,
}

impl Exchange {
    /// The one that runs here; `None` over HTTP/1.
    pub fn here() -> Option<Exchange> {
        HERE.try_with(Exchange::clone).ok()
    }

    /// What ends it.
    pub fn cut(&self) -> CloseSignal {
        self.0.cut.clone()
    }

    /// Whether its user's connection was over before it was.
    pub fn was_left(&self) -> bool {
        self.0.left.load(Relaxed)
    }

    async fn is_cut(&self) {
        poll_fn(|cx| match self.0.cut.told(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    /// Waits until nobody is there for it.
    async fn is_left(&self, mut connection: watch::Receiver<()>) {
        // Nothing is sent on it: it only ends.
        while connection.changed().await.is_ok() {}
        tokio::time::sleep(COUNTING).await;
        self.0.left.store(true, Relaxed);
    }
}

/// The data plane for one connection of HTTP/2.
pub struct Exchanges {
    app: Arc<HttpProxy<Gateway>>,
    connection: watch::Receiver<()>,
}

impl Exchanges {
    /// Those of a connection, which lives for as long as the sender of this.
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
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.app.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.app.server_options()
    }
}
