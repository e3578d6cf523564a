//! One file for each command. They wire and print; they decide nothing.

pub mod calibrate;
pub mod check;
pub mod completions;
pub mod demo;
pub mod drill;
pub mod explain;
pub mod history;
pub mod init;
pub mod man;
pub mod plan;
pub mod replay;
pub mod rollout;
pub mod route;
pub mod run;
pub mod serve;
pub mod status;
