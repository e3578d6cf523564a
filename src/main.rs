//! Parse, run, exit code.

use clap::Parser;
use shifter::cli::{self, Cli};
use shifter::daemon::reaper;
use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Keeps buffers up to 128 KiB in the threads' caches: each request needs one of 64 KiB, which the
/// default of 32 KiB sends to the arena and back. About 8 % of the CPU time of a request.
///
/// What lies free for 200 ms goes back to the system, instead of 10 s: buffers of 64 KiB of which little is
/// used would otherwise be given pages that others had touched (9,000 WebSockets, opened five times over: 462 MB
/// instead of 835). Under load that is 80 calls a second; with 0 ms it is one for every second request.
#[cfg(feature = "jemalloc")]
#[allow(
    unsafe_code,
    reason = "jemalloc reads its settings from this symbol before main"
)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: &[u8] = b"lg_tcache_max:17,dirty_decay_ms:200,muzzy_decay_ms:0\0";

#[cfg(all(feature = "mimalloc", not(feature = "jemalloc")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if reaper::is_due() {
        return reaper::run();
    }
    cli::main(Cli::parse()).into()
}
