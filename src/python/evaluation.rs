//! One evaluator of flags and settings, and the questions it answers.

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyString};

use super::subject::UserArgument;
use super::unknown_keys;
use crate::bucket::bucket;
use crate::evaluate::{Evaluation, Reason, evaluate};
use crate::flag::Flag;
use crate::live::State;
use crate::overrides::Overrides;
use crate::snapshot::Snapshot;
use crate::stored_value::StoredValue;
use crate::subject::Subject;

/// Value, reason, error code, bucket and rollout in percent of the answer to a question.
pub(super) type Explained = (bool, &'static str, Option<&'static str>, Option<u8>, Option<i32>);

/// Flags and settings at one evaluator, with what tests have set over them.
#[derive(Clone, Copy)]
pub(super) struct Evaluator<'a> {
    pub(super) snapshot: Option<&'a Snapshot>,
    pub(super) overrides: Option<&'a Overrides>,
    pub(super) report_unknown: bool,
}

impl<'a> Evaluator<'a> {
    #[inline]
    pub(super) fn of(state: &'a State) -> Self {
        Self {
            snapshot: state.snapshot.as_deref(),
            overrides: state.overrides.as_deref(),
            report_unknown: state.report_unknown,
        }
    }

    /// What tests have set for a flag.
    #[cold]
    pub(super) fn flag_override(&self, key: &Bound<'_, PyString>) -> Option<bool> {
        self.overrides?.flag(key.to_str().ok()?)
    }

    /// What tests have set for a setting.
    #[cold]
    pub(super) fn value_override(&self, key: &Bound<'_, PyString>) -> Option<&'a StoredValue> {
        self.overrides?.value(key.to_str().ok()?)
    }

    #[inline]
    pub(super) fn flag_enabled(
        &self,
        key: &Bound<'_, PyString>,
        user: Option<UserArgument<'_, '_>>,
        default: bool,
    ) -> PyResult<bool> {
        if self.overrides.is_some()
            && let Some(value) = self.flag_override(key)
        {
            return Ok(value);
        }
        let Some(snapshot) = self.snapshot else { return Ok(default) };
        // A key that is no valid UTF-8 cannot be in the database.
        let found = key.to_str().ok().and_then(|text| Some((text, snapshot.flag(text)?)));
        match found {
            Some((text, flag)) => {
                let answer = value(text, flag, user)?;
                flag.counters.count(answer);
                Ok(answer)
            }
            None => self.unknown(key, default).map(|()| default),
        }
    }

    /// Counts a question for a key without a flag, and tells of it where that is asked for.
    #[cold]
    fn unknown(&self, key: &Bound<'_, PyString>, default: bool) -> PyResult<()> {
        unknown_keys::count(key, default);
        if self.report_unknown { unknown_keys::report(key, "flag") } else { Ok(()) }
    }

    /// The setting, as a reference: making the Python object is left to who gives it away.
    #[inline]
    pub(super) fn value(&self, key: &Bound<'_, PyString>) -> PyResult<Option<&'a StoredValue>> {
        if self.overrides.is_some()
            && let Some(setting) = self.value_override(key)
        {
            return Ok(Some(setting));
        }
        let Some(snapshot) = self.snapshot else { return Ok(None) };
        let found = key.to_str().ok().and_then(|text| snapshot.value(text));
        if found.is_none() && self.report_unknown {
            unknown_keys::report(key, "value")?;
        }
        Ok(found)
    }

    pub(super) fn explain(
        &self,
        key: &Bound<'_, PyString>,
        user: Option<UserArgument<'_, '_>>,
    ) -> PyResult<Explained> {
        if let Some(value) = self.flag_override(key) {
            return Ok((value, Reason::Static.as_str(), None, None, None));
        }
        let Some(snapshot) = self.snapshot else { return Ok(Absent::NotReady.explained()) };
        let found = key.to_str().ok().and_then(|text| Some((text, snapshot.flag(text)?)));
        match found {
            Some((text, flag)) => explain_flag(text, flag, user),
            None => Ok(Absent::NotFound.explained()),
        }
    }

    pub(super) fn depends_on_user(&self, key: &Bound<'_, PyString>) -> bool {
        let flag = || self.snapshot?.flag(key.to_str().ok()?);
        self.flag_override(key).is_none() && flag().is_some_and(Flag::depends_on_subject)
    }

    /// The answer of every flag, by key, or of those that browsers may ask for. The user is read
    /// at most once, and only if one of the answers depends on it.
    pub(super) fn all_flags<'py>(
        &self,
        py: Python<'py>,
        user: Option<UserArgument<'_, 'py>>,
        client_side: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let flags = self.snapshot.into_iter().flat_map(Snapshot::flags);
        let mut flags: Vec<_> =
            flags.filter(|(_, flag)| flag.client_side || !client_side).collect();
        flags.sort_unstable_by_key(|(key, _)| *key);
        let depends = flags.iter().any(|(_, flag)| flag.depends_on_subject());
        let answers = PyDict::new(py);
        let fill = |subject: Subject<'_>| {
            flags.iter().try_for_each(|(key, flag)| {
                answers.set_item(key, evaluate(key, flag, &subject).value)
            })
        };
        match user {
            Some(user) if depends => user.ask(fill)??,
            _ => fill(Subject::Anonymous)?,
        }
        self.with_overrides(answers, client_side)
    }

    /// The answers, with those that tests have set among them, in the order of the keys.
    /// A flag that a test has set needs a row that lets browsers ask for it.
    fn with_overrides<'py>(
        &self,
        answers: Bound<'py, PyDict>,
        client_side: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let Some(overrides) = self.overrides else { return Ok(answers) };
        for (key, value) in overrides.flags() {
            if !client_side || answers.contains(key)? {
                answers.set_item(key, value)?;
            }
        }
        let mut sorted: Vec<(String, bool)> = answers.items().extract()?;
        sorted.sort_unstable();
        sorted.into_py_dict(answers.py())
    }
}

/// The answer for whoever asks, who is touched only where it matters who it is.
#[inline]
pub(super) fn value(key: &str, flag: &Flag, user: Option<UserArgument<'_, '_>>) -> PyResult<bool> {
    match user {
        Some(user) if flag.depends_on_subject() => {
            user.ask(|subject| evaluate(key, flag, &subject).value)
        }
        _ => Ok(evaluate(key, flag, &Subject::Anonymous).value),
    }
}

/// The same walk as a question's, seen.
pub(super) fn explain_flag(
    key: &str,
    flag: &Flag,
    user: Option<UserArgument<'_, '_>>,
) -> PyResult<Explained> {
    let look = |subject: Subject<'_>| {
        let Evaluation { value, reason, bucket: hashed } = evaluate(key, flag, &subject);
        let bucket = hashed.or_else(|| subject.text(|text| bucket(key, text)));
        (value, reason.as_str(), None, bucket, Some(flag.rollout_percent))
    };
    match user {
        Some(user) => user.ask(look),
        None => Ok(look(Subject::Anonymous)),
    }
}

/// Why there is no flag to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// Nothing is loaded, or the database cannot be asked.
    NotReady,
    /// There is no such flag.
    NotFound,
}

impl Absent {
    /// The same in OpenFeature's words.
    pub(super) fn explained(self) -> Explained {
        let code = match self {
            Self::NotReady => "PROVIDER_NOT_READY",
            Self::NotFound => "FLAG_NOT_FOUND",
        };
        (false, Reason::Error.as_str(), Some(code), None, None)
    }
}
