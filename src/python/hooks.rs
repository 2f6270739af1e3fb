//! The functions of the Python package that Rust calls: `flagstaff._engine.lifecycle.HOOKS`.

use std::collections::HashMap;

use pyo3::call::PyCallArgs;
use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use super::calls::{Call, is_ending};

/// Declares the fields of `Hooks`, and for each a function that calls it.
macro_rules! hooks {
    ($($call:ident { $($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)* })*) => {
        /// The hooks of this process.
        #[derive(FromPyObject)]
        pub(super) struct Hooks {
            /// The class of the context of a request.
            pub(super) request_context: Py<PyType>,
            $($($name: Py<PyAny>,)*)*
        }

        #[expect(clippy::elidable_lifetime_names, reason = "some of the hooks need the name")]
        impl Hooks {
            $($(#[cold]
            pub(super) fn $name<'py>(
                py: Python<'py>,
                $($argument: $type,)*
            ) -> PyResult<hooks!(@result $($result)?)> {
                let found = $call(py, &Self::get(py)?.$name, ($($argument,)*));
                hooks!(@found found $(, $result)?)
            })*)*
        }
    };
    (@result) => { () };
    (@result $result:ty) => { $result };
    (@found $found:ident) => { $found.map(drop::<Option<Py<PyAny>>>) };
    (@found $found:ident, $result:ty) => { $found };
}

hooks! {
    call_before_end {
        read_options(in_memory: bool) -> Option<Bound<'py, PyAny>>;
        wait_for_first_load(seconds: f64);
        log_late_start();
        after_fork();
        run_maintenance();

        report_unknown_key(key: &Bound<'py, PyString>, kind: &str);
        notify(kind: &str, key: &Bound<'py, PyString>, resolution: Py<PyAny>);

        visitor_of(call: Given<'_, 'py>, snapshot: Given<'_, 'py>, draw: bool)
            -> Option<Bound<'py, PyAny>>;
        visitor_has_returned(call: Given<'_, 'py>, snapshot: Given<'_, 'py>) -> Option<bool>;
        is_crawler(call: Option<Bound<'py, PyAny>>, snapshot: Option<Bound<'py, PyAny>>)
            -> Option<bool>;
        origin_of(flags: &Bound<'py, PyAny>) -> (Option<Vec<u8>>, Option<u32>);

        read_attribute_settings() -> Option<(HashMap<String, String>, bool)>;
        computed_attributes(
            user: Option<&Bound<'py, PyAny>>, call: Given<'_, 'py>, snapshot: Given<'_, 'py>
        ) -> Option<Bound<'py, PyDict>>;
        note_evaluation();

        is_database_error(error: PyErr) -> bool;
        report_database_error(error: PyErr) -> bool;
        report_needed_user(key: &str);
        report_missing_user(key: &str);
        check_text_key(text: &str) -> bool;
        report_reserved_name(name: &str);
        report_no_unit(name: &str);
        report_unreadable(name: &str, error: PyErr);
        report_unreadable_context(error: PyErr);
    }
    call {
        classify(user: &Bound<'py, PyAny>) -> (String, String);
        reads_own_writes() -> bool;
        load_lazy_user(user: &Bound<'py, PyAny>);

        declared_object(key: &str, text: &str) -> Bound<'py, PyAny>;

        kept_snapshots() -> Bound<'py, PyDict>;
        read_all(key: Option<&str>) -> Bound<'py, PyAny>;
        read_groups(names: Option<Vec<&str>>) -> Option<Vec<(String, Vec<String>)>>;

        is_deferred(user: &Bound<'py, PyAny>, attribute: &Bound<'py, PyString>) -> bool;
        plain_value(object: &Bound<'py, PyAny>) -> Bound<'py, PyAny>;
        microseconds(moment: &Bound<'py, PyAny>) -> i64;
        utc_of(wall: i64) -> i64;
    }
}

/// The context of a call or of a snapshot, if there is one.
type Given<'a, 'py> = Option<&'a Bound<'py, PyDict>>;

static HOOKS: PyOnceLock<Hooks> = PyOnceLock::new();

impl Hooks {
    pub(super) fn get(py: Python<'_>) -> PyResult<&'static Self> {
        if let Some(hooks) = HOOKS.get(py) {
            return Ok(hooks);
        }
        py.import("flagstaff._engine.lifecycle")?;
        HOOKS.get(py).ok_or_else(|| {
            PyRuntimeError::new_err(
                "an evaluation runs while flagstaff is imported; evaluate later",
            )
        })
    }
}

/// Sets what the extension calls in this process. Later calls change nothing.
#[pyfunction]
pub(super) fn install(py: Python<'_>, hooks: Hooks) {
    let _ = HOOKS.set(py, hooks);
}

/// Calls a hook.
fn call<'py, T: FromPyObjectOwned<'py>>(
    py: Python<'py>,
    hook: &Py<PyAny>,
    arguments: impl PyCallArgs<'py>,
) -> PyResult<T> {
    let _call = Call::begin(py);
    hook.bind(py).call1(arguments)?.extract().map_err(Into::into)
}

/// Calls a hook, unless the process ends: then it has no result.
fn call_before_end<'py, T: FromPyObjectOwned<'py> + Default>(
    py: Python<'py>,
    hook: &Py<PyAny>,
    arguments: impl PyCallArgs<'py>,
) -> PyResult<T> {
    if is_ending() { Ok(T::default()) } else { call(py, hook, arguments) }
}
