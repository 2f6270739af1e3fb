"""A Python file → its new text, and what stays in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import libcst as cst
from libcst.metadata import ImportAssignment

from flagstaff.cleanup.references.evaluating import ExpressionEvaluator
from flagstaff.cleanup.references.naming import dotted, imported_module, key_of
from flagstaff.cleanup.references.parsing import Module
from flagstaff.cleanup.references.places import Place
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.rewrite import reasons
from flagstaff.cleanup.rewrite.compat_imports import compat_import
from flagstaff.cleanup.rewrite.edits import Source
from flagstaff.cleanup.rewrite.import_changes import (
    Import,
    ImportChange,
    import_edits,
    imports_in,
)
from flagstaff.cleanup.rewrite.patches import Patches
from flagstaff.cleanup.rewrite.python_calls import Calls, Rewritten, Setting, StaysError
from flagstaff.cleanup.rewrite.reasons import Left, Reason
from flagstaff.cleanup.rewrite.texts import texts_of_waffle

_BYTE_ORDER_MARK = "\ufeff"


@dataclass
class Result:
    """The new text of a file, how many places it rewrites, and what stays."""

    old: str
    new: str
    done: int = 0
    left: list[Left] = field(default_factory=list)


class PythonFile:
    """Rewrites one module."""

    def __init__(
        self, module: Module, places: Iterable[Place], project: Project, patches: Patches
    ) -> None:
        self._module = module
        self._project = project
        self._patches = patches
        self._places = list({place.node: place for place in places if place.source}.values())
        self._source = Source(module.tree)
        self._parents = self._source.parents
        self._scopes = self._source.scopes
        self._imports = imports_in(module.tree)
        self._stays: dict[cst.CSTNode, Reason] = {}

    # Levels.

    def to_compat(self) -> Result:
        """Returns the file with the imports of flagstaff.compat.waffle."""
        changes: dict[Import, ImportChange] = {}
        left: list[Left] = []
        for node in self._imports:
            if not self._is_of_waffle(node) or self._is_compat(node):
                continue
            used = [one for access in self._accesses(node) if (one := self._attribute(access))]
            found: Any = compat_import(node, used)
            if not isinstance(found, Reason) and not self._is_alone(node):
                found = reasons.IMPORT
            if not isinstance(found, Reason) and self._is_conditional(node):
                found = reasons.CONDITIONAL
            if isinstance(found, Reason):
                left.append(self._left(node, found))
            else:
                changes[node] = ImportChange(replacement=found)
        new = self._source.edited(import_edits(self._source, changes))
        as_before = {reasons.PASSED.why, reasons.VIEW_CLASS.why}
        uses = [one for one in self._other_uses([]) if one.why not in as_before]
        return self._result(new, len(changes), [*left, *uses])

    def to_flagstaff(self, setting: Setting) -> Result:
        """Returns the file with the functions of flagstaff where nothing else depends on it."""
        calls = Calls(setting, self._source)
        done: dict[Place, Rewritten] = {}
        for place in self._places:
            rewritten = self._rewritten(place, calls)
            if rewritten is not None:
                done[place] = rewritten
        self._settle(done, setting.evaluator)
        edits = [edit for one in done.values() for edit in one.edits]
        edits += import_edits(self._source, self._changes(done.values()))
        new = self._source.edited(edits)
        left = [self._left(node, reason) for node, reason in self._stays.items()]
        left += self._unused_imports()
        return self._result(new, len(done), [*left, *self._other_uses(done.values())])

    def _rewritten(self, place: Place, calls: Calls) -> Rewritten | None:
        try:
            rewritten = calls.rewritten(place)
            self._require_names(rewritten)
        except StaysError as error:
            self._stays[place.node] = error.reason
            return None
        return rewritten

    def _result(self, new: str, done: int, left: list[Left]) -> Result:
        mark = _BYTE_ORDER_MARK if self._has_mark else ""
        return Result(mark + self._module.tree.code, mark + new, done, sorted(set(left)))

    @cached_property
    def _has_mark(self) -> bool:
        with open(self._module.path, encoding="utf-8", newline="") as file:  # noqa: PTH123
            return file.read(1) == _BYTE_ORDER_MARK

    # Names.

    @cached_property
    def _assignments(self) -> Mapping[cst.CSTNode, list[tuple[cst.ImportAlias, list[cst.CSTNode]]]]:
        """The names of each import, with the nodes that use them."""
        found: dict[cst.CSTNode, list[tuple[cst.ImportAlias, list[cst.CSTNode]]]] = {}
        for scope in self._scopes:
            for one in scope.assignments:
                if isinstance(one, ImportAssignment):
                    node = cast("Import", one.node)
                    if isinstance(node.names, cst.ImportStar):
                        continue
                    uses: list[cst.CSTNode] = [access.node for access in one.references]
                    own = [alias for alias in node.names if _bound(alias) == one.name]
                    found.setdefault(node, []).extend((alias, uses) for alias in own[:1])
        return found

    @cached_property
    def _by_use(self) -> Mapping[cst.CSTNode, list[cst.ImportAlias]]:
        found: dict[cst.CSTNode, list[cst.ImportAlias]] = {}
        for names in self._assignments.values():
            for alias, uses in names:
                for use in uses:
                    found.setdefault(use, []).append(alias)
        # A name that something else binds, too, is none of an import.
        for scope in self._scopes:
            for one in scope.assignments:
                if not isinstance(one, ImportAssignment):
                    for access in one.references:
                        found.pop(access.node, None)
        return found

    def _statement_of(self, alias: cst.ImportAlias) -> Import:
        return cast("Import", self._parents[alias])

    def _alias_of(self, name: cst.CSTNode) -> tuple[cst.ImportAlias, cst.CSTNode] | None:
        """Returns the only import that a dotted name begins with, and the node that uses it."""
        while True:
            aliases = self._by_use.get(name, [])
            if len(aliases) == 1:
                return aliases[0], name
            if not isinstance(name, cst.Attribute):
                return None
            name = name.value

    def _require_names(self, rewritten: Rewritten) -> None:
        for name in rewritten.names:
            found = self._alias_of(name)
            if found is None:
                raise StaysError(reasons.OTHER_NAME)
            node, local = self._statement_of(found[0]), _bound(found[0])
            if not self._is_alone(node):
                raise StaysError(reasons.IMPORT)
            if self._is_conditional(node):
                raise StaysError(reasons.CONDITIONAL)
            if self._is_replaced(name, local):
                raise StaysError(reasons.PATCHED)
            new = rewritten.needs[1] if rewritten.needs is not None else local
            if any(self._may_star(one, node) for one in {local, new}):
                raise StaysError(reasons.OTHER_NAME)

    def _may_star(self, name: str, node: Import) -> bool:
        """Whether a star import below this import may bind a name again."""
        own, path = self._module.found.module.module, self._module.path
        return any(
            isinstance(one, cst.ImportFrom)
            and isinstance(one.names, cst.ImportStar)
            and self._project.may_bind(imported_module(one, own, path), name)
            for one in self._imports[self._imports.index(node) + 1 :]
        )

    def _is_replaced(self, name: cst.CSTNode, local: str) -> bool:
        """Whether a test or another module of the project takes the name from this module."""
        path = self._module.path
        function = dotted(cast("cst.BaseExpression", name)).rpartition(".")[2]
        if self._project.is_imported(path, local) or self._patches.has_name(local):
            return True
        if self._patches.has_model_method():
            return True
        return local != function and self._patches.has_function(function)

    def _settle(self, done: dict[Place, Rewritten], evaluator: ExpressionEvaluator) -> None:
        """Leaves out places until no name is needed twice, and no override for both libraries."""
        while True:
            gone = dict.fromkeys(list(self._taken(done)), reasons.TAKEN)
            gone |= dict.fromkeys(self._mixed_overrides(done, evaluator), reasons.OTHER_OVERRIDE)
            if not gone:
                return
            for place, reason in gone.items():
                del done[place]
                self._stays[place.node] = reason

    def _taken(self, done: dict[Place, Rewritten]) -> Iterator[Place]:
        """Yields the places whose new name is taken, also by its module."""
        removed = self._removed(done.values())
        for place, rewritten in done.items():
            if rewritten.needs is None or not self._is_taken(*rewritten.needs, removed):
                continue
            other = rewritten.by_module()
            if other is None or self._is_taken(*cast("tuple[str, str]", other.needs), removed):
                yield place
            else:
                done[place] = other

    def _is_taken(self, module: str, name: str, removed: set[cst.ImportAlias]) -> bool:
        for scope in self._scopes:
            for one in scope.assignments:
                if one.name.partition(".")[0] != name:
                    continue
                node = getattr(one, "node", None)
                if not isinstance(node, cst.Import | cst.ImportFrom):
                    return type(one).__name__ != "BuiltinAssignment"
                names = self._assignments.get(node, [])
                own = [alias for alias, _ in names if _bound(alias) == name]
                is_same = isinstance(node, cst.ImportFrom) and _module_of(node) == module
                if not is_same and not removed.issuperset(own):
                    return True
        return False

    def _mixed_overrides(
        self, done: Mapping[Place, Rewritten], evaluator: ExpressionEvaluator
    ) -> Iterator[Place]:
        keys: set[str | None] = set()
        around: set[cst.CSTNode] = set()
        for place in self._places:
            if place.kind == "test" and place not in done:
                found = {*map(key_of, evaluator.evaluate(place.key, place.scope))}
                keys |= found - {None}
                # It may be for any key, inside of another one.
                around |= {self._outermost(place.node)} if None in found else set()
        for place in done:
            if place.kind == "test":
                own = map(key_of, evaluator.evaluate(place.key, place.scope))
                if not keys.isdisjoint(own) or self._outermost(place.node) in around:
                    yield place

    def _outermost(self, node: cst.CSTNode) -> cst.CSTNode:
        """Returns the class, the function or the statement of the module around a node."""
        while not isinstance(parent := self._parents[node], cst.Module):
            node = parent
        return node

    def _removed(self, rewritten: Iterable[Rewritten]) -> set[cst.ImportAlias]:
        """Returns the imported names that nothing uses any more."""
        gone = {
            found[1] for one in rewritten for name in one.names if (found := self._alias_of(name))
        }
        path, source = self._module.path, self._module.source
        removed: set[cst.ImportAlias] = set()
        for names in self._assignments.values():
            for alias, uses in names:
                local = _bound(alias)
                is_text = f'"{local}"' in source or f"'{local}'" in source
                is_needed = is_text or self._project.is_imported(path, local)
                if uses and gone.issuperset(uses) and not is_needed:
                    removed.add(alias)
        return removed

    def _changes(self, rewritten: Iterable[Rewritten]) -> dict[Import, ImportChange]:
        rewritten = list(rewritten)
        changes: dict[Import, ImportChange] = {}
        for alias in self._removed(rewritten):
            changes.setdefault(self._statement_of(alias), ImportChange()).removed.add(alias)
        for one in rewritten:
            found = self._alias_of(one.names[0]) if one.needs is not None else None
            if found is not None and one.needs is not None:
                node = self._statement_of(found[0])
                changes.setdefault(node, ImportChange()).added.add(one.needs)
        return changes

    # What stays.

    def _other_uses(self, rewritten: Iterable[Rewritten]) -> Iterator[Left]:
        """Yields the uses of waffle that are no places, and texts that name it."""
        functions = [one.node.func for one in self._places if isinstance(one.node, cst.Call)]
        known: set[cst.CSTNode] = set()
        for part in (*functions, *(name for one in rewritten for name in one.names)):
            known.add(part)
            while isinstance(part, cst.Attribute):
                part = part.value  # noqa: PLW2901
                known.add(part)
        for node in filter(self._is_of_waffle, self._imports):
            for alias, uses in self._assignments.get(node, []):
                for use in uses:
                    if use not in known:
                        yield self._left(use, self._reason_of_use(use, _bound(alias)))
        for text, reason in texts_of_waffle(self._module, self._parents):
            yield self._left(text, reason)

    def _unused_imports(self) -> Iterator[Left]:
        for node in filter(self._is_of_waffle, self._imports):
            if any(not uses for _, uses in self._assignments.get(node, [])):
                yield self._left(node, reasons.UNUSED_IMPORT)

    def _reason_of_use(self, use: cst.CSTNode, name: str) -> Reason:
        argument = self._parents.get(use)
        if isinstance(self._parents.get(argument or use), cst.ClassDef):
            return reasons.VIEW_CLASS
        top = use
        while isinstance(self._parents.get(top), cst.Attribute):
            top = self._parents[top]
        names = (name, *dotted(cast("cst.BaseExpression", top)).split("."))
        if any(one.startswith("get_waffle_") or one in _MODELS for one in names):
            return reasons.MODEL
        return reasons.PASSED

    def _left(self, node: cst.CSTNode, reason: Reason) -> Left:
        before = self._source.data[: self._source.span(node)[0]].decode()
        line = before.count("\n") + 1
        column = len(before) - before.rfind("\n")
        code = self._module.lines[line - 1].strip()
        return reason.at(self._module.path, line, column, code)

    # Imports.

    @staticmethod
    def _is_of_waffle(node: Import) -> bool:
        return any(_is_waffle(name) for name in _modules(node))

    @staticmethod
    def _is_compat(node: Import) -> bool:
        return any(name.startswith("flagstaff.") for name in _modules(node))

    def _is_alone(self, node: Import) -> bool:
        line = self._parents[node]
        return isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1

    def _is_conditional(self, node: cst.CSTNode) -> bool:
        """Whether an import is in a `try`, whose handlers may do without waffle."""
        parent = self._parents.get(node)
        while parent is not None:
            if isinstance(parent, cst.Try) and any(map(_catches_import, parent.handlers)):
                return True
            parent = self._parents.get(parent)
        return False

    def _accesses(self, node: Import) -> list[cst.CSTNode]:
        return [use for _, uses in self._assignments.get(node, []) for use in uses]

    def _attribute(self, use: cst.CSTNode) -> str:
        parent = self._parents.get(use)
        is_value = isinstance(parent, cst.Attribute) and parent.value is use
        return parent.attr.value if is_value and isinstance(parent, cst.Attribute) else ""


_MODELS = frozenset({"models", "Flag", "Sample", "Switch", "AbstractUserFlag", "AbstractBaseFlag"})


def _catches_import(handler: cst.ExceptHandler) -> bool:
    caught = cst.Module([]).code_for_node(handler.type) if handler.type is not None else ""
    return not caught or "Import" in caught or "ModuleNot" in caught or "Exception" in caught


def _bound(alias: cst.ImportAlias) -> str:
    return str(alias.evaluated_alias or alias.evaluated_name)


def _module_of(node: cst.ImportFrom) -> str:
    return dotted(node.module) if node.module is not None and not node.relative else ""


def _modules(node: Import) -> list[str]:
    """Returns the modules that a statement imports or imports from."""
    if isinstance(node, cst.Import):
        return [dotted(alias.name) for alias in node.names]
    module = _module_of(node)
    if module == "flagstaff.compat" and not isinstance(node.names, cst.ImportStar):
        return [f"{module}.{dotted(alias.name)}" for alias in node.names]
    return [module]


def _is_waffle(module: str) -> bool:
    name = module.removeprefix("flagstaff.compat.")
    return name.partition(".")[0] == "waffle"
