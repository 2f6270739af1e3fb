"""Whether a changed template can still be parsed."""

from __future__ import annotations

import re
from pathlib import Path

from django.template import Engine, TemplateSyntaxError
from jinja2 import Environment
from jinja2 import TemplateSyntaxError as JinjaSyntaxError

from flagstaff.jinja2 import FlagstaffExtension

__all__ = ["template_problem"]

_LIBRARIES = {
    "flagstaff": "flagstaff.templatetags.flagstaff",
    "i18n": "django.templatetags.i18n",
    "static": "django.templatetags.static",
}
_TAG = re.compile(r"{%-?\s*(if|elif|else|endif|flag|endflag|for|endfor|with|endwith)\b")


def template_problem(path: Path, old: str, new: str) -> str | None:
    """Returns why the new text cannot be parsed; None if it can, or if the old one cannot."""
    problem_of = _jinja_problem if "jinja" in path.as_posix() else _django_problem
    if problem_of(old) is None:
        return problem_of(new)
    return None if _is_balanced(new) else "its tags are not balanced"


def _django_problem(text: str) -> str | None:
    try:
        Engine(libraries=_LIBRARIES).from_string(text)
    except TemplateSyntaxError as error:
        return str(error)
    return None


def _jinja_problem(text: str) -> str | None:
    environment = Environment(  # noqa: S701 (parses only)
        extensions=[FlagstaffExtension, "jinja2.ext.i18n", "jinja2.ext.do"]
    )
    try:
        environment.parse(text)
    except JinjaSyntaxError as error:
        return f"{error.message}, line {error.lineno}"
    return None


def _is_balanced(text: str) -> bool:
    """For templates with tags of libraries that are not installed."""
    opened: list[str] = []
    for tag in _TAG.findall(text):
        if tag in ("elif", "else"):
            if not opened:
                return False
        elif not tag.startswith("end"):
            opened.append(tag)
        elif not opened or opened.pop() != tag.removeprefix("end"):
            return False
    return not opened
