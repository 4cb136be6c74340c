//! Names and keys of both layouts.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::domain::litestream::fuzz::names(bytes));
