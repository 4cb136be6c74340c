//! Durations, sizes, times, addresses and patterns of configurations.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| streamgauge::infrastructure::config::fuzz::values(bytes));
