"""What optional apps and the signals of stale flags show: a panel on a page, notes in the list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.part import AdminOfParts, AppPart


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
        for part in admin.bound_parts
        if (html := part.call("panel", request, flag, default="\N{EN DASH}"))
    ]


def texts_about(admin: AdminOfParts, flag: Any) -> AppTexts:
    """Returns what the apps say about one flag, for its page. Each makes a query or a few."""
    return texts_by_flag(admin, [flag]).get(str(flag.pk), AppTexts())


def rows_of_change(admin: AdminOfParts, flags: Sequence[Any]) -> Mapping[str, list[PreviewRow]]:
    """Returns what a change of who has flags does in the optional apps, by primary key."""
    found = [part.call("rows_of_change", flags, default={}) for part in admin.bound_parts]
    pks = [str(flag.pk) for flag in flags]
    return {pk: [rows[pk] for rows in found if pk in rows] for pk in pks}


def texts_by_flag(admin: AdminOfParts, flags: Sequence[Any]) -> Mapping[str, AppTexts]:
    """Returns what the apps say about flags, by primary key; those without a text are absent.

    Calls each app once for all.
    """
    parts = admin.bound_parts
    notes = {part: part.call("notes", flags, default={}) for part in parts}
    attention = {part: part.call("attention", flags, default={}) for part in parts}

    def texts(of_parts: Mapping[AppPart, Mapping[str, str]], pk: str) -> list[str]:
        return [text for part in parts if (text := of_parts[part].get(pk, ""))]

    pks = {pk for by_pk in (*notes.values(), *attention.values()) for pk in by_pk}
    return {pk: AppTexts(texts(attention, pk), texts(notes, pk)) for pk in pks}
