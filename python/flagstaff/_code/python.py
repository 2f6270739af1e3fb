"""Reads the keys that Python code uses, by its syntax tree: nothing of it is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from flagstaff._code.files import EXPERIMENT, FLAG, VALUE, Use, text_or_nothing
from flagstaff._code.syntax import (
    FUNCTIONS,
    Binding,
    Import,
    Module,
    Scope,
    Scopes,
    imported,
    parsed,
)

# A file without any of these cannot use a key, and is not parsed. An import of
# declarations has the first one.
_NAMES = (
    *("flags", "flag_enabled", "flag_required", "flag_key", "HasFlag", "resolve_flag"),
    *("get_value", "resolve_value", "override_flag", "override_value"),
)
# Imports and aliases are followed this far, which ends a circle.
_MAX_DEPTH = 20

_SNAPSHOT, _REQUEST, _FIXTURE = "flagstaff.snapshot()", "request.flags", "flagstaff_flags"
_MIXIN = "flagstaff.mixins.FlagRequiredMixin"
_MARK = "pytest.mark.flagstaff"
_DECLARATIONS = {"flagstaff.Flag": FLAG, "flagstaff.Value": VALUE}
_EVALUATIONS = {
    "flag_enabled": FLAG,
    "resolve_flag": FLAG,
    "explain": FLAG,
    "get_value": VALUE,
    "resolve_value": VALUE,
    "explain_value": VALUE,
    "get_variant": EXPERIMENT,
    "resolve_variant": EXPERIMENT,
    "explain_variant": EXPERIMENT,
}
# What takes a key as its first argument, or as `key`.
_CALLS: Mapping[str, str] = {
    **{f"flagstaff.{name}": kind for name, kind in _EVALUATIONS.items()},
    **{f"flagstaff.experiments.{name}": kind for name, kind in _EVALUATIONS.items()},
    **{f"{_SNAPSHOT}.{name}": kind for name, kind in _EVALUATIONS.items()},
    **{f"{_REQUEST}.{prefix}enabled": FLAG for prefix in ("", "a")},
    **{f"{_REQUEST}.{prefix}value": VALUE for prefix in ("", "a")},
    f"{_REQUEST}.variant": EXPERIMENT,
    "flagstaff.decorators.flag_required": FLAG,
    "flagstaff.contrib.drf.HasFlag": FLAG,
}
_OVERRIDES: Mapping[str, str] = {
    "flagstaff.testing.override_flag": FLAG,
    "flagstaff.testing.override_value": VALUE,
    "flagstaff.testing.override_variant": EXPERIMENT,
    f"{_FIXTURE}.set": FLAG,
    f"{_FIXTURE}.value": VALUE,
    f"{_FIXTURE}.variant": EXPERIMENT,
}
_SWITCHES = (f"{_FIXTURE}.on", f"{_FIXTURE}.off")
_KINDS = {"flag": FLAG, "value": VALUE, "variant": EXPERIMENT}


# What an expression of the code is, as far as it is known.


@dataclass(frozen=True)
class _Text:
    """A string; of a declared key, with its kind."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class _Named:
    """A name of another package, or what a call of one of ours returns."""

    path: str


@dataclass(frozen=True)
class _Class:
    node: ast.ClassDef
    module: Module


@dataclass(frozen=True)
class _Package:
    """A module or a package of the project: the path of its file without the suffix."""

    base: Path

    @property
    def file(self) -> Path:
        """The file of its code, which need not exist."""
        path = self.base.with_name(f"{self.base.name}.py")
        return path if path.is_file() else self.base / "__init__.py"


@dataclass(frozen=True)
class _Missing:
    """A name that a module of declarations does not have."""

    name: str
    module: Module


_Meaning: TypeAlias = _Text | _Named | _Class | _Package | _Missing | None


@dataclass
class PythonReader:
    """Reads files, and follows their imports in the folders of the project."""

    #: The folders from which the project imports.
    roots: Sequence[Path]
    _modules: dict[Path, Module | None] = field(default_factory=dict)
    _paths: dict[tuple[Path, str], _Package | None] = field(default_factory=dict)
    _mentions: dict[Path, bool] = field(default_factory=dict)

    def uses(self, path: str, text: str) -> Iterator[Use]:
        """Yields the uses of keys in a file, by line. A file that is no Python has none."""
        if _has_one(_NAMES, text):
            file = Path(path).absolute()
            module = self._modules.get(file) or parsed(file, text)
            if module is not None:
                yield from sorted(_Reading(self, module, path).uses(), key=lambda use: use.line)

    def module_at(self, package: _Package) -> Module | None:
        """Returns the module of a package or a module of the project, parsed once."""
        path = package.file
        if path not in self._modules:
            self._modules[path] = parsed(path, text_or_nothing(str(path)))
        return self._modules[path]

    def concerns(self, binding: Binding, module: Module, known: Collection[str]) -> bool:
        """Whether what a name is bound to can evaluate a key, or is declared.

        `known` are the names of the module of which that is known.
        """
        if isinstance(binding, ast.expr):
            return _root(binding) in known
        if not isinstance(binding, Import):
            return False
        package = self.package(binding.module, binding.level, module)
        if package is None:
            return binding.module.partition(".")[0] == "flagstaff"
        inner = _Package(package.base / binding.name) if binding.name else package
        has_names = self._has_names(package) or self._has_names(inner)
        return has_names and (binding.name == "*" or self._is_concern(binding, module))

    def _is_concern(self, binding: Import, module: Module) -> bool:
        """Whether an imported name is about keys: most names of a module that uses them are not."""
        meaning = self.bound_to(binding, module, (module.scope,), 0)
        if isinstance(meaning, _Named):
            return meaning.path.partition(".")[0] == "flagstaff"
        if isinstance(meaning, _Class):
            return self._declares(meaning.module, Scope(meaning.node))
        return isinstance(meaning, _Package | _Missing | _Text)

    def _has_names(self, package: _Package) -> bool:
        path = package.file
        if path not in self._mentions:
            self._mentions[path] = _has_one(_NAMES, text_or_nothing(str(path)))
        return self._mentions[path]

    def package(self, name: str, level: int, module: Module) -> _Package | None:
        """Returns what an import of a module names in the project; None for another package."""
        if not level and name.partition(".")[0] == "flagstaff":
            return None
        folders = module.path.parents[level - 1 : level] if level else self.roots
        parts = name.split(".") if name else []
        for folder in folders:
            key = (folder, name)
            if key not in self._paths:
                base = folder.joinpath(*parts)
                is_module = base.is_dir() or base.with_name(f"{base.name}.py").is_file()
                self._paths[key] = _Package(base) if is_module else None
            if package := self._paths[key]:
                return package
        return None

    def meaning(self, node: ast.expr, module: Module, scopes: Scopes, depth: int = 0) -> _Meaning:
        """Returns what an expression is."""
        if depth > _MAX_DEPTH:
            return None
        if isinstance(node, ast.Constant):
            return _Text(node.value) if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            return self._of_name(node.id, module, scopes, depth)
        if isinstance(node, ast.Attribute):
            owner = self.meaning(node.value, module, scopes, depth + 1)
            return self._of_attribute(owner, node, depth)
        if isinstance(node, ast.Call):
            function = self.meaning(node.func, module, scopes, depth + 1)
            return self._of_call(function, node, module, scopes, depth)
        return None

    def _of_name(self, name: str, module: Module, scopes: Scopes, depth: int) -> _Meaning:
        for index in range(len(scopes) - 1, -1, -1):
            if name in (names := scopes[index].names):
                if name == _FIXTURE:
                    return _Named(name)
                return self.bound_to(names[name], module, scopes[: index + 1], depth)
        for star in module.scope.star_imports if depth < _MAX_DEPTH else ():
            package = self.package(star.module, star.level, module)
            other = self.module_at(package) if package else None
            if other and (meaning := self._of_name(name, other, (other.scope,), depth + 1)):
                return meaning
        return None

    def bound_to(self, binding: Binding, module: Module, scopes: Scopes, depth: int) -> _Meaning:
        if isinstance(binding, ast.ClassDef):
            return _Class(binding, module)
        if isinstance(binding, ast.expr):
            return self.meaning(binding, module, scopes, depth + 1)
        if not isinstance(binding, Import) or depth > _MAX_DEPTH:
            return None
        package = self.package(binding.module, binding.level, module)
        if package is None:
            path = ".".join(filter(None, (binding.module, binding.name)))
            return None if binding.level else _Named(path)
        return package if binding.name is None else self._in_package(package, binding.name, depth)

    def _in_package(self, package: _Package, name: str, depth: int) -> _Meaning:
        """Returns what a module or package has under a name."""
        module = self.module_at(package)
        if module and name in module.scope.names:
            return self._of_name(name, module, (module.scope,), depth + 1)
        inner = package.base / name
        if inner.is_dir() or inner.with_name(f"{name}.py").is_file():
            return _Package(inner)
        if module is None:
            return None
        if module.scope.star_imports or "__getattr__" in module.scope.names:
            return self._of_name(name, module, (module.scope,), depth + 1)
        return _Missing(name, module) if self._declares(module, module.scope) else None

    def _declares(self, module: Module, scope: Scope) -> bool:
        """Whether a module, or a class in it, has a declaration."""
        values = (value for value in scope.names.values() if isinstance(value, ast.Call))
        scopes = (module.scope,)
        meanings = (self.meaning(value, module, scopes) for value in values)
        return any(isinstance(meaning, _Text) and meaning.kind for meaning in meanings)

    def _of_attribute(self, owner: _Meaning, node: ast.Attribute, depth: int) -> _Meaning:
        if isinstance(owner, _Package):
            return self._in_package(owner, node.attr, depth)
        if isinstance(owner, _Class):
            names = Scope(owner.node).names
            scopes = (owner.module.scope,)
            return self.bound_to(names.get(node.attr), owner.module, scopes, depth)
        if isinstance(owner, _Text):
            # Of a member of an enum.
            return owner if node.attr == "value" and not owner.kind else None
        if node.attr == "flags" and _is_request(node.value):
            return _Named(_REQUEST)
        if not isinstance(owner, _Named):
            return None
        path = f"{owner.path}.{node.attr}"
        return _Named(_SNAPSHOT if path == f"{_REQUEST}.snapshot" else path)

    def _of_call(
        self, function: _Meaning, node: ast.Call, module: Module, scopes: Scopes, depth: int
    ) -> _Meaning:
        path = function.path if isinstance(function, _Named) else ""
        if path == "flagstaff.snapshot":
            return _Named(_SNAPSHOT)
        if kind := _DECLARATIONS.get(path):
            argument = _argument(node, "key")
            key = self.meaning(argument, module, scopes, depth + 1) if argument else None
            return _Text(key.text, kind) if isinstance(key, _Text) else None
        return None

    def is_mixin(self, node: ast.ClassDef, module: Module, scopes: Scopes, depth: int = 0) -> bool:
        """Whether a class inherits from FlagRequiredMixin."""
        for base in node.bases if depth < _MAX_DEPTH else ():
            meaning = self.meaning(base, module, scopes)
            if meaning == _Named(_MIXIN):
                return True
            if isinstance(meaning, _Class) and meaning.node is not node:
                outer = (meaning.module.scope,)
                if self.is_mixin(meaning.node, meaning.module, outer, depth + 1):
                    return True
        return False


@dataclass
class _Reading:
    """Finds the uses of one file."""

    reader: PythonReader
    module: Module
    path: str

    def uses(self) -> Iterator[Use]:
        """Yields them in any order."""
        scope, names = self.module.scope, [*_NAMES]
        for name, binding in scope.names.items():
            if self.reader.concerns(binding, self.module, names):
                # After a star, any name can be one.
                names.append("" if name.startswith("*") else name)
        yield from self._of_statements(self.module.tree.body, (scope,), names)

    def _of_statements(
        self, statements: Iterable[ast.stmt], scopes: Scopes, names: Collection[str]
    ) -> Iterator[Use]:
        """Looks only at the statements of a module or a class whose text has one of the names."""
        for node in statements:
            if not _has_one(names, self.module.text(node)):
                continue
            if isinstance(node, ast.ClassDef):
                yield from self.of_class(node, scopes)
                for decorator in node.decorator_list:
                    yield from self._visit(decorator, scopes)
                yield from self._of_statements(node.body, (*scopes, Scope(node)), names)
            else:
                yield from self._visit(self.module.whole(node), scopes)

    def of_import(self, node: ast.ImportFrom, scopes: Scopes) -> Iterator[Use]:
        for name, binding in imported(node):
            if not name.startswith("*"):
                meaning = self.reader.bound_to(binding, self.module, scopes, 0)
                yield from self._missing(meaning, node)

    def _missing(self, meaning: _Meaning, node: ast.AST) -> Iterator[Use]:
        if isinstance(meaning, _Missing):
            yield replace(
                self._use(node, "", meaning.name),
                missing_in=str(meaning.module.path),
                names=(*meaning.module.scope.names,),
            )

    def _visit(self, node: ast.AST, scopes: Scopes) -> Iterator[Use]:
        """Yields the uses of a node and of all below it."""
        if find := _FINDERS.get(type(node)):
            yield from find(self, node, scopes)
        if isinstance(node, FUNCTIONS):
            # A function does not see the names of the class around it.
            visible = (scope for scope in scopes if not isinstance(scope.node, ast.ClassDef))
            scopes = (*visible, Scope(node))
        elif isinstance(node, ast.ClassDef):
            scopes = (*scopes, Scope(node))
        for child in _children(node):
            yield from self._visit(child, scopes)

    def of_attribute(self, node: ast.Attribute, scopes: Scopes) -> Iterator[Use]:
        owner = self.reader.meaning(node.value, self.module, scopes)
        if isinstance(owner, _Text) and owner.kind:
            yield self._use(node, owner.kind, owner.text)
        elif isinstance(owner, _Package):
            yield from self._missing(self.reader.meaning(node, self.module, scopes), node)

    def of_call(self, node: ast.Call, scopes: Scopes) -> Iterator[Use]:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "as_view":
            keys = [word.value for word in node.keywords if word.arg == "flag_key"]
            yield from self._keys(keys, FLAG, scopes)
            return
        meaning = self.reader.meaning(node.func, self.module, scopes)
        if not isinstance(meaning, _Named):
            return
        if kind := _CALLS.get(meaning.path) or _OVERRIDES.get(meaning.path):
            key = _argument(node, "key")
            is_override = meaning.path in _OVERRIDES
            yield from self._keys([key] if key else [], kind, scopes, is_override=is_override)
        elif meaning.path in _SWITCHES:
            yield from self._keys(node.args, FLAG, scopes, is_override=True)
        elif meaning.path == _MARK:
            for word in node.keywords:
                kind = _KINDS.get(word.arg or "", "")
                yield from self._keys(_keys_of_mark(word.value), kind, scopes, is_override=True)

    def of_subscript(self, node: ast.Subscript, scopes: Scopes) -> Iterator[Use]:
        if self.reader.meaning(node.value, self.module, scopes) == _Named(_REQUEST):
            yield from self._keys([node.slice], FLAG, scopes)

    def of_class(self, node: ast.ClassDef, scopes: Scopes) -> Iterator[Use]:
        key = Scope(node).names.get("flag_key")
        if isinstance(key, ast.expr) and self.reader.is_mixin(node, self.module, scopes):
            yield from self._keys([key], FLAG, scopes)

    def _keys(
        self, nodes: Iterable[ast.expr], kind: str, scopes: Scopes, *, is_override: bool = False
    ) -> Iterator[Use]:
        for node in nodes:
            meaning = self.reader.meaning(node, self.module, scopes)
            if isinstance(meaning, _Text):
                yield self._use(node, kind, meaning.text, is_override=is_override)

    def _use(
        self,
        node: ast.AST,
        kind: str,
        key: str,
        *,
        is_override: bool = False,
    ) -> Use:
        line: int = getattr(node, "lineno", 1)
        code = self.module.lines[line - 1].strip()
        return Use(self.path, line, code, kind, key, is_override)


def _has_one(names: Iterable[str], text: str) -> bool:
    return any(name in text for name in names)


def _argument(node: ast.Call, name: str) -> ast.expr | None:
    """Returns the first argument of a call, or the one with this name."""
    if node.args:
        return None if isinstance(node.args[0], ast.Starred) else node.args[0]
    return next((word.value for word in node.keywords if word.arg == name), None)


def _keys_of_mark(node: ast.expr) -> list[ast.expr]:
    """Returns the keys in an argument of the mark: a key, a list of keys, or a dict by key."""
    if isinstance(node, ast.Dict):
        return [key for key in node.keys if key is not None]
    return [*node.elts] if isinstance(node, ast.List | ast.Tuple | ast.Set) else [node]


def _root(node: ast.expr) -> str:
    """Returns the first name of an expression such as `flags.snapshot()`."""
    while not isinstance(node, ast.Name):
        inner = getattr(node, "value", None) or getattr(node, "func", None)
        if not isinstance(inner, ast.expr):
            return ""
        node = inner
    return node.id


def _is_request(node: ast.expr) -> bool:
    """Whether an expression is `request`, or ends in `.request`."""
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    return name == "request"


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes below one, as `ast.iter_child_nodes` does, in a third of its time."""
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            for item in value:
                if isinstance(item, ast.AST):
                    yield item
        elif isinstance(value, ast.AST) and type(value) not in _LEAVES:
            yield value


_LEAVES = {ast.Load, ast.Store, ast.Del, ast.Name, ast.Constant}
# What may use a key.
_FINDERS: Mapping[type[ast.AST], Callable[[_Reading, Any, Scopes], Iterator[Use]]] = {
    ast.ImportFrom: _Reading.of_import,
    ast.ClassDef: _Reading.of_class,
    ast.Call: _Reading.of_call,
    ast.Subscript: _Reading.of_subscript,
    ast.Attribute: _Reading.of_attribute,
}
