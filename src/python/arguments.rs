//! The arguments of evaluations, whose wrong types raise errors that name the argument and the cure.

use std::ops::Deref;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The argument `key` of an evaluation.
#[derive(Clone, Copy)]
pub(super) struct Key<'a, 'py>(Borrowed<'a, 'py, PyString>);

/// An argument `key` that is no string. Smaller than an exception, which would cost all others.
pub(super) struct WrongKey<'a, 'py>(Borrowed<'a, 'py, PyAny>);

impl From<WrongKey<'_, '_>> for PyErr {
    #[cold]
    #[inline(never)]
    fn from(WrongKey(object): WrongKey<'_, '_>) -> Self {
        wrong_type("key", "a string, such as \"new_checkout\"", &object)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Key<'a, 'py> {
    type Error = WrongKey<'a, 'py>;

    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> Result<Self, Self::Error> {
        object.cast::<PyString>().map(Self).map_err(|_| WrongKey(object))
    }
}

impl<'py> Deref for Key<'_, 'py> {
    type Target = Bound<'py, PyString>;

    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The argument `default` of a flag.
pub(super) fn default_of_flag(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    object.extract().map_err(|_| wrong_type("default", "True or False", object))
}

/// The argument `client_side`.
pub(super) fn client_side(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    object.extract().map_err(|_| wrong_type("client_side", "True or False", object))
}

/// The error names the type only: the object may be personal data.
#[cold]
#[inline(never)]
fn wrong_type(argument: &str, expected: &str, object: &Bound<'_, PyAny>) -> PyErr {
    let found = if object.is_none() {
        Ok("None".into())
    } else {
        object.get_type().qualname().map(|name| name.to_string())
    };
    found.map_or_else(
        |error| error,
        |found| PyTypeError::new_err(format!("{argument} must be {expected}, not {found}")),
    )
}
