//! What all tables share: reading TOML, raw values with their places, checks of single values, and errors.
//!
//! Nothing here knows a table of the file.

pub(crate) mod address;
pub(crate) mod certificate;
pub(crate) mod duration;
pub(crate) mod error;
pub(crate) mod raw;
pub(crate) mod read;
pub(crate) mod secret;
pub(crate) mod size;
pub(crate) mod suggest;
pub(crate) mod untagged;
pub(crate) mod value;
