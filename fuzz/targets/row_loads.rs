#![no_main]

#[path = "../properties/bytes.rs"]
mod bytes;
#[path = "../properties/database.rs"]
mod database;
#[path = "../properties/random_rows.rs"]
mod random_rows;
#[path = "../properties/row_loads.rs"]
mod row_loads;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    row_loads::row_loads(bytes);
});
