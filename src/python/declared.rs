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

/// A declared value: key, default in JSON, form, whether it can be null, choices in JSON, whether it is
/// secret, whether it is client side, whether Python makes its objects.
type PyDeclaredValue = (String, String, String, bool, Vec<String>, bool, bool, bool);

/// Sets what code declares, in place of all that was declared before. Does not block.
///
/// Of a flag the key, and whether it is client side. Of a value the key, the default in JSON, the
/// form, whether it can be null, the choices in JSON, whether it is secret, whether it is client
/// side, and whether Python makes its objects. Raises `ValueError` for an unknown form.
#[pyfunction]
pub(super) fn declare(flags: Vec<(String, bool)>, values: Vec<PyDeclaredValue>) -> PyResult<()> {
    let flags =
        flags.into_iter().map(|(key, client_side)| (key.into(), FlagOfCode { client_side }));
    let values = values.into_iter().map(|value| {
        let declared = declared_value(value)?;
        Ok((Box::from(&*declared.key), Arc::new(declared)))
    });
    let values = values.collect::<PyResult<_>>()?;
    LIVE.declare(Declared { flags: flags.collect(), values });
    Ok(())
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

/// Returns why evaluations return the default in place of this JSON, or None.
///
/// Without the JSON, which may be a secret. Raises `ValueError` for an unknown form.
#[pyfunction]
pub(super) fn misfit(declared: PyDeclaredValue, text: &str) -> PyResult<Option<Message>> {
    let misfit = declared_value(declared)?.misfit(&StoredValue::from_json(text));
    Ok(misfit.map(|misfit| misfit.message(None)))
}

fn declared_value(value: PyDeclaredValue) -> PyResult<ValueOfCode> {
    let (key, default, form, is_nullable, choices, is_secret, client_side, is_converted) = value;
    let known = Form::named(&form);
    Ok(ValueOfCode {
        key: key.into(),
        default: StoredValue::from_json(&default),
        form: known.ok_or_else(|| PyValueError::new_err(form))?,
        is_nullable,
        choices: choices.iter().map(|choice| StoredValue::from_json(choice)).collect(),
        is_secret,
        client_side,
        is_converted,
    })
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
