//! The containers of services: following them, making green and the baseline, clearing away, and what is kept of a
//! green that went back.

pub mod cleanup;
pub mod copy;
pub mod discovery;
pub mod evidence;
pub mod green;
pub mod watcher;
