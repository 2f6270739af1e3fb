//! Evaluates flags and values against one snapshot.

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyString};

use super::state::{self, LIVE};
use super::subject::UserArgument;
use super::unknown_keys;
use crate::bucket::bucket;
use crate::evaluate::{Evaluation, Reason, evaluate};
use crate::flag::Flag;
use crate::live::{EvaluationMode, State};
use crate::overrides::{FlagOverride, Overrides};
use crate::rules::NoAttributes;
use crate::snapshot::Snapshot;
use crate::stored_value::StoredValue;
use crate::subject::Subject;

/// Result, reason, error code, bucket, rollout in percent, and the name of what is set over the
/// database.
pub(super) type Explained =
    (bool, &'static str, Option<&'static str>, Option<u8>, Option<i32>, Option<&'static str>);

/// A snapshot, with what tests and the environment have set over it.
#[derive(Clone, Copy)]
pub(super) struct Evaluator<'a> {
    pub(super) snapshot: Option<&'a Snapshot>,
    pub(super) overrides: Option<&'a Overrides>,
    pub(super) report_unknown: bool,
    /// Where the process evaluates from; `None` if it is read when it is needed.
    pub(super) mode: Option<EvaluationMode>,
}

impl<'a> Evaluator<'a> {
    #[inline]
    pub(super) fn of(state: &'a State) -> Self {
        Self {
            snapshot: state.snapshot.as_deref(),
            overrides: state.overrides.as_deref(),
            report_unknown: state.report_unknown,
            mode: Some(state.mode),
        }
    }

    /// What decides a flag in place of its row.
    #[cold]
    pub(super) fn flag_override(&self, key: &Bound<'_, PyString>) -> Option<FlagOverride> {
        self.overrides?.flag(key.to_str().ok()?)
    }

    /// What tests have set for a value.
    #[cold]
    pub(super) fn value_override(&self, key: &Bound<'_, PyString>) -> Option<&'a StoredValue> {
        self.overrides?.value(key.to_str().ok()?)
    }

    #[expect(clippy::inline_always, reason = "a call costs as much as its work")]
    #[inline(always)]
    pub(super) fn flag_enabled(
        &self,
        key: &Bound<'_, PyString>,
        user: Option<UserArgument<'_, '_>>,
        default: bool,
    ) -> PyResult<bool> {
        if self.overrides.is_some()
            && let Some(found) = self.flag_override(key)
        {
            return Ok(self.overridden(key, found));
        }
        let Some(snapshot) = self.snapshot else { return Ok(default) };
        // A key that is not valid UTF-8 cannot be in the database.
        let Ok(text) = key.to_str() else { return self.unknown(key, "", default) };
        match snapshot.flag(text) {
            Some(flag) => {
                let result = value(text, flag, user)?;
                flag.count(result);
                Ok(result)
            }
            None => self.unknown(key, text, default),
        }
    }

    /// The result of an override. A flag that is forced off is in use, so it counts.
    #[cold]
    fn overridden(&self, key: &Bound<'_, PyString>, found: FlagOverride) -> bool {
        let value = found.evaluation().value;
        if found == FlagOverride::ForcedOff
            && let (Some(snapshot), Ok(text)) = (self.snapshot, key.to_str())
        {
            match snapshot.flag(text) {
                Some(flag) => flag.count(value),
                None => self.count_unknown(text, value),
            }
        }
        value
    }

    /// The result of an unknown key, which is counted, and reported if that is configured.
    fn unknown(&self, key: &Bound<'_, PyString>, text: &str, default: bool) -> PyResult<bool> {
        self.count_unknown(text, default);
        if self.report_unknown {
            unknown_keys::report(key, "flag")?;
        }
        Ok(default)
    }

    /// Counts an evaluation of a key without a flag, if the process evaluates from memory.
    fn count_unknown(&self, key: &str, result: bool) {
        if self.mode.or_else(state::mode) == Some(EvaluationMode::Memory) {
            LIVE.unknown_keys().count(key, result);
        }
    }

    /// The stored value. The caller makes the Python object.
    #[inline]
    pub(super) fn value(&self, key: &Bound<'_, PyString>) -> PyResult<Option<&'a StoredValue>> {
        if self.overrides.is_some()
            && let Some(value) = self.value_override(key)
        {
            return Ok(Some(value));
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
        if let Some(found) = self.flag_override(key) {
            let Evaluation { value, reason, bucket, .. } = found.evaluation();
            return Ok((value, reason.as_str(), None, bucket, None, Some(found.name())));
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

    /// The results of all flags by key, or of those that browsers may read. Reads the user at most
    /// once, and only if a result depends on it.
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
        let results = PyDict::new(py);
        let fill = |subject: Subject<'_>| {
            flags.iter().try_for_each(|(key, flag)| {
                results.set_item(key, evaluate(key, flag, &subject, &NoAttributes).value)
            })
        };
        match user {
            Some(user) if depends => user.with_subject(fill)??,
            _ => fill(Subject::Anonymous)?,
        }
        self.with_overrides(results, client_side)
    }

    /// Adds the overrides to the results, and sorts them by key. With `client_side`, an override
    /// counts only for a flag whose row lets browsers read it.
    fn with_overrides<'py>(
        &self,
        results: Bound<'py, PyDict>,
        client_side: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let Some(overrides) = self.overrides else { return Ok(results) };
        for (key, value) in overrides.flags() {
            if !client_side || results.contains(key)? {
                results.set_item(key, value)?;
            }
        }
        let mut sorted: Vec<(String, bool)> = results.items().extract()?;
        sorted.sort_unstable();
        sorted.into_py_dict(results.py())
    }
}

/// The result for `user`, who is read only if the result depends on it.
#[expect(clippy::inline_always, reason = "a call costs as much as its work")]
#[inline(always)]
pub(super) fn value(key: &str, flag: &Flag, user: Option<UserArgument<'_, '_>>) -> PyResult<bool> {
    match user {
        Some(user) if flag.depends_on_subject() => {
            user.with_subject(|subject| evaluate(key, flag, &subject, &NoAttributes).value)
        }
        _ => Ok(evaluate(key, flag, &Subject::Anonymous, &NoAttributes).value),
    }
}

/// The same evaluation, with its reason.
pub(super) fn explain_flag(
    key: &str,
    flag: &Flag,
    user: Option<UserArgument<'_, '_>>,
) -> PyResult<Explained> {
    let explained = |subject: Subject<'_>| {
        let Evaluation { value, reason, bucket: hashed, .. } =
            evaluate(key, flag, &subject, &NoAttributes);
        let bucket = hashed.or_else(|| subject.text(|text| bucket(key, text)));
        (value, reason.as_str(), None, bucket, Some(flag.rollout_percent), None)
    };
    match user {
        Some(user) => user.with_subject(explained),
        None => Ok(explained(Subject::Anonymous)),
    }
}

/// Why there is no flag to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// Nothing is loaded, or the database cannot be read.
    NotReady,
    /// The flag does not exist.
    NotFound,
}

impl Absent {
    /// The same in the words of OpenFeature.
    pub(super) fn explained(self) -> Explained {
        let code = match self {
            Self::NotReady => "PROVIDER_NOT_READY",
            Self::NotFound => "FLAG_NOT_FOUND",
        };
        (false, Reason::Error.as_str(), Some(code), None, None, None)
    }
}
