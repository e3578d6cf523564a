//! The PROXY protocol header, in which a load balancer in front names its client before the first
//! request (haproxy.org/download/3.0/doc/proxy-protocol.txt), version 1 and 2.

use ppp::{v1, v2};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The beginning of a version 2 header.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The maximum length of a version 1 line with its end, in bytes.
const LINE_MAX: usize = 107;

/// The maximum length of a version 2 header that is read, in bytes: addresses and some extensions.
const BINARY_MAX: usize = 4_096;

/// Reads the header and not a byte more; the client's address, or `None` when the load balancer
/// speaks for itself (a health check).
///
/// # Errors
/// When there is no header, or none that can be parsed: the client is unknown.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    // The shortest header of all, "PROXY UNKNOWN\r\n", is longer than the signature.
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(16, 0);
        stream.read_exact(&mut header[12..]).await?;
        let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if rest > BINARY_MAX {
            return Err(wrong("a header of the PROXY protocol that is too long"));
        }
        header.resize(16 + rest, 0);
        stream.read_exact(&mut header[16..]).await?;
        return binary(&header);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(wrong("no header of the PROXY protocol"));
    }
    while header.last() != Some(&b'\n') {
        if header.len() == LINE_MAX {
            return Err(wrong("a line of the PROXY protocol that is too long"));
        }
        header.push(stream.read_u8().await?);
    }
    text(&header)
}

fn text(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let parsed = v1::Header::try_from(header)
        .map_err(|_| wrong("a line of the PROXY protocol that says nothing"))?;
    Ok(match parsed.addresses {
        v1::Addresses::Tcp4(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Tcp6(tcp) => Some((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Unknown => None,
    })
}

fn binary(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let parsed = v2::Header::try_from(header)
        .map_err(|_| wrong("a header of the PROXY protocol that says nothing"))?;
    if parsed.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match parsed.addresses {
        v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
        v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    })
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The result, and the bytes that are left for the next reader.
    fn after(mut bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let said = runtime.block_on(read(&mut bytes));
        (said, bytes.to_vec())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body, b"GET /"].concat()
    }

    #[test]
    fn both_versions_say_who_it_is_and_leave_the_request() {
        let four = [[10, 0, 0, 1], [10, 0, 0, 2], [0x1f, 0x90, 0, 80]].concat();
        let more = [&four[..], &[4, 0, 1, 0]].concat();
        let six = [&[0xfd; 16][..], &[0; 16], &[0, 7, 0, 80]].concat();
        let user = Some("10.0.0.1:8080".parse().unwrap());
        let user_six: SocketAddr = "[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:7"
            .parse()
            .unwrap();
        for (bytes, expected) in [
            (
                b"PROXY TCP4 10.0.0.1 10.0.0.2 8080 80\r\nGET /".to_vec(),
                user,
            ),
            (
                b"PROXY TCP6 fd00::1 ::1 7 80\r\nGET /".to_vec(),
                Some("[fd00::1]:7".parse().unwrap()),
            ),
            (b"PROXY UNKNOWN\r\nGET /".to_vec(), None),
            (b"PROXY UNKNOWN ffff:f 1 2 3\r\nGET /".to_vec(), None),
            (v2(0x21, 0x11, &four), user),
            (v2(0x21, 0x11, &more), user),
            (v2(0x21, 0x21, &six), Some(user_six)),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &four), None),
            (v2(0x21, 0x00, &[]), None),
        ] {
            let (said, rest) = after(&bytes);
            assert_eq!(said.unwrap(), expected, "{}", bytes.escape_ascii());
            assert_eq!(rest, b"GET /");
        }
    }

    #[test]
    fn what_is_no_header_is_no_user() {
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200], b"\r\n"].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\nhost: app\r\n\r\n"[..],
            b"PROXY TCP4 10.0.0.1 10.0.0.2 8080\r\nGET /",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 99999 80\r\nGET /",
            b"PROXY TCP4 fd00::1 10.0.0.2 8080 80\r\nGET /",
            b"PROXY  TCP4 10.0.0.1 10.0.0.2 8080 80\r\nGET /",
            b"PROXY TCP4 10.0.0.1 10.0.0.2 8080 80\nGET /",
            b"PROXY TCP4 10.0.0.1",
            b"PROX",
            b"",
            &long,
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x11, &[0; 5_000]),
            &v2(0x21, 0x11, &[0; 12])[..20],
        ] {
            assert!(after(bytes).0.is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..3) {
            let start = match kind {
                0 => &b"PROXY TCP4 "[..],
                1 => &SIGNATURE,
                _ => b"",
            };
            let _ = after(&[start, &bytes].concat());
        }
    }
}
