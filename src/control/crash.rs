//! Points where a test can end the process as `kill -9` would: between decision, record and action.

/// The points, in the order of a rollout.
pub const POINTS: [&str; 10] = [
    "begin.before-save",
    "begin.after-save",
    "act.before-save",
    "act.after-save",
    "act.before-publish",
    "act.after-publish",
    "back.after-publish",
    "swap.before-save",
    "swap.after-save",
    "end.after-save",
];

/// Ends the process here when a test asked for it: `SHIFTER_CRASH_AT=point` or `point:n` for the n-th pass.
#[cfg(feature = "crashpoints")]
pub fn point(name: &'static str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSES: AtomicU32 = AtomicU32::new(0);
    debug_assert!(POINTS.contains(&name), "{name} is not listed");
    let Ok(wanted) = std::env::var("SHIFTER_CRASH_AT") else {
        return;
    };
    let (wanted, nth) = match wanted.split_once(':') {
        Some((point, nth)) => (point.to_owned(), nth.parse().unwrap_or(1)),
        None => (wanted, 1),
    };
    if wanted == name && PASSES.fetch_add(1, Ordering::SeqCst) + 1 == nth {
        std::process::abort();
    }
}

/// Does nothing in a release build.
#[cfg(not(feature = "crashpoints"))]
#[inline]
pub fn point(_name: &'static str) {}
