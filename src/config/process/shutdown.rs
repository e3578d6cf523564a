//! `[proxy.shutdown]`: how the process ends.

use crate::config::parse::duration::{OPTIONAL, SHORT, duration, seconds};
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::Check;
use serde::Deserialize;
use std::time::Duration;

/// How the process ends on SIGTERM.
#[derive(Clone, Debug, PartialEq)]
pub struct Shutdown {
    /// Time in which it still accepts connections, and answers with `Connection: close`.
    pub lame_duck: Duration,
    /// The longest wait for requests in flight after that.
    pub deadline: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { lame_duck = \"1s\", deadline = \"8s\" }"
)]
pub(crate) struct RawShutdown {
    pub(crate) lame_duck: Value<Scalar>,
    pub(crate) deadline: Value<Scalar>,
}

/// Both together stay under the 10 s that `docker stop` waits.
const DEFAULT: Shutdown = Shutdown {
    lame_duck: seconds(1),
    deadline: seconds(8),
};

/// The times of the end.
pub(crate) fn shutdown(raw: &RawShutdown) -> Check<Shutdown> {
    let default = DEFAULT;
    Ok(Shutdown {
        lame_duck: duration("lame_duck", &raw.lame_duck, OPTIONAL, default.lame_duck)?,
        deadline: duration("deadline", &raw.deadline, SHORT, default.deadline)?,
    })
}
