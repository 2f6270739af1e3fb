//! What a caller passes as `user` → a subject.
//!
//! The type is checked on every evaluation, so that a wrong one fails in a test and not when a
//! rollout starts. The object itself is read only if the result depends on it: an unevaluated
//! `request.user` costs a query.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyRecursionError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyInt, PyString, PyType};

use super::calls::Call;
use super::hooks::Hooks;
use crate::subject::Subject;

/// How the objects of one type become a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A primary key: an integer, a text or a UUID.
    Key,
    /// A lazy object, which stands for the object that it wraps.
    Lazy,
    /// A user, whose primary key is a plain attribute.
    User,
    /// A user whose primary key is computed by Python code.
    ComputedKey,
}

/// The maximum depth of nested lazy objects. An object may wrap itself.
const MAX_WRAPPINGS: usize = 50;

/// A type that was classified. Never dropped, so that readers need no lock.
struct KnownType {
    user_type: Py<PyType>,
    kind: Kind,
    attribute: Py<PyString>,
}

/// The types that were classified. A process has few; further ones are classified each time. Not
/// thread-local, which would cost a call per access in a shared library.
static TYPES: [PyOnceLock<KnownType>; 16] = [const { PyOnceLock::new() }; 16];

/// The `user` argument of an evaluation, not read yet.
#[derive(Clone, Copy)]
pub(super) struct UserArgument<'a, 'py> {
    user: &'a Bound<'py, PyAny>,
    kind: Kind,
    /// The attribute that holds the primary key, if the type is known.
    attribute: Option<&'static Py<PyString>>,
}

impl<'a, 'py> UserArgument<'a, 'py> {
    /// Classifies the type of `user`. Raises `TypeError` for a type that is neither a user nor a
    /// key.
    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    pub(super) fn new(user: Option<&'a Bound<'py, PyAny>>) -> PyResult<Option<Self>> {
        match user {
            None => Ok(None),
            Some(user) => match Self::of_known_type(user) {
                None => Self::of_new_type(user).map(Some),
                known => Ok(known),
            },
        }
    }

    #[inline]
    fn of_known_type(user: &'a Bound<'py, PyAny>) -> Option<Self> {
        let user_type = user.get_type_ptr();
        for slot in &TYPES {
            let known = slot.get(user.py())?;
            if known.user_type.as_ptr() == user_type.cast() {
                return Some(Self { user, kind: known.kind, attribute: Some(&known.attribute) });
            }
        }
        None
    }

    /// Classifies a new type, and remembers it.
    #[cold]
    fn of_new_type(user: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        let (kind, attribute) = Hooks::classify(user.py(), user)?;
        let kind = match &*kind {
            "lazy" => Kind::Lazy,
            "user" => Kind::User,
            "computed" => Kind::ComputedKey,
            _ => Kind::Key,
        };
        // Interned, as the attributes of an object are: Python then compares pointers, not texts.
        let attribute = PyString::intern(user.py(), &attribute).unbind();
        let mut known = KnownType { user_type: user.get_type().unbind(), kind, attribute };
        for slot in &TYPES {
            match slot.set(user.py(), known) {
                Ok(()) => break,
                Err(taken) => known = taken,
            }
        }
        Ok(Self { user, kind, attribute: None })
    }

    pub(super) fn py(&self) -> Python<'py> {
        self.user.py()
    }

    /// Whether reading the user may cost a query.
    pub(super) fn is_lazy(&self) -> bool {
        self.kind == Kind::Lazy
    }

    /// Whether reading the primary key runs code that may query.
    #[inline]
    pub(super) fn may_query(&self) -> bool {
        matches!(self.kind, Kind::Lazy | Kind::ComputedKey)
    }

    /// Whether reading the user costs no query and runs no code of the project.
    pub(super) fn is_there(&self) -> bool {
        match self.kind {
            Kind::Lazy => wrapped_object(self.user).is_ok_and(|wrapped| wrapped.is_some()),
            Kind::ComputedKey => false,
            Kind::Key | Kind::User => true,
        }
    }

    /// Reads the primary key, and returns the result of `with` for the subject.
    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    pub(super) fn with_subject<T>(&self, with: impl FnOnce(Subject<'_>) -> T) -> PyResult<T> {
        self.with_user(|subject, _| with(subject))
    }

    /// The same for rules, which also read the user object: `None` for a bare primary key.
    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    pub(super) fn with_user<T>(
        &self,
        with: impl FnOnce(Subject<'_>, Option<&Bound<'py, PyAny>>) -> T,
    ) -> PyResult<T> {
        match self.kind {
            Kind::Lazy => self.with_wrapped(with),
            Kind::User | Kind::ComputedKey => {
                with_key(&self.primary_key()?, false, |subject| with(subject, Some(self.user)))
            }
            Kind::Key => with_key(self.user, true, |subject| with(subject, None)),
        }
    }

    /// Reads the object behind a lazy one, or behind a chain of lazy ones.
    #[inline(never)]
    fn with_wrapped<T>(
        &self,
        with: impl FnOnce(Subject<'_>, Option<&Bound<'py, PyAny>>) -> T,
    ) -> PyResult<T> {
        let mut wrapped = unwrapped(self.user)?;
        for _ in 0..MAX_WRAPPINGS {
            if wrapped.is_none() {
                return Ok(with(Subject::Anonymous, None));
            }
            let user = match UserArgument::of_known_type(&wrapped) {
                None => UserArgument::of_new_type(&wrapped)?,
                Some(known) => known,
            };
            if !user.is_lazy() {
                return user.with_user(with);
            }
            wrapped = unwrapped(&wrapped)?;
        }
        let message = "user is a lazy object that wraps lazy objects without an end";
        Err(PyRecursionError::new_err(message))
    }

    #[inline]
    fn primary_key(&self) -> PyResult<Bound<'py, PyAny>> {
        match (self.kind, self.attribute) {
            (Kind::User, Some(attribute)) => self.user.getattr(attribute),
            _ => self.primary_key_by_code(),
        }
    }

    #[cold]
    fn primary_key_by_code(&self) -> PyResult<Bound<'py, PyAny>> {
        let _call = Call::begin(self.user.py());
        match self.attribute {
            Some(attribute) => self.user.getattr(attribute),
            None => self.user.getattr(intern!(self.user.py(), "pk")),
        }
    }
}

/// The object behind a lazy one. `object.__getattribute__` bypasses the proxy, which runs Python
/// code for each attribute. Only an unevaluated object is evaluated through it.
fn unwrapped<'py>(lazy: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if let Some(wrapped) = wrapped_object(lazy)? {
        return Ok(wrapped);
    }
    Hooks::load_lazy_user(lazy.py(), lazy)?;
    wrapped_object(lazy)?.map_or_else(|| Ok(lazy.py().None().into_bound(lazy.py())), Ok)
}

/// The object behind a lazy one; `None` if it is not evaluated yet.
fn wrapped_object<'py>(lazy: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    static GETATTRIBUTE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static EMPTY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = lazy.py();
    let empty = EMPTY.import(py, "django.utils.functional", "empty")?;
    let getattribute = GETATTRIBUTE.get_or_try_init(py, || {
        py.import("builtins")?.getattr("object")?.getattr("__getattribute__").map(Bound::unbind)
    })?;
    let arguments = (lazy, intern!(py, "_wrapped"));
    let wrapped = getattribute.bind(py).call1(arguments)?;
    Ok((!wrapped.is(empty)).then_some(wrapped))
}

/// Calls `with` with the subject of a primary key; `is_bare` if it stands in the place of a user.
#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
pub(super) fn with_key<T>(
    key: &Bound<'_, PyAny>,
    is_bare: bool,
    with: impl FnOnce(Subject<'_>) -> T,
) -> PyResult<T> {
    // An integer beyond 64 bits, or of a subclass, counts as the text that `str()` returns.
    if key.is_exact_instance_of::<PyInt>()
        && let Ok(value) = key.extract::<i64>()
    {
        return Ok(with(Subject::Integer(value)));
    }
    with_other_key(key, is_bare, with)
}

/// The same for a key that is no integer of 64 bits.
#[inline(never)]
fn with_other_key<T>(
    key: &Bound<'_, PyAny>,
    is_bare: bool,
    with: impl FnOnce(Subject<'_>) -> T,
) -> PyResult<T> {
    if key.is_exact_instance_of::<PyString>() {
        let subject = subject_of(key.cast::<PyString>()?);
        if is_bare
            && CHECKS_TEXTS.load(Ordering::Relaxed)
            && let Subject::Text(text) = subject
            && !is_like_integer(text)
        {
            check_text(key.py(), text);
        }
        return Ok(with(subject));
    }
    if key.is_none() {
        return Ok(with(Subject::Anonymous));
    }
    if key.is_exact_instance(uuid_type(key.py())?) {
        return with_uuid(key, with);
    }
    with_text(key, with)
}

fn with_text<T>(key: &Bound<'_, PyAny>, with: impl FnOnce(Subject<'_>) -> T) -> PyResult<T> {
    let call = Call::begin(key.py());
    let text = key.str();
    drop(call);
    match text {
        Ok(text) => Ok(with(subject_of(&text))),
        Err(error) if is_unprintable(key, &error) => Ok(with(Subject::Anonymous)),
        Err(error) => Err(error),
    }
}

/// Whether texts are compared with the primary keys of the project: until one was reported, and only
/// where the keys are integers.
static CHECKS_TEXTS: AtomicBool = AtomicBool::new(true);

/// Compares texts again, because the settings have changed.
pub(super) fn check_texts_again() {
    CHECKS_TEXTS.store(true, Ordering::Relaxed);
}

/// Whether a text may be an integer, at the price of two comparisons.
#[inline]
fn is_like_integer(text: &str) -> bool {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    is_digit(text.as_bytes().first()) && is_digit(text.as_bytes().last())
}

#[cold]
#[inline(never)]
fn check_text(py: Python<'_>, text: &str) {
    // Before: code of the project's field may evaluate a flag. The result stands in any case.
    CHECKS_TEXTS.store(false, Ordering::Relaxed);
    let goes_on = Hooks::check_text_key(py, text).unwrap_or(false);
    CHECKS_TEXTS.store(goes_on, Ordering::Relaxed);
}

/// The subject of a text. One that UTF-8 cannot encode is in no database, so it is no user.
#[inline]
fn subject_of<'a>(text: &'a Bound<'_, PyString>) -> Subject<'a> {
    text.to_str().map_or(Subject::Anonymous, Subject::Text)
}

/// Whether Python refuses to print an integer because it has too many digits for
/// `sys.set_int_max_str_digits`.
#[cold]
fn is_unprintable(key: &Bound<'_, PyAny>, error: &PyErr) -> bool {
    key.is_instance_of::<PyInt>() && error.is_instance_of::<PyValueError>(key.py())
}

/// Formats a UUID on the stack, because its own `__str__` is Python code.
fn with_uuid<T>(key: &Bound<'_, PyAny>, with: impl FnOnce(Subject<'_>) -> T) -> PyResult<T> {
    let bits: u128 = key.getattr(intern!(key.py(), "int"))?.extract()?;
    let mut text = [b'-'; 36];
    let digits = b"0123456789abcdef";
    let places = (0..36).filter(|place| !matches!(place, 8 | 13 | 18 | 23));
    for (nibble, place) in places.enumerate() {
        let value = (bits >> (4 * (31 - nibble))) & 0xf;
        text[place] = digits[usize::try_from(value).expect("a nibble fits")];
    }
    Ok(with(Subject::Text(std::str::from_utf8(&text).expect("hexadecimal digits are ASCII"))))
}

fn uuid_type(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static UUID: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    UUID.import(py, "uuid", "UUID")
}
