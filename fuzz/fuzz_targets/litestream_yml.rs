//! A `litestream.yml`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::infrastructure::config::fuzz::litestream(bytes));
