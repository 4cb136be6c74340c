//! What state.sqlite keeps.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::domain::fuzz::saved(bytes));
