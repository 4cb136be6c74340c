//! A section of a configuration of any dialect.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::infrastructure::config::fuzz::sections(bytes));
