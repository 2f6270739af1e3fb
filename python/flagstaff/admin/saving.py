"""The admin saves through `flagstaff.changes`, as commands and code do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.rows import case_variants
from flagstaff._words.text import local_list, quoted
from flagstaff.admin.forms import MergingForm
from flagstaff.changes import row_changes
from flagstaff.changes.changed import Changed
from flagstaff.history.describe import describe_actor, describe_change
from flagstaff.history.kinds import Kind
from flagstaff.history.user_names import may_see_users, names_of_actors, names_of_users

#: Why the key of a row is fixed.
KEY_HELP: Mapping[Kind, Promise] = {
    Kind.FLAG: gettext_lazy(
        "Your code uses this key, and the key decides which users a rollout includes. "
        "For another key, create a new flag."
    ),
    Kind.VALUE: gettext_lazy("Your code uses this key. For another key, create a new value."),
}
#: The buttons that show the page again, with what was typed and without saving.
REVIEW_BUTTONS = ("_rule_edit", "_count", "_edit")
# The newer changes that a message lists.
_MAX_LISTED = 5
# The length of each value in it.
_MAX_VALUE = 120


def create_row(kind: Kind, row: Any, form: MergingForm) -> Changed:
    """Writes a new row with its allowed users, and gives `row` its primary key."""
    names = {field.name for field in (*row._meta.concrete_fields, *row._meta.many_to_many)}
    fields = {name: value for name, value in form.cleaned_data.items() if name in names}
    changed = row_changes.create_row(kind, fields.pop("key"), fields)
    row.pk = kind.row(row.key).pk
    row._state.adding = False
    return changed


def newer_changes(request: HttpRequest, form: MergingForm) -> str:
    """Describes what was changed after the page was opened; empty if nothing was."""
    events = form.newer_events(_MAX_LISTED)
    actors = names_of_actors(events)
    users = names_of_users(events) if may_see_users(request.user) else None
    newer = (
        f"{describe_actor(event, actors)}: {describe_change(event, users, limit=_MAX_VALUE)}"
        for event in events
    )
    text = _("Changes that others made while this page was open were kept: %(changes)s.")
    return text % {"changes": "; ".join(newer)} if events else ""


def case_variants_text(model: type[Model], key: str) -> str:
    """Returns the sentence; empty if there is no such key. Makes a query."""
    similar = case_variants(model, key)
    if not similar:
        return ""
    text = _("Keys are case-sensitive: “%(key)s” differs only in case from %(keys)s.")
    keys = local_list(quoted(variant) for variant in similar)
    return text % {"key": key, "keys": keys}
