//! Events and actions of a rollout: the input and output of the state machine.

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
    /// Blue beside green is worse than its own past: green may be harming it. The text says why.
    Suspected(String),
    /// The next window of a switchback begins: green has its share in it, or none.
    Window {
        /// Whether green has its share.
        green: bool,
    },
    /// The switchback ended without a conviction: the cause is outside. The text says why.
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
    /// Whether Docker's state is unknown (true) or known again (false): nothing may advance while it is unknown.
    Blind(bool),
    /// The fresh copy of blue's release is healthy.
    BaselineReady,
    /// The fresh copy could not be started, or is gone; the text says why.
    BaselineLost(String),
    /// The released pool has no requests in flight.
    Drained,
    /// A person approved the waiting step.
    Approve,
    /// A person skips the steps in between: green gets the last share now, still judged.
    Promote,
    /// A person pauses the plan.
    Pause,
    /// A person resumes the plan.
    Resume,
    /// A person set green's share; the plan pauses there.
    SetWeight(Weight),
    /// A person asked for blue; the text names the person and the reason.
    Abort(String),
    /// A newer green is waiting.
    Superseded,
    /// The process restarted with this rollout under way.
    Restarted {
        /// The pools are the ones that the rollout was started with.
        same: bool,
    },
}

/// Something that the controller must do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create and start green.
    StartGreen,
    /// Create and start the fresh copy of blue's release that green's latency is compared with.
    StartBaseline,
    /// Release that copy; blue's own pool serves its requests at once.
    StopBaseline,
    /// Send green the warm-up requests.
    WarmGreen,
    /// Run the out-of-band checks against green.
    SmokeGreen,
    /// Run the user's commands that belong to this moment.
    RunHooks(Moment),
    /// Route this share of new requests to green.
    SetWeight(Weight),
    /// A window of a switchback: green's requests go to green, or to blue for some seconds. Green's share, its
    /// users and their cookies do not change.
    Window {
        /// Whether green serves its own requests.
        green: bool,
    },
    /// Green is the new blue.
    SwapRoles,
    /// Release the old blue.
    StopBlue,
    /// Release green.
    StopGreen,
}
