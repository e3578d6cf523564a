//! Every exit code of shifter, once: scripts and CI jobs read them, so a meaning never changes.

use std::fmt;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Promoted, or the command did what it was asked.
    Ok,
    /// A fault inside shifter: worth a report.
    Internal,
    /// The command line or the configuration is wrong; nothing was done.
    Usage,
    /// Green regressed and was rolled back; blue serves.
    RolledBack,
    /// Green never fit to serve: it did not get healthy or a smoke check failed. No user saw it.
    Unfit,
    /// The deadline passed without enough evidence to promote; blue serves.
    Inconclusive,
    /// A person stopped the rollout.
    Stopped,
    /// Docker, the store or the daemon cannot be reached.
    Unreachable,
    /// Another rollout of this service is under way.
    Busy,
    /// Interrupted by Ctrl-C before there was a verdict (128 + SIGINT).
    Interrupted,
}

impl Exit {
    /// Every way to end, in the order of the codes.
    pub const ALL: [Exit; 10] = [
        Exit::Ok,
        Exit::Internal,
        Exit::Usage,
        Exit::RolledBack,
        Exit::Unfit,
        Exit::Inconclusive,
        Exit::Stopped,
        Exit::Unreachable,
        Exit::Busy,
        Exit::Interrupted,
    ];

    /// The number that the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Internal => 1,
            Exit::Usage => 2,
            Exit::RolledBack => 3,
            Exit::Unfit => 4,
            Exit::Inconclusive => 5,
            Exit::Stopped => 6,
            Exit::Unreachable => 7,
            Exit::Busy => 8,
            Exit::Interrupted => 130,
        }
    }

    /// The way to end that a code stands for, if it is one of ours.
    pub fn from_code(code: u8) -> Option<Exit> {
        Exit::ALL.into_iter().find(|exit| exit.code() == code)
    }

    /// What the code means, in a few words for help texts.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Ok => "promoted, or done as asked",
            Exit::Internal => "internal error",
            Exit::Usage => "usage or configuration error; nothing was done",
            Exit::RolledBack => "rolled back: green regressed",
            Exit::Unfit => {
                "green never fit to serve: not healthy, or a smoke check failed; no user saw it"
            }
            Exit::Inconclusive => "inconclusive at the deadline; blue serves",
            Exit::Stopped => "stopped by a person",
            Exit::Unreachable => "Docker, the store or the daemon cannot be reached",
            Exit::Busy => "busy: a rollout is under way",
            Exit::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.meaning(), self.code())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones_and_lead_back() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]);
        for exit in Exit::ALL {
            assert_eq!(Exit::from_code(exit.code()), Some(exit));
        }
        assert_eq!(Exit::from_code(9), None);
    }
}
