//! stub
pub fn init(_: crate::config::LogFormat, level: &str) { tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::new(level)).with_writer(std::io::stderr).init(); }
