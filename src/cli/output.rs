//! stub
#[derive(Clone, Copy, Debug, clap::ValueEnum)] pub enum Format { Text, Json }
/// stub
pub fn facts(_: Format, _: &impl serde::Serialize, text: &str) { println!("{text}"); }
