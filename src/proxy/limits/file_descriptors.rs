//! File descriptors: each client connection takes two, and a shell or container may allow few.

use std::io;

/// Descriptors for everything else: state, admin, health checks, the runtime.
const OWN: u64 = 128;

/// ENFILE and EMFILE: none left in the system, none left for the process.
const EXHAUSTED: [i32; 2] = [23, 24];

/// How many client connections are possible: `asked`, or fewer where the system allows fewer.
///
/// Raises the process's soft limit to the hard one first.
pub fn connections(asked: usize) -> usize {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(u64::MAX);
    let most = within(limit);
    if most >= asked {
        return asked;
    }
    // A little fewer than a number that was chosen roughly needs no warning.
    if most > asked / 10 * 9 {
        return most;
    }
    tracing::warn!(
        "the system allows {limit} open files: at most {most} connections of users instead of {asked}. \
         Raise the limit of open files (`ulimit -n`, LimitNOFILE=, docker run --ulimit nofile=) to {}",
        2 * asked as u64 + OWN
    );
    most
}

fn within(limit: u64) -> usize {
    let most = limit.saturating_sub(OWN) / 2;
    usize::try_from(most).unwrap_or(usize::MAX).max(1)
}

/// Whether the error says nothing about the other side: there was no descriptor for the attempt.
pub fn exhausted(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .is_some_and(|code| EXHAUSTED.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_two_descriptors() {
        assert_eq!(within(1_024), 448);
        assert_eq!(within(20_128), 10_000);
        assert_eq!(within(10), 1, "one at a time is better than none");
        assert_eq!(connections(1), 1);
    }

    #[test]
    fn only_the_want_of_descriptors_is_ours() {
        assert!(exhausted(&io::Error::from_raw_os_error(24)));
        assert!(!exhausted(&io::Error::from_raw_os_error(111)));
        assert!(!exhausted(&io::Error::other("24")));
    }
}
