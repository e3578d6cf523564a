//! The PROXY protocol: never a panic, never a byte of the user's own taken.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shifter::proxy::listen::proxy_protocol;

fuzz_target!(|data: &[u8]| {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
        return;
    };
    let mut stream = data;
    let read = runtime.block_on(proxy_protocol::read(&mut stream));
    if read.is_ok() {
        let taken = &data[..data.len() - stream.len()];
        assert!(taken.ends_with(b"\n") || taken.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
    }
});
