//! Limits on what one address, and the process, may have open.

pub mod file_descriptors;
pub mod per_address;
