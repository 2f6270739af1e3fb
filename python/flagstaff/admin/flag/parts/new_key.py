"""Messages on the page that adds a flag: evaluations of the key, and earlier flags with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import ngettext

from flagstaff._engine.usage import RecentEvaluations, recent_usage
from flagstaff._words.local_formats import local_days, local_number
from flagstaff.admin.flag.parts.former_flags import FormerText, former_texts
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.page import page_of
from flagstaff.admin.part import Part


@dataclass(frozen=True)
class _Former:
    """The flags that had the key of a new one before."""

    texts: Mapping[str, FormerText]


class NewKey(Part):
    """What is known about the key of a new flag."""

    def open_new(self, request: HttpRequest, initial: Mapping[str, Any]) -> None:
        """Shows messages about the key of the URL."""
        if key := initial.get("key"):
            for text in self._texts(request, str(key)):
                self.admin.message_user(request, text, messages.WARNING)

    def before_save(self, request: HttpRequest, form: MergingForm) -> None:
        """Finds the flag that had the key before: while the new one exists, it is not found."""
        if form.instance._state.adding:
            keys = [form.instance.key]
            page_of(request).keep(_Former(former_texts(self.admin.admin_site, request, keys)))

    def after_save(self, request: HttpRequest, form: MergingForm, *, is_new: bool) -> None:
        """Shows a message about that flag."""
        former = page_of(request).kept(_Former)
        for former_text in former.texts.values() if is_new and former else ():
            # The deleted flag cannot be brought back while its key is in use.
            text = replace(former_text, back_url="").html
            self.admin.message_user(request, text, messages.WARNING)

    def _texts(self, request: HttpRequest, key: str) -> Iterator[str]:
        usage = recent_usage([key])
        if usage is not None and key in usage.evaluations:
            yield _evaluated(usage.evaluations[key], local_days(usage.days))
        for text in former_texts(self.admin.admin_site, request, [key]).values():
            yield text.html


def _evaluated(evaluations: RecentEvaluations, days: str) -> str:
    text = ngettext(
        "In the last %(days)s, the key was evaluated %(count)s time. Without a flag, a call "
        "returns its default; while the new flag is off, it returns False.",
        "In the last %(days)s, the key was evaluated %(count)s times. Without a flag, a call "
        "returns its default; while the new flag is off, it returns False.",
        evaluations.count,
    )
    return text % {"days": days, "count": local_number(evaluations.count)}
