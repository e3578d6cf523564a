//! The access log: what a line says, and the thread that writes it.

pub mod format;
pub mod writer;
