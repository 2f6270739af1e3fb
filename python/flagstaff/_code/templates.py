"""Reads the keys that templates use, and those that text of any other language names as keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from flagstaff._code.uses import ANY, EXPERIMENT, FLAG, VALUE, Use

# Kinds by the name in a match.
_Kinds: TypeAlias = Mapping[str | None, str]
_KEY = r"""(?P<quote>['"])(?P<key>[^'"{}%\n]+)(?P=quote)"""
_TAG = re.compile(rf"\{{%[-+]?\s*(?P<name>flag|value|variant)\s+{_KEY}")
_TAGS: _Kinds = {"flag": FLAG, "value": VALUE, "variant": EXPERIMENT}
_CALL = re.compile(rf"\b(?P<name>flag_enabled|get_value|get_variant)\(\s*{_KEY}")
_CALLS: _Kinds = {"flag_enabled": FLAG, "get_value": VALUE, "get_variant": EXPERIMENT}
_LOADED = re.compile(r"\{%[-+]?\s*load\s+([^%]*)%\}")
# What is not run.
_TEXT = re.compile(
    r"\{#.*?#\}|\{%\s*(?P<tag>comment|verbatim)\b.*?%\}.*?\{%\s*end(?P=tag)\b.*?%\}", re.DOTALL
)
_EXPRESSION = re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)
_OF_REQUEST = re.compile(r"\brequest\.flags\.(?P<key>\w+)")
_VARIABLE = re.compile(r"(?<![\w.'\"])flags\.(?P<key>\w+)")
# A template that gives the name to a variable of its own.
_OWN_VARIABLE = re.compile(
    r"\{%[-+]?\s*"
    r"(?:for\b[^%]*\bflags\b[^%]*\sin\s|(?:with|set)\b[^%]*\bflags\s*=|[^%]*\sas flags\b)"
)
# Members of `request.flags`, which are no keys.
_MEMBERS = {
    *("aall", "aenabled", "all", "avalue", "client_side", "context", "enabled"),
    *("snapshot", "value", "variant", "visitor"),
}

# In other languages: calls of OpenFeature, what an operator types, and what forces flags off.
_OPENFEATURE = re.compile(
    rf"\b(?:get|use)(?P<name>Boolean|String|Number|Object|)(?:Flag|Value|Details)+(?:<[^>]*>)?\(\s*{_KEY}"
)
_TYPES: _Kinds = {"Boolean": FLAG, "": ANY}
_COMMAND = re.compile(
    r"\b(?:manage\.py|django-admin) flags "
    r"(?:kill|off|on|rollout|release|allow|disallow|(?P<name>value set)) "
    r"(?P<key>[\w.][\w.-]*)"
)
_ACTIONS: _Kinds = {None: FLAG}
_FORCED_OFF = re.compile(r"FLAGSTAFF_FORCE_OFF['\"]?\s*[=:]\s*['\"]?(?P<keys>[\w.,-]+)")


@dataclass(frozen=True)
class TemplateNames:
    """What the project's template engines make of the names in templates."""

    #: The tags need no `{% load flagstaff %}`.
    has_builtin_tags: bool = False
    #: `flags` is a variable of all templates.
    has_variable: bool = False
    #: The folders of the templates of Jinja2 that have our extension.
    jinja_folders: tuple[Path, ...] = ()


def template_uses(path: str, text: str, names: TemplateNames) -> Iterator[Use]:
    """Yields the uses of keys in a template."""
    if "flag" not in text and "get_va" not in text:
        return
    text = _TEXT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    is_jinja = any(folder in Path(path).absolute().parents for folder in names.jinja_folders)
    loaded = {word for tag in _LOADED.finditer(text) for word in tag[1].split()}
    if is_jinja or names.has_builtin_tags or "flagstaff" in loaded:
        yield from _uses(_TAG, path, text, _TAGS)
    if is_jinja:
        yield from _uses(_CALL, path, text, _CALLS)
    has_variable = names.has_variable and not _OWN_VARIABLE.search(text)
    for expression in _EXPRESSION.finditer(text):
        for pattern in (_OF_REQUEST, _VARIABLE) if has_variable else (_OF_REQUEST,):
            for match in pattern.finditer(text, *expression.span()):
                if match["key"] not in _MEMBERS:
                    yield _use(path, text, match.start("key"), FLAG, match["key"])


def text_uses(path: str, text: str) -> Iterator[Use]:
    """Yields the keys that a text of any language names as keys."""
    yield from _uses(_OPENFEATURE, path, text, _TYPES)
    yield from _uses(_COMMAND, path, text, _ACTIONS)
    for match in _FORCED_OFF.finditer(text):
        for key in filter(None, match["keys"].split(",")):
            yield _use(path, text, match.start(), FLAG, key)


def _uses(pattern: re.Pattern[str], path: str, text: str, kinds: _Kinds) -> Iterator[Use]:
    for match in pattern.finditer(text):
        kind = kinds.get(match["name"], VALUE)
        yield _use(path, text, match.start("key"), kind, match["key"])


def _use(path: str, text: str, start: int, kind: str, key: str) -> Use:
    begin, end = text.rfind("\n", 0, start) + 1, text.find("\n", start)
    code = text[begin : end if end >= 0 else len(text)].strip()
    return Use(path, text.count("\n", 0, start) + 1, code, kind, key)
