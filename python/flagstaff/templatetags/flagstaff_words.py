"""The tag of the package's own templates: `{% say %}` shows a sentence."""

from __future__ import annotations

from typing import Any, cast

from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from flagstaff import _text

register = template.Library()


@register.simple_tag
def say(english: str, plural: str = "", **values: object) -> SafeString:
    """Shows a sentence in the reader's language. It may have HTML; its values are escaped.

    {% say "{count} result" "{count} results" count=cl.result_count %}
    """
    shown = {
        name: value if isinstance(value, int | float) else conditional_escape(cast("Any", value))
        for name, value in values.items()
    }
    return mark_safe(_text.say(english, plural, **shown).local)  # noqa: S308 (escaped above)
