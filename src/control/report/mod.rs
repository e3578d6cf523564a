//! What people are told: the wording, what was told before, and the timeline that keeps and sends it.

pub mod change;
pub mod entry;
pub mod messages;
pub mod problems;
pub mod timeline;
