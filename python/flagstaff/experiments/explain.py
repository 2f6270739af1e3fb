"""Evaluation details: the result of `get_variant`, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar, overload

from flagstaff import _core
from flagstaff._engine.explain import ExplainedRule, explained_rules
from flagstaff._words.core_messages import message_of
from flagstaff._words.message import Message
from flagstaff.typing import Context, UserLike

_T = TypeVar("_T")


@dataclass(frozen=True)
class VariantExplanation:
    """The result of `get_variant`, with its reason."""

    key: str
    #: The key of the variant; None for the default of the call.
    variant: str | None
    #: DISABLED if the experiment does not run or is forced off, STATIC if a winner was shipped,
    #: DEFAULT without a unit, TARGETING_MATCH for an override of the unit or for rules that exclude
    #: it, SPLIT if the bucket decided, CRAWLER for a request that IS_CRAWLER names, LIMIT for a
    #: visitor that this worker has left out in this phase, because too many new ones came in an
    #: hour, or ERROR.
    reason: str
    #: If the reason is ERROR: PROVIDER_NOT_READY, FLAG_NOT_FOUND, PARSE_ERROR for rules that cannot
    #: be read, or GENERAL for a user or an attribute, because the database failed.
    error_code: str | None
    #: "FLAGSTAFF_FORCE_OFF" if the environment of this process decides in place of the row,
    #: "override_variant" if a test does, else None.
    override: str | None = None
    #: Whether `get_variant` records the unit, so that it is analysed.
    is_recorded: bool = False
    #: The bucket of the unit, 0 to 9,999; None if it was not needed.
    bucket: int | None = None
    #: What is the unit: "user", "visitor", or an attribute.
    bucket_by: str | None = None
    #: The phase of the experiment.
    phase: int | None = None
    #: All rules of the experiment.
    rules: tuple[ExplainedRule, ...] = ()
    #: Why the rules cannot be read, or None. Then the last good ones decide.
    rules_problem: Message | None = None


def explain_variant(
    key: str, user: UserLike = None, *, context: Context = None
) -> VariantExplanation:
    """Returns the result of `get_variant(key, user, context=context)`, and why. Records nothing.

    Reads the user, even if the result does not depend on it, unless a test has set the variant.
    Raises TypeError if `user` or `context` has a wrong type. Does not block.
    """
    explanation = _core.current(key).explain_variant(key, user, context=context)
    rules = explained_rules(*(explanation.pop("rules") or ("[]", [])))
    problem = explanation.pop("rules_problem")
    return VariantExplanation(
        key,
        override=explanation.pop("overridden_by"),
        rules=rules,
        rules_problem=problem and message_of(problem),
        **explanation,
    )


def resolve_variant(
    key: str, user: UserLike = None, *, default: object = None, context: Context = None
) -> _core.Resolution[Any]:
    """Returns the result of `get_variant` with its reason, and records as it does.

    Never raises for an unknown key.
    """
    return _core.current(key).resolve_variant(key, user, default=default, context=context)


@overload
def peek_variant(
    key: str, user: UserLike = None, *, default: None = None, context: Context = None
) -> str | None: ...
@overload
def peek_variant(
    key: str, user: UserLike = None, *, default: _T, context: Context = None
) -> str | _T: ...
def peek_variant(
    key: str, user: UserLike = None, *, default: object = None, context: Context = None
) -> object:
    """Returns the result of `get_variant` without a record, for code that does not show it."""
    return _core.current(key).peek_variant(key, user, default=default, context=context)
