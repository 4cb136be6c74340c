//! A database header.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::domain::sqlite::fuzz::database_header(bytes));
