//! The extension module `flagstaff._core`. Declares, converts and delegates: no rule of the
//! semantics stands here.

mod ask;
mod calls;
mod direct;
mod engine;
mod errors;
mod impact;
mod moment;
mod pinned;
mod setting;
mod subject;

#[pyo3::pymodule]
mod _core {
    #[pymodule_export]
    use super::ask::{all_flags, depends_on_user, explain, flag_enabled, get_value, snapshot};
    #[pymodule_export]
    use super::engine::{
        answer_directly, answer_from_memory, claim, farewell, forked, is_refused, is_waiting,
        reconfigure, refresh, report, set_overrides, set_own_writes, start, stop,
    };
    #[pymodule_export]
    use super::impact::{impact, impact_on};
    #[pymodule_export]
    use super::pinned::Pinned;
}
