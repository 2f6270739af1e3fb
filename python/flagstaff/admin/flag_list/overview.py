"""Numbers about all flags: their count, those of the shortcuts, owners and tags. One query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Count, Max, Q
from django.http import HttpRequest
from django.utils import timezone

from flagstaff._tables.model_fields import OWNER, ownership_fields
from flagstaff._tables.states import State
from flagstaff._text.times import aware
from flagstaff.admin.attempts import attempt
from flagstaff.admin.flag_list.conditions import (
    changed_since,
    in_state,
    not_evaluated_since,
    usage_since,
)
from flagstaff.admin.flag_list.filters import LONG, has_usage, owned_by

__all__ = ["ALL", "CHANGED", "MINE", "ROLLOUT", "UNUSED", "Overview", "overview_of"]

#: The names of the shortcuts.
CHANGED, ROLLOUT, MINE, ALL, UNUSED = "changed", "rollout", "mine", "all", "unused"
# The attribute of a request.
_FOUND = "flagstaff_overview"


@dataclass(frozen=True)
class Overview:
    """What one query says about all flags."""

    total: int
    #: The counts of the shortcuts that the project's flags can have, by name.
    counts: Mapping[str, int] = field(default_factory=dict)
    #: Since when evaluations are counted; None if none was.
    usage_since: datetime | None = None


def overview_of(request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Overview:
    """Returns the numbers. Reads them once for a request."""
    found: Overview | None = vars(request).get(_FOUND)
    if found is None:
        found = _read(request, model_admin)
        vars(request)[_FOUND] = found
    return found


def _read(request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> Overview:
    flags = model_admin.get_queryset(request).order_by()
    conditions = _conditions(request, model_admin)
    counts = {f"flagstaff_{name}": Count("pk", filter=one) for name, one in conditions.items()}
    total = Count("pk")
    # Without a table of the history or of the usage, a person must still reach the list.
    found = attempt(
        "the list of flags has no shortcuts",
        lambda: flags.aggregate(flagstaff_total=total, **counts, **_since()),
        None,
    ) or flags.aggregate(flagstaff_total=total)
    numbers = {name: found.get(f"flagstaff_{name}", 0) for name in conditions}
    since = found.get("flagstaff_since")
    if since is None or aware(since) > timezone.now() - timedelta(days=LONG):
        # Flags without an evaluation may have had some before.
        numbers.pop(UNUSED, None)
    return Overview(
        total=found["flagstaff_total"],
        counts=numbers,
        usage_since=None if since is None else aware(since),
    )


def _since() -> dict[str, Max]:
    return {"flagstaff_since": Max(usage_since())} if has_usage() else {}


def _conditions(request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> dict[str, Q]:
    """The conditions of the shortcuts, by name."""
    model, now = model_admin.model, timezone.now()
    long_ago = now - timedelta(days=LONG)
    found = {
        CHANGED: changed_since(model, now - timedelta(hours=24)),
        ROLLOUT: in_state(model, State.ROLLOUT.value),
    }
    if OWNER in ownership_fields(model):
        found[MINE] = owned_by(request)
    found[ALL] = in_state(model, State.ALL.value) & ~changed_since(model, long_ago)
    if has_usage():
        found[UNUSED] = not_evaluated_since(model, long_ago)
    return found
