//! A request under way, as its window knows it.

use crate::core::table::Color;
use crate::core::users::Caller;
use crate::store::answers::Answering;
use crate::store::groups::Slot as Group;

/// What a request must hand back when it ends: the second in which it started.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    pub(super) color: Color,
    pub(super) second: u64,
    pub(super) timed: bool,
    pub(super) caller: Caller,
    /// It is the first one of its user that began in this second.
    pub(super) speaks: bool,
    /// Its time is in the latency sample of its pool: beside a baseline not that of blue's own pool.
    pub(super) compared: bool,
    pub(super) group: Option<Group>,
    pub(super) answer: Answering,
}

impl Begun {
    /// The request that has just begun, counted by route too.
    pub fn of(self, group: Group) -> Begun {
        Begun {
            group: Some(group),
            ..self
        }
    }

    /// The same, and nothing has come of it yet.
    pub(super) fn anew(self) -> Begun {
        Begun {
            timed: false,
            ..self.alone()
        }
    }

    /// As counted where it is not known whose it is.
    pub(super) fn alone(self) -> Begun {
        Begun {
            caller: Caller::Anybody,
            answer: Answering::default(),
            ..self
        }
    }
}
