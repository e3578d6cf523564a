//! stub
pub fn run() -> crate::exit::Exit { crate::exit::Exit::Internal }
