"""Whether a template still compiles after the patch, and does the same while it is parsed."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.exceptions import ImproperlyConfigured
from django.template import Engine, engines
from django.template.backends.base import BaseEngine
from django.template.backends.django import DjangoTemplates
from django.template.base import UNKNOWN_SOURCE, Lexer, Origin, Parser

__all__ = ["is_still_valid"]

# Attributes of a parser that do not depend on what it has parsed.
_INPUT = frozenset({"command_stack", "libraries", "origin", "tokens"})
# Deep enough for relative names such as "../base.html".
_ORIGIN = Origin(UNKNOWN_SOURCE, template_name="a/b/c/d/e/f/page.html")


def is_still_valid(before: str, after: str, *, is_jinja: bool) -> bool:
    """Returns False if the old template does not compile here, or the new one does not.

    Compiling it must also leave the parser of Django as before: with the same tags, filters,
    blocks and named cycles.
    """
    is_valid = _is_valid_jinja if is_jinja else _is_valid_django
    try:
        return is_valid(before, after)
    except Exception:  # noqa: BLE001 (code of any tag library)
        return False


def _is_valid_django(before: str, after: str) -> bool:
    found = (one.engine for one in _backends() if isinstance(one, DjangoTemplates))
    engine = next(found, None) or Engine()
    return _parsed(before, engine) == _parsed(after, engine)


def _parsed(source: str, engine: Engine) -> object:
    """Returns what the parser knows after the template. Raises an error if it is not valid."""
    tokens = Lexer(source).tokenize()
    parser = Parser(tokens, engine.template_libraries, engine.template_builtins, _ORIGIN)
    parser.parse()
    return {name: _shape(value) for name, value in vars(parser).items() if name not in _INPUT}


def _shape(value: object) -> object:
    match value:
        case dict():
            return {key: _shape(one) for key, one in value.items()}
        case list() | tuple() | set():
            return [_shape(one) for one in value]
        case str() | int():
            return value
        case _:
            return value if callable(value) else type(value)


def _is_valid_jinja(before: str, after: str) -> bool:
    from jinja2 import Environment  # noqa: PLC0415 (optional)

    found = (getattr(one, "env", None) for one in _backends())
    environment = next((one for one in found if isinstance(one, Environment)), None)
    if environment is None:
        extensions = ["flagstaff.jinja2.FlagstaffExtension", *_EXTENSIONS]
        environment = Environment(autoescape=True, extensions=extensions)
    for source in (before, after):
        environment.compile(source)
    return True


# Those of Jinja2 itself, for a project without a backend.
_EXTENSIONS = ("jinja2.ext.do", "jinja2.ext.i18n", "jinja2.ext.loopcontrols")


def _backends() -> Iterator[BaseEngine]:
    try:
        yield from engines.all()
    except ImproperlyConfigured:
        return
