//! The reader of HTTP/1: the same in whatever pieces the bytes come, and never looser than another parser.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shifter::proxy::downstream::http1::{HeaderLimits, Http1};

const LIMITS: HeaderLimits = HeaderLimits {
    bytes: 4_096,
    fields: 32,
    target: 512,
};

/// How many bytes pass when they come in pieces of this size, and what the end is.
fn follow(bytes: &[u8], piece: usize) -> (usize, Http1) {
    let mut reader = Http1::new(LIMITS);
    let mut passed = 0;
    for part in bytes.chunks(piece.max(1)) {
        let taken = reader.follow(part);
        passed += taken;
        if taken < part.len() {
            break;
        }
    }
    (passed, reader)
}

fuzz_target!(|data: &[u8]| {
    let (first, bytes) = data.split_first().unwrap_or((&7, &[]));
    let (_, whole) = follow(bytes, bytes.len());
    let (passed, apart) = follow(bytes, usize::from(*first % 16));
    // Which fault of a line is seen first may differ, such as too long (414) and not HTTP (400); that there is one may not.
    assert_eq!(whole.refused().is_some(), apart.refused().is_some());
    if apart.refused().is_some() {
        return;
    }
    assert_eq!(
        (whole.in_body(), whole.waits()),
        (apart.in_body(), apart.waits())
    );
    // The first header: what passes here, others can read, and end at the same place.
    let begins = bytes[..passed]
        .iter()
        .position(|byte| !b"\r\n".contains(byte));
    let Some(begins) = begins else { return };
    // A line that has not ended is not judged yet.
    let Some(end) = bytes[..passed].iter().rposition(|byte| *byte == b'\n') else { return };
    if end < begins {
        return;
    }
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    if let Err(error) = request.parse(&bytes[begins..=end]) {
        panic!("passed, and refused by another parser: {error}");
    }
});
