"""Messages on the page that adds a flag: evaluations of the key, and earlier flags with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import ngettext

from flagstaff._engine.usage import RecentEvaluations, recent_usage
from flagstaff._words.local_formats import local_days, local_number
from flagstaff.admin.former_flags import former_texts
from flagstaff.admin.mixin_base import ModelAdminMixin


class NewKeyMixin(ModelAdminMixin):
    """Put it before SavingMixin."""

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The values of an empty form. Messages say what is known about the key of the URL."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        if key := initial.get("key"):
            for text in self._texts(request, str(key)):
                self.message_user(request, text, messages.WARNING)
        return initial

    def save_model(
        self,
        request: HttpRequest,
        obj: Any,
        form: Any,
        change: bool,  # noqa: FBT001 (Django's signature)
    ) -> None:
        """Saves the flag. A message names the flag that had the key of a new one before."""
        former = {} if change else former_texts(self.admin_site, request, [obj.key])
        super().save_model(request, obj, form, change)
        for former_text in former.values():
            # The deleted flag cannot be brought back while its key is in use.
            self.message_user(request, replace(former_text, back_url="").html, messages.WARNING)

    def _texts(self, request: HttpRequest, key: str) -> Iterator[str]:
        usage = recent_usage([key])
        if usage is not None and key in usage.evaluations:
            yield _evaluated(usage.evaluations[key], local_days(usage.days))
        for text in former_texts(self.admin_site, request, [key]).values():
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
