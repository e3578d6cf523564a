//! A request under way, as its window knows it.

use crate::core::table::Color;
use crate::core::users::Caller;
use crate::store::answers::Answering;
use crate::store::groups::Slot as Group;

/// What a request must hand back when it ends: the second in which it started.
#[derive(Clone, Copy, Debug)]
pub struct RequestToken {
    pub(in crate::store) color: Color,
    pub(in crate::store) second: u64,
    pub(in crate::store) timed: bool,
    pub(in crate::store) caller: Caller,
    /// It is the first one of its user that began in this second.
    pub(in crate::store) speaks: bool,
    /// Its time is in the latency sample of its pool: beside a baseline not that of blue's own pool.
    pub(in crate::store) compared: bool,
    pub(in crate::store) group: Option<Group>,
    pub(in crate::store) answer: Answering,
}

impl RequestToken {
    /// The request that has just begun, counted by route too.
    pub fn of(self, group: Group) -> RequestToken {
        RequestToken {
            group: Some(group),
            ..self
        }
    }

    /// The same, and nothing has come of it yet.
    pub(in crate::store) fn anew(self) -> RequestToken {
        RequestToken {
            timed: false,
            ..self.alone()
        }
    }

    /// As counted where it is not known whose it is.
    pub(in crate::store) fn alone(self) -> RequestToken {
        RequestToken {
            caller: Caller::Anybody,
            answer: Answering::default(),
            ..self
        }
    }
}
