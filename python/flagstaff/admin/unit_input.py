"""The input of a bucketing unit: of flags, values and experiments."""

from __future__ import annotations

from typing import Any

from django import forms

from flagstaff._tables.bucket_units import USER, VISITOR
from flagstaff.conf import BUILT_IN, conf


class UnitInput(forms.TextInput):
    """A text input that suggests the units that exist in every project, and the columns."""

    template_name = "flagstaff/unit_input.html"

    def get_context(self, name: str, value: object, attrs: dict[str, Any] | None) -> dict[str, Any]:
        """The widget's context, with the suggestions."""
        suggestions = {"list": f"{name}_units", "autocomplete": "off"}
        context = super().get_context(name, value, {**suggestions, **(attrs or {})})
        columns = [one for one in conf.attributes.columns if one not in BUILT_IN]
        return {**context, "units": dict.fromkeys((USER, VISITOR, *columns))}
