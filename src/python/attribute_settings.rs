//! `FLAGSTAFF["ATTRIBUTES"]`, as evaluations need it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::crawlers;
use super::hooks::Hooks;
use super::subject;

/// What the setting names.
#[derive(Default)]
pub(super) struct AttributeSettings {
    /// The Python attribute of the user object, by the name that rules use.
    columns: HashMap<Box<str>, Py<PyString>>,
    /// Whether a callable returns further attributes.
    pub(super) has_callable: bool,
}

static SETTINGS: ArcSwapOption<AttributeSettings> = ArcSwapOption::const_empty();

impl AttributeSettings {
    /// The present settings, read at the first use. Raises `ConfigurationError` if they are not
    /// valid.
    pub(super) fn current(py: Python<'_>) -> PyResult<Arc<Self>> {
        match SETTINGS.load_full() {
            Some(settings) => Ok(settings),
            None => Self::read(py),
        }
    }

    #[cold]
    fn read(py: Python<'_>) -> PyResult<Arc<Self>> {
        let Some((columns, has_callable)) = Hooks::read_attribute_settings(py)? else {
            return Ok(Arc::default());
        };
        let columns = columns.into_iter().map(|(name, attribute)| {
            // Interned, as the attributes of an object are.
            (name.into(), PyString::intern(py, &attribute).unbind())
        });
        let settings = Arc::new(Self { columns: columns.collect(), has_callable });
        SETTINGS.store(Some(settings.clone()));
        Ok(settings)
    }

    /// The attribute of the user object behind this name, if it is one of its columns.
    pub(super) fn column(&self, name: &str) -> Option<&Py<PyString>> {
        self.columns.get(name)
    }
}

/// Reads the setting ATTRIBUTES again at the next evaluation that needs it.
#[pyfunction]
pub(super) fn reset_attributes() {
    SETTINGS.store(None);
    crawlers::reset();
    subject::check_texts_again();
}
