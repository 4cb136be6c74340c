//! The first 100 bytes of an LTX file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::domain::litestream::fuzz::ltx_header(bytes));
