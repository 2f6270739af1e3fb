"""Evaluations that are less frequent: all flags, a result with its reason, and each step of it.

Also the context as a person types it: texts of name=value, or JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from json import JSONDecodeError
from math import isfinite
from typing import Any, TypeVar, overload

from flagstaff import _core
from flagstaff._core import is_storable
from flagstaff._tables.rows import VISITOR
from flagstaff._text import Sentence, localized, parse_json, say, scalar_of
from flagstaff._text.rules import conditions_text
from flagstaff._types import Context, UserLike
from flagstaff.conf import BUILT_IN

_T = TypeVar("_T")


@overload
def resolve_value(
    key: str, default: None = None, *, user: UserLike = None, context: Context = None
) -> _core.Resolution[Any]: ...
@overload
def resolve_value(
    key: str, default: _T, *, user: UserLike = None, context: Context = None
) -> _core.Resolution[Any | _T]: ...
def resolve_value(
    key: str, default: object = None, *, user: UserLike = None, context: Context = None
) -> _core.Resolution[Any]:
    """Returns the result of `get_value` with its reason, and the rule that decided.

    Never raises for an unknown key.
    """
    return _core.current(key).resolve_value(key, default, user=user, context=context)


def all_flags(
    user: UserLike = None, *, client_side: bool = False, context: Context = None
) -> dict[str, bool]:
    """Returns the result of every flag for `user`, by key, from one snapshot. Does not block.

    With `client_side`, only the flags that browsers may evaluate. Reads the user at most once.
    Raises TypeError for a wrong type. Usage counts nothing, and has the time of the last call: with
    `client_side`, these flags are in use; without it, it is not known which flags are in use,
    because only evaluations of one key are counted.
    """
    return _core.current().all_flags(user, client_side=client_side, context=context)


@dataclass(frozen=True)
class Step:
    """One condition that an evaluation checks."""

    #: "exists", "enabled", "rule 1", "condition 1", the bucketing unit, and so on.
    name: str
    #: Whether the condition is met; None if the evaluation ended before.
    met: bool | None
    #: Whether the result was decided here: one step of each evaluation decides.
    decides: bool
    #: Why; empty if the evaluation ended before, and for a condition that was compared.
    text: str
    #: Of a rule its `name` and `percent`; of a condition the `condition` as it is stored and its
    #: `outcome`: "passed", "failed", "missing", "needs_user" if the attribute is one of the user
    #: object and the caller has passed a primary key, "type_mismatch" if no value can match an
    #: attribute of this type. `missing` is the unit that the context lacks. `flag` is the key of
    #: the flag whose evaluation it belongs to, if a condition needs it.
    values: Mapping[str, Any]
    #: 1 for a condition of a rule, 2 for a condition of a segment that the rule names, else 0. The
    #: steps of a flag that a condition needs follow it, deeper by its level and one.
    level: int


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A result, and how it came about."""

    key: str
    #: What the call returns, or None for its default; of a declared value, as JSON has it.
    value: Any
    #: DISABLED, TARGETING_MATCH, STATIC, DEFAULT, SPLIT, PREVIEW or ERROR.
    reason: str
    #: If the reason is ERROR: PROVIDER_NOT_READY, FLAG_NOT_FOUND, PARSE_ERROR for rules that cannot
    #: be read, or GENERAL for a user or an attribute, because the database failed.
    error_code: str | None
    #: The bucket of the user or of the other unit; None if the unit is missing or not needed.
    bucket: int | None
    #: The bucketing unit: "user", "visitor", or an attribute; None without a row, with an override,
    #: and for a value without rules.
    bucket_by: str | None
    #: "FLAGSTAFF_FORCE_OFF" or "FLAGSTAFF_FORCE_ON" if the environment of this process decides,
    #: "override_flag", "override_value" or "override_variant" if a test does, "preview" if the user
    #: of the request previews the flag, else None.
    override: str | None
    #: The number and name of the rule that decided.
    rule: int | None
    rule_name: str | None
    #: Why the rules of the row cannot be read, or None. Then the last good ones decide, if there
    #: are any.
    rules_problem: Sentence | None
    #: All steps of the evaluation, in order.
    steps: tuple[Step, ...] = field(repr=False)

    @property
    def deciding_step(self) -> Step:
        """The step that decides."""
        return next(step for step in self.steps if step.decides)


@dataclass(frozen=True, kw_only=True)
class Explanation(Explained):
    """The result of `flag_enabled`, with its reason. The value is False for its default."""

    value: bool
    #: The flag's own rollout in percent; None if there is no flag, and with an override.
    rollout_percent: int | None


@dataclass(frozen=True, kw_only=True)
class ValueExplanation(Explained):
    """The result of `get_value`, with its reason: STATIC for a value without rules."""

    #: Not in `repr`, which logs have: it may be secret.
    value: Any = field(repr=False)
    #: Whether the result is the value itself, not that of a rule or an override.
    has_own: bool


def explain(key: str, user: UserLike = None, *, context: Context = None) -> Explanation:
    """Returns the result of `flag_enabled(key, user, context=context)`, and why.

    It runs the same code as `flag_enabled`. It reads the user, even if the result does not depend
    on it, unless there is an override. Raises TypeError if `user` or `context` has a wrong type.
    Does not block.
    """
    return explanation_of(Explanation, key, _core.current(key).explain(key, user, context=context))


def explain_value(key: str, user: UserLike = None, *, context: Context = None) -> ValueExplanation:
    """Returns the result of `get_value(key, user=user, context=context)`, and why.

    It runs the same code as `get_value`. It reads the user, even if the result does not depend on
    it, if the value has rules. Raises TypeError if `user` or `context` has a wrong type. Does not
    block.
    """
    raw = _core.current(key).explain(key, user, context=context, kind="value")
    return explanation_of(ValueExplanation, key, raw)


_Explained = TypeVar("_Explained", bound=Explained)


def explanation_of(
    explanation_class: type[_Explained], key: str, raw: Mapping[str, Any]
) -> _Explained:
    """Returns what the extension found, as an explanation."""
    steps = tuple(map(_step, raw["steps"]))
    members = {**raw, "key": key, "override": raw["overridden_by"], "steps": steps}
    return explanation_class(
        **{field.name: members[field.name] for field in fields(explanation_class)}
    )


def _step(raw: tuple[Any, ...]) -> Step:
    name, met, decides, text, values, level = raw
    if "condition" in values:
        values["condition"] = json.loads(values["condition"])
    return Step(name, met, decides, text or "", values, level)


def step_text(step: Step, hint: str) -> str:
    """Returns why, in one line in the active language.

    `hint` says how to pass an attribute that is missing: " (pass --context {example})".
    """
    text, values = localized(step.text), step.values
    if "condition" in values:
        condition = conditions_text([values["condition"]])
        return f"{text}: {condition}" if text else str(condition)
    if "percent" in values and text:
        name = values["name"]
        shown = "" if name is None else f"{json.dumps(name, ensure_ascii=False)}, "
        text = f"{shown}{values['percent']} %: {text}"
    if unit := values.get("missing"):
        example = f"{unit}={'ID' if unit == VISITOR else 'VALUE'}"
        text += say(hint, example=example).local
    return text


@dataclass(frozen=True)
class TypedContext:
    """The attributes that a person has typed."""

    attributes: dict[str, object]
    #: What is wrong; then there are no attributes.
    problems: tuple[Sentence, ...] = ()


def parse_text(text: str) -> TypedContext:
    """Returns the context of a text: an object in JSON, or lines of name=value. Does not query."""
    if not text.lstrip().startswith("{"):
        return parse_pairs(filter(None, map(str.strip, text.splitlines())))
    try:
        return _context(parse_json(text).items())
    except JSONDecodeError as error:
        problem = say(
            "the JSON has an error at line {line}, column {column}",
            line=str(error.lineno),
            column=str(error.colno),
        )
    except ValueError as error:
        problem = say("the JSON cannot be read: {problem}", problem=str(error))
    return TypedContext({}, (problem,))


def parse_pairs(texts: Iterable[str]) -> TypedContext:
    """Returns the context of texts such as country=DE. Does not query."""
    pairs: list[tuple[str, object]] = []
    problems: list[Sentence] = []
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if name and equals:
            # The id of a visitor is a text, also if it looks like a number.
            pairs.append((name, value if name == VISITOR else scalar_of(value)))
        else:
            problems.append(say('expected name=value, such as country=DE, not "{text}"', text=text))
    return _context(pairs, problems)


def _context(
    pairs: Iterable[tuple[str, object]], problems: Iterable[Sentence] = ()
) -> TypedContext:
    pairs = list(pairs)
    problems = (*problems, *_problems_of(pairs))
    return TypedContext({} if problems else dict(pairs), problems)


def _problems_of(pairs: Iterable[tuple[str, object]]) -> Iterator[Sentence]:
    seen = set()
    for name, value in pairs:
        if name in seen:
            yield say('"{name}" is given twice; remove one', name=name)
        elif name in BUILT_IN:
            yield say(
                '"{name}" is built in: the user decides it; use another user or another name',
                name=name,
            )
        elif not _is_usable(value) or not is_storable(name):
            yield say('"{name}" must be a text, a number, true, false, null or a list', name=name)
        seen.add(name)


def _is_usable(value: object) -> bool:
    if isinstance(value, list):
        return all(not isinstance(item, list) and _is_usable(item) for item in value)
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, str):
        return is_storable(value)
    return value is None or isinstance(value, bool | int)
