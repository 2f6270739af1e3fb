"""Checks the rows of flags: their keys, bucketing units and rules; and those of other rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from django.conf import settings
from django.utils.module_loading import import_string

from flagstaff._core import check_rules
from flagstaff._engine.forced_off import VARIABLE, given_keys
from flagstaff._tables.bucket_units import USER, VISITOR
from flagstaff._tables.groups import readable_groups
from flagstaff._tables.impossible_values import impossible_conditions
from flagstaff._tables.known_attributes import SIMILAR, known_attributes, similar_attribute
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.names import user_field
from flagstaff._taken_keys import keys_of_apps
from flagstaff._words.rule_parts import named_attributes, named_segments
from flagstaff._words.similar import most_similar, with_similar
from flagstaff._words.text import some
from flagstaff.checks.check import Problem
from flagstaff.checks.database import Database, StoredRules, Texts
from flagstaff.conf import conf
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.validators import is_valid_flag_key, unit_problem

_MAX_SHOWN = 3


def invalid_keys(database: Database) -> Iterator[Problem]:
    """Yields that flags have keys that flagstaff's own model would reject."""
    keys = [key for key in database.keys or () if not is_valid_flag_key(key)]
    if keys:
        count = len(keys)
        flags = "1 flag has a key that is" if count == 1 else f"{count:,} flags have keys that are"
        shown = some(map(repr, keys), _MAX_SHOWN)
        yield Problem(f"{flags} not valid: {shown}", conf.flag_model)


def keys_of_flags_and_values(database: Database) -> Iterator[Problem]:
    """Yields that a flag and a value have the same key."""
    both = {*(database.keys or ())}.intersection(database.keys_of_values)
    if shown := some(map(repr, sorted(both)), _MAX_SHOWN):
        yield Problem(f"a flag and a value have the same key: {shown}", conf.flag_model)


def keys_that_differ_in_case(database: Database) -> Iterator[Problem]:
    """Yields that keys of flags differ only in upper and lower case."""
    by_folded: dict[str, list[str]] = {}
    for key in database.keys or ():
        by_folded.setdefault(key.casefold(), []).append(key)
    groups = (" and ".join(map(repr, keys)) for keys in by_folded.values() if len(keys) > 1)
    if shown := some(groups, _MAX_SHOWN):
        yield Problem(
            f"keys of flags differ only in upper and lower case: {shown}", conf.flag_model
        )


def unknown_forced_off_keys(database: Database) -> Iterator[Problem]:
    """Yields that FLAGSTAFF_FORCE_OFF names flags that do not exist, nor any experiment."""
    forced_off = [key for key in given_keys() if is_valid_flag_key(key)]
    existing = database.keys if forced_off else None
    unknown = [key for key in forced_off if existing is not None and key not in existing]
    others = keys_of_apps(unknown) if unknown else {}
    if unknown := [key for key in unknown if key not in others]:
        similar = most_similar(unknown[0], existing or ())
        yield Problem(
            f"{VARIABLE} names flags that do not exist: {some(unknown)}",
            conf.flag_model,
            hint=f'did you mean "{similar}"?'
            if similar
            else "correct the keys and restart the process; a flag that is created later with such "
            "a key is forced off, too",
        )


def missing_segments(database: Database) -> Iterator[Problem]:
    """Yields that rules name segments that do not exist."""
    missing = [*_missing(database.stored)]
    if missing:
        shown = some(missing, _MAX_SHOWN)
        yield Problem(f"rules name segments that do not exist: {shown}", conf.flag_model)


def unreadable_rules(database: Database) -> Iterator[Problem]:
    """Yields that workers cannot read rules of flags or values, or conditions of segments."""
    if shown := _problems(database.stored.flags, "flag"):
        yield Problem(
            f"workers cannot read the rules of {shown}",
            conf.flag_model,
            what="rules",
            verb="rules",
            otherwise="return the default of the call",
        )
    if shown := _problems(database.stored.values, "value"):
        yield Problem(
            f"workers cannot read the rules of the values {shown}",
            conf.value_model,
            what="rules",
            verb="value rules",
            otherwise="give everyone the value itself",
        )
    if shown := _problems(database.stored.segments, "segment"):
        yield Problem(
            f"workers cannot read the conditions of {shown}",
            segment_model(),
            what="conditions",
            verb="segment conditions",
            otherwise="the segment does not exist for them",
        )


def misspelled_attributes(database: Database) -> Iterator[Problem]:
    """Yields that an attribute is spelled nearly like one that exists.

    Any name may be right, because the context of a call may have it.
    """
    decoded = [*database.stored.rules.values(), *database.stored.conditions.values()]
    names = {name for json in decoded for name in named_attributes(json)}
    similar = {name: similar_attribute(name) for name in names.difference(known_attributes())}
    misspelled = (with_similar(name, similar[name]) for name in sorted(similar) if similar[name])
    if shown := some(misspelled, _MAX_SHOWN):
        yield Problem(f"rules read attributes that may be misspelled: {shown}", conf.flag_model)


def impossible_values(database: Database) -> Iterator[Problem]:
    """Yields that values of conditions never match."""
    stored = database.stored
    segments = {f"segment {key!r}": one for key, one in stored.conditions.items()}
    found = (
        f"{one.problem} ({owner})"
        for owner, rules in (stored.rules | segments).items()
        for one in impossible_conditions(rules)
    )
    if shown := some(found, _MAX_SHOWN, separator="; "):
        yield Problem(f"rules have values that never match: {shown}", conf.flag_model)


def unreadable_groups(database: Database) -> Iterator[Problem]:
    """Yields why workers cannot read the groups that rules read."""
    users = user_field(conf.flag_model).model
    why = readable_groups(database.connection, conf.flag_model, users)
    if database.stored.read_groups and isinstance(why, str):
        text = f"workers cannot read the groups of users: {why}; so conditions on groups are false"
        yield Problem(text, conf.flag_model)


def unusable_units(database: Database) -> Iterator[Problem]:
    """Yields that flags or values have bucketing units that are not usable."""
    problems = {owner: unit_problem(unit) for owner, unit in database.units.items()}
    unusable = (f"{owner} ({problem})" for owner, problem in problems.items() if problem)
    if shown := some(unusable, _MAX_SHOWN, separator="; "):
        yield Problem(f"unusable bucketing units: {shown}", conf.flag_model)


def misspelled_units(database: Database) -> Iterator[Problem]:
    """Yields that a bucketing unit is spelled nearly like one that exists.

    Any name may be right, because the context of a call may have it.
    """
    known = [USER, VISITOR, *conf.attributes.columns]
    misspelled = (
        f"{unit!r} of {owner} (did you mean {similar!r}?)"
        for owner, unit in database.units.items()
        if unit not in known
        and unit_problem(unit) is None
        and (similar := most_similar(unit, known, SIMILAR))
    )
    if shown := some(misspelled, _MAX_SHOWN):
        yield Problem(f"bucketing units that may be misspelled: {shown}", conf.flag_model)


def visitors_without_middleware(database: Database) -> Iterator[Problem]:
    """Yields that something is bucketed by visitor, but no middleware gives browsers a cookie."""
    owners = [owner for owner, unit in database.units.items() if unit == VISITOR]
    if owners and not any(map(_is_ours, settings.MIDDLEWARE)):
        yield Problem(
            f"bucketed by visitor: {some(owners, _MAX_SHOWN)}; but no browser has a "
            "visitor, because FlagstaffMiddleware is not in MIDDLEWARE",
            conf.flag_model,
        )


def _problems(texts: Texts | None, kind: Literal["flag", "value", "segment"]) -> str:
    """Returns the problems of JSON texts as a text, each with its key; "" without any."""
    problems = ((key, check_rules(text, kind)) for key, text in (texts or {}).items())
    shown = (f"{key!r} ({one})" for key, one in problems if one)
    return some(shown, _MAX_SHOWN, separator="; ")


def _missing(stored: StoredRules) -> Iterator[str]:
    """Yields the missing segments, each with its rule; none if the segments cannot be read."""
    if stored.segments is None:
        return
    for owner, rules in stored.rules.items():
        for segment, place in dict.fromkeys(named_segments(rules)):
            if segment not in stored.segments:
                yield f"{segment!r} in {place} of {owner}"


def _is_ours(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:  # Django reports it at the first request.
        return False
    return isinstance(middleware, type) and issubclass(middleware, FlagstaffMiddleware)
