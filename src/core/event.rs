//! What happens to a rollout, and what is to be done about it: the machine's input and output.

use crate::core::judge::Verdict;
use crate::core::plan::Moment;
use crate::core::table::Color;
use crate::core::weight::Weight;

/// Something that happened, reported by the controller.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// Green is healthy and may take requests.
    Ready,
    /// The warm-up requests were sent.
    Warmed,
    /// The smoke checks ended.
    Smoked(Result<(), String>),
    /// The commands of this step ended.
    Hooked(Result<(), String>),
    /// The judge looked at this step's evidence.
    Judged(Verdict),
    /// Blue beside green is worse than its own past: perhaps green harms it. The text says why.
    Suspected(String),
    /// The next window of a switchback begins: green has its share in it, or none.
    Window {
        /// Whether green has its share.
        green: bool,
    },
    /// The switchback is over and did not convict: what was suspected comes from outside. The text says why.
    Cleared(String),
    /// A pool has no healthy backend any more.
    Lost {
        /// Which one.
        color: Color,
        /// What was seen.
        what: String,
    },
    /// A pool that was lost is healthy again.
    Back(Color),
    /// What runs where cannot be known (true), or can be known again (false): nothing may advance meanwhile.
    Blind(bool),
    /// The fresh copy of blue's release is healthy.
    BaselineReady,
    /// It could not be started, or is no more; the text says why.
    BaselineLost(String),
    /// The pool that was let go has no requests in flight.
    Drained,
    /// A person approved the waiting step.
    Approve,
    /// A person wants the steps in between skipped: green gets the last share now, still judged.
    Promote,
    /// A person wants no further step for now.
    Pause,
    /// A person lets the plan go on.
    Resume,
    /// A person set green's share; the plan pauses there.
    SetWeight(Weight),
    /// A person asked for blue; the text says who and why.
    Abort(String),
    /// A newer green is waiting.
    Superseded,
    /// The process restarted with this rollout under way.
    Restarted {
        /// The pools are the ones that the rollout was started with.
        same: bool,
    },
}

/// Something that the controller must now do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create and start green.
    StartGreen,
    /// Create and start the fresh copy of blue's release that green's latency is compared with.
    StartBaseline,
    /// Let that copy go; what it served is blue's own pool's at once.
    StopBaseline,
    /// Send green the warm-up requests.
    WarmGreen,
    /// Run the out-of-band checks against green.
    SmokeGreen,
    /// Run the commands of people that belong here.
    RunHooks(Moment),
    /// Route this share of new requests to green.
    SetWeight(Weight),
    /// A window of a switchback: green's requests go to green, or for some seconds to blue. Its share, its
    /// users and their cookies stay what they are.
    Window {
        /// Whether green serves its own requests.
        green: bool,
    },
    /// Green is the new blue.
    SwapRoles,
    /// Let the old blue go.
    StopBlue,
    /// Let green go.
    StopGreen,
}
