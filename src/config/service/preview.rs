//! `preview`: how to see green before it has a share.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Text, Value};
use crate::config::parse::secret::{RawSecret, Secret, secret};
use crate::config::parse::value::{self, Check, own_header};
use serde::Deserialize;
use std::path::Path;

/// The preview: green answers requests with this header and value, whatever its share, and they are not judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The header's name, in lower case; it is not passed on.
    pub header: String,
    /// Its value.
    pub token: Secret,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: { token = { env = \"SHIFTER_PREVIEW\" } }"
)]
pub(crate) struct RawPreview {
    pub(crate) header: Text,
    pub(crate) token: Value<RawSecret>,
}

/// The header that, with the token, selects green.
const HEADER: &str = "x-shifter-preview";

pub(crate) fn preview(raw: &Value<RawPreview>, dir: &Path) -> Check<Option<Preview>> {
    let Some(table) = raw else { return Ok(None) };
    let Some(token) = &table.get_ref().token else {
        return Err(Problem::at(
            table.span(),
            "`preview` has no `token`: everybody would see green",
            "this table",
            "write preview = { token = { env = \"SHIFTER_PREVIEW\" } }, 32 bytes or more",
        ));
    };
    let header = match &table.get_ref().header {
        None => HEADER.to_owned(),
        Some(name) => own_header(name, value::token("header", name)?.to_ascii_lowercase())?,
    };
    Ok(Some(Preview {
        header,
        token: secret("token", token, dir)?,
    }))
}
