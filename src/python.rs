//! The extension module `flagstaff._core`. Declares, converts and delegates: no rule of the
//! semantics stands here.

mod api;
mod arguments;
mod attribute_settings;
mod attribute_value;
mod attributes;
mod calls;
mod change_signal;
mod clock;
mod context;
mod crawlers;
mod declared;
mod declared_bases;
mod default_types;
mod direct;
mod errors;
mod evaluation;
mod explained;
mod fork;
mod hooks;
mod impact;
mod interrupts;
mod kept_values;
mod lifecycle;
mod listeners;
mod maintenance;
mod message;
mod observed_request;
mod overrides;
mod preview;
mod resolution;
mod rule_check;
mod seconds;
mod served;
mod snapshot;
mod start;
mod state;
mod status;
mod subject;
mod value;
mod variants;

// It is not tested without the GIL: a free-threaded Python turns it on, with a warning.
#[pyo3::pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    const BUCKETS: u16 = crate::bucket::POSITIONS;
    #[pymodule_export]
    const MAX_UNIT_BYTES: usize = crate::assign::MAX_UNIT;
    #[pymodule_export]
    const MAX_VARIANTS: usize = crate::allocation::MAX_VARIANTS;
    #[pymodule_export]
    const REGISTERS: usize = crate::watch::REGISTERS;
    #[pymodule_export]
    const RULE_FORMAT: u32 = crate::rules::RULE_FORMAT;

    #[pymodule_export]
    use super::api::{current, flag_enabled, get_value, resolve_flag, snapshot};
    #[pymodule_export]
    use super::attribute_settings::reset_attributes;
    #[pymodule_export]
    use super::change_signal::{close_change_signal, open_change_signal};
    #[pymodule_export]
    use super::clock::monotonic;
    #[pymodule_export]
    use super::declared::{ValueForm, declare, stored_results};
    #[pymodule_export]
    use super::declared_bases::{DeclaredFlag, DeclaredValue};
    #[pymodule_export]
    use super::fork::{after_fork, fork_begins, fork_ends};
    #[pymodule_export]
    use super::hooks::install;
    #[pymodule_export]
    use super::impact::Comparison;
    #[pymodule_export]
    use super::lifecycle::{
        awaits_poll, check_parameters, claim_interpreter, is_refused, reconfigure, refresh,
        shutdown, stop,
    };
    #[pymodule_export]
    use super::listeners::set_listening;
    #[pymodule_export]
    use super::message::texts;
    #[pymodule_export]
    use super::observed_request::{PyObservation, observed_request};
    #[pymodule_export]
    use super::overrides::{set_forced_off, set_forced_on, set_overrides, set_own_writes};
    #[pymodule_export]
    use super::preview::LoadedFlags;
    #[pymodule_export]
    use super::resolution::PyResolution;
    #[pymodule_export]
    use super::rule_check::{can_match, check_rules, is_storable, json_problem};
    #[pymodule_export]
    use super::served::{client_side_units, served_kind, served_values};
    #[pymodule_export]
    use super::snapshot::PySnapshot;
    #[pymodule_export]
    use super::start::{is_waiting, set_report_unknown, start};
    #[pymodule_export]
    use super::status::status_report;
    #[pymodule_export]
    use super::variants::get_variant;

    /// A process that only evaluates overrides never starts, and must not take itself for a child.
    #[pymodule_init]
    #[expect(clippy::unnecessary_wraps, reason = "the signature that PyO3 expects")]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::state::take_ownership();
        Ok(())
    }
}
