"""Checks the targeting rules of the flags in the table, and the conditions of the segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.core.checks import CheckMessage, Info, Warning  # noqa: A004
from django.db.models import Model

from flagstaff import _core
from flagstaff._tables.model_fields import segment_model
from flagstaff._text.lists import join_some
from flagstaff._text.rule_parts import named_attributes, named_segments
from flagstaff.checks.spelling import nearest
from flagstaff.checks.stored_rules import StoredRules, Texts
from flagstaff.conf import conf
from flagstaff.conf.attribute_sources import BUILT_IN

__all__ = ["check_rules"]

_MAX_SHOWN = 3


def check_rules(stored: StoredRules) -> list[CheckMessage]:
    """flagstaff.W033, W034 and I036: what is wrong with the rules that are stored."""
    return [
        *_segments_that_do_not_exist(stored),
        *_rules_that_cannot_be_read(stored),
        *_attributes_that_are_nearly_known(stored),
    ]


def _segments_that_do_not_exist(stored: StoredRules) -> Iterator[CheckMessage]:
    """flagstaff.W033: rules name segments that do not exist."""
    missing = [*_missing(stored)]
    if missing:
        yield Warning(
            f"rules name segments that do not exist: {join_some(missing, _MAX_SHOWN)}",
            hint="such a condition is never true; create the segment with "
            '"manage.py flags segment create", or change the rules',
            obj=conf.flag_model,
            id="flagstaff.W033",
        )


def _rules_that_cannot_be_read(stored: StoredRules) -> Iterator[CheckMessage]:
    """flagstaff.W034: workers cannot read rules of flags or conditions of segments."""
    flags = _problems(stored.flags, _core.check_rules)
    segments = _problems(stored.segments, _core.check_conditions)
    if flags:
        yield _unreadable(
            conf.flag_model,
            f"workers cannot read the rules of {join_some(flags, _MAX_SHOWN, separator='; ')}",
            'correct the rules in the admin or with "manage.py flags set-rules", or update '
            "flagstaff if a newer version wrote them; meanwhile, workers use the last good "
            "rules that they have read, or return the default of the call",
        )
    if segments:
        shown = join_some(segments, _MAX_SHOWN, separator="; ")
        yield _unreadable(
            segment_model(),
            f"workers cannot read the conditions of {shown}",
            'correct the conditions in the admin or with "manage.py flags segment update", or '
            "update flagstaff if a newer version wrote them; meanwhile, workers use the last "
            "good conditions that they have read, or the segment does not exist for them",
        )


def _attributes_that_are_nearly_known(stored: StoredRules) -> Iterator[CheckMessage]:
    """flagstaff.I036: an attribute is spelled nearly like one that exists.

    Any name may be right, because the context of a call may have it.
    """
    stored_json = [*stored.rules.values(), *stored.conditions.values()]
    names = {name for json in stored_json for name in named_attributes(json)}
    known = [*BUILT_IN, *conf.attributes.columns]
    similar = {
        name: other for name in sorted(names.difference(known)) if (other := nearest(name, known))
    }
    if similar:
        shown = (f"{name!r} (did you mean {other!r}?)" for name, other in similar.items())
        yield Info(
            f"rules read attributes that may be misspelled: {join_some(shown, _MAX_SHOWN)}",
            hint="correct the spelling; if the context or your function has the attribute, "
            "silence this with SILENCED_SYSTEM_CHECKS",
            obj=conf.flag_model,
            id="flagstaff.I036",
        )


def _unreadable(model: type[Model], text: str, hint: str) -> Warning:
    return Warning(text, hint=hint, obj=model, id="flagstaff.W034")


def _problems(texts: Texts | None, check: Callable[[str], str | None]) -> list[str]:
    found = ((key, check(text)) for key, text in (texts or {}).items())
    return [f"{key!r} ({problem})" for key, problem in found if problem]


def _missing(stored: StoredRules) -> Iterator[str]:
    """Yields the missing segments, each with its rule; none if the segments cannot be read."""
    if stored.segments is None:
        return
    for flag, rules in stored.rules.items():
        for segment, place in dict.fromkeys(named_segments(rules)):
            if segment not in stored.segments:
                yield f"{segment!r} in {place} of {flag!r}"
