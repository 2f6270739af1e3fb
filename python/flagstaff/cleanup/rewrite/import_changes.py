"""Replaces, adds and removes imports, where isort and Ruff put them if the file is sorted so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import libcst as cst
import libcst.matchers as m

from flagstaff.cleanup.references.naming import dotted
from flagstaff.cleanup.rewrite.edits import Edit, Source, removals

Import: TypeAlias = cst.Import | cst.ImportFrom
_Line: TypeAlias = cst.SimpleStatementLine
#: Whether a statement begins with `from`, and its module.
_Key: TypeAlias = tuple[bool, str]
_Order: TypeAlias = Callable[[_Key], tuple[object, ...]]


@dataclass
class ImportChange:
    """What becomes of one import statement."""

    #: The statement in its place, with the same names.
    replacement: Import | None = None
    #: The names that go.
    removed: set[cst.ImportAlias] = field(default_factory=set)
    #: What is imported beside it: modules and names.
    added: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class _Item:
    """The lines of an import with the comments above it, or of comments whose import goes."""

    text: str
    key: _Key | None
    is_new: bool = False


def imports_in(tree: cst.Module) -> list[Import]:
    """Returns the import statements of a module, in the order of the source."""
    return cast("list[Import]", m.findall(tree, m.Import() | m.ImportFrom()))


def import_edits(source: Source, changes: Mapping[Import, ImportChange]) -> Iterator[Edit]:
    """Yields the edits of these changes. Each statement is alone on its line."""
    blocks = {source.parents[source.parents[node]]: None for node in changes}
    for block in blocks:
        yield from _Block(source, cast("cst.Module | cst.IndentedBlock", block), changes).edits()


class _Block:
    """The statements of a module or of an indented block."""

    def __init__(
        self,
        source: Source,
        block: cst.Module | cst.IndentedBlock,
        changes: Mapping[Import, ImportChange],
    ) -> None:
        self._source = source
        self._block = block
        self._body = cast("Sequence[Any]", block.body)
        self._imports = [node for line in self._body if (node := _import_of(line)) is not None]
        self._changes = changes
        #: The names that statements get besides their own.
        self._merged: dict[Import, list[str]] = {}
        #: The new statements beside a changed one.
        self._new: dict[Import, list[tuple[str, list[str]]]] = {}
        for node in self._imports:
            if node in changes:
                self._place_added(node, changes[node].added)

    def _place_added(self, node: Import, added: set[tuple[str, str]]) -> None:
        for module, name in sorted(added):
            known = (one for one in self._imports if _imports_from(one, module))
            own = next((one for one in known if self._is_early(one, node)), None)
            every = (one for new in self._new.values() for one in new)
            new = [names for other, names in every if other == module]
            names = self._merged.setdefault(own, []) if own else next(iter(new), None)
            if names is None:
                names = []
                self._new.setdefault(node, []).append((module, names))
            if name not in names:
                names.append(name)

    def _is_early(self, node: Import, other: Import) -> bool:
        """Whether no code but imports runs between another import and this one."""
        at, end = (self._body.index(self._source.parents[one]) for one in (node, other))
        return all(map(_import_of, self._body[end:at]))

    def edits(self) -> Iterator[Edit]:
        """Yields an edit for each group of imports that changes."""
        group: list[_Line] = []
        for line in self._body:
            if group and (_has_blank(line) or not _may_move(line)):
                yield from self._edits_of(group)
                group = []
            if _may_move(line):
                group.append(line)
        yield from self._edits_of(group)

    def _edits_of(self, group: Sequence[_Line]) -> Iterator[Edit]:
        nodes = [cast("Import", _import_of(line)) for line in group]
        if not any(node in self._changes or node in self._merged for node in nodes):
            return
        items = [item for line in group for item in self._items(line)]
        for order in (one for one in (_by_form, _by_name) if _is_sorted(nodes, one)):
            _sort(items, order)
            break
        text = "".join(item.text for item in items)
        start, end = self._start(group[0]), self._end(group[-1])
        if (
            not text
            and len(group) == len(self._body)
            and isinstance(self._block, cst.IndentedBlock)
        ):
            text = f"{self._indent(group[0])}pass{self._newline}"
        yield Edit(*((start, end) if text else self._without_blank_lines(start, end)), text)

    def _items(self, line: _Line) -> Iterator[_Item]:
        """Yields what becomes of a line."""
        node = cast("Import", line.body[0])
        change = self._changes.get(node, ImportChange())
        start, end = self._start(line), self._end(line)
        at, until = self._source.span(node)
        key = _key_of(change.replacement or node)
        if change.replacement is not None:
            code = self._source.tree.code_for_node(change.replacement)
            yield _Item(self._source.edited([Edit(at, until, code)], start, end), key, is_new=True)
            return
        new = [(module, _statement(module, names)) for module, names in self._new.get(node, ())]
        if len(change.removed) < len(node.names):  # type: ignore[arg-type]
            edits = [*self._without(node, change.removed), *self._with_merged(node)]
            yield _Item(self._source.edited(edits, start, end), key)
        elif new:
            # The first one takes over the comments.
            module, code = new.pop(0)
            text = self._source.edited([Edit(at, until, code)], start, end)
            yield _Item(text, (True, module), is_new=True)
        else:
            yield _Item(self._source.edited([], start, self._line_start(line)), None)
        for module, code in new:
            text = f"{self._indent(line)}{code}{self._newline}"
            yield _Item(text, (True, module), is_new=True)

    def _without(self, node: Import, removed: set[cst.ImportAlias]) -> Iterator[Edit]:
        if removed:
            names = cast("Sequence[cst.ImportAlias]", node.names)
            places = [place for place, alias in enumerate(names) if alias in removed]
            yield from removals([self._source.span(alias) for alias in names], places)

    def _with_merged(self, node: Import) -> Iterator[Edit]:
        names = self._merged.get(node, ())
        aliases = cast("Sequence[cst.ImportAlias]", node.names) if names else ()
        known = [str(alias.evaluated_name) for alias in aliases]
        is_sorted = known == sorted(known, key=_name_order)
        spans = [self._source.span(alias) for alias in aliases]
        # The names may be on lines of their own.
        lines = self._source.text(node).partition("(")[2].partition("\n")
        is_split = not lines[0].strip() and bool(lines[1])
        space = f"{self._newline}{_spaces(lines[2])}" if is_split else " "
        bound = {alias.evaluated_alias or alias.evaluated_name for alias in aliases}
        for name in sorted({*names} - bound, key=_name_order):
            later = [at for at, one in enumerate(known) if _name_order(one) > _name_order(name)]
            if later and is_sorted:
                yield Edit(spans[later[0]][0], spans[later[0]][0], f"{name},{space}")
            elif is_split and isinstance(aliases[-1].comma, cst.Comma):
                # Below the comment of the last one.
                end = self._source.data.index(self._newline.encode(), spans[-1][1])
                yield Edit(end, end, f"{space}{name},")
            else:
                yield Edit(spans[-1][1], spans[-1][1], f",{space}{name}")

    # Lines.

    @property
    def _newline(self) -> str:
        return self._source.tree.default_newline

    def _line_start(self, line: _Line) -> int:
        return self._source.data.rfind(b"\n", 0, self._source.span(line)[0]) + 1

    def _indent(self, line: _Line) -> str:
        return self._source.data[self._line_start(line) : self._source.span(line)[0]].decode()

    def _start(self, line: _Line) -> int:
        """Returns the start of the comments above a line, below its last blank line."""
        start = self._line_start(line)
        for above in reversed(line.leading_lines):
            if above.comment is None:
                break
            start = self._source.data.rfind(b"\n", 0, start - 1) + 1
        return start

    def _end(self, line: _Line) -> int:
        return self._source.data.find(b"\n", self._source.span(line)[1]) + 1 or len(
            self._source.data
        )

    def _without_blank_lines(self, start: int, end: int) -> tuple[int, int]:
        """Returns a part that goes, with the blank lines above it if there are some below it."""
        data = self._source.data
        below = len(data[end:]) - len(data[end:].lstrip(b"\r\n"))
        above = start - len(data[:start].rstrip(b"\r\n"))
        if below and start == above:
            return 0, end + below
        newline = len(self._newline)
        return (start - above + newline, end) if below and above > newline else (start, end)


def _sort(items: list[_Item], order: _Order) -> None:
    """Moves the new statements to their places among the others, which are sorted."""
    for item in [one for one in items if one.is_new and one.key]:
        items.remove(item)
        own = order(cast("_Key", item.key))
        before = [at for at, one in enumerate(items, 1) if one.key and order(one.key) <= own]
        items.insert(before[-1] if before else 0, item)


def _import_of(line: cst.CSTNode) -> Import | None:
    if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1:
        node = line.body[0]
        return node if isinstance(node, cst.Import | cst.ImportFrom) else None
    return None


def _imports_from(node: Import, module: str) -> bool:
    """Whether a statement is `from module import …` with names."""
    is_star = isinstance(node.names, cst.ImportStar)
    return isinstance(node, cst.ImportFrom) and not is_star and _key_of(node) == (True, module)


def _may_move(line: cst.CSTNode) -> bool:
    """Whether it does not matter on which side of a statement an import is."""
    node = _import_of(line)
    return node is not None and not isinstance(node.names, cst.ImportStar)


def _has_blank(line: Any) -> bool:
    return any(one.comment is None for one in getattr(line, "leading_lines", ()))


def _key_of(node: Import) -> _Key:
    if isinstance(node, cst.Import):
        return False, dotted(node.names[0].name)
    return True, "." * len(node.relative) + (dotted(node.module) if node.module else "")


def _by_form(key: _Key) -> tuple[object, ...]:
    return (key[0], *_by_name(key))


def _by_name(key: _Key) -> tuple[object, ...]:
    return key[1].lower(), key[1]


def _is_sorted(nodes: Sequence[Import], order: _Order) -> bool:
    keys = [order(_key_of(node)) for node in nodes]
    return keys == sorted(keys)


def _statement(module: str, names: Sequence[str]) -> str:
    return f"from {module} import {', '.join(sorted(names, key=_name_order))}"


def _name_order(name: str) -> tuple[object, ...]:
    # As isort: constants, classes, functions.
    return (not name.isupper(), not name[0].isupper(), name.lower())


def _spaces(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]
