"""YAML text ↔ plain data. What two readers of YAML would read as two things is refused.

YAML 1.1 and 1.2 differ in what a word without quotes is: `on`, `012`, `1:30`, `1e3`. Aliases, tags
and merge keys are no part of the format, so that no file is larger than it looks, and none makes
objects.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from flagstaff.exceptions import DocumentError
from flagstaff.serialization.problems import DEEPEST, TOO_DEEP, Path, Problem, Problems

__all__ = ["dumped", "loaded"]

# How deep the key of a value stands: what is below may be secret.
_KEY = 2
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# What every reader takes for a number, and for the same one.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]*([eE][-+][0-9]+)?")
_RULES_OF_1_1 = yaml.resolver.Resolver()
_TEXT = "tag:yaml.org,2002:str"
# What is more than a text to YAML 1.2, to the letter of 1.1, or to other readers.
_MORE_THAN_TEXT = re.compile(
    r"(y|n|yes|no|on|off|true|false|null|[-+]?0o[0-7]+|[-+]?\.?[0-9][0-9_.,:]*([eE][-+]?[0-9]+)?"
    r"|[-+]?\.?(inf|nan)|[-+]?0[xb][0-9a-f_]+)",
    re.IGNORECASE,
)

# A reader makes spaces of them, unless they are escaped.
_OTHER_BREAKS = re.compile("[\x85\u2028\u2029]")


class _Dumper(yaml.SafeDumper):
    """Lists are indented, and nothing is written as an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: FBT001, FBT002 (the signature of PyYAML)
        return super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _as_scalar(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    if _MORE_THAN_TEXT.fullmatch(text) or _OTHER_BREAKS.search(text):
        style = '"'
    return dumper.represent_scalar(_TEXT, text, style=style)


_Dumper.add_representer(str, _as_scalar)


def dumped(document: Any, *, ascii_only: bool = False) -> str:
    """The text of a document."""
    return yaml.dump(
        document,
        Dumper=_Dumper,
        allow_unicode=not ascii_only,
        sort_keys=False,
        default_flow_style=False,
        width=math.inf,
    )


def loaded(text: str, problems: Problems) -> Any:
    """The document of a text. Raises DocumentError where it is no YAML."""
    try:
        return _Reader(text, problems).document()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise DocumentError([Problem((), f"no YAML: {error.problem}", line)]) from None
    except yaml.YAMLError:
        raise DocumentError([Problem((), "no YAML: it has control characters")]) from None


class _Reader:
    """Makes plain data of YAML's events, which do not yet say what a word means."""

    def __init__(self, text: str, problems: Problems) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=loader))
        self._problems = problems

    def document(self) -> Any:
        """The one document of the text; None where it is empty."""
        plain = None
        for number, event in enumerate(self._documents()):
            if number:
                self._problems.add((), "a second document begins here", _line(event))
            else:
                plain = self._node(next(self._events), ())
        return plain

    def _documents(self) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield event

    def _node(self, event: Any, path: Path) -> Any:
        self._problems.at(path, _line(event))
        if len(path) > DEEPEST:
            raise DocumentError([Problem((), TOO_DEEP, _line(event))])
        if getattr(event, "tag", None):
            self._problems.add(path, f"has a tag, {event.tag}, and tags are not read")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        if isinstance(event, yaml.AliasEvent):
            self._problems.add(path, "is an alias, and aliases are not read; write it out")
            return None
        return self._scalar(event, path)

    def _mapping(self, path: Path) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for event in self._until(yaml.MappingEndEvent):
            key = self._key(event, path)
            below = path if key is None else (*path, key)
            if key in plain:
                self._problems.add(below, "stands here twice", _line(event))
            item = self._node(next(self._events), below)
            # Of a field, the line of its name.
            self._problems.at(below, _line(event))
            if key is not None:
                plain.setdefault(key, item)
        return plain

    def _sequence(self, path: Path) -> list[Any]:
        events = enumerate(self._until(yaml.SequenceEndEvent))
        return [self._node(event, (*path, place)) for place, event in events]

    def _until(self, end: type) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield event

    def _key(self, event: Any, path: Path) -> str | None:
        """None where it is no text, which is told."""
        if not isinstance(event, yaml.ScalarEvent):
            # One level below, so that keys of keys have an end too.
            self._node(event, (*path, ""))
            self._problems.add(path, "has a key that is no text", _line(event))
            return None
        known = len(self._problems.found)
        key = self._scalar(event, path)
        if isinstance(key, str) or len(self._problems.found) > known:
            return key if isinstance(key, str) else None
        told = f"the key {_shown(event.value, path)} is no text; put it into quotes"
        self._problems.add(path, told, _line(event))
        return None

    def _scalar(self, event: Any, path: Path) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            self._problems.check_text(path, text)
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return self._integer(text, path, _line(event))
        if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        if _is_ambiguous(text):
            told = (
                f"{_shown(text, path)} without quotes is not the same to every reader of YAML; "
                "put a text into quotes, else write true, false, or a plain decimal number"
            )
            self._problems.add(path, told, _line(event))
            return None
        return text

    def _integer(self, text: str, path: Path, line: int) -> int | None:
        try:
            return int(text)
        except ValueError:
            self._problems.add(path, "has too many digits", line)
            return None


def _shown(text: str, path: Path) -> str:
    """What was written, unless it may be a secret."""
    return "what stands here" if path[:1] == ("values",) and len(path) > _KEY else text[:40]


def _is_ambiguous(text: str) -> bool:
    of_1_1 = _RULES_OF_1_1.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return of_1_1 != _TEXT or bool(_MORE_THAN_TEXT.fullmatch(text))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
