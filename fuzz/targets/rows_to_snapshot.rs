#![no_main]

#[path = "../properties/bytes.rs"]
mod bytes;
#[path = "../properties/rows.rs"]
mod rows;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rows::rows_to_snapshot(bytes));
