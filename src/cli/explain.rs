//! stub
#![allow(missing_docs)]
#[derive(Debug, clap::Args)] pub struct Args {}
pub fn run(_: &super::Global, _: Args) -> crate::exit::Exit { crate::exit::Exit::Internal }
