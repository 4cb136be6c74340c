//! A web configuration, and what a client sends to be let in.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::infrastructure::endpoint::fuzz(bytes));
