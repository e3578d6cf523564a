//! stub
#[derive(Debug, clap::Args)] pub struct Args {}
#[derive(Debug, clap::Args)] pub struct WeightArgs {}
pub fn run(_: &super::Global, _:&str, _: Args) -> crate::exit::Exit { crate::exit::Exit::Internal }
pub fn set_weight(_: &super::Global, _: WeightArgs) -> crate::exit::Exit { crate::exit::Exit::Internal }
pub fn reload(_: &super::Global) -> crate::exit::Exit { crate::exit::Exit::Internal }
