"""The page that confirms the deletion of flags: links to users, and warnings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, cast

from django.contrib import messages
from django.db.models import ManyToManyField, Model
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.usage import RecentEvaluations, recent_usage
from flagstaff._tables.model_fields import through_model
from flagstaff._words.lists import MAX_SHOWN, local_list
from flagstaff._words.local_formats import local_days, local_number, local_time_text
from flagstaff.admin.part import Deleted, Part
from flagstaff.changes.allowed_users import ALLOWED

# Django's confirmation page posts this name.
_DELETION_CONFIRMED = "post"


class FlagDeletion(Part):
    """What the page lists besides the flags."""

    def deleted_objects(self, request: HttpRequest, rows: Iterable[Any], found: Deleted) -> Deleted:
        """One number for all links to allowed users. Warns of flags that are still evaluated."""
        if _DELETION_CONFIRMED not in request.POST:
            for text in _warnings([flag.key for flag in rows]):
                self.admin.message_user(request, text, messages.WARNING)
        lines, counts, forbidden, protected = found
        links = allowed_links(self.admin.model)._meta
        if not links.auto_created:
            return found
        lines = _without_lines(lines, f"{capfirst(links.verbose_name)}: ")
        if count := counts.pop(str(links.verbose_name_plural), 0):
            counts[_("links to allowed users")] = count
        return lines, counts, forbidden, protected


def allowed_links(model: type[Model]) -> type[Model]:
    """Returns the model of the table between flags and users."""
    return through_model(cast("ManyToManyField[Model, Model]", model._meta.get_field(ALLOWED)))


def _without_lines(lines: Iterable[object], prefix: str) -> list[Any]:
    """Without the lines that start like this. A nested list has the related objects of a line."""
    kept: list[object] = []
    for line in lines:
        if isinstance(line, list):
            nested = _without_lines(line, prefix)
            kept += [nested] if nested else []
        elif not str(line).startswith(prefix):
            kept.append(line)
    return kept


def _warnings(keys: Collection[str]) -> Iterator[str]:
    """Yields a sentence for each flag that was evaluated recently; for many flags, one for all."""
    found = recent_usage(keys)
    if found is None or not found.evaluations:
        return
    days = local_days(found.days)
    if len(found.evaluations) > MAX_SHOWN:
        text = _("In the last %(days)s, these flags were evaluated: %(keys)s.")
        yield text % {"days": days, "keys": local_list(found.evaluations)}
    else:
        for key, evaluations in found.evaluations.items():
            yield _warning(key, evaluations, days)
    if found.hosts:
        yield _("In this time, workers ran on: %(hosts)s.") % {"hosts": local_list(found.hosts)}


def _warning(key: str, evaluations: RecentEvaluations, days: str) -> str:
    text = ngettext(
        "The flag “%(key)s” was evaluated %(count)s time in the last %(days)s, last at %(time)s.",
        "The flag “%(key)s” was evaluated %(count)s times in the last %(days)s, last at %(time)s.",
        evaluations.count,
    )
    return text % {
        "key": key,
        "count": local_number(evaluations.count),
        "days": days,
        "time": local_time_text(evaluations.last_evaluated_at),
    }
