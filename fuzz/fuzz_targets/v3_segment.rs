//! A v0.3 WAL segment.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::domain::litestream::fuzz::v3_segment(bytes));
