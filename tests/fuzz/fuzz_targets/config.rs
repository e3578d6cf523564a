//! The configuration: every text is a configuration or an error that can be told.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shifter::config::Config;

fuzz_target!(|text: &str| {
    if let Err(error) = Config::parse("fuzz.toml", text) {
        assert!(!error.to_string().is_empty());
    }
});
