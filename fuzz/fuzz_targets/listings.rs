//! Listings of stores in XML.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::infrastructure::store::fuzz::listings(bytes));
