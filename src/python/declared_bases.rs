//! The bases of `flagstaff.Flag` and `flagstaff.Value`, which are also strings.

use pyo3::prelude::*;

/// The base of `Flag`, beside `str`. Without fields, so that both can be bases of one class.
#[pyclass(frozen, subclass, module = "flagstaff._core")]
pub(super) struct DeclaredFlag;

/// The base of `Value`, beside `str`. Without fields, so that both can be bases of one class.
#[pyclass(frozen, subclass, module = "flagstaff._core")]
pub(super) struct DeclaredValue;
