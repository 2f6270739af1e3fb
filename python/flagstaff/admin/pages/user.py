"""The flags and values of one user."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator

from flagstaff import _core
from flagstaff._core import Snapshot
from flagstaff._engine.direct import read_own_writes
from flagstaff._evaluation import Explanation, ValueExplanation, explanation_of
from flagstaff._request.context import with_objects
from flagstaff._request.flags import without_request
from flagstaff._text import local_number, localized, say
from flagstaff.admin.base_admin import (
    PAGE,
    Content,
    Filter,
    Page,
    page_links,
    page_number,
    with_query,
)
from flagstaff.admin.evaluation import EvaluationForm, TypedUser, why
from flagstaff.admin.links import page_url
from flagstaff.admin.rights import admin_of, may_view, needs_view_user_text, object_reader
from flagstaff.admin.words import Column, Table, badge, key_link, short
from flagstaff.changes.consequence import code_text
from flagstaff.conf import conf
from flagstaff.extensions import deciding_code
from flagstaff.history.describe import describe_value, may_see_users
from flagstaff.validators import is_secret

_ON = "on"
_PAGE_SIZE = 200
# The values that the page shows, and the length of each.
_MAX_VALUES, _MAX_LENGTH = 200, 80


class UserFlags(Page):
    """Users who may view flags and users see which flags and values a user has."""

    name = "user"

    def content(self) -> Content:
        """The flags of the user in the URL. The number of queries does not depend on theirs."""
        if not may_see_users(self.request.user):
            return Content(notes=[needs_view_user_text()])
        form = EvaluationForm(self.request.GET, object_reader(self.site, self.request))
        if not form.is_valid():
            return Content(form)
        user, context = form.cleaned_data["user"], form.cleaned_data["context"]
        # In a few queries: the snapshot of this process may be older. Counts no usage.
        with read_own_writes(), without_request():
            context, notes = with_objects(context, user.argument)
            snapshot = _core.snapshot()
            if not snapshot.ready:
                return Content(
                    form, notes=[say("The flags cannot be read from the database.").local]
                )
            pks = self.shown_flags()
            explanations = {
                key: explanation_of(
                    Explanation, key, snapshot.explain(key, user.argument, context=context)
                )
                for key in pks
            }
            values = self._values(snapshot, user.argument, context)
        on = [key for key in pks if explanations[key].value]
        is_only_on = _ON in self.request.GET
        # First those that are on.
        keys = on if is_only_on else sorted(pks, key=lambda key: not explanations[key].value)
        page = Paginator(keys, _PAGE_SIZE).get_page(page_number(self.request))
        labels = {
            True: badge("on", say("on").local),
            False: badge("off", say("off").local),
        }
        model, titles = conf.flag_model, (say("Flag").local, say("State").local, say("Why").local)
        codes = deciding_code([key for key in page if explanations[key].reason != "DISABLED"])
        states: dict[str, tuple[str, str]]
        states = {
            key: (labels[bool(explanations[key].value)], why(explanations[key])) for key in page
        }
        states |= {key: ("", localized(code_text(code))) for key, code in codes.items()}
        rows = [
            (key_link(key, page_url(self.site, model, "change", pks[key])), *states[key])
            for key in page
        ]
        tables = [Table([*map(Column, titles)], rows), values]
        return Content(
            form,
            sentence=_sentence(len(on), len(pks), user),
            notes=[*user.notes(), *notes],
            filters=[
                self._filter(say("All flags").local, len(pks), None, is_current=not is_only_on),
                self._filter(say("Only on").local, len(on), "1", is_current=is_only_on),
            ],
            tables=[table for table in tables if table.rows],
            links=page_links(self.request, page.number, has_next=page.has_next()),
            remarks=[
                say(
                    "The flags are evaluated as they are stored, and not counted as usage. A user "
                    "is in a rollout of 25 percent if the bucket is below 25."
                ).local
            ],
        )

    def _filter(self, label: str, count: int, value: str | None, *, is_current: bool) -> Filter:
        url = with_query(self.request, {_ON: value, PAGE: None})
        return Filter(label, url, local_number(count), is_current)

    def _values(self, snapshot: Snapshot, user: Any, context: dict[str, object]) -> Table:
        """Returns the values with rules that the list of values shows to the user."""
        model, rows = conf.value_model, []
        value_admin = admin_of(self.site, model)
        if value_admin is not None and may_view(self.site, self.request, model):
            stored = value_admin.get_queryset(self.request).exclude(rules=[])
            rows = [*stored.order_by("key")[:_MAX_VALUES]]
        shown = []
        for row in rows:
            raw = snapshot.explain(row.key, user, context=context, kind="value")
            explanation = explanation_of(ValueExplanation, row.key, raw)
            value = describe_value(explanation.value, secret=is_secret(row))
            key = key_link(row.key, page_url(self.site, model, "change", row.pk))
            shown.append((key, short(value, _MAX_LENGTH), why(explanation)))
        titles = (say("Value").local, say("Result").local, say("Why").local)
        return Table([*map(Column, titles)], shown, say("Values with rules").local)


def _sentence(on: int, total: int, user: TypedUser) -> str:
    return say(
        "{on} of {total} flag is on for {user}.",
        "{on} of {total} flags are on for {user}.",
        count=total,
        on=on,
        total=total,
        user=user.words,
    ).local
