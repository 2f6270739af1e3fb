#![no_main]

#[path = "../properties/parameters.rs"]
mod parameters;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parameters::connection_parameters(bytes));
