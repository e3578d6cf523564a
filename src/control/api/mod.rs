//! The controller as the rest of the process sees it: commands and queries go in, a view and the narration come out.

pub mod command;
pub mod drill;
pub mod handle;
pub mod message;
pub mod view;
