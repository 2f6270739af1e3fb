"""The reference for targeting rules: the words of the documentation as plain Python.

It shares nothing with the Rust core: Python's own numbers, datetimes, JSON and `re` decide.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timezone, tzinfo
from decimal import Decimal
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


@dataclass(frozen=True)
class Value:
    """A value of its own, its rules, and the segments that exist."""

    key: str
    value: Any
    rules: list[dict[str, Any]]
    segments: Mapping[str, list[dict[str, Any]]]
    bucket_by: str = "user"


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
    if not flag.enabled:
        return Result(False, "DISABLED", None, None)
    if pk is not None and pk in flag.allowed:
        return Result(True, "TARGETING_MATCH", None, None)
    conditions = _Conditions(flag.segments, attributes, time_zone)
    for number, rule in enumerate(flag.rules, 1):
        if all(conditions.state(condition) is True for condition in rule["conditions"]):
            percent = rule.get("rollout_percent", 100)
            if percent in {0, 100}:
                return Result(percent > 0, "TARGETING_MATCH", None, number)
            return _split(flag, percent, pk, attributes)._replace(rule=number)
    if flag.rollout_percent >= 100:
        return Result(True, "STATIC", None, None)
    return _split(flag, flag.rollout_percent, pk, attributes)


def evaluate_value(
    value: Value, pk: str | None, attributes: Mapping[str, Any], time_zone: tzinfo
) -> Result:
    """Evaluates a value for the user with this primary key, `None` for an anonymous one."""
    if not value.rules:
        return Result(value.value, "STATIC", None, None)
    conditions = _Conditions(value.segments, attributes, time_zone)
    for number, rule in enumerate(value.rules, 1):
        if all(conditions.state(condition) is True for condition in rule["conditions"]):
            percent = rule.get("rollout_percent", 100)
            if percent in {0, 100}:
                found = rule["value"] if percent else value.value
                return Result(found, "TARGETING_MATCH", None, number)
            bucket = bucket_of(value, pk, attributes)
            if bucket is None:
                return Result(value.value, "DEFAULT", None, number)
            found = rule["value"] if bucket < percent else value.value
            return Result(found, "SPLIT", bucket, number)
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
    unit = pk if flag.bucket_by == "user" else _unit(attributes.get(flag.bucket_by, MISSING))
    if unit is None:
        return None
    return int(hashlib.sha256(f"{flag.key}:{unit}".encode()).hexdigest(), 16) % 100


def _unit(attribute: Any) -> str | None:
    """Returns the text of a number or of a text that is not empty."""
    is_unit = isinstance(attribute, str) or _is_number(attribute)
    return str(attribute) or None if is_unit and not _is_nan(attribute) else None


@dataclass(frozen=True)
class _Conditions:
    segments: Mapping[str, list[dict[str, Any]]]
    attributes: Mapping[str, Any]
    time_zone: tzinfo

    def state(self, condition: dict[str, Any]) -> bool | None:
        """Returns whether a condition is true, or `None` if what it needs is missing."""
        negate = condition.get("negate", False)
        if "segment" in condition:
            return self._segment_state(condition["segment"], negate)
        attribute = self.attributes.get(condition["attribute"], MISSING)
        is_missing = isinstance(attribute, _Missing)
        if condition["operator"] == "isnull":
            [is_null] = condition["values"]
            is_true = (is_missing is is_null) is not negate
            return None if is_missing and not is_true else is_true
        if is_missing:
            return None
        return self._matches(attribute, condition) is not negate

    def _segment_state(self, key: str, negate: bool) -> bool | None:
        if key not in self.segments:
            return None
        states = [self.state(condition) for condition in self.segments[key]]
        if negate:
            return any(state is False for state in states)
        return all(states)

    def _matches(self, attribute: Any, condition: dict[str, Any]) -> bool:
        elements = attribute if isinstance(attribute, list) else [attribute]
        matches = _OPERATORS[condition["operator"]]
        return any(
            matches(element, value, self.time_zone)
            for element in elements
            if not _is_nan(element) and not isinstance(element, list)
            for value in condition["values"]
        )


def _is_nan(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()
    return isinstance(value, float) and value != value  # noqa: PLR0124 (only NaN differs from itself)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_equal(attribute: Any, value: Any, zone: tzinfo) -> bool:
    if isinstance(attribute, bool) or isinstance(value, bool):
        return attribute is value
    if _is_number(attribute) and _is_number(value):
        return _numbers(attribute, value, lambda one, other: one == other)
    if isinstance(attribute, date):
        pair = _moments(attribute, value, zone)
        return pair is not None and type(attribute) is type(_moment(value)) and pair[0] == pair[1]
    return str(attribute) == str(value)


def _numbers(attribute: Any, value: Any, compare: Callable[[Any, Any], bool]) -> bool:
    if isinstance(attribute, float):
        return compare(attribute, float(value) if isinstance(value, _Float) else value)
    return compare(Decimal(attribute), Decimal(value.text if isinstance(value, _Float) else value))


_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATETIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(?:(?<=:\d\d:\d\d)\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)?",
    re.ASCII,
)


def _moment(value: Any) -> date | None:
    """Returns the date or datetime of a text, `None` if it is neither."""
    if not isinstance(value, str):
        return None
    try:
        if _DATE.fullmatch(value):
            return date.fromisoformat(value)
        found = _DATETIME.fullmatch(value)
        if not found:
            return None
        day, minutes, seconds, fraction, offset = found.groups()
        text = f"{day}T{minutes}{seconds or ':00'}.{(fraction or '0').ljust(6, '0')}"
        return datetime.fromisoformat(text + (offset or "").replace("Z", "+00:00"))
    except ValueError:
        return None


def _moments(attribute: date, value: Any, zone: tzinfo) -> tuple[Any, Any] | None:
    """Returns the attribute and the value in a form that compares, `None` if they do not."""
    moment = _moment(value)
    if moment is None:
        return None
    if not isinstance(attribute, datetime):
        return None if isinstance(moment, datetime) else (attribute, moment)
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if moment.tzinfo is None:
        return attribute.astimezone(zone).replace(tzinfo=None), moment
    return attribute, moment


def _compares(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any, tzinfo], bool]:
    def matches(attribute: Any, value: Any, zone: tzinfo) -> bool:
        if _is_number(attribute) and _is_number(value):
            return _numbers(attribute, value, compare)
        if isinstance(attribute, date):
            pair = _moments(attribute, value, zone)
            return pair is not None and compare(*pair)
        return isinstance(attribute, str) and isinstance(value, str) and compare(attribute, value)

    return matches


def _on_text(compare: Callable[[str, str], bool]) -> Callable[[Any, Any, tzinfo], bool]:
    def matches(attribute: Any, value: Any, zone: tzinfo) -> bool:
        is_text = isinstance(attribute, str) or _is_number(attribute)
        return is_text and compare(str(attribute), value)

    return matches


_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(
    rf"(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?(?:\.(0|[1-9]\d*))?(?:-({_IDENTIFIERS}))?(?:\+{_IDENTIFIERS})?",
    re.ASCII,
)


def _version(text: str) -> tuple[Any, ...] | None:
    """Returns what orders a version, `None` if the text is none."""
    found = _VERSION.fullmatch(text)
    if not found:
        return None
    *numbers, prerelease = found.groups()
    identifiers = prerelease.split(".") if prerelease else []
    if any(one.isdigit() and one != "0" and one.startswith("0") for one in identifiers):
        return None
    ordered = [(0, int(one), "") if one.isdigit() else (1, 0, one) for one in identifiers]
    return [int(number or 0) for number in numbers], not identifiers, ordered


def _compares_version(compare: Callable[[Any, Any], bool]) -> Callable[[str, str], bool]:
    def matches(text: str, value: str) -> bool:
        version = _version(text)
        return version is not None and compare(version, _version(value))

    return matches


_OPERATORS: dict[str, Callable[[Any, Any, tzinfo], bool]] = {
    "in": _is_equal,
    "contains": _on_text(lambda text, part: part in text),
    "startswith": _on_text(str.startswith),
    "endswith": _on_text(str.endswith),
    "regex": _on_text(lambda text, pattern: re.search(pattern, text) is not None),
    "lt": _compares(lambda one, other: one < other),
    "lte": _compares(lambda one, other: one <= other),
    "gt": _compares(lambda one, other: one > other),
    "gte": _compares(lambda one, other: one >= other),
    "version_lt": _on_text(_compares_version(lambda one, other: one < other)),
    "version_gte": _on_text(_compares_version(lambda one, other: one >= other)),
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
