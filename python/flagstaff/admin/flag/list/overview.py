"""Counts of all flags and of the shortcuts, with the owners and tags, read by one query."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.contrib import admin
from django.db import connections
from django.db.models import Aggregate, Count, Max, Model, Q
from django.http import HttpRequest
from django.utils import timezone

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.flag_states import ReleaseState
from flagstaff._tables.model_fields import OWNER, TAGS
from flagstaff._tables.tags import usable_tags
from flagstaff._words.times import aware, aware_or_none
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.flag.list.conditions import (
    ALL_WITHOUT_RULES,
    LONG,
    are_at_most,
    changed_since,
    has_usage,
    hidden_tables,
    in_state,
    keep_released,
    not_evaluated_since,
    owned_by,
    rules_at_100,
    stored_texts,
    usage_is_older_than,
    usage_since,
)
from flagstaff.admin.page import page_of
from flagstaff.conf import conf

#: The names of the shortcuts.
CHANGED, ROLLOUT, MINE, ALL, UNUSED = "changed", "rollout", "mine", "all", "unused"
# The names of what `_stored` returns.
_STORED = ("flagstaff_rules", "flagstaff_owners", "flagstaff_tags")
# Of more flags, those without an evaluation are not counted: it needs a look-up for each flag.
_MAX_LOOKED_UP = 2_000


@dataclass(frozen=True)
class Overview:
    """What one query says about all flags."""

    total: int
    #: The counts of the shortcuts that the project's flags can have, by name; None for a count
    #: that would take too long.
    counts: Mapping[str, int | None] = field(default_factory=dict)
    #: Since when evaluations are counted; None if none was.
    usage_since: datetime | None = None
    #: Whether the tables of the history and the usage exist, and hide no rows.
    is_readable: bool = False


def overview_of(request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Overview:
    """Returns the numbers. Reads them once for a request."""
    return page_of(request).once(Overview, partial(_read, request, model_admin))


@dataclass(frozen=True)
class StoredOwnership:
    """The owners and the tags of all flags, without regard to case."""

    owners: Sequence[str]
    tags: Sequence[str]

    @classmethod
    def of(cls, owners: Iterable[object], tags: Iterable[object]) -> StoredOwnership:
        """Returns them, given columns of the flags."""
        every = {tag for one in tags for tag in usable_tags(one)}
        return cls(_sorted({str(owner) for owner in owners} - {""}), _sorted(every))


def stored_ownership(request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> StoredOwnership:
    """Returns the owners and the tags. Reads them with the numbers, or else by a query."""
    overview_of(request, model_admin)
    return page_of(request).once(StoredOwnership, partial(_read_ownership, request, model_admin))


def _read_ownership(request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> StoredOwnership:
    rows = list(model_admin.get_queryset(request).order_by().values_list(OWNER, TAGS))
    return StoredOwnership.of((owner for owner, _tags in rows), (tags for _owner, tags in rows))


def _sorted(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=lambda text: (text.casefold(), text))


def _read(request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Overview:
    flags = model_admin.get_queryset(request).order_by()
    conditions = _conditions(request, model_admin)
    counts = {
        f"flagstaff_{name}": Count("pk", filter=condition) for name, condition in conditions.items()
    }
    total = Count("pk")
    stored = _stored(model_admin.model)
    # The list must work without a table of the history or of the usage.
    values = value_or_default(
        "the list of flags has no shortcuts",
        lambda: flags.aggregate(flagstaff_total=total, **counts, **_since(), **stored),
        None,
    ) or flags.aggregate(flagstaff_total=total)
    numbers: dict[str, int | None] = {
        name: values.get(f"flagstaff_{name}", 0) for name in conditions
    }
    if stored and stored.keys() <= values.keys():
        rules, owners, tags = (json.loads(values.get(name) or "{}") for name in _STORED)
        numbers[ALL] = values[f"flagstaff_{ALL}"] + keep_released(request, rules)
        page_of(request).keep(StoredOwnership.of(owners, map(json.loads, tags)))
    if UNUSED in numbers and values["flagstaff_total"] > _MAX_LOOKED_UP:
        numbers[UNUSED] = None
    since = values.get("flagstaff_since")
    if since is None or aware(since) > aware(timezone.now()) - timedelta(days=LONG):
        # Flags without an evaluation may have had some before.
        numbers.pop(UNUSED, None)
    return Overview(
        total=values["flagstaff_total"],
        counts=numbers,
        usage_since=aware_or_none(since),
        is_readable=values.get("flagstaff_hidden") == 0,
    )


def _stored(model: type[Model]) -> dict[str, Aggregate]:
    """What the filters need of all flags: rules at 100 %, owners and lists of tags."""
    if not is_postgresql(connections[conf.database]):
        return {}
    unchanged = ~changed_since(model, timezone.now() - timedelta(days=LONG))
    aggregates = (rules_at_100(unchanged), stored_texts(OWNER, ""), stored_texts(TAGS, []))
    return dict(zip(_STORED, aggregates, strict=True))


def _since() -> dict[str, Max]:
    if not has_usage():
        return {}
    return {"flagstaff_since": Max(usage_since()), "flagstaff_hidden": Max(hidden_tables())}


def _conditions(request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> dict[str, Q]:
    """The conditions of the shortcuts, by name."""
    model, now = model_admin.model, timezone.now()
    long_ago = now - timedelta(days=LONG)
    conditions = {
        CHANGED: changed_since(model, now - timedelta(hours=24)),
        ROLLOUT: in_state(request, model, ReleaseState.ROLLOUT),
        MINE: owned_by(request),
    }
    # On PostgreSQL, those with rules are added to the number: see `_stored`.
    is_split = is_postgresql(connections[conf.database])
    on_for_all = ALL_WITHOUT_RULES if is_split else in_state(request, model, ReleaseState.ALL)
    conditions[ALL] = on_for_all & ~changed_since(model, long_ago)
    if has_usage():
        # In a look-up for each flag: not where it is left out, and not for too many flags.
        may_count = usage_is_older_than(long_ago) & are_at_most(model, _MAX_LOOKED_UP)
        conditions[UNUSED] = may_count & not_evaluated_since(long_ago)
    return conditions
