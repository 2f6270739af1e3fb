"""The text of a template with flags resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flagstaff.cleanup.references.files import is_jinja

__all__ = ["rewritten_template"]

_TAG = re.compile(r"\{% *(?!-|\+)([^\n]*?) *%\}")
_FLAG = re.compile(r"""flag\s+["']([^"']+)["'](?:[\s,].*)?""")
_IF = re.compile(r"if\s+(not\s+)?(?:request\.)?flags\.(\w+)")


@dataclass
class _Block:
    """A tag with a content, and its `else`."""

    name: str
    start: tuple[int, int]
    #: Whether the first content stays; None if the tag is of no flag of ours.
    keeps_first: bool | None
    otherwise: tuple[int, int] | None = None
    #: It has an `elif`.
    is_complex: bool = False


def rewritten_template(
    path: str, results: Mapping[str, bool]
) -> tuple[str, str, set[tuple[int, int]]] | None:
    """Returns the old and the new text, and the places that are resolved; None if nothing is."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        source = file.read()
    if is_jinja(path) and ("{%-" in source or "-%}" in source):
        return None
    removed: list[tuple[int, int]] = []
    done: set[tuple[int, int]] = set()
    for block, end in _blocks(source, results):
        removed += _cuts(block, end)
        done |= _places(source, block)
    if not removed:
        return None
    return source, _without(source, removed), done


def _blocks(source: str, results: Mapping[str, bool]) -> list[tuple[_Block, tuple[int, int]]]:
    tags = [(found.span(), found[1]) for found in _TAG.finditer(source)]
    names = {text.split()[0] for _, text in tags if text.split()}
    open_blocks: list[_Block] = []
    found: list[tuple[_Block, tuple[int, int]]] = []
    for span, text in tags:
        name = (text.split() or [""])[0]
        if f"end{name}" in names:
            open_blocks.append(_Block(name, span, _keeps_first(text, results)))
        elif not open_blocks:
            continue
        elif name == "else":
            open_blocks[-1].otherwise = span
        elif name == "elif":
            open_blocks[-1].is_complex = True
        elif name == f"end{open_blocks[-1].name}":
            block = open_blocks.pop()
            if block.keeps_first is not None and not block.is_complex:
                found.append((block, span))
    return found


def _keeps_first(text: str, results: Mapping[str, bool]) -> bool | None:
    if (found := _FLAG.fullmatch(text)) is not None:
        return results.get(found[1])
    found = _IF.fullmatch(text)
    if found is None or found[2] not in results:
        return None
    return results[found[2]] is not bool(found[1])


def _cuts(block: _Block, end: tuple[int, int]) -> list[tuple[int, int]]:
    middle = block.otherwise or end
    if block.keeps_first:
        return [block.start, (middle[0], end[1])]
    if block.otherwise is None:
        return [(block.start[0], end[1])]
    return [(block.start[0], middle[1]), end]


def _without(source: str, removed: list[tuple[int, int]]) -> str:
    parts: list[str] = []
    place = 0
    for start, end in sorted(_whole_lines(source, *cut) for cut in removed):
        if start > place:
            parts.append(source[place:start])
        place = max(place, end)
    return "".join([*parts, source[place:]])


def _whole_lines(source: str, start: int, end: int) -> tuple[int, int]:
    """Returns the part with its lines, if nothing else is on them."""
    line = source.rfind("\n", 0, start) + 1
    after = source.find("\n", end)
    after = len(source) if after < 0 else after + 1
    if source[line:start].strip() or source[end:after].strip():
        return start, end
    return line, after


def _places(source: str, block: _Block) -> set[tuple[int, int]]:
    start = block.start[0]
    if block.name == "if":
        start = source.index("flags.", start)
        if source[:start].endswith("request."):
            start -= len("request.")
    line = source.count("\n", 0, start) + 1
    return {(line, start - source.rfind("\n", 0, start))}
