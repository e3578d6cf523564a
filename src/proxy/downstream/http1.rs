//! HTTP/1 as clients send it, parsed byte by byte before Pingora sees it (RFC 9112).
//!
//! Requests are smuggled where two parsers find different ends in the same bytes. So whatever could
//! be read in two ways is refused here: an odd line end, a repeated length, a coding that is not
//! just `chunked`, a line that is continued in the next one. What passes has one meaning only.
//!
//! No I/O: it takes bytes in pieces of any size, and says how many of them are good.

use crate::config::Limits;
use crate::proxy::downstream::grammar::{
    decimal, hexadecimal, is_control, is_host, is_target, is_token,
};

/// The maximum length of a chunk-size line with its extensions, in bytes.
const CHUNK_LINE_MAX: usize = 1_024;

/// The most bytes of chunk-size lines with extensions, in one body.
const EXTENSIONS_MAX: usize = 16 * 1_024;

/// The maximum length of a method name, in bytes: somewhat longer than any in use.
const METHOD_MAX: usize = 32;

/// The limits of a request's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderLimits {
    /// Bytes of the whole header.
    pub bytes: usize,
    /// The number of its fields.
    pub fields: usize,
    /// Bytes of the request's target.
    pub target: usize,
}

impl HeaderLimits {
    /// The limits as configured.
    pub fn new(limits: &Limits) -> HeaderLimits {
        HeaderLimits {
            bytes: limits.header,
            fields: limits.headers,
            target: limits.uri,
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status to answer with.
    pub status: u16,
    /// The reason, in a few words.
    pub why: &'static str,
}

const fn bad(why: &'static str) -> Rejection {
    Rejection { status: 400, why }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between two requests.
    Start,
    /// In a header.
    Fields,
    /// In a body: the bytes still to come.
    Body(u64),
    ChunkSize,
    /// In a chunk: the bytes still to come.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    Trailers,
    /// An upgrade was requested: what follows may be another protocol.
    Upgrade,
}

/// What the current header has said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    http10: bool,
    length: Option<u64>,
    chunked: bool,
    host: bool,
    upgrade: bool,
    fields: usize,
    bytes: usize,
    /// Bytes of chunk-size lines with extensions.
    extensions: usize,
    /// An empty line came before the request, as some old clients send after a body.
    led_by_empty: bool,
}

/// The parser state of one HTTP/1 connection.
#[derive(Debug)]
pub struct Http1 {
    limits: HeaderLimits,
    state: State,
    head: Head,
    /// The beginning of a line that is not complete yet.
    line: Vec<u8>,
    refused: Option<Rejection>,
}

impl Http1 {
    /// The state before the first request.
    pub fn new(limits: HeaderLimits) -> Http1 {
        Http1 {
            limits,
            state: State::Start,
            head: Head::default(),
            line: Vec::new(),
            refused: None,
        }
    }

    /// Why no more bytes are accepted; `None` while they are.
    pub fn refused(&self) -> Option<Rejection> {
        self.refused
    }

    /// Accepts no more bytes, for this reason unless there is one already.
    pub fn refuse(&mut self, refusal: Rejection) {
        self.refused.get_or_insert(refusal);
    }

    /// Whether a request's header is complete, and its body is not.
    pub fn in_body(&self) -> bool {
        !matches!(self.state, State::Start | State::Fields | State::Upgrade)
    }

    /// Whether the meaning of the next bytes depends on an answer: an upgrade was requested.
    pub fn waits(&self) -> bool {
        self.state == State::Upgrade
    }

    /// The upgrade was declined: the next byte begins a request.
    pub fn stays_http(&mut self) {
        if self.state == State::Upgrade {
            self.state = State::Start;
        }
    }

    /// Parses the next bytes; returns how many of them may be passed on.
    ///
    /// Fewer than all after a request for an upgrade, and when something is refused: then the
    /// refused line, and all after it, is held back.
    pub fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.refused.is_none() && !self.waits() {
            let rest = &bytes[at..];
            match self.step(rest) {
                Ok(taken) => at += taken,
                Err(refusal) => self.refused = Some(refusal),
            }
        }
        at
    }

    /// Consumes at least one of these bytes.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Rejection> {
        match self.state {
            State::Body(left) => {
                let taken = fitting(left, rest);
                let left = left - taken as u64;
                self.state = if left == 0 {
                    State::Start
                } else {
                    State::Body(left)
                };
                Ok(taken)
            }
            State::Chunk(left) => {
                let taken = fitting(left, rest);
                let left = left - taken as u64;
                self.state = if left == 0 {
                    State::ChunkEnd
                } else {
                    State::Chunk(left)
                };
                Ok(taken)
            }
            _ => self.lines(rest),
        }
    }

    /// Consumes one line, or the part of it that is there.
    fn lines(&mut self, rest: &[u8]) -> Result<usize, Rejection> {
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            self.grow(rest.len())?;
            if rest.iter().any(|&byte| is_control(byte) && byte != b'\r') {
                return Err(bad("a control character"));
            }
            self.line.extend_from_slice(rest);
            return Ok(rest.len());
        };
        self.grow(end + 1)?;
        if self.line.is_empty() {
            self.line_ended(&rest[..=end])?;
        } else {
            self.line.extend_from_slice(&rest[..=end]);
            let line = std::mem::take(&mut self.line);
            self.line_ended(&line)?;
            // Its memory is reused for the next one.
            self.line = line;
            self.line.clear();
        }
        Ok(end + 1)
    }

    /// Counts bytes of a line before it is parsed, so that a client cannot make us buffer too many.
    fn grow(&mut self, bytes: usize) -> Result<(), Rejection> {
        match self.state {
            State::ChunkSize | State::ChunkEnd => {
                if self.line.len() + bytes > CHUNK_LINE_MAX {
                    return Err(bad("a chunk's size line is too long"));
                }
            }
            State::Start if self.line.len() + bytes > self.limits.target + METHOD_MAX + 16 => {
                return Err(Rejection {
                    status: 414,
                    why: "the target is too long",
                });
            }
            _ => {
                self.head.bytes += bytes;
                if self.head.bytes > self.limits.bytes {
                    return Err(Rejection {
                        status: 431,
                        why: "the header is too large",
                    });
                }
            }
        }
        Ok(())
    }

    fn line_ended(&mut self, line: &[u8]) -> Result<(), Rejection> {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(bad("a line that does not end in CR LF"));
        };
        match self.state {
            State::Start => self.request_line(line),
            State::Fields if line.is_empty() => self.header_ended(),
            State::Fields => self.field(line),
            State::ChunkSize => self.chunk_size(line),
            State::ChunkEnd if line.is_empty() => {
                self.state = State::ChunkSize;
                Ok(())
            }
            State::ChunkEnd => Err(bad("a chunk that is longer than it said")),
            State::Trailers if line.is_empty() => {
                self.state = State::Start;
                Ok(())
            }
            State::Trailers => self.trailer(line),
            State::Body(_) | State::Chunk(_) | State::Upgrade => Ok(()),
        }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Rejection> {
        if line.is_empty() {
            let again = std::mem::replace(&mut self.head.led_by_empty, true);
            return if again {
                Err(bad("no request"))
            } else {
                Ok(())
            };
        }
        self.head = Head {
            bytes: line.len() + 2,
            ..Head::default()
        };
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad("a request line that has not three parts"));
        };
        if !is_token(method) {
            return Err(bad("a method that is not one"));
        }
        if method.len() > METHOD_MAX {
            return Err(Rejection {
                status: 501,
                why: "the method is not known",
            });
        }
        self.head.http10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                return Err(Rejection {
                    status: 505,
                    why: "the version is not known",
                });
            }
            _ => return Err(bad("a version that is not one")),
        };
        if target.len() > self.limits.target {
            return Err(Rejection {
                status: 414,
                why: "the target is too long",
            });
        }
        if matches!(method, b"CONNECT" | b"TRACE") {
            return Err(Rejection {
                status: 405,
                why: "the method is not allowed",
            });
        }
        if !is_target(target, method) {
            return Err(bad("a target that is not one"));
        }
        self.state = State::Fields;
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Rejection> {
        self.head.fields += 1;
        if self.head.fields > self.limits.fields {
            return Err(Rejection {
                status: 431,
                why: "too many header fields",
            });
        }
        let (name, value) = split_field(line)?;
        let named = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if named(b"host") {
            if std::mem::replace(&mut self.head.host, true) {
                return Err(bad("two hosts"));
            }
            if !is_host(value) {
                return Err(bad("a host that is not one"));
            }
        } else if named(b"content-length") {
            if self.head.length.is_some() {
                return Err(bad("two lengths"));
            }
            self.head.length = Some(decimal(value).ok_or(bad("a length that is not one"))?);
        } else if named(b"transfer-encoding") {
            if self.head.chunked {
                return Err(bad("two transfer codings"));
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Rejection {
                    status: 501,
                    why: "a transfer coding that is not just `chunked`",
                });
            }
            self.head.chunked = true;
        } else if named(b"upgrade") {
            self.head.upgrade = true;
        }
        Ok(())
    }

    fn header_ended(&mut self) -> Result<(), Rejection> {
        let head = &self.head;
        if !head.host && !head.http10 {
            return Err(bad("no host"));
        }
        if head.chunked && head.length.is_some() {
            return Err(bad("a length and a transfer coding"));
        }
        if head.chunked && head.http10 {
            return Err(bad("a transfer coding in HTTP/1.0"));
        }
        self.state = match head.length {
            None if head.chunked => State::ChunkSize,
            None | Some(0) if head.upgrade && !head.http10 => State::Upgrade,
            None | Some(0) => State::Start,
            Some(length) => State::Body(length),
        };
        self.head = Head::default();
        Ok(())
    }

    fn chunk_size(&mut self, line: &[u8]) -> Result<(), Rejection> {
        let end = line
            .iter()
            .position(|byte| !byte.is_ascii_hexdigit())
            .unwrap_or(line.len());
        let (digits, extension) = line.split_at(end);
        let size = hexadecimal(digits).ok_or(bad("a chunk without a size"))?;
        if !extension.is_empty() {
            self.head.extensions += line.len();
            let said = extension.trim_ascii_start();
            if said.first() != Some(&b';') || extension.iter().any(|&byte| is_control(byte)) {
                return Err(bad("a chunk's size with something behind it"));
            }
            if self.head.extensions > EXTENSIONS_MAX {
                return Err(bad("too many extensions of chunks"));
            }
        }
        self.state = if size == 0 {
            State::Trailers
        } else {
            State::Chunk(size)
        };
        if size == 0 {
            self.head = Head::default();
        }
        Ok(())
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), Rejection> {
        self.head.fields += 1;
        if self.head.fields > self.limits.fields {
            return Err(Rejection {
                status: 431,
                why: "too many trailer fields",
            });
        }
        let (name, _) = split_field(line)?;
        let framing: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
        if framing.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return Err(bad("a trailer that belongs in the header"));
        }
        Ok(())
    }
}

/// How many of these bytes belong to the `left` bytes that are still to come.
fn fitting(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

/// Name and value of a field, without the spaces around the value (RFC 9112, 5).
fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Rejection> {
    if line
        .first()
        .is_some_and(|byte| matches!(byte, b' ' | b'\t'))
    {
        return Err(bad("a header field that goes on in the next line"));
    }
    let Some(colon) = line.iter().position(|&byte| byte == b':') else {
        return Err(bad("a header field without a colon"));
    };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if !is_token(name) {
        return Err(bad("a header field's name that is not one"));
    }
    if value.iter().any(|&byte| is_control(byte)) {
        return Err(bad("a control character in a header field"));
    }
    Ok((name, value.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: HeaderLimits = HeaderLimits {
        bytes: 1_000,
        fields: 5,
        target: 50,
    };

    /// The bytes that are passed on when the input comes in pieces of `piece` bytes, and the status
    /// of a refusal.
    fn followed(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<u16>) {
        let (mut wire, mut good) = (Http1::new(LIMITS), vec![]);
        for part in bytes.chunks(piece) {
            let count = wire.follow(part);
            good.extend(&part[..count]);
            if count < part.len() {
                break;
            }
        }
        (good, wire.refused().map(|refusal| refusal.status))
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: app\r\n\r\n";

    #[test]
    fn what_is_good_is_handed_on_to_the_line_that_is_not() {
        let chunked = "POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (good, held, status) in [
            (GET.to_owned(), "", None),
            (format!("{GET}\r\n{GET}"), "", None),
            (GET.to_owned(), "\x01\r\n", Some(400)),
            (
                format!("{GET}GET / HTTP/1.1\r\n"),
                "Host : app\r\n\r\n",
                Some(400),
            ),
            (
                format!("{chunked}5\r\nhello\r\n0\r\nA: b\r\n\r\n{GET}"),
                "",
                None,
            ),
            (format!("{chunked}5\r\nhello\r\n"), "+5\r\n", Some(400)),
            (format!("{chunked}5\r\nhello"), "X\r\n", Some(400)),
            (chunked.to_owned(), "fffffffffffffffff\r\n", Some(400)),
            (chunked.to_owned(), "5\n", Some(400)),
            (
                "GET / HTTP/1.1\r\nHost: app\r\nUpgrade: x\r\n\r\n".to_owned(),
                "",
                None,
            ),
            (String::new(), "GET / HTTP/2.0\r\n", Some(505)),
            (String::new(), "CONNECT a:1 HTTP/1.1\r\n", Some(405)),
        ] {
            assert_eq!(
                followed(format!("{good}{held}").as_bytes(), usize::MAX),
                (good.into_bytes(), status)
            );
        }
    }

    #[test]
    fn limits_are_met_exactly() {
        let target = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: app\r\n\r\n", "a".repeat(n - 1));
        let fields = |n: usize| {
            format!(
                "GET / HTTP/1.1\r\nHost: app\r\n{}\r\n",
                "a: b\r\n".repeat(n - 1)
            )
        };
        let bytes = |n: usize| {
            let rest = GET.len() + "a: \r\n".len();
            format!(
                "GET / HTTP/1.1\r\nHost: app\r\na: {}\r\n\r\n",
                "b".repeat(n - rest)
            )
        };
        for piece in [1, 7, usize::MAX] {
            for (text, status) in [
                (target(50), None),
                (target(51), Some(414)),
                (fields(5), None),
                (fields(6), Some(431)),
                (bytes(1_000), None),
                (bytes(1_001), Some(431)),
                ("a".repeat(5_000), Some(414)),
                (
                    format!("GET / HTTP/1.1\r\n{}", "a".repeat(5_000)),
                    Some(431),
                ),
            ] {
                assert_eq!(
                    followed(text.as_bytes(), piece).1,
                    status,
                    "{piece}: {text:.60}"
                );
            }
        }
    }

    #[test]
    fn what_follows_an_upgrade_depends_on_the_answer() {
        let mut wire = Http1::new(LIMITS);
        let ask = b"GET / HTTP/1.1\r\nHost: app\r\nUpgrade: x\r\n\r\n";
        let all = [&ask[..], b"\x00early"].concat();
        assert_eq!(wire.follow(&all), ask.len());
        assert!(wire.waits() && wire.refused().is_none());
        wire.stays_http();
        assert_eq!(wire.follow(b"\x00early\r\n"), 0);
        assert_eq!(wire.refused().map(|refusal| refusal.status), Some(400));
    }

    /// Parts of requests, so that random input gets past the first line.
    fn soup() -> impl Strategy<Value = Vec<u8>> {
        let words = prop::sample::select(vec![
            "GET ",
            "POST ",
            "/",
            " ",
            "HTTP/1.1",
            "HTTP/1.0",
            "\r\n",
            "\n",
            "\r",
            "Host: app",
            "Content-Length: ",
            "5",
            "Transfer-Encoding: chunked",
            "hello",
            "0",
            "a",
            ";",
            ":",
            "\t",
            "Upgrade: x",
            "\0",
            "\r\n\r\n",
            GET,
        ]);
        let word = prop_oneof![8 => words.prop_map(|word| word.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..4)];
        prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn where_a_read_ends_means_nothing(bytes in soup(), piece in 1..20usize) {
            let (whole, refused) = followed(&bytes, usize::MAX);
            let (parts, refused_in_parts) = followed(&bytes, piece);
            // Of two faults in a line, the first one to come is reported.
            prop_assert_eq!(refused.is_some(), refused_in_parts.is_some());
            // In pieces, the beginning of a bad line may have been passed on, but never a whole
            // line of it.
            prop_assert!(parts.starts_with(&whole));
            prop_assert!(!parts[whole.len()..].contains(&b'\n'));
        }
    }
}
