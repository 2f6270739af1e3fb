"""Stale flags as rows of the page's tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.formats import date_format

from flagstaff._tables.user_lookup import actor_table
from flagstaff._words.local_formats import local_days
from flagstaff.admin.links import admin_of, may_view, page_url
from flagstaff.cleanup.stale_signals import Assessment
from flagstaff.cleanup.texts import SIGNAL_LABELS, finding_text, references_command, unknown_texts
from flagstaff.conf import conf


@dataclass(frozen=True)
class StaleRow:
    """A flag with its signals."""

    key: str
    #: The page of the flag; empty if the user may not open it.
    url: str
    #: The page that deletes the flag; empty if the user may not delete flags.
    delete_url: str
    #: The primary key, as text.
    pk: str
    labels: list[str]
    evidence: list[str]
    #: For how long the oldest signal has held.
    age: str
    #: The command that prints the places in the code, or the patch.
    command: str
    owner: str
    tags: str
    #: Empty unless the flag is snoozed.
    until: str
    reason: str
    actor: str


def stale_rows(
    site: AdminSite, request: HttpRequest, flags: Sequence[Assessment]
) -> list[StaleRow]:
    """Returns the rows of flags. Queries the names of the actors."""
    has_page = may_view(site, request, conf.flag_model)
    flag_admin = admin_of(site, conf.flag_model)
    may_delete = flag_admin is not None and flag_admin.has_delete_permission(request)
    actors = {flag.facts.snooze_actor for flag in flags if flag.is_snoozed}
    names = actor_table().names(actors - {""}) if actors - {""} else {}
    return [
        StaleRow(
            key=flag.facts.key,
            url=page_url(site, conf.flag_model, "change", flag.facts.pk) if has_page else "",
            delete_url=page_url(site, conf.flag_model, "delete", flag.facts.pk)
            if may_delete
            else "",
            pk=flag.facts.pk,
            labels=labels_of(flag),
            evidence=evidence_of(flag),
            age=local_days(max(finding.days for finding in flag.findings)),
            command=references_command(flag.facts.key, flag.findings),
            owner=flag.facts.owner,
            tags=", ".join(flag.facts.tags),
            until=_shown(flag.facts.snoozed_until) if flag.is_snoozed else "",
            reason=flag.facts.snooze_reason,
            actor=names.get(flag.facts.snooze_actor, flag.facts.snooze_actor),
        )
        for flag in flags
    ]


def labels_of(flag: Assessment) -> list[str]:
    """Returns the names of the signals that hold."""
    return [str(SIGNAL_LABELS[finding.signal]) for finding in flag.findings]


def evidence_of(flag: Assessment) -> list[str]:
    """Returns the evidence of the signals that hold, each beginning with a capital letter."""
    texts = [finding_text(finding, _shown) for finding in flag.findings]
    return [_capitalized(text) for text in texts]


def unknown_lines(flags: Sequence[Assessment]) -> list[str]:
    """Returns a sentence for each reason why signals are not known."""
    return [f"{_capitalized(text)}." for text in unknown_texts(flags)]


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shown(day: date | None) -> str:
    return "" if day is None else date_format(day)
