//! Users and backends that speak HTTP/2 without TLS from the first byte on.

use crate::support::PATIENCE;
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// A user's connection.
pub struct User {
    sender: SendRequest<Bytes>,
    pub connection: JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub trailers: Option<HeaderMap>,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn trailer(&self, name: &str) -> &str {
        let value = self.trailers.as_ref().and_then(|all| all.get(name));
        value.map_or("", |value| value.to_str().unwrap())
    }
}

pub fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

pub fn post(uri: &str) -> Request<()> {
    Request::post(uri).body(()).unwrap()
}

impl User {
    pub async fn connect(addr: SocketAddr) -> User {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        User::on(stream).await
    }

    pub async fn on(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> User {
        // As browsers do: until the other side's SETTINGS came, 100 at a time (RFC 9113, 6.5.2), not without limit.
        let (sender, connection) = h2::client::Builder::new()
            .initial_max_send_streams(100)
            .handshake(stream)
            .await
            .unwrap();
        User {
            sender,
            connection: tokio::spawn(connection),
        }
    }

    /// Sends a header; with `end` nothing follows.
    pub async fn begin(
        &self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        self.try_begin(request, end).await.unwrap()
    }

    async fn try_begin(
        &self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let ready = timeout(PATIENCE, self.sender.clone().ready());
        ready
            .await
            .expect("room for a request")?
            .send_request(request, end)
    }

    /// The whole answer to a request without a body.
    pub async fn ask(&self, request: Request<()>) -> Result<Got, h2::Error> {
        let (answer, _) = self.try_begin(request, true).await?;
        whole(answer).await
    }

    /// The whole answer to a request with a body.
    pub async fn send(&self, request: Request<()>, body: &str) -> Result<Got, h2::Error> {
        let (answer, mut stream) = self.begin(request, false).await;
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
        whole(answer).await
    }
}

pub async fn whole(answer: ResponseFuture) -> Result<Got, h2::Error> {
    let (head, mut body) = timeout(PATIENCE, answer)
        .await
        .expect("an answer in time")?
        .into_parts();
    let text = timeout(PATIENCE, read(&mut body))
        .await
        .expect("its end in time")?;
    Ok(Got {
        status: head.status.as_u16(),
        headers: head.headers,
        body: text,
        trailers: body.trailers().await?,
    })
}

async fn read(body: &mut RecvStream) -> Result<String, h2::Error> {
    let mut text = vec![];
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        text.extend_from_slice(&part);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What a backend does with one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// This body, and these trailers.
    Say(Vec<u8>, Vec<(&'static str, &'static str)>),
    /// A header with these, and nothing else.
    Header(Vec<(&'static str, &'static str)>),
    /// The request's body, part by part as it comes, and `grpc-status: 0`.
    Echo,
}

/// A backend; it ends when this is dropped.
pub struct Backend {
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Backend {
    /// Every request is answered by what `script` says about it.
    pub async fn start(
        script: impl Fn(&Request<RecvStream>) -> Act + Send + Sync + 'static,
    ) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let script = Arc::new(script);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(converse(stream, script.clone()));
            }
        });
        Backend { addr, task }
    }

    /// One that says its name, with gRPC's trailer.
    pub async fn named(name: &'static str) -> Backend {
        Backend::start(move |_| Act::Say(name.into(), vec![("grpc-status", "0")])).await
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse(
    stream: TcpStream,
    script: Arc<impl Fn(&Request<RecvStream>) -> Act + Send + Sync + 'static>,
) {
    let _ = stream.set_nodelay(true);
    // Who speaks HTTP/1 here is hung up on.
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    let mut requests = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let act = script(&request);
        requests.spawn(act_out(act, request, respond));
    }
}

async fn act_out(
    act: Act,
    request: Request<RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let head = |headers: &[(&'static str, &'static str)]| {
        let mut head = Response::builder().header("content-type", "application/grpc");
        for (name, value) in headers {
            head = head.header(*name, *value);
        }
        head.body(()).unwrap()
    };
    let mut body = request.into_body();
    match act {
        Act::Say(text, trailers) => {
            read(&mut body).await?;
            let mut stream = respond.send_response(head(&[]), false)?;
            stream.send_data(text.into(), false)?;
            let all = trailers
                .into_iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            stream.send_trailers(all.collect())?;
        }
        Act::Header(headers) => {
            respond.send_response(head(&headers), true)?;
        }
        Act::Echo => {
            let mut stream = respond.send_response(head(&[]), false)?;
            while let Some(part) = body.data().await {
                let part = part?;
                body.flow_control().release_capacity(part.len())?;
                stream.send_data(part, false)?;
            }
            let status = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
            stream.send_trailers(status.into_iter().collect())?;
        }
    }
    Ok(())
}
