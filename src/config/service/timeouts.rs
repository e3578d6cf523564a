//! `[service.NAME.timeouts]`: the times of the parts of a request.

use crate::config::parse::duration::{SHORT, duration, seconds};
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::Check;
use serde::Deserialize;
use std::time::Duration;

/// The timeouts of the parts of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect to a member.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub first_byte: Duration,
    /// Between two reads from a member.
    pub read: Duration,
    /// Between two writes to a member.
    pub write: Duration,
    /// How long an idle connection to a member is kept.
    pub idle: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { connect = \"1s\", read = \"60s\" }"
)]
pub(crate) struct RawTimeouts {
    pub(crate) connect: Value<Scalar>,
    pub(crate) first_byte: Value<Scalar>,
    pub(crate) read: Value<Scalar>,
    pub(crate) write: Value<Scalar>,
    pub(crate) idle: Value<Scalar>,
}

/// `None` waits for ever; `idle` is short for applications that wait for idle connections when they stop.
const DEFAULT: Timeouts = Timeouts {
    // Systems repeat a lost SYN after 1 s and again 2 s later (RFC 6298): a full accept queue accepts the second or
    // third one.
    connect: Duration::from_millis(3_500),
    first_byte: seconds(60),
    read: seconds(60),
    write: seconds(60),
    idle: seconds(30),
};

pub(crate) fn timeouts(raw: &RawTimeouts) -> Check<Timeouts> {
    let default = DEFAULT;
    Ok(Timeouts {
        connect: duration("connect", &raw.connect, SHORT, default.connect)?,
        first_byte: duration("first_byte", &raw.first_byte, SHORT, default.first_byte)?,
        read: duration("read", &raw.read, SHORT, default.read)?,
        write: duration("write", &raw.write, SHORT, default.write)?,
        idle: duration("idle", &raw.idle, SHORT, default.idle)?,
    })
}
