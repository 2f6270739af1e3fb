"""The values with rules that one user gets, below the flags of the user."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from flagstaff import _core
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.explain import ValueExplanation, explanation_of
from flagstaff._stored_value_schema import is_secret
from flagstaff._words.rule_parts import ALL
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.conf import conf
from flagstaff.history.describe import describe_value

# The values that the page shows, and the length of each.
_MAX_VALUES = 200
_MAX_LENGTH = 80


def values_of_user(
    site: AdminSite, request: HttpRequest, user: Any, context: dict[str, object]
) -> list[dict[str, object]]:
    """Returns a line for each value with rules that the list of values shows to the request.

    Reads all values in a few queries. Counts no usage.
    """
    model = conf.value_model
    value_admin = admin_of(site, model)
    if value_admin is None or not may_view(site, request, model):
        return []
    rows = value_admin.get_queryset(request).exclude(rules=[])
    found = [*rows.order_by("key")[:_MAX_VALUES]]
    with read_own_writes():
        snapshot = _core.snapshot()
        explained = {
            row.key: explanation_of(
                ValueExplanation,
                row.key,
                snapshot.explain(row.key, user, context=context, kind="value"),
            )
            for row in (found if snapshot.ready else ())
        }
    return [
        {
            "key": row.key,
            "url": page_url(site, model, "change", row.pk),
            "value": Truncator(
                describe_value(explained[row.key].value, secret=is_secret(row))
            ).chars(_MAX_LENGTH),
            "why": _why(explained[row.key]),
        }
        for row in found
        if row.key in explained
    ]


def _why(found: ValueExplanation) -> str:
    """Returns which rule has decided, in a few words."""
    if found.override is not None:
        return _("overridden by a test")
    if found.rule is None:
        return _("no rule matches")
    percent = found.deciding_step.values["percent"]
    texts = {
        "number": found.rule,
        "name": found.rule_name,
        "percent": percent,
        "bucket": found.bucket,
    }
    rule = _("rule %(number)s “%(name)s”") if found.rule_name else _("rule %(number)s")
    parts = [rule % texts]
    if percent < ALL:
        parts.append(_("rollout of %(percent)s %%") % texts)
        if found.bucket is not None:
            parts.append(_("bucket %(bucket)s") % texts)
    if found.has_own:
        parts.append(_("so the value itself"))
    return ", ".join(parts)
