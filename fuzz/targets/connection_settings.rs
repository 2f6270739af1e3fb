#![no_main]

#[path = "../properties/settings.rs"]
mod settings;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| settings::connection_settings(bytes));
