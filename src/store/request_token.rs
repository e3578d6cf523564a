//! A request in flight, as its window knows it.

use crate::core::table::Color;
use crate::core::users::Caller;
use crate::store::answers::Answering;
use crate::store::groups::Slot as Group;

/// What a request hands back when it ends: the second in which it started, and where it is counted.
#[derive(Clone, Copy, Debug)]
pub struct RequestToken {
    pub(in crate::store) color: Color,
    pub(in crate::store) second: u64,
    pub(in crate::store) timed: bool,
    pub(in crate::store) caller: Caller,
    /// Whether it is the first request of its user that began in this second.
    pub(in crate::store) speaks: bool,
    /// Whether its time is in the latency sample of its pool: beside a baseline, requests of blue's own pool are not.
    pub(in crate::store) compared: bool,
    pub(in crate::store) group: Option<Group>,
    pub(in crate::store) answer: Answering,
}

impl RequestToken {
    /// The token of the request that has just begun, counted by route too.
    pub fn of(self, group: Group) -> RequestToken {
        RequestToken {
            group: Some(group),
            ..self
        }
    }

    /// This token with an answer that has not begun yet.
    pub(in crate::store) fn anew(self) -> RequestToken {
        RequestToken {
            timed: false,
            ..self.alone()
        }
    }

    /// This token for counters that do not know the user.
    pub(in crate::store) fn alone(self) -> RequestToken {
        RequestToken {
            caller: Caller::Anybody,
            answer: Answering::default(),
            ..self
        }
    }
}
