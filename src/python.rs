//! The extension module `flagstaff._core`. Declares, converts and delegates: no rule of the
//! semantics stands here.

mod ask;
mod direct;
mod engine;
mod errors;
mod setting;
mod subject;

#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use super::ask::{depends_on_user, explain, flag_enabled, get_value};
    #[pymodule_export]
    use super::engine::{
        answer_directly, answer_from_memory, forked, is_waiting, kick, refresh, report, start, stop,
    };
}
