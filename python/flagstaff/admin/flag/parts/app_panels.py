"""What optional apps and the signals of stale flags show: a panel on a page, notes in the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django.http import HttpRequest

from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.part import AdminOfParts, Part


class AppPart(Part):
    """The base of the part that an optional app adds to the admin of flags, and of stale signals.

    What fails is left out: the pages must work without the tables of the app.
    """

    #: The label of the app.
    app_label: ClassVar[str]
    #: The heading of the panel.
    panel_title: ClassVar[Any] = ""

    def panel(self, request: HttpRequest, flag: Any) -> str:
        """Returns what the page of a flag shows of the app, as HTML."""
        return ""

    def notes(self, flags: Sequence[Any]) -> Mapping[str, str]:
        """Returns a short text or HTML for some flags of a list, by the text of the primary key.

        Makes a number of queries that does not depend on the number of flags.
        """
        return {}

    def attention(self, flags: Sequence[Any]) -> Mapping[str, str]:
        """Returns a few words for flags that somebody must look at, as `notes` does.

        The list, the page of the flag and its head show them in red.
        """
        return {}

    def rows_of_change(self, flags: Sequence[Any]) -> Mapping[str, PreviewRow]:
        """Returns what a change of who has a flag does to the app's rows, as `notes` does.

        The pages that confirm such a change by hand show it.
        """
        return {}

    def call(self, method: str, *arguments: Any, default: Any) -> Any:
        """Returns what a method of the app returns; `default` if it fails."""
        call = partial(getattr(self, method), *arguments)
        # Each call that may fail needs a savepoint.
        if getattr(type(self), method) is getattr(AppPart, method):
            return call()
        problem = f"the app {self.app_label} cannot show its part of the flags"
        return value_or_default(problem, call, default)


@dataclass(frozen=True)
class AppTexts:
    """What the apps say about one flag."""

    #: Short texts in red, until somebody acts.
    attention: Sequence[str] = ()
    notes: Sequence[str] = ()


def app_panels(admin: AdminOfParts, request: HttpRequest, flag: Any) -> list[tuple[str, str]]:
    """Returns the name of each app that shows something of a flag on its page, and its HTML."""
    # A panel that cannot be shown is a dash.
    return [
        (part.panel_title, html)
        for part in _app_parts(admin)
        if (html := part.call("panel", request, flag, default="\N{EN DASH}"))
    ]


def _app_parts(admin: AdminOfParts) -> list[AppPart]:
    return [part for part in admin.bound_parts if isinstance(part, AppPart)]


def texts_about(admin: AdminOfParts, flag: Any) -> AppTexts:
    """Returns what the apps say about one flag, for its page. Each makes a query or a few."""
    return texts_by_flag(admin, [flag]).get(str(flag.pk), AppTexts())


def rows_of_change(admin: AdminOfParts, flags: Sequence[Any]) -> Mapping[str, list[PreviewRow]]:
    """Returns what a change of who has flags does in the optional apps, by primary key."""
    found = [part.call("rows_of_change", flags, default={}) for part in _app_parts(admin)]
    pks = [str(flag.pk) for flag in flags]
    return {pk: [rows[pk] for rows in found if pk in rows] for pk in pks}


def texts_by_flag(admin: AdminOfParts, flags: Sequence[Any]) -> Mapping[str, AppTexts]:
    """Returns what the apps say about flags, by primary key; those without a text are absent.

    Calls each app once for all.
    """
    parts = _app_parts(admin)
    notes = {part: part.call("notes", flags, default={}) for part in parts}
    attention = {part: part.call("attention", flags, default={}) for part in parts}

    def texts(of_parts: Mapping[AppPart, Mapping[str, str]], pk: str) -> list[str]:
        return [text for part in parts if (text := of_parts[part].get(pk, ""))]

    pks = {pk for by_pk in (*notes.values(), *attention.values()) for pk in by_pk}
    return {pk: AppTexts(texts(attention, pk), texts(notes, pk)) for pk in pks}
