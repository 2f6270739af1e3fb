"""Reads and writes YAML. Refuses text that two YAML readers would read differently.

YAML 1.1 and 1.2 differ in scalars without quotes: `on`, `012`, `1:30`, `1e3`. Aliases, tags and
merge keys are not part of the format, so that a small file cannot expand to a large one or create
objects. PyYAML's loaders resolve aliases silently, hence a reader of its events.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import yaml

from flagstaff.exceptions import DocumentError
from flagstaff.serialization.messages import (
    ALIAS,
    AMBIGUOUS,
    CONTROL_CHARACTERS,
    DUPLICATE_KEY,
    INVALID_YAML,
    KEY_NO_STRING,
    SECOND_DOCUMENT,
    TAG,
    THIS_TEXT,
    TOO_DEEP,
    TOO_MANY_DIGITS,
    UNQUOTED_KEY,
)
from flagstaff.serialization.problems import MAX_DEPTH, Path, Problem, Problems

# The length of the path of a flag, a value or a segment. Anything below a value may be secret, and
# what a condition compares with may be personal data.
_ITEM_DEPTH = 2
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# Numbers that every reader parses alike.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]*([eE][-+][0-9]+)?")
_RESOLVER_1_1 = yaml.resolver.Resolver()
_STRING_TAG = "tag:yaml.org,2002:str"
# Not a plain string in YAML 1.2, in the letter of YAML 1.1, or in other readers.
_NOT_A_STRING = re.compile(
    r"(y|n|yes|no|on|off|true|false|null|[-+]?0o[0-7]+|[-+]?\.?[0-9][0-9_.,:]*([eE][-+]?[0-9]+)?"
    r"|[-+]?\.?(inf|nan)|[-+]?0[xb][0-9a-f_]+)",
    re.IGNORECASE,
)

# Readers turn these line breaks into spaces unless they are escaped.
_UNICODE_BREAKS = re.compile("[\x85\u2028\u2029]")


class _Dumper(yaml.SafeDumper):
    """Indents lists and writes no aliases."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002 (PyYAML's signature)
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    if _NOT_A_STRING.fullmatch(text) or _UNICODE_BREAKS.search(text):
        style = '"'
    return dumper.represent_scalar(_STRING_TAG, text, style=style)


_Dumper.add_representer(str, _represent_str)


def dumps(document: object, *, ascii_only: bool = False) -> str:
    """Returns the text of a document."""
    text: str = yaml.dump(
        document,
        Dumper=_Dumper,
        allow_unicode=not ascii_only,
        sort_keys=False,
        default_flow_style=False,
        width=math.inf,
    )
    return text


def loads(text: str, problems: Problems) -> object:
    """Returns the parsed text. Raises DocumentError if it is not YAML."""
    try:
        return _Reader(text, problems).document()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise DocumentError([Problem((), INVALID_YAML(reason=str(error.problem)), line)]) from None
    except yaml.YAMLError:
        raise DocumentError([Problem((), CONTROL_CHARACTERS())]) from None


class _Reader:
    """Builds plain data from YAML's events, whose scalars are not yet resolved."""

    def __init__(self, text: str, problems: Problems) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=loader))
        self._problems = problems

    def document(self) -> object:
        """Returns the only document of the text; None if it is empty."""
        plain: object = None
        for number, event in enumerate(self._document_starts()):
            if number:
                self._problems.add((), SECOND_DOCUMENT(), _line(event))
            else:
                plain = self._node(next(self._events), ())
        return plain

    def _document_starts(self) -> Iterator[yaml.Event]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield event

    def _node(self, event: yaml.Event, path: Path) -> object:
        self._problems.set_line(path, _line(event))
        if len(path) > MAX_DEPTH:
            raise DocumentError([Problem((), TOO_DEEP(limit=MAX_DEPTH), _line(event))])
        if tag := getattr(event, "tag", None):
            self._problems.add(path, TAG(tag=str(tag)))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        self._problems.add(path, ALIAS())
        return None

    def _mapping(self, path: Path) -> dict[str, object]:
        plain: dict[str, object] = {}
        for event in self._until(yaml.MappingEndEvent):
            key = self._key(event, path)
            below = path if key is None else (*path, key)
            if key in plain:
                self._problems.add(below, DUPLICATE_KEY(), _line(event))
            item = self._node(next(self._events), below)
            # The line of a field is that of its key.
            self._problems.set_line(below, _line(event))
            if key is not None:
                plain.setdefault(key, item)
        return plain

    def _sequence(self, path: Path) -> list[object]:
        events = enumerate(self._until(yaml.SequenceEndEvent))
        return [self._node(event, (*path, index)) for index, event in events]

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield event

    def _key(self, event: yaml.Event, path: Path) -> str | None:
        """Returns the key; None, with a problem, if it is not a string."""
        if not isinstance(event, yaml.ScalarEvent):
            # One level deeper, so that the depth limit covers keys of keys.
            self._node(event, (*path, ""))
            self._problems.add(path, KEY_NO_STRING(), _line(event))
            return None
        problems_before = len(self._problems.found)
        key = self._scalar(event, path)
        if isinstance(key, str):
            return key
        if len(self._problems.found) == problems_before:
            text = UNQUOTED_KEY(key=_shown(event.value, path))
            self._problems.add(path, text, _line(event))
        return None

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> str | float | bool | None:
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
            self._problems.add(path, AMBIGUOUS(text=_shown(text, path)), _line(event))
            return None
        return text

    def _integer(self, text: str, path: Path, line: int) -> int | None:
        try:
            return int(text)
        except ValueError:
            self._problems.add(path, TOO_MANY_DIGITS(), line)
            return None


def _shown(text: str, path: Path) -> str:
    """Returns the text for a message, unless it may be secret."""
    may_be_secret = len(path) > _ITEM_DEPTH and "values" in (path[0], *path[_ITEM_DEPTH:])
    return THIS_TEXT() if may_be_secret else text[:40]


def _is_ambiguous(text: str) -> bool:
    tag = _RESOLVER_1_1.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return tag != _STRING_TAG or bool(_NOT_A_STRING.fullmatch(text))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0
