//! What a caller passes as `user` → a subject.
//!
//! The type is judged on every question, so that a wrong one shows in a test and not when an
//! operator starts a ramp. The object itself is touched only when the answer depends on it: an
//! unevaluated `request.user` costs a query.

use pyo3::exceptions::{PyRecursionError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString, PyType};

use super::calls::Call;
use crate::subject::Subject;

/// How the subject is got from the objects of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    Text,
    Uuid,
    /// A lazy object; the one that it wraps counts.
    Lazy,
    /// A user, whose key is read from the attribute that the type is remembered with.
    User,
    /// A user of a type whose attribute is code, which may do anything.
    Keyed,
}

/// One is usual, a few may be meant; an object that wraps itself has no end.
const MOST_WRAPPINGS: usize = 50;

/// A user type and how its objects are read. Never forgotten, so that a reader needs no lock.
struct Remembered {
    user_type: Py<PyType>,
    kind: Kind,
    attribute: Py<PyString>,
}

/// A process has few user types; more than these are made on the fly, and judged each time. Not
/// thread-local: in a shared library that costs a call for each access.
static TYPES: [PyOnceLock<Remembered>; 16] = [const { PyOnceLock::new() }; 16];

/// Whoever asks, not yet touched.
#[derive(Clone, Copy)]
pub(super) struct UserArgument<'a, 'py> {
    user: &'a Bound<'py, PyAny>,
    kind: Kind,
    /// The attribute that holds a user's primary key, where it is remembered.
    attribute: Option<&'static Py<PyString>>,
}

impl<'a, 'py> UserArgument<'a, 'py> {
    /// Judges the type of `user`; `None` where nobody asks.
    pub(super) fn new(user: Option<&'a Bound<'py, PyAny>>) -> PyResult<Option<Self>> {
        user.map(Self::of).transpose()
    }

    #[inline]
    fn of(user: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        let user_type = user.get_type_ptr();
        for slot in &TYPES {
            let Some(known) = slot.get(user.py()) else { break };
            if known.user_type.as_ptr() == user_type.cast() {
                return Ok(Self { user, kind: known.kind, attribute: Some(&known.attribute) });
            }
        }
        Self::of_new_type(user)
    }

    /// Judges a type that is met for the first time, and remembers it.
    #[cold]
    fn of_new_type(user: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        let _call = Call::begin(user.py());
        let user_type = user.get_type();
        let Some((kind, attribute)) = judge(user, &user_type)? else {
            return Err(wrong_type(user)?);
        };
        let attribute = PyString::new(user.py(), &attribute).unbind();
        let mut known = Remembered { user_type: user_type.unbind(), kind, attribute };
        for slot in &TYPES {
            match slot.set(user.py(), known) {
                Ok(()) => break,
                Err(taken) => known = taken,
            }
        }
        Ok(Self { user, kind, attribute: None })
    }

    /// Reads the key, and gives what `with` makes of the subject.
    pub(super) fn ask<T>(&self, with: impl FnOnce(Subject<'_>) -> T) -> PyResult<T> {
        match self.kind {
            Kind::Lazy => self.ask_wrapped(with),
            Kind::User | Kind::Keyed => with_key(&self.primary_key()?, with),
            _ => with_key(self.user, with),
        }
    }

    /// Asks the object that a lazy one holds, or that the last one of a chain of them holds.
    fn ask_wrapped<T>(&self, with: impl FnOnce(Subject<'_>) -> T) -> PyResult<T> {
        let mut wrapped = unwrapped(self.user)?;
        for _ in 0..MOST_WRAPPINGS {
            if wrapped.is_none() {
                return Ok(with(Subject::Anonymous));
            }
            let user = UserArgument::of(&wrapped)?;
            match user.kind {
                Kind::Lazy => wrapped = unwrapped(&wrapped)?,
                Kind::User | Kind::Keyed => return with_key(&user.primary_key()?, with),
                _ => return with_key(&wrapped, with),
            }
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

/// The kind of a type, and the attribute that holds its objects' primary key; `None` where its
/// objects are no users and no keys.
fn judge(
    user: &Bound<'_, PyAny>,
    user_type: &Bound<'_, PyType>,
) -> PyResult<Option<(Kind, String)>> {
    let py = user.py();
    // Of the type itself: an instance check asks a lazy object for its `__class__`, which evaluates
    // it, and would take what the first one holds for what they all hold.
    let kind = if user_type.is_subclass_of::<PyBool>()? || user_type.is_subclass_of::<PyFloat>()? {
        return Ok(None);
    } else if user_type.is_subclass_of::<PyInt>()? {
        Kind::Integer
    } else if user_type.is_subclass_of::<PyString>()? {
        Kind::Text
    } else if user_type.is_subclass(uuid_type(py)?)? {
        Kind::Uuid
    } else if user_type
        .is_subclass(&py.import("django.utils.functional")?.getattr("LazyObject")?)?
    {
        Kind::Lazy
    } else if !user_type.is_subclass_of::<PyType>()? && user.hasattr(intern!(py, "pk"))? {
        return key_attribute(user_type).map(Some);
    } else {
        return Ok(None);
    };
    Ok(Some((kind, String::new())))
}

/// For a Django model the attribute behind `pk`: reading it directly saves running the property,
/// unless a model has one of its own.
fn key_attribute(user_type: &Bound<'_, PyType>) -> PyResult<(Kind, String)> {
    let model = user_type.py().import("django.db.models")?.getattr("Model")?;
    if user_type.is_subclass(&model)? && user_type.getattr("pk")?.is(&model.getattr("pk")?) {
        let name: String =
            user_type.getattr("_meta")?.getattr("pk")?.getattr("attname")?.extract()?;
        // A link to a parent's key is set by code, and then read by code too.
        let is_code = user_type.getattr(&*name)?.hasattr("__set__")?;
        return Ok((if is_code { Kind::Keyed } else { Kind::User }, name));
    }
    Ok((Kind::Keyed, "pk".to_owned()))
}

/// The object behind a lazy one. `object.__getattribute__` goes past the proxy, which would run
/// Python code for each attribute; only an unevaluated one must be evaluated through it.
fn unwrapped<'py>(lazy: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static GETATTRIBUTE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static EMPTY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = lazy.py();
    let empty = EMPTY.import(py, "django.utils.functional", "empty")?;
    let getattribute = GETATTRIBUTE.get_or_try_init(py, || {
        py.import("builtins")?.getattr("object")?.getattr("__getattribute__").map(Bound::unbind)
    })?;
    let arguments = (lazy, intern!(py, "_wrapped"));
    let wrapped = getattribute.bind(py).call1(arguments)?;
    if !wrapped.is(empty) {
        return Ok(wrapped);
    }
    let call = Call::begin(py);
    lazy.call_method0(intern!(py, "_setup"))?;
    drop(call);
    getattribute.bind(py).call1(arguments)
}

/// Gives `with` the subject that a primary key stands for.
fn with_key<T>(key: &Bound<'_, PyAny>, with: impl FnOnce(Subject<'_>) -> T) -> PyResult<T> {
    if let Ok(integer) = key.cast::<PyInt>() {
        // An integer past 64 bits, and a subclass with its own text, is what `str()` makes of it.
        return match integer.extract::<i64>() {
            Ok(value) if key.is_exact_instance_of::<PyInt>() => Ok(with(Subject::Integer(value))),
            _ => with_text(key, with),
        };
    }
    if key.is_exact_instance_of::<PyString>() {
        return Ok(with(Subject::Text(key.cast::<PyString>()?.to_str()?)));
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
    let text = key.str()?;
    drop(call);
    Ok(with(Subject::Text(text.to_str()?)))
}

/// Formats a UUID on the stack: its own `__str__` is Python code.
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

#[cold]
fn wrong_type(user: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let name = user.get_type().qualname()?;
    Ok(PyTypeError::new_err(format!(
        "user must be a user, the primary key of one (int, str or uuid.UUID) or None, not {name}"
    )))
}
