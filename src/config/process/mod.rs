//! What the file says about the process as a whole: one file for each table.

pub(crate) mod acme;
pub(crate) mod admin;
pub(crate) mod docker;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod proxy;
pub(crate) mod shutdown;
pub(crate) mod state;
pub(crate) mod tls;
pub(crate) mod trust;
