"""The parts of the page of a flag, around Django's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from flagstaff.admin.flag_page.evaluations import evaluations
from flagstaff.admin.flag_page.head import head
from flagstaff.admin.flag_page.recent_changes import recent_changes
from flagstaff.admin.flag_page.who_has_it import who_has_it
from flagstaff.admin.part import Part

#: Returns a part of the page of a flag; empty if there is nothing to show.
Section: TypeAlias = "Callable[[admin.ModelAdmin[Any], HttpRequest, Any], SafeString]"

# Below the form.
_SECTIONS: tuple[Section, ...] = (who_has_it, evaluations, recent_changes)


class FlagSections(Part):
    """The head of the page, and the sections below the form."""

    def form_context(
        self, request: HttpRequest, row: Any, context: Mapping[str, Any]
    ) -> Mapping[str, object]:
        """The parts of the page of an existing flag."""
        if row is None:
            return {}
        return {
            # The head shows the key.
            "subtitle": None,
            "flagstaff_head": head(self.admin, request, row),
            "flagstaff_sections": [section(self.admin, request, row) for section in _SECTIONS],
        }
