//! What code declares, and what a declared key can do.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::api::{flag_enabled, value};
use super::arguments::Key;
use super::declared_bases::{DeclaredFlag, DeclaredValue};
use super::kept_values;
use super::state::LIVE;
use crate::declared::{Declared, DeclaredFlag as FlagOfCode, DeclaredValue as ValueOfCode, Form};
use crate::message::Message;
use crate::stored_value::StoredValue;

/// A declared value as workers know it. Immutable.
#[pyclass(frozen, module = "flagstaff._core")]
pub(super) struct ValueForm(Arc<ValueOfCode>);

#[pymethods]
impl ValueForm {
    /// `default` and `choices` are JSON; `is_converted` if Python makes the objects.
    ///
    /// Raises `ValueError` for an unknown form.
    #[new]
    #[pyo3(signature = (key, default, form, *, is_nullable, choices, is_secret, client_side, is_converted))]
    #[expect(clippy::too_many_arguments, reason = "what code says about a value")]
    #[expect(clippy::fn_params_excessive_bools, reason = "they are named")]
    fn new(
        key: &str,
        default: &str,
        form: &str,
        is_nullable: bool,
        choices: Vec<String>,
        is_secret: bool,
        client_side: bool,
        is_converted: bool,
    ) -> PyResult<Self> {
        Ok(Self(Arc::new(ValueOfCode {
            key: key.into(),
            default: StoredValue::from_json(default),
            form: Form::named(form).ok_or_else(|| PyValueError::new_err(form.to_owned()))?,
            is_nullable,
            choices: choices.into_iter().map(|choice| StoredValue::from_json(&choice)).collect(),
            is_secret,
            client_side,
            is_converted,
        })))
    }

    /// Returns why evaluations return the default in place of this JSON, or None.
    ///
    /// Without the JSON, which may be a secret.
    fn misfit(&self, text: &str) -> Option<Message> {
        self.0.misfit(&StoredValue::from_json(text)).map(|misfit| misfit.message(None))
    }
}

/// Sets what code declares, in place of all that was declared before. Does not block.
///
/// Of a flag the key, and whether it is client side.
#[pyfunction]
pub(super) fn declare(flags: Vec<(String, bool)>, values: Vec<PyRef<'_, ValueForm>>) {
    let flags =
        flags.into_iter().map(|(key, client_side)| (key.into(), FlagOfCode { client_side }));
    let values = values.into_iter().map(|value| (Box::from(&*value.0.key), value.0.clone()));
    LIVE.declare(Declared { flags: flags.collect(), values: values.collect() });
}

/// Returns the value of a key in memory and what its rules give, as JSON; nothing without a row.
///
/// Does not block.
#[pyfunction]
pub(super) fn stored_results(key: &str) -> Vec<String> {
    let Some(snapshot) = LIVE.snapshot() else { return Vec::new() };
    let Some(stored) = snapshot.value(key).filter(|stored| stored.is_of_row()) else {
        return Vec::new();
    };
    let of_rules = stored.rules().into_iter().flat_map(|rules| rules.results());
    [stored.value()].into_iter().chain(of_rules).map(StoredValue::json).collect()
}

#[pymethods]
impl DeclaredFlag {
    /// Returns True if the flag is on for `user`, as `flag_enabled` does.
    #[pyo3(signature = (user=None, *, context=None))]
    fn enabled<'py>(
        key: &Bound<'py, Self>,
        user: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        flag_enabled(text(key)?, user, false, context)
    }
}

#[pymethods]
impl DeclaredValue {
    /// Returns the value for `user`, in its declared type.
    #[pyo3(signature = (user=None, *, context=None))]
    fn get<'py>(
        key: &Bound<'py, Self>,
        user: Option<&Bound<'py, PyAny>>,
        context: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        value(text(key)?, None, user, context, kept_values::get_declared)
    }

    #[classmethod]
    fn __class_getitem__<'py>(
        class: &Bound<'py, PyType>,
        parameters: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        class.py().import("types")?.call_method1("GenericAlias", (class, parameters))
    }
}

/// The key itself. Raises `TypeError` for an object that was not made by `Flag` or `Value`.
#[inline]
fn text<'a, 'py, T>(key: &'a Bound<'py, T>) -> PyResult<Key<'a, 'py>> {
    Ok(Key::extract(key.as_any().as_borrowed())?)
}
