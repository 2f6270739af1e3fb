"""All templates of messages: their codes, and that each has a German translation."""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import walk_packages

import flagstaff
from flagstaff._words.text import _TEMPLATES
from tests.support.po_files import compiled
from tools.messages import POT

GERMAN = POT.parent / "de" / "LC_MESSAGES" / "django.mo"
# They are for other programs, or need the settings of one.
WITHOUT_MESSAGES = re.compile(r"flagstaff\.(pytest_plugin|migrations|management)\b")


def templates() -> dict[str, str]:
    """The texts of the whole package by their codes; not those of tests."""
    for module in walk_packages(flagstaff.__path__, "flagstaff."):
        if not WITHOUT_MESSAGES.match(module.name):
            import_module(module.name)
    return {
        code: template.text
        for code, template in _TEMPLATES.items()
        if not code.startswith(("test_", "example_"))
    }


def test_template_has_a_german_text() -> None:
    german = compiled(GERMAN)
    texts = {code: text for code, text in templates().items() if has_words(text)}
    assert [code for code, text in texts.items() if text not in german] == []


def has_words(text: str) -> bool:
    return bool(re.search("[a-z]", re.sub(r"%\(\w+\)s|null", "", text)))


def test_code_is_short_and_in_snake_case() -> None:
    assert [code for code in templates() if not re.fullmatch("[a-z][a-z0-9_]{1,39}", code)] == []
