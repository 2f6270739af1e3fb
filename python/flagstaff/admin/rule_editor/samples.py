"""Values of attributes that the editor offers: choices, names of groups, and common values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice

from django.db.models import CharField, IntegerField, TextField
from django.db.models.functions import Left
from django.http import HttpRequest

from flagstaff._tables.group_lookup import group_names
from flagstaff._tables.known_attributes import GROUPS, Attribute, AttributeType, known_attributes
from flagstaff._tables.model_fields import AnyField
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff.changes.impact import limited
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.user_names import may_see_users

#: Values by the name of the attribute, most common first.
Samples = Mapping[str, list[object]]

_MAX_ROWS = 1_000
# A column with more values looks personal, and so does a longer text.
_MAX_VALUES = 20
_MAX_LENGTH = 40
# Values of fewer users may name a person.
_MIN_USERS = 2
# The groups, and the choices of a column.
_MAX_NAMES = 50
# Names of columns whose values may name a person.
_PERSONAL = re.compile("name|mail|phone|address|street|birth|password|secret|token")
# Seconds for which the page waits for the columns.
_TIMEOUT = 0.5


def sample_values(request: HttpRequest) -> Samples:
    """Returns values that users have; none without the permission to view users.

    Makes one query for the groups, and one for all columns.
    """
    if not may_see_users(request.user):
        return {}
    known = known_attributes()
    found: dict[str, list[object]] = {name: [*_choices(one)] for name, one in known.items()}
    found[GROUPS] = [*group_names(conf.database, _MAX_NAMES)]
    columns = {
        name: one.field
        for name, one in known.items()
        if one.field is not None and not found[name] and _may_offer(one.field)
    }
    if columns:
        with suppress(FlagstaffError), limited(_TIMEOUT):
            rows = _read(columns.values())
            found.update(zip(columns, map(_common, zip(*rows, strict=True)), strict=False))
    return {name: values for name, values in found.items() if values}


def _choices(attribute: Attribute) -> Iterator[object]:
    """The first choices of a column; none of a bool, whose values are a choice anyway."""
    field = None if attribute.type is AttributeType.BOOL else attribute.field
    values = _plain(value for value, _label in (field.flatchoices if field else ()))
    return islice(values, _MAX_NAMES)


def _plain(values: Iterable[object]) -> Iterator[str | int]:
    """The values that a rule can name. A field of a project may return any object."""
    return (value for value in values if isinstance(value, str | int) and value != "")


def _may_offer(field: AnyField) -> bool:
    """Whether a column may have few values, and identifies nobody."""
    names_users = field.name == getattr(field.model, "USERNAME_FIELD", "")
    is_personal = field.unique or names_users or _PERSONAL.search(field.name) is not None
    return isinstance(field, CharField | TextField | IntegerField) and not is_personal


def _read(fields: Iterable[AnyField]) -> list[tuple[object, ...]]:
    """The values of some users, of each text the beginning."""
    expressions = [
        field.name if isinstance(field, IntegerField) else Left(field.name, _MAX_LENGTH + 1)
        for field in fields
    ]
    return [*allowed_user_table().rows.order_by().values_list(*expressions)[:_MAX_ROWS]]


def _common(values: Iterable[object]) -> list[object]:
    """The values that several users have; none of a column that looks personal."""
    counts = Counter(_plain(values))
    is_long = any(len(value) > _MAX_LENGTH for value in counts if isinstance(value, str))
    if is_long or len(counts) > _MAX_VALUES:
        return []
    return [value for value, count in counts.most_common() if count >= _MIN_USERS]
