"""What uses segments as a user may see it, and whether the user may change the segments."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.rule_parts import named_segments
from flagstaff._words.text import local_list, local_number, localized, quoted
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.links import admin_of, may_view
from flagstaff.admin.permissions import may
from flagstaff.changes.consequence import use_texts
from flagstaff.changes.impact import Impact
from flagstaff.changes.segment_use import SegmentInUseError, SegmentUse, uses_by_segment
from flagstaff.exceptions import FlagstaffError
from flagstaff.extensions import OtherRules
from flagstaff.history.kinds import Kind

# The flags and experiments that a page lists.
_MAX_ROWS = 50


def why_not_release(
    site: AdminSite, request: HttpRequest, keys: Iterable[str], uses: Sequence[SegmentUse]
) -> str:
    """Returns which flags and values the user may not change, as a reason; empty without any.

    `keys` are those of segments, and `uses` what their conditions decide about. The right to change
    segments decides about experiments.
    """
    active = [use for use in uses if use.is_active]
    missing = [use for use in active if not _may_release(site, request, use)]
    if not missing:
        return ""
    names = [quoted(use.key) for use in missing if _is_visible(site, request, use)]
    hidden = [use.kind for use in missing if not _is_visible(site, request, use)]
    if hidden:
        names.append(_hidden_text(hidden))
    named = {key for use in missing for key, _place in named_segments(use.row.rules)}
    keys = [quoted(key) for key in keys if key in named]
    text = ngettext(
        "you need the permission to change or toggle %(flags)s, whose rules use the segment "
        "%(keys)s",
        "you need the permission to change or toggle %(flags)s, whose rules use the segments "
        "%(keys)s",
        len(keys),
    )
    return text % {"flags": local_list(names), "keys": local_list(keys)}


def visible_refusal(site: AdminSite, request: HttpRequest, error: FlagstaffError) -> str:
    """Returns a message in the user's language, without flags and experiments the user may not see.

    Queries the experiments if it says what uses a segment.
    """
    if isinstance(error, SegmentInUseError):
        models = {owner.model for owners in uses_by_segment().values() for owner in owners}
        if not all(may_view(site, request, model) for model in models):
            hidden = _("flags, values and experiments that you may not see")
            error = SegmentInUseError(error.key, hidden)
    return localized(error.message)


def segment_rows(site: AdminSite, request: HttpRequest, found: Impact) -> list[PreviewRow]:
    """Returns a line for what uses a segment: how many users have it now, and afterwards.

    Those that the user may not see are a number. Empty if no segment changes.
    """
    visible = [use for use in found.uses if _is_visible(site, request, use)]
    numbers = {
        _("more flags, values and experiments"): len(visible) - _MAX_ROWS,
        _("flags, values and experiments that you may not see"): len(found.uses) - len(visible),
    }
    rows = [PreviewRow(use.label, *use_texts(found, use)) for use in visible[:_MAX_ROWS]]
    counts = ((label, local_number(count)) for label, count in numbers.items() if count > 0)
    return [*rows, *(PreviewRow(label, count, count) for label, count in counts)]


def use_names(site: AdminSite, request: HttpRequest, uses: Collection[OtherRules]) -> list[str]:
    """Returns what uses a segment, in words; as a number, what the user may not see."""
    names = [_name(use) for use in uses if may_view(site, request, use.model)]
    hidden = [kind_of_use(use) for use in uses if not may_view(site, request, use.model)]
    return [*names, _hidden_text(hidden)] if hidden else names


def kind_of_use(use: OtherRules) -> Kind | None:
    """Returns what uses the segment; None for an experiment."""
    return next((kind for kind in (Kind.FLAG, Kind.VALUE) if use.model is kind.model), None)


def _name(use: OtherRules) -> str:
    kind = use.model._meta.verbose_name
    return quoted(use.key) if kind_of_use(use) is Kind.FLAG else f"{kind} {quoted(use.key)}"


def _hidden_text(kinds: Sequence[Kind | None]) -> str:
    """Returns how many rows of these kinds the user may not see; None is another kind."""
    count = len(kinds)
    if all(kind is Kind.FLAG for kind in kinds):
        text = ngettext(
            "%(count)s flag that you may not see", "%(count)s flags that you may not see", count
        )
    else:
        text = ngettext(
            "%(count)s key that you may not see", "%(count)s keys that you may not see", count
        )
    return text % {"count": local_number(count)}


def _may_release(site: AdminSite, request: HttpRequest, use: SegmentUse) -> bool:
    if use.kind is Kind.FLAG:
        return may(site, request, "toggle", use.row)
    if use.kind is Kind.VALUE:
        admin = admin_of(site, use.model)
        return admin is not None and admin.has_change_permission(request, use.row)
    return True


def _is_visible(site: AdminSite, request: HttpRequest, use: SegmentUse) -> bool:
    if use.kind is Kind.FLAG:
        return may(site, request, "view", use.row)
    return may_view(site, request, use.model)
