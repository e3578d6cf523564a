//! What sizes and content types of answers lead to.

use crate::config::answers::{HEARINGS, RawAnswers};
use crate::config::parse::raw::{Text, Value};
use crate::config::parse::value::{self, Check};
use crate::core::answers::Hearing;
use crate::core::judge::ContentPolicy;

/// What a service's table says of them; by default differences are only reported.
pub(crate) fn contents(raw: &Value<RawAnswers>) -> Check<ContentPolicy> {
    let told = ContentPolicy::REPORT;
    let Some(table) = raw else { return Ok(told) };
    let raw = table.get_ref();
    let hearing = |key, given: &Text| value::choice(key, given, &HEARINGS, Hearing::Report);
    Ok(ContentPolicy {
        size: hearing("size", &raw.size)?,
        media: hearing("type", &raw.media)?,
        ..told
    })
}
