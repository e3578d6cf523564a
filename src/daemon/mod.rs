//! The process that serves: starting, signals, handing over to a successor, logging, systemd, duties as process 1.

pub mod control_plane;
pub mod handover;
pub mod inputs;
pub mod logging;
pub mod process;
pub mod reaper;
pub mod signals;
pub mod systemd;
