//! What green must pass before users see it, and at moments of a rollout: warm-up, smoke checks, hooks.
//!
//! Each is a task in the background; its end comes back as a message.

pub mod hooks;
pub mod smoke;
pub mod warm;
