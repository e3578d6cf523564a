//! The access log: one line for each request, whatever is in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shifter::config::AccessFormat;
use shifter::proxy::access_log::format::{Entry, line};

fuzz_target!(|input: (&[u8], &[u8], &[u8], &[u8], &[u8])| {
    let (target, host, id, referer, agent) = input;
    let entry = Entry {
        method: "GET",
        target,
        host,
        id,
        referer,
        agent,
        ..Entry::of([127, 0, 0, 1].into())
    };
    for format in [AccessFormat::Json, AccessFormat::Combined] {
        let text = line(format, &entry);
        assert_eq!(text.matches('\n').count(), 1);
        assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
        if format == AccessFormat::Json {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
            assert!(parsed.is_ok(), "{text}");
        }
    }
});
