"""Replaces, adds and removes imports, where isort and Ruff put them if the file is sorted so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile
from typing import Any, TypeAlias, cast

import libcst as cst

from flagstaff.cleanup.references.naming import dotted

Import: TypeAlias = cst.Import | cst.ImportFrom
_Line: TypeAlias = cst.SimpleStatementLine


@dataclass
class ImportChange:
    """What becomes of one import statement."""

    #: The statement in its place, with the same names.
    replacement: Import | None = None
    #: The places of the names that go.
    removed: set[int] = field(default_factory=set)
    #: What is imported beside it: modules and names.
    added: set[tuple[str, str]] = field(default_factory=set)


def imports_in(tree: cst.Module) -> list[Import]:
    """Returns the import statements of a module, in the order of the source."""
    found = _Imports()
    tree.visit(found)
    return found.nodes


class _Imports(cst.CSTVisitor):
    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Import] = []

    def visit_Import(self, node: cst.Import) -> None:  # noqa: N802 (as in LibCST)
        self.nodes.append(node)

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:  # noqa: N802
        self.nodes.append(node)


def with_changed_imports(tree: cst.Module, changes: Mapping[int, ImportChange]) -> cst.Module:
    """Returns the module with these changes, by the place of the statement among the imports."""
    nodes = imports_in(tree)
    return tree.visit(_Changer({nodes[number]: change for number, change in changes.items()}))


class _Changer(cst.CSTTransformer):
    def __init__(self, changes: Mapping[Import, ImportChange]) -> None:
        super().__init__()
        self._changes = changes

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:  # noqa: N802
        return updated_node.with_changes(body=self._changed(original_node, updated_node))

    def leave_IndentedBlock(  # noqa: N802
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        return updated_node.with_changes(body=self._changed(original_node, updated_node))

    def _changed(
        self, original: cst.Module | cst.IndentedBlock, updated: cst.Module | cst.IndentedBlock
    ) -> Sequence[Any]:
        body = list(cast("Sequence[Any]", updated.body))
        for old, line in zip(original.body, updated.body, strict=True):
            node = _import_of(old)
            change = self._changes.get(node) if node is not None else None
            if change is not None and isinstance(line, cst.SimpleStatementLine):
                _apply(change, cast("Import", line.body[0]), line, body)
        is_empty = not body and isinstance(original, cst.IndentedBlock)
        return [cst.parse_statement("pass\n")] if is_empty else body


def _import_of(line: cst.CSTNode) -> Import | None:
    if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1:
        node = line.body[0]
        return node if isinstance(node, cst.Import | cst.ImportFrom) else None
    return None


def _apply(change: ImportChange, node: Import, line: _Line, body: list[Any]) -> None:
    start, end = _group(body, line)
    key = _order([cast("Import", _import_of(one)) for one in body[start:end]])
    if change.replacement is not None:
        moved = line.with_changes(body=[change.replacement])
        _replace(body, line, [moved])
        if key is not None:
            _move(body, moved, key)
        return
    by_module: dict[str, list[str]] = {}
    for module, name in sorted(change.added):
        by_module.setdefault(module, []).append(name)
    new: list[_Line] = []
    for module, names in by_module.items():
        if not _merged(body, module, names):
            new.append(_line(module, names))
    kept = _without(node, change.removed)
    if kept is not None:
        after = [line.with_changes(body=[kept]), *new]
    elif new:
        # The first one takes over the comments.
        after = [new[0].with_changes(leading_lines=line.leading_lines), *new[1:]]
        after[0] = after[0].with_changes(trailing_whitespace=line.trailing_whitespace)
    else:
        after = []
    # A merge may have changed the list.
    _replace(body, line, after)
    for one in after if key is not None else ():
        if one.body[0] is not kept:
            _move(body, one, cast("_Order", key))


def _replace(body: list[Any], line: _Line, after: Sequence[_Line]) -> None:
    place = _index(body, line)
    if not after and place + 1 < len(body):
        body[place + 1] = _with_lines_of(line, body[place + 1], is_first=place == 0)
    body[place : place + 1] = after


def _with_lines_of(gone: _Line, following: Any, *, is_first: bool) -> Any:
    """Returns the statement after one that goes, with its comments or its blank line."""
    lines = getattr(following, "leading_lines", None)
    if lines is None:
        return following
    above = list(gone.leading_lines)
    if is_first and not above:
        return following.with_changes(leading_lines=[*dropwhile(_is_blank, lines)])
    if any(one.comment is not None for one in above) or not lines:
        return following.with_changes(leading_lines=[*above, *lines])
    return following


def _index(body: Sequence[Any], line: _Line) -> int:
    # The line itself may have got other blank lines.
    return next(
        place
        for place, one in enumerate(body)
        if isinstance(one, cst.SimpleStatementLine) and one.body[0] is line.body[0]
    )


def _group(body: Sequence[Any], line: _Line) -> tuple[int, int]:
    """Returns where the imports begin and end that no blank line separates from this one."""
    start = end = _index(body, line)
    while start > 0 and _may_move(body[start - 1]) and not _has_blank(body[start]):
        start -= 1
    end += 1
    while end < len(body) and _may_move(body[end]) and not _has_blank(body[end]):
        end += 1
    return start, end


def _may_move(line: cst.CSTNode) -> bool:
    """Whether it does not matter on which side of a statement an import is."""
    node = _import_of(line)
    return node is not None and not isinstance(node.names, cst.ImportStar)


def _has_blank(line: _Line) -> bool:
    return any(map(_is_blank, line.leading_lines))


def _is_blank(line: cst.EmptyLine) -> bool:
    return line.comment is None


_Order: TypeAlias = Callable[[Import], tuple[object, ...]]


def _by_form(node: Import) -> tuple[object, ...]:
    return (isinstance(node, cst.ImportFrom), *_by_name(node))


def _by_name(node: Import) -> tuple[object, ...]:
    if isinstance(node, cst.ImportFrom):
        module = "." * len(node.relative) + (dotted(node.module) if node.module else "")
    else:
        module = dotted(node.names[0].name)
    return module.lower(), module


def _order(nodes: Sequence[Import]) -> _Order | None:
    """Returns the order in which these imports are sorted, or None."""
    for order in (_by_form, _by_name):
        keys = [order(node) for node in nodes]
        if keys == sorted(keys):
            return order
    return None


def _move(body: list[Any], line: _Line, order: _Order) -> None:
    """Moves a statement to its place among the sorted imports around it."""
    start, end = _group(body, line)
    line = body[_index(body, line)]
    others = [one for one in body[start:end] if one is not line]
    own = order(cast("Import", line.body[0]))
    place = sum(order(cast("Import", _import_of(one))) <= own for one in others)
    wanted = [*others[:place], line, *others[place:]]
    first = body[start]
    if wanted[0] is not first:
        # The blank line above the group stays there; comments go with their statement.
        blank = [one for one in first.leading_lines if one.comment is None]
        rest = [one for one in first.leading_lines if one.comment is not None]
        at = _index(wanted, first)
        wanted[at] = first.with_changes(leading_lines=rest)
        wanted[0] = wanted[0].with_changes(leading_lines=[*blank, *wanted[0].leading_lines])
    body[start:end] = wanted


def _line(module: str, names: Sequence[str]) -> _Line:
    text = f"from {module} import {', '.join(sorted(names, key=_name_order))}\n"
    return cast("_Line", cst.parse_statement(text))


def _name_order(name: str) -> tuple[object, ...]:
    # As isort: constants, classes, functions.
    return (not name.isupper(), not name[0].isupper(), name.lower())


def _merged(body: list[Any], module: str, names: Sequence[str]) -> bool:
    """Adds names to an import of the same module in the block, if there is one."""
    for place, line in enumerate(body):
        node = _import_of(line)
        if (
            isinstance(node, cst.ImportFrom)
            and not node.relative
            and node.module is not None
            and dotted(node.module) == module
            and not isinstance(node.names, cst.ImportStar)
        ):
            bound = {alias.evaluated_alias or alias.evaluated_name for alias in node.names}
            new = [name for name in names if name not in bound]
            body[place] = line.with_changes(body=[_with_names(node, new)])
            return True
    return False


def _with_names(node: cst.ImportFrom, names: Sequence[str]) -> cst.ImportFrom:
    aliases = list(cast("Sequence[cst.ImportAlias]", node.names))
    last, before_last = aliases[-1].comma, aliases[-1].evaluated_name
    between = _comma(node)
    own = [_name_order(str(alias.evaluated_name)) for alias in aliases]
    is_sorted = own == sorted(own)
    for name in names:
        new = cst.ImportAlias(cst.Name(name))
        place = sum(
            not is_sorted or _name_order(str(one.evaluated_name)) < _name_order(name)
            for one in aliases
        )
        aliases.insert(place, new)
    others = [
        alias
        if isinstance(alias.comma, cst.Comma) and alias.evaluated_name != before_last
        else alias.with_changes(comma=between)
        for alias in aliases[:-1]
    ]
    return node.with_changes(names=[*others, aliases[-1].with_changes(comma=last)])


def _comma(node: cst.ImportFrom) -> cst.Comma:
    is_split = node.lpar is not None and isinstance(
        node.lpar.whitespace_after, cst.ParenthesizedWhitespace
    )
    space = node.lpar.whitespace_after if is_split and node.lpar else cst.SimpleWhitespace(" ")
    return cst.Comma(whitespace_after=space)


def _without(node: Import, removed: set[int]) -> Import | None:
    """Returns the statement without some of its names; None without all of them."""
    if isinstance(node.names, cst.ImportStar) or not removed:
        return node
    names = [alias for place, alias in enumerate(node.names) if place not in removed]
    if not names:
        return None
    names[-1] = names[-1].with_changes(comma=node.names[-1].comma)
    return node.with_changes(names=names)
