//! Work in the background: what a task is started with, and how it runs programs and asks addresses.

pub mod context;
pub mod endpoint;
pub mod program;
