//! The attributes that rules read: built-in ones, the context of the caller, columns of the user,
//! and what the project's callable returns.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use pyo3::exceptions::{PyException, PyMemoryError, PyRecursionError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::attribute_settings::AttributeSettings;
use super::attribute_value::{ReadValue, read_value};
use super::calls::Call;
use super::context::Context;
use super::hooks::Hooks;
use super::resolution::ErrorCode;
use super::subject::UserArgument;
use crate::bucketing_unit::VISITOR;
use crate::groups::GroupsOf;
use crate::prerequisites::Prerequisites;
use crate::rules::{Attribute, Attributes, GROUPS, Value, is_no_unit};
use crate::subject::Subject;

/// The number of callables that are running. Evaluations check it, because a callable must not
/// evaluate a flag. Negative if one of them has forked.
static RUNNING: AtomicI32 = AtomicI32::new(0);

/// The attributes of one user in one context. Read when a rule needs them, and the callable at most
/// once.
pub(super) struct UserAttributes<'a, 'py> {
    py: Python<'py>,
    /// The user object; `None` for an anonymous user and for a bare primary key.
    object: Option<&'a Bound<'py, PyAny>>,
    subject: Subject<'a>,
    flags: Prerequisites<'a>,
    context: Context<'a, 'py>,
    /// What the first attribute needs that is not built in.
    sources: OnceCell<Sources<'py>>,
    /// What the callable has returned, `None` for nothing.
    computed: OnceCell<Option<Bound<'py, PyDict>>>,
    /// Whether an attribute was missing that needs the user object.
    needs_user: Cell<bool>,
    visitor_id: VisitorId,
    /// What ends the evaluation, such as `KeyboardInterrupt`.
    interrupt: OnceCell<PyErr>,
    /// Attributes run Python code in many places, such as the `__str__` of a value.
    _call: Call,
}

/// Where the visitor's id comes from if no context has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VisitorId {
    /// The cookie of the request; a percentage draws a new id for a browser without one.
    Drawn,
    /// The cookie of the request.
    OfCookie,
}

/// The contexts, and what `ATTRIBUTES` names.
struct Sources<'py> {
    context: [Option<Bound<'py, PyDict>>; 2],
    settings: Arc<AttributeSettings>,
}

/// An attribute that was found, or why there is none.
enum Found<'py> {
    Missing,
    NeedsUser,
    Bool(bool),
    Value(ReadValue<'py>),
}

/// Calls `with` with the subject of `user`, and the attributes that rules read. The groups are those
/// of the snapshot of `flags`.
///
/// Raises what reading the user raises, an error of the database also for an attribute, and
/// `ConfigurationError` if a rule reads an attribute and the settings are not valid. An attribute
/// whose code raises anything else is missing, and logged.
pub(super) fn with_attributes<'py, T>(
    py: Python<'py>,
    user: Option<UserArgument<'_, 'py>>,
    context: Context<'_, 'py>,
    flags: Prerequisites<'_>,
    visitor_id: VisitorId,
    with: impl FnOnce(&Subject<'_>, &UserAttributes<'_, 'py>) -> T,
) -> PyResult<T> {
    let run = |subject: Subject<'_>, object: Option<&Bound<'py, PyAny>>| {
        let attributes = UserAttributes {
            py,
            object: object.filter(|_| subject != Subject::Anonymous),
            subject,
            flags,
            context,
            sources: OnceCell::new(),
            computed: OnceCell::new(),
            needs_user: Cell::new(false),
            visitor_id,
            interrupt: OnceCell::new(),
            _call: Call::begin(py),
        };
        let result = with(&subject, &attributes);
        attributes.interrupt.into_inner().map_or(Ok(result), Err)
    };
    match user {
        Some(user) => user.with_user(run)?,
        None => run(Subject::Anonymous, None),
    }
}

/// Whether a rule may read one of these attributes from the user.
pub(super) fn any_of_user<'a>(
    py: Python<'_>,
    mut names: impl Iterator<Item = &'a str>,
    context: Context<'_, '_>,
) -> PyResult<bool> {
    let _call = Call::begin(py);
    let settings = AttributeSettings::current(py)?;
    let given = match context.dicts(py) {
        // The evaluation logs it, and goes on without this context.
        Err(error) if error.is_instance_of::<PyException>(py) => [None, None],
        given => given?,
    };
    let has = |name: &str| given.iter().flatten().any(|dict| dict.contains(name).unwrap_or(false));
    Ok(names.any(|name| {
        is_built_in(name)
            || (name != VISITOR
                && !has(name)
                && (settings.has_callable || settings.column(name).is_some()))
    }))
}

/// Logs, once per value, that its rules need the user and the caller has passed none.
pub(super) fn report_missing_user(py: Python<'_>, key: &str) {
    // A value is returned in any case.
    let _ = Hooks::report_missing_user(py, key);
}

/// The result of an evaluation that has raised: none, if the database was away while the user or an
/// attribute was read, which is logged. Raises every other error.
#[cold]
pub(super) fn without_database(py: Python<'_>, error: PyErr) -> PyResult<ErrorCode> {
    if is_database_error(py, &error) && Hooks::report_database_error(py, error.clone_ref(py))? {
        return Ok(ErrorCode::Unreadable);
    }
    Err(error)
}

fn is_database_error(py: Python<'_>, error: &PyErr) -> bool {
    Hooks::is_database_error(py, error.clone_ref(py)).unwrap_or(false)
}

fn is_built_in(name: &str) -> bool {
    matches!(name, "is_authenticated" | "is_staff" | "is_superuser" | GROUPS)
}

impl Attributes for UserAttributes<'_, '_> {
    #[inline]
    fn read<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        if name == GROUPS
            && let Some(groups) = self.flags.snapshot.groups()
        {
            self.refuse_in_context(name);
            return with(Attribute::Value(Value::Groups(GroupsOf::new(groups, self.subject))));
        }
        self.read_found(name, with, || self.find(name))
    }

    fn read_unit<T>(&self, name: &str, with: impl FnOnce(Attribute<'_>) -> T) -> T {
        let with = |attribute: Attribute<'_>| {
            if matches!(&attribute, Attribute::Value(value) if is_no_unit(value)) {
                self.report(|| Hooks::report_no_unit(self.py, name));
            }
            with(attribute)
        };
        self.read_found(name, with, || match name {
            VISITOR => self.visitor(self.visitor_id),
            _ => self.find(name),
        })
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.flags.result(key, &self.subject, self)
    }

    fn utc(&self, wall: i64) -> i64 {
        Hooks::utc_of(self.py, wall).unwrap_or_else(|error| {
            self.end_with(error);
            wall
        })
    }
}

impl<'py> UserAttributes<'_, 'py> {
    #[inline]
    fn read_found<T>(
        &self,
        name: &str,
        with: impl FnOnce(Attribute<'_>) -> T,
        find: impl FnOnce() -> PyResult<Found<'py>>,
    ) -> T {
        if self.interrupt.get().is_some() {
            return with(Attribute::Missing);
        }
        match find() {
            Ok(Found::Value(value)) => value.with(|value| with(Attribute::Value(value))),
            Ok(Found::Bool(value)) => with(Attribute::Value(Value::Bool(value))),
            Ok(Found::Missing) => with(Attribute::Missing),
            Ok(Found::NeedsUser) => {
                self.needs_user.set(true);
                with(Attribute::NeedsUser)
            }
            Err(error) => {
                self.report_unreadable(name, error);
                with(Attribute::Missing)
            }
        }
    }

    /// Logs, once per flag, that its rules need the user object and the caller has passed a primary
    /// key.
    pub(super) fn report_needed_user(&self, key: &str) {
        if self.needs_user.take() {
            self.report(|| Hooks::report_needed_user(self.py, key));
        }
    }

    fn find(&self, name: &str) -> PyResult<Found<'py>> {
        let py = self.py;
        match name {
            "is_authenticated" => {
                self.refuse_in_context(name);
                Ok(Found::Bool(self.subject != Subject::Anonymous))
            }
            "is_staff" => self.permission(name, intern!(py, "is_staff")),
            "is_superuser" => self.permission(name, intern!(py, "is_superuser")),
            // A snapshot without groups has none to offer.
            GROUPS => {
                self.refuse_in_context(name);
                Ok(Found::Missing)
            }
            VISITOR => self.visitor(VisitorId::OfCookie),
            _ => self.given(name),
        }
    }

    /// A built-in attribute that is a bool of the user object.
    fn permission(&self, name: &str, attribute: &Bound<'py, PyString>) -> PyResult<Found<'py>> {
        self.refuse_in_context(name);
        match self.object {
            None if self.subject == Subject::Anonymous => Ok(Found::Bool(false)),
            None => Ok(Found::NeedsUser),
            Some(user) => match read_attribute(user, attribute)? {
                Some(value) => value.is_truthy().map(Found::Bool),
                None => Ok(Found::Missing),
            },
        }
    }

    /// The visitor's id: that of the context, or of the request.
    fn visitor(&self, visitor_id: VisitorId) -> PyResult<Found<'py>> {
        let py = self.py;
        if let Some(given) = self.of_context(intern!(py, "visitor"))? {
            return found(Some(given));
        }
        let [call, snapshot] = &self.sources().context;
        for context in [call, snapshot].into_iter().flatten() {
            let known = context.getattr_opt(intern!(py, "visitor_id"))?;
            if let Some(known) = known.filter(|known| !known.is_none()) {
                return found(Some(known));
            }
        }
        let is_drawn = visitor_id == VisitorId::Drawn;
        found(Hooks::visitor_of(py, call.as_ref(), snapshot.as_ref(), is_drawn)?)
    }

    /// Whether the browser has sent the cookie of the visitor back, whose id was read. `None` if the
    /// caller has passed the id.
    pub(super) fn visitor_has_returned(&self) -> Option<bool> {
        let has_returned = || {
            if self.of_context(intern!(self.py, "visitor"))?.is_some() {
                return Ok(None);
            }
            let [call, snapshot] = &self.sources().context;
            Hooks::visitor_has_returned(self.py, call.as_ref(), snapshot.as_ref())
        };
        has_returned().unwrap_or_else(|error| {
            self.report_unreadable(VISITOR, error);
            None
        })
    }

    /// What the context has under this name.
    fn of_context(&self, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
        for context in self.sources().context.iter().flatten() {
            if let Some(value) = context.get_item(name)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// An attribute of the context or of `ATTRIBUTES`.
    fn given(&self, name: &str) -> PyResult<Found<'py>> {
        let key = PyString::new(self.py, name);
        if let Some(given) = self.of_context(&key)? {
            return found(Some(given));
        }
        let settings = &self.sources().settings;
        let without_user = || match self.subject {
            Subject::Anonymous => Found::Missing,
            _ => Found::NeedsUser,
        };
        if let Some(attribute) = settings.column(name) {
            let Some(user) = self.object else { return Ok(without_user()) };
            return found(read_attribute(user, attribute.bind(self.py))?);
        }
        if !settings.has_callable {
            return Ok(Found::Missing);
        }
        let computed = self.computed()?;
        Ok(match found(computed.map(|computed| computed.get_item(&key)).transpose()?.flatten())? {
            Found::Missing if self.object.is_none() => without_user(),
            value => value,
        })
    }

    /// Whether an attribute is built in, or missing without the user.
    pub(super) fn lacks(&self, name: &str) -> bool {
        is_built_in(name) || !matches!(self.find(name), Ok(Found::Value(_) | Found::Bool(_)))
    }

    /// What the callable returns, for the user object or without one. Runs it at most once.
    fn computed(&self) -> PyResult<Option<&Bound<'py, PyDict>>> {
        if let Some(computed) = self.computed.get() {
            return Ok(computed.as_ref());
        }
        // Also if it raises: it runs once.
        let computed = self.compute();
        let kept = self.computed.get_or_init(|| computed.as_ref().ok().cloned().flatten());
        computed.map(|_| kept.as_ref())
    }

    #[cold]
    fn compute(&self) -> PyResult<Option<Bound<'py, PyDict>>> {
        let _running = Running::begin();
        let [call, snapshot] = &self.sources().context;
        Hooks::computed_attributes(self.py, self.object, call.as_ref(), snapshot.as_ref())
    }

    /// What an attribute needs that is not built in. A context that cannot be read is empty.
    fn sources(&self) -> &Sources<'py> {
        if let Some(sources) = self.sources.get() {
            return sources;
        }
        let settings = match AttributeSettings::current(self.py) {
            Ok(settings) => settings,
            Err(error) => {
                self.end_with(error);
                Arc::default()
            }
        };
        let context = self.context.dicts(self.py).unwrap_or_else(|error| {
            self.report_unreadable_context(error);
            [None, None]
        });
        self.sources.get_or_init(|| Sources { context, settings })
    }

    /// Logs that the context names a built-in attribute, which it cannot set.
    fn refuse_in_context(&self, name: &str) {
        if self.context.is_empty() {
            return;
        }
        let names = |context: &Bound<'py, PyDict>| context.contains(name).is_ok_and(|found| found);
        if self.sources().context.iter().flatten().any(names) {
            self.report(|| Hooks::report_reserved_name(self.py, name));
        }
    }

    /// Logs that an attribute cannot be read. An interrupt ends the evaluation instead, and so do an
    /// error of the database and code that evaluates its own flag again without an end.
    #[cold]
    fn report_unreadable(&self, name: &str, error: PyErr) {
        let is_interrupt = !error.is_instance_of::<PyException>(self.py)
            || error.is_instance_of::<PyRecursionError>(self.py)
            || error.is_instance_of::<PyMemoryError>(self.py)
            || is_database_error(self.py, &error);
        if is_interrupt {
            self.end_with(error);
        } else {
            self.report(|| Hooks::report_unreadable(self.py, name, error));
        }
    }

    /// The same for a context that cannot be read.
    #[cold]
    fn report_unreadable_context(&self, error: PyErr) {
        if is_database_error(self.py, &error) || !error.is_instance_of::<PyException>(self.py) {
            self.end_with(error);
        } else {
            self.report(|| Hooks::report_unreadable_context(self.py, error));
        }
    }

    /// Ends the evaluation. The first error counts.
    #[cold]
    fn end_with(&self, error: PyErr) {
        let _ = self.interrupt.set(error);
    }

    #[cold]
    fn report(&self, report: impl FnOnce() -> PyResult<()>) {
        // A handler of the log may raise, which is no reason to raise here.
        if let Err(error) = report()
            && !error.is_instance_of::<PyException>(self.py)
        {
            self.end_with(error);
        }
    }
}

fn found(object: Option<Bound<'_, PyAny>>) -> PyResult<Found<'_>> {
    let value = object.map(read_value).transpose()?.flatten();
    Ok(value.map_or(Found::Missing, Found::Value))
}

/// An attribute of a user object. `None` for a deferred field, which a query would load.
#[inline]
fn read_attribute<'py>(
    user: &Bound<'py, PyAny>,
    attribute: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let Some(own) = user.getattr_opt(intern!(user.py(), "__dict__"))?
        && let Ok(own) = own.cast::<PyDict>()
        && let Some(value) = own.get_item(attribute)?
    {
        return Ok(Some(value));
    }
    read_class_attribute(user, attribute)
}

/// The same for an attribute that the instance does not hold: a property, or a deferred field.
#[cold]
fn read_class_attribute<'py>(
    user: &Bound<'py, PyAny>,
    attribute: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if Hooks::is_deferred(user.py(), user, attribute)? {
        return Ok(None);
    }
    user.getattr_opt(attribute)
}

/// One callable that runs, until it is dropped.
struct Running(());

impl Running {
    fn begin() -> Self {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Records an evaluation by a callable of this thread, whose attributes are then missing.
#[inline]
pub(super) fn note_evaluation(py: Python<'_>) -> PyResult<()> {
    if RUNNING.load(Ordering::Relaxed) > 0 { Hooks::note_evaluation(py) } else { Ok(()) }
}

/// Resets the state in a forked child, which has no other thread.
pub(super) fn reset_after_fork() {
    RUNNING.store(0, Ordering::Relaxed);
}
