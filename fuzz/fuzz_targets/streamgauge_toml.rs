//! A `streamgauge.toml`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::infrastructure::config::fuzz::own(bytes));
