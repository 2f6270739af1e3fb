//! What a caller passes beside the user: `context=`.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};

use super::calls::Call;
use super::hooks::Hooks;

/// The context of a call, and the context of its snapshot. Rules read the first one that has the
/// attribute.
#[derive(Clone, Copy, Default)]
pub(super) struct Context<'a, 'py> {
    call: Option<&'a Bound<'py, PyAny>>,
    snapshot: Option<&'a Py<PyAny>>,
}

impl<'a, 'py> Context<'a, 'py> {
    /// The context of a call. Raises `TypeError` if it is not a mapping: on every evaluation, so
    /// that a wrong one fails in a test and not when a rule starts to read it.
    #[inline]
    pub(super) fn new(call: Option<&'a Bound<'py, PyAny>>) -> PyResult<Self> {
        match call {
            Some(call) if !call.is_instance_of::<PyDict>() => require_mapping(call)?,
            _ => {}
        }
        Ok(Self { call, snapshot: None })
    }

    /// The same, with the context of a snapshot behind it.
    #[inline]
    pub(super) fn with_snapshot(self, snapshot: Option<&'a Py<PyAny>>) -> Self {
        Self { snapshot, ..self }
    }

    pub(super) fn is_empty(self) -> bool {
        self.call.is_none() && self.snapshot.is_none()
    }

    /// Both contexts, as they were passed.
    pub(super) fn raw(self, py: Python<'py>) -> [Option<Bound<'py, PyAny>>; 2] {
        [self.call.cloned(), self.snapshot.map(|snapshot| snapshot.bind(py).clone())]
    }

    /// Both contexts. Raises what a mapping raises that is not a dict.
    pub(super) fn dicts(self, py: Python<'py>) -> PyResult<[Option<Bound<'py, PyDict>>; 2]> {
        let snapshot = self.snapshot.map(|snapshot| as_dict(snapshot.bind(py))).transpose()?;
        Ok([self.call.map(as_dict).transpose()?, snapshot])
    }
}

/// The context itself if it is a plain dict or that of a request. The items of another mapping: a
/// subclass of dict may return other values than it holds.
fn as_dict<'py>(context: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    match context.cast::<PyDict>() {
        Ok(dict) if dict.is_exact_instance_of::<PyDict>() || is_of_request(dict)? => {
            Ok(dict.clone())
        }
        _ => {
            let items = context.call_method0(intern!(context.py(), "items"))?;
            context.py().get_type::<PyDict>().call1((items,))?.cast_into().map_err(Into::into)
        }
    }
}

fn is_of_request(context: &Bound<'_, PyDict>) -> PyResult<bool> {
    let py = context.py();
    Ok(context.is_exact_instance(Hooks::get(py)?.request_context.bind(py)))
}

#[cold]
fn require_mapping(context: &Bound<'_, PyAny>) -> PyResult<()> {
    let _call = Call::begin(context.py());
    if context.cast::<PyMapping>().is_ok() {
        return Ok(());
    }
    let name = context.get_type().qualname()?;
    Err(PyTypeError::new_err(format!(
        "context must be a mapping of names to values, such as {{\"country\": \"DE\"}}, not {name}"
    )))
}
