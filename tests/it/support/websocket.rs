//! A WebSocket as a browser opens one (RFC 6455), for texts that are short.

use crate::support::PATIENCE;
use crate::support::client::Client;
use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

/// The example of the RFC, and what must be answered to it.
const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub struct Socket {
    pub client: Client,
    /// The version that it is open on.
    pub version: String,
}

impl Socket {
    pub async fn open(addr: SocketAddr) -> Socket {
        let mut client = Client::connect(addr).await;
        let answer = client.get("/", UPGRADE).await.unwrap();
        assert_eq!(answer.status, 101, "{}", answer.head);
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
        let version = answer.header("x-app-version").unwrap_or_default();
        Socket {
            version: version.to_owned(),
            client,
        }
    }

    /// Sends a text and waits for the same text.
    pub async fn echo(&mut self, text: &str) -> io::Result<()> {
        const MASK: [u8; 4] = [1, 2, 3, 4];
        let (whole_text, length) = (0x81, text.len() as u8);
        let mut frame = vec![whole_text, 0x80 | length];
        frame.extend(MASK);
        frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
        self.client.stream.write_all(&frame).await?;
        let back = self.client.exactly(2 + text.len());
        let back = tokio::time::timeout(PATIENCE, back).await?;
        assert_eq!(back?, [&[whole_text, length], text.as_bytes()].concat());
        Ok(())
    }
}
