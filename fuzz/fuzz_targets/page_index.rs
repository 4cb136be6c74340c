//! The tail of an LTX file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::domain::litestream::fuzz::page_index(bytes));
