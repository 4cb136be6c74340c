//! A v0.3 snapshot and the segments behind it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::domain::litestream::fuzz::v3_replay(bytes));
