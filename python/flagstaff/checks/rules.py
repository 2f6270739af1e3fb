"""Checks the targeting rules of the flags in the table, and the conditions of the segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches

from django.core.checks import CheckMessage, Info, Warning  # noqa: A004
from django.db import Error, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, TextField
from django.db.models.functions import Cast, Substr

from flagstaff import _core
from flagstaff._tables.model_fields import rules_field, segment_model
from flagstaff._tables.rows import uncached
from flagstaff._text.json_text import read_json
from flagstaff._text.lists import join_some
from flagstaff._text.rule_parts import named_attributes, named_segments
from flagstaff.changes.segment_use import RULES
from flagstaff.conf import conf
from flagstaff.conf.attribute_sources import BUILT_IN

__all__ = [
    "check_attributes_of_rules_are_known",
    "check_rules_are_readable",
    "check_segments_of_rules_exist",
]

_MAX_SHOWN = 3
# "stafff" is like "staff"; "plan" and "country" are not like "planet" and "county_name".
_SIMILAR = 0.8
# A longer text is too long for workers, too. In characters, of which none is shorter than a byte.
_MAX_LENGTH = 256 * 1024 + 1

_Texts = dict[str, str]


def check_segments_of_rules_exist(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W033: rules name segments that do not exist."""
    missing = [*_missing(connection)]
    if not missing:
        return []
    return [
        Warning(
            f"rules name segments that do not exist: {join_some(missing, _MAX_SHOWN)}",
            hint="such a condition is never true; create the segment with "
            '"manage.py flags segment create", or change the rules',
            obj=conf.flag_model,
            id="flagstaff.W033",
        )
    ]


def check_rules_are_readable(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W034: workers cannot read rules of flags or conditions of segments."""
    flags = _problems(_rules(connection), _core.check_rules)
    segments = _problems(_conditions(connection), _core.check_conditions)
    found: list[CheckMessage] = []
    if flags:
        found.append(
            _unreadable(
                conf.flag_model,
                f"workers cannot read the rules of {join_some(flags, _MAX_SHOWN, separator='; ')}",
                'correct the rules in the admin or with "manage.py flags set-rules", or update '
                "flagstaff if a newer version wrote them; meanwhile, workers use the last good "
                "rules that they have read, or return the default of the call",
            )
        )
    if segments:
        shown = join_some(segments, _MAX_SHOWN, separator="; ")
        found.append(
            _unreadable(
                segment_model(),
                f"workers cannot read the conditions of {shown}",
                'correct the conditions in the admin or with "manage.py flags segment update", or '
                "update flagstaff if a newer version wrote them; meanwhile, workers use the last "
                "good conditions that they have read, or the segment does not exist for them",
            )
        )
    return found


def check_attributes_of_rules_are_known(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.I036: an attribute is spelt nearly like one that exists.

    Any name may be right, because the context of a call may have it.
    """
    texts = [*_rules(connection).values(), *_conditions(connection).values()]
    names = {name for text in texts for name in named_attributes(_decoded(text))}
    known = [*BUILT_IN, *conf.attributes.columns]
    similar = {
        name: found[0]
        for name in sorted(names.difference(known))
        if (found := get_close_matches(name, known, n=1, cutoff=_SIMILAR))
    }
    if not similar:
        return []
    shown = join_some([f"{name!r} (like {other!r})" for name, other in similar.items()], _MAX_SHOWN)
    return [
        Info(
            f"rules read attributes that no setting names: {shown}",
            hint="correct the spelling; if the context of your calls or your function has the "
            "attribute, silence this with SILENCED_SYSTEM_CHECKS",
            obj=conf.flag_model,
            id="flagstaff.I036",
        )
    ]


def _unreadable(model: type[Model], text: str, hint: str) -> Warning:
    return Warning(text, hint=hint, obj=model, id="flagstaff.W034")


def _problems(texts: _Texts, check: Callable[[str], str | None]) -> list[str]:
    found = ((key, check(text)) for key, text in texts.items())
    return [f"{key!r} ({problem})" for key, problem in found if problem]


def _missing(connection: BaseDatabaseWrapper) -> Iterator[str]:
    """Yields the missing segments, each with its rule; none if a table cannot be read."""
    segments = uncached(segment_model()._base_manager.using(connection.alias))
    try:
        with transaction.atomic(using=connection.alias):
            existing = {*segments.values_list("key", flat=True)}
    except Error:  # W013 and W014
        return
    for flag, text in _rules(connection).items():
        for segment, place in dict.fromkeys(named_segments(_decoded(text))):
            if segment not in existing:
                yield f"{segment!r} in {place} of {flag!r}"


def _decoded(text: str) -> object:
    """Returns the JSON of a text; None if the text is cut off."""
    return read_json(text) if len(text) < _MAX_LENGTH else None


def _rules(connection: BaseDatabaseWrapper) -> _Texts:
    """Returns the rules of the flags that have some, by key."""
    has_rules = rules_field(conf.flag_model) is not None
    return _texts(connection, conf.flag_model, RULES) if has_rules else {}


def _conditions(connection: BaseDatabaseWrapper) -> _Texts:
    return _texts(connection, segment_model(), "conditions")


def _texts(connection: BaseDatabaseWrapper, model: type[Model], field: str) -> _Texts:
    """Returns the JSON of a field as workers read it, by key; nothing if the table is unreadable.

    As text, because the field of a project's model fails at JSON that Python cannot decode.
    """
    rows = uncached(model._base_manager.using(connection.alias)).exclude(key=None).order_by("key")
    text = Substr(Cast(field, TextField()), 1, _MAX_LENGTH)
    try:
        with transaction.atomic(using=connection.alias):
            return {key: json for key, json in rows.values_list("key", text) if json is not None}
    except Error:  # W013 and W014
        return {}
