"""The reference for targeting rules: the words of the documentation as plain Python.

It shares nothing with the Rust core: Python's own numbers, datetimes, JSON and `re` decide.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from itertools import chain
from typing import Any, NamedTuple


class _Missing:
    """An attribute that is not there."""


MISSING = _Missing()
#: An attribute of the user object, when only a primary key was passed. It is missing, too.
NEEDS_USER = _Missing()


class _Float(float):
    """A JSON number that Python decodes to a float, with its exact text."""

    text: str

    __repr__ = float.__repr__
    __str__ = float.__repr__


def _float(text: str) -> _Float:
    number = _Float(text)
    number.text = text
    return number


def loads(text: str) -> Any:
    """Decodes JSON, and keeps the exact text of numbers."""
    return json.loads(text, parse_float=_float)


def exact_json(value: Any) -> str:
    """Encodes what `loads` returns, with the exact text of numbers."""
    if isinstance(value, _Float):
        return value.text
    if isinstance(value, list):
        return f"[{', '.join(map(exact_json, value))}]"
    if isinstance(value, dict):
        members = (f"{json.dumps(name)}: {exact_json(member)}" for name, member in value.items())
        return f"{{{', '.join(members)}}}"
    return json.dumps(value)


@dataclass(frozen=True)
class Flag:
    """A flag, its rules, and the segments that exist."""

    key: str
    enabled: bool
    rollout_percent: int
    allowed: frozenset[str]
    rules: list[dict[str, Any]]
    segments: Mapping[str, list[dict[str, Any]]]
    bucket_by: str = "user"
    #: All flags that conditions may need, by key.
    flags: Mapping[str, Flag] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Value:
    """A value of its own, its rules, and the segments that exist."""

    key: str
    value: Any
    rules: list[dict[str, Any]]
    segments: Mapping[str, list[dict[str, Any]]]
    bucket_by: str = "user"
    flags: Mapping[str, Flag] = field(default_factory=dict, repr=False)


#: The state of a condition on a flag that is off.
OFF = object()


class Result(NamedTuple):
    """A result, its reason, and the number of the rule that decided."""

    value: Any
    reason: str
    bucket: int | None
    rule: int | None


def evaluate(
    flag: Flag, pk: str | None, attributes: Mapping[str, Any], time_zone: tzinfo
) -> Result:
    """Evaluates a flag for the user with this primary key, `None` for an anonymous one."""
    return _evaluate(flag, pk, attributes, time_zone)[0]


def _evaluate(
    flag: Flag, pk: str | None, attributes: Mapping[str, Any], time_zone: tzinfo
) -> tuple[Result, bool]:
    """Returns the result, and whether a flag that is off limits it.

    A rule that only flags that are off keep from deciding gives nobody anything, and nothing after
    it gives more than its percentage.
    """
    if not flag.enabled:
        return Result(False, "DISABLED", None, None), False
    if pk is not None and pk in flag.allowed:
        return Result(True, "TARGETING_MATCH", None, None), False
    conditions, most, is_limited = _Conditions(flag, pk, attributes, time_zone), 100, False
    for number, rule in enumerate(flag.rules, 1):
        states = [conditions.state(condition) for condition in rule["conditions"]]
        percent = min(rule.get("rollout_percent", 100), most)
        if all(state is True for state in states):
            if percent in {0, 100}:
                return Result(percent > 0, "TARGETING_MATCH", None, number), is_limited
            return _split(flag, percent, pk, attributes)._replace(rule=number), is_limited
        if all(state is True or state is OFF for state in states):
            most, is_limited = percent, True
    percent = min(flag.rollout_percent, most)
    if percent >= 100:
        return Result(True, "STATIC", None, None), is_limited
    return _split(flag, percent, pk, attributes), is_limited


def evaluate_value(
    value: Value, pk: str | None, attributes: Mapping[str, Any], time_zone: tzinfo
) -> Result:
    """Evaluates a value for the user with this primary key, `None` for an anonymous one."""
    if not value.rules:
        return Result(value.value, "STATIC", None, None)
    conditions = _Conditions(value, pk, attributes, time_zone)
    for number, rule in enumerate(value.rules, 1):
        if all(conditions.state(condition) is True for condition in rule["conditions"]):
            percent = rule.get("rollout_percent", 100)
            if percent in {0, 100}:
                result = rule["value"] if percent else value.value
                return Result(result, "TARGETING_MATCH", None, number)
            bucket = bucket_of(value, pk, attributes)
            if bucket is None:
                return Result(value.value, "DEFAULT", None, number)
            result = rule["value"] if bucket < percent else value.value
            return Result(result, "SPLIT", bucket, number)
    return Result(value.value, "DEFAULT", None, None)


def _split(flag: Flag, percent: int, pk: str | None, attributes: Mapping[str, Any]) -> Result:
    if percent <= 0 and (pk is not None or flag.bucket_by != "user"):
        return Result(False, "SPLIT", None, None)
    bucket = bucket_of(flag, pk, attributes)
    if bucket is None:
        return Result(False, "DEFAULT", None, None)
    return Result(bucket < percent, "SPLIT", bucket, None)


def bucket_of(flag: Flag | Value, pk: str | None, attributes: Mapping[str, Any]) -> int | None:
    """Returns the bucket of the unit of a flag or value, `None` if there is no unit."""
    unit = _unit_of(flag, pk, attributes)
    return None if unit is None else _hash(flag.key, unit) % 100


def _hash(name: str, unit: str) -> int:
    return int(hashlib.sha256(f"{name}:{unit}".encode()).hexdigest(), 16)


def hundredths(name: str, unit: object) -> int:
    """Returns the hundredths of a percent that a condition on a bucket compares."""
    bucket = _hash(name, str(unit)) % 10_000
    return bucket % 100 * 100 + bucket // 100


def _unit_of(row: Flag | Value, pk: str | None, attributes: Mapping[str, Any]) -> str | None:
    return pk if row.bucket_by == "user" else _unit(attributes.get(row.bucket_by, MISSING))


def _unit(attribute: Any) -> str | None:
    """Returns a text that is not empty, or the digits of a whole number of any type."""
    if isinstance(attribute, str):
        return attribute or None
    if isinstance(attribute, float):
        is_whole = attribute.is_integer() and abs(attribute) < 2**53
    elif isinstance(attribute, Decimal):
        is_whole = attribute.is_finite() and attribute.adjusted() < 255
        is_whole = is_whole and attribute == attribute.to_integral_value()
    else:
        is_whole = _is_number(attribute)
    return str(int(attribute)) if is_whole else None


@dataclass(frozen=True)
class _Conditions:
    row: Flag | Value
    pk: str | None
    attributes: Mapping[str, Any]
    time_zone: tzinfo

    def state(self, condition: dict[str, Any]) -> object:
        """Returns whether a condition is true, or `None` for what is missing or of another type.

        With `None`, the condition is false, whether it is negated or not; so it is with `OFF`, the
        state of a condition on a flag that is off.
        """
        negate = condition.get("negate", False)
        if "segment" in condition:
            return self._segment_state(condition["segment"], negate)
        if "bucket" in condition:
            return self._bucket_state(condition, negate)
        if "flag" in condition:
            return self._flag_state(condition["flag"], condition["is"])
        attribute = self.attributes.get(condition["attribute"], MISSING)
        is_missing = isinstance(attribute, _Missing)
        if condition["operator"] == "isnull":
            [is_null] = condition["values"]
            is_true = (is_missing is is_null) is not negate
            return None if is_missing and not is_true else is_true
        if is_missing:
            return None
        matches = self._matches(attribute, condition)
        return None if matches is None else matches is not negate

    def _segment_state(self, key: str, negate: bool) -> object:
        if key not in self.row.segments:
            return None
        states = [self.state(condition) for condition in self.row.segments[key]]
        if negate and any(state is False for state in states):
            return True
        if any(state is OFF for state in states):
            known = [state for state in states if state is not OFF]
            return OFF if negate or all(state is True for state in known) else False
        return not negate and all(states)

    def _bucket_state(self, condition: dict[str, Any], negate: bool) -> bool | None:
        unit = _unit_of(self.row, self.pk, self.attributes)
        if unit is None:
            return None
        number = Fraction(hundredths(condition["bucket"], unit), 100)
        [bound] = condition["values"]
        is_below = number < Fraction(bound.text if isinstance(bound, _Float) else bound)
        return (is_below is (condition["operator"] == "lt")) is not negate

    def _flag_state(self, key: str, expected: bool) -> object:
        flag = self.row.flags.get(key)
        if flag is None or not flag.enabled or depth_of(flag) > _STEPS - 1:
            return OFF
        result, is_limited = _evaluate(flag, self.pk, self.attributes, self.time_zone)
        # A rollout of 0 % is a brake, too; with rules, it is for those whom none of them lets in.
        is_braked = not flag.rules and flag.rollout_percent <= 0
        if not result.value and (is_limited or is_braked):
            return OFF
        return result.value is expected

    def _matches(self, attribute: Any, condition: dict[str, Any]) -> bool | None:
        elements = attribute if isinstance(attribute, list) else [attribute]
        matches = _OPERATORS[condition["operator"]]
        results = [
            matches(element, value, self.time_zone)
            for element in elements
            if not _is_nan(element) and not isinstance(element, list)
            for value in condition["values"]
        ]
        of_type = [result for result in results if result is not None]
        return any(of_type) if of_type or attribute == [] else None


#: The most flags that are followed, one needed by the other.
_STEPS = 4


def depth_of(row: Flag | Value, above: int = 0) -> float:
    """Returns how many flags a row needs one by the other; infinity above four and for a circle."""
    if above > _STEPS:
        return math.inf
    needed = [row.flags[key] for key in named_flags(row) if key in row.flags]
    depth = 1 + max((depth_of(flag, above + 1) for flag in needed), default=-1)
    return depth if depth <= _STEPS else math.inf


def named_flags(row: Flag | Value) -> set[str]:
    """Returns the keys of the flags that the rules of a row and their segments name."""
    conditions = [condition for rule in row.rules for condition in rule["conditions"]]
    of_segments = [row.segments.get(condition.get("segment"), []) for condition in conditions]
    return {
        condition["flag"] for condition in chain(conditions, *of_segments) if "flag" in condition
    }


def _is_nan(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, float) and value != value  # noqa: PLR0124 (only NaN differs from itself)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


# What an operator returns of an attribute and a value: `None` for unlike types.
_Matches = Callable[[Any, Any, tzinfo], bool | None]


def _is_equal(attribute: Any, value: Any, zone: tzinfo) -> bool | None:
    if isinstance(attribute, bool) or isinstance(value, bool):
        return attribute is value if type(attribute) is type(value) else None
    if _is_number(attribute) and _is_number(value):
        return _numbers(attribute, value, lambda left, other: left == other)
    if _is_number(attribute) and not _NUMBER.fullmatch(value):
        return None
    moments = _moments(attribute, value, zone)
    if isinstance(attribute, date):
        return moments and moments[0] == moments[1]
    return str(attribute) == str(value) or bool(moments and moments[0] == moments[1])


def _numbers(attribute: Any, value: Any, compare: Callable[[Any, Any], bool]) -> bool:
    if isinstance(attribute, float):
        return compare(attribute, float(value) if isinstance(value, _Float) else value)
    return compare(Decimal(attribute), Decimal(value.text if isinstance(value, _Float) else value))


_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?", re.ASCII | re.IGNORECASE
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATETIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:(?<=:\d\d:\d\d)\.(\d{1,9}))?"
    r"([Zz]|[+-]\d\d(?::?\d\d(?::\d\d)?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (to subtract it from naive ones)


def _moment(value: Any) -> date | None:
    """Returns a date or datetime, also that of a text; `None` if the value is neither."""
    if not isinstance(value, str):
        return value if isinstance(value, date) else None
    try:
        if _DATE.fullmatch(value):
            return date.fromisoformat(value)
        match = _DATETIME.fullmatch(value)
        if not match:
            return None
        day, minutes, seconds, fraction, offset = match.groups()
        # Digits after the sixth do not count.
        text = f"{day}T{minutes}{seconds or ':00'}.{(fraction or '0').ljust(6, '0')[:6]}"
        if offset in {"Z", "z"}:
            offset = "+00:00"
        elif offset:
            digits = offset[1:].replace(":", "").ljust(6, "0")
            offset = f"{offset[0]}{digits[:2]}:{digits[2:4]}:{digits[4:]}"
        return datetime.fromisoformat(text + (offset or ""))
    except ValueError:
        return None


def _moments(attribute: Any, value: Any, zone: tzinfo) -> tuple[timedelta, timedelta] | None:
    """Returns the times in UTC since 1970 of an attribute and a value; `None` if one has none."""
    first, other = _moment(attribute), _moment(value)
    return None if first is None or other is None else (_utc(first, zone), _utc(other, zone))


def _utc(moment: date, zone: tzinfo) -> timedelta:
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    # Not by `astimezone`, which fails within a day of the year 1.
    return moment.replace(tzinfo=None) - _EPOCH - (moment.utcoffset() or timedelta())


def _compares(compare: Callable[[Any, Any], bool]) -> _Matches:
    def matches(attribute: Any, value: Any, zone: tzinfo) -> bool | None:
        if _is_number(attribute) and _is_number(value):
            return _numbers(attribute, value, compare)
        if moments := _moments(attribute, value, zone):
            return compare(*moments)
        are_texts = isinstance(attribute, str) and isinstance(value, str)
        return compare(attribute, value) if are_texts else None

    return matches


def _on_text(compare: Callable[[str, str], bool | None]) -> _Matches:
    def matches(attribute: Any, value: Any, zone: tzinfo) -> bool | None:
        is_text = isinstance(attribute, str) or _is_number(attribute)
        return compare(str(attribute), value) if is_text else None

    return matches


#: The patterns of the cases that no text matches.
_IMPOSSIBLE = {"a^", "$a", "/^DE$/"}


def _has_match(text: str, pattern: str) -> bool | None:
    return None if pattern in _IMPOSSIBLE else re.search(pattern, text) is not None


_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(
    rf"[vV]?(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?(?:\.(0|[1-9]\d*))?(?:-({_IDENTIFIERS}))?(?:\+{_IDENTIFIERS})?",
    re.ASCII,
)


def _version(text: str) -> tuple[Any, ...] | None:
    """Returns what orders a version, `None` if the text is none."""
    match = _VERSION.fullmatch(text)
    if not match:
        return None
    *numbers, prerelease = match.groups()
    identifiers = prerelease.split(".") if prerelease else []
    if any(
        identifier.isdigit() and identifier != "0" and identifier.startswith("0")
        for identifier in identifiers
    ):
        return None
    ordered = [
        (0, int(identifier), "") if identifier.isdigit() else (1, 0, identifier)
        for identifier in identifiers
    ]
    return [int(number or 0) for number in numbers], not identifiers, ordered


def _compares_version(compare: Callable[[Any, Any], bool]) -> Callable[[str, str], bool | None]:
    def matches(text: str, value: str) -> bool | None:
        version = _version(text)
        return None if version is None else compare(version, _version(value))

    return matches


_OPERATORS: dict[str, _Matches] = {
    "in": _is_equal,
    "contains": _on_text(lambda text, part: part in text),
    "startswith": _on_text(str.startswith),
    "endswith": _on_text(str.endswith),
    "regex": _on_text(_has_match),
    "lt": _compares(lambda left, other: left < other),
    "lte": _compares(lambda left, other: left <= other),
    "gt": _compares(lambda left, other: left > other),
    "gte": _compares(lambda left, other: left >= other),
    "version_eq": _on_text(_compares_version(lambda left, other: left == other)),
    "version_lt": _on_text(_compares_version(lambda left, other: left < other)),
    "version_lte": _on_text(_compares_version(lambda left, other: left <= other)),
    "version_gt": _on_text(_compares_version(lambda left, other: left > other)),
    "version_gte": _on_text(_compares_version(lambda left, other: left >= other)),
}


def decoded(attribute: Any) -> Any:
    """Returns the attribute that a case means by its JSON."""
    if attribute is None:
        return MISSING
    if isinstance(attribute, list):
        return [decoded(element) for element in attribute]
    if not isinstance(attribute, dict):
        return attribute
    [kind] = attribute.keys() & {"decimal", "integer", "float", "date", "datetime", "needs_user"}
    text = attribute[kind]
    kinds: dict[str, Callable[[str], Any]] = {
        "decimal": Decimal,
        "integer": int,
        "float": float,
        "date": date.fromisoformat,
        "datetime": lambda text: datetime.fromisoformat(text).astimezone(timezone.utc),
        "needs_user": lambda _: NEEDS_USER,
    }
    return kinds[kind](text)
