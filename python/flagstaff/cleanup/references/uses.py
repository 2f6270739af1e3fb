"""How the project uses names: only to read what they have, or also in ways that may change it.

Names are compared as they are written, whatever they are bound to: another thing with the same name
can only make a constant look less constant than it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from flagstaff.cleanup.references.files import LimitError, read
from flagstaff.cleanup.references.naming import absolute_name, is_named
from flagstaff.cleanup.references.project import Project, module_name

_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
# `@cached_property` above a function, `name = property(…)`.
_PROPERTY = re.compile(
    r"@[\w.]*property\b[^\n]*\n(?:\s*@[^\n]*\n)*\s*def\s+(\w+)|(\w+)\s*=\s*property\("
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Built-in functions that only read the collections that they get.
_READERS = frozenset(
    {"all", "any", "bool", "dict", "enumerate", "filter", "frozenset", "isinstance", "issubclass"}
    | {"iter", "len", "list", "map", "max", "min", "print", "repr", "reversed", "set", "sorted"}
    | {"str", "sum", "tuple", "zip"}
)
# Where loops and conditions have what they read.
_READ_FIELDS: dict[type[ast.AST], str] = {
    **dict.fromkeys((ast.For, ast.AsyncFor, ast.comprehension), "iter"),
    **dict.fromkeys((ast.If, ast.While, ast.IfExp, ast.Assert), "test"),
}
# Methods that only read the collection that they belong to.
_READS = frozenset(
    {"copy", "count", "difference", "get", "index", "intersection", "isdisjoint", "issubset"}
    | {"issuperset", "items", "keys", "union", "values"}
)
# They set an attribute whose name is their second argument.
_SETTERS = frozenset({"setattr", "delattr", "__setattr__", "__delattr__"})
_METHOD_ARGUMENTS = {"__setattr__": 2, "__delattr__": 1}
_READS_OF_NAMESPACE = frozenset({"copy", "get", "items", "keys", "values"})
# With these, code can change each name of its module.
_SEE_ALL = frozenset({"eval", "exec", "globals", "locals"})
_NAMESPACES = ("vars", *_SEE_ALL)
# What a class or an instance is, and lists of names that no code sets.
_CLASS = "__class__"
# What finds a module by a text: `sys.modules["shop"]`.
_MODULES = frozenset({"__import__", "import_module", "modules"})
_ANY_MODULE = "*"
_LISTS = frozenset({"__all__", "__slots__", "__match_args__"})
_OWN = frozenset({"self", "cls", "super"})
_GETTERS = frozenset({"get", "getattr", "hasattr"})
# What files have that may set attributes whose names are known only at run time.
_DYNAMIC = ("setattr", "delattr", "__dict__", "vars(", ".object(", _CLASS)


@dataclass
class _FileUses:
    #: Python cannot read the file, so nothing is known about its uses.
    is_unknown: bool = False
    #: Names that code uses as a collection in another way than to read its elements.
    changed: set[str] = field(default_factory=set)
    #: Names that code uses as a class or a module in another way than to read its attributes.
    passed: set[str] = field(default_factory=set)
    #: Names that code sets or deletes as attributes, deletes, or has in a text.
    assigned: set[str] = field(default_factory=set)
    #: Names of attributes that code sets or deletes by a statement.
    stored: set[str] = field(default_factory=set)
    #: Names that code deletes.
    deleted: set[str] = field(default_factory=set)
    #: Names of keyword arguments: `as_view(key="a")` sets an attribute.
    keywords: set[str] = field(default_factory=set)
    #: What imports import and the name that they bind, by the last part of what they import.
    imports: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    #: The classes whose methods set attributes of `self` by names that are known only at run time,
    #: and "" for code that does so with anything else; "*" with a module that it finds by a text.
    setters: set[str] = field(default_factory=set)
    #: The same for code that reads attributes by names that are known only at run time.
    getters: set[str] = field(default_factory=set)
    #: The code may change each name of its module.
    sees_all: bool = False


class Uses:
    """Answers whether code of the project may change what a name has."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._files: dict[str, _FileUses] = {}

    def may_change_items(self, name: str, owner: str, *, is_module: bool) -> bool:
        """Returns True if a collection with this name may have other elements at run time.

        The owner is the last part of the name of its class, or the name of its module.
        """
        if any(one.is_unknown or name in one.changed for one in self._mentioning(name)):
            return True
        # `getattr(shop, name)` may return it.
        passes = self._passes_module(owner) if is_module else self._passes({owner})
        return ("" in self._getters and passes) or owner in self._getters

    def may_change_local(self, name: str, path: str) -> bool:
        """Returns True if a collection in a variable of a function may have other elements."""
        found = self._of(path)
        return found.is_unknown or found.sees_all or name in found.changed

    def may_delete(self, name: str, path: str) -> bool:
        """Returns True if code of the file deletes the name, or may do so."""
        found = self._of(path)
        return found.is_unknown or name in found.deleted

    def may_set(self, name: str, path: str, module: str) -> bool:
        """Returns True if code may give another value to a name of a module, from outside of it."""
        own = self._of(path)
        if own.is_unknown or own.sees_all or self._sets(name):
            return True
        if _ANY_MODULE in self._setters:
            return True
        return "" in self._setters and self._passes_module(module)

    def may_set_attribute(
        self, name: str, classes: Collection[str], paths: Collection[str], *, is_instance: bool
    ) -> bool:
        """Returns True if code may give another value to an attribute of one of these classes.

        The classes are those of one family. Instances may be passed anywhere.
        """
        files = [self._of(path) for path in paths]
        names = [name]
        if name.startswith("__"):
            # Python writes `_Keys__NEW` for `self.__NEW`.
            names += [f"_{one.lstrip('_')}{name}" for one in classes]
        if any(map(self._sets, names)) or any(file.is_unknown or file.sees_all for file in files):
            return True
        if not self._setters.isdisjoint(classes):
            return True
        return "" in self._setters and (is_instance or self._passes(classes))

    def has_class_hooks(self) -> bool:
        """Returns True if objects of the project know the class of which they are attributes."""
        return any(self._mentioning("__set_name__"))

    def is_assigned(self, name: str) -> bool:
        """Returns True if code sets an attribute with this name, or may do so by a text."""
        return any(one.is_unknown or name in one.assigned for one in self._mentioning(name))

    def is_stored(self, name: str) -> bool:
        """Returns True if code assigns an attribute with this name, or deletes one."""
        return any(one.is_unknown or name in one.stored for one in self._mentioning(name))

    def is_property(self, name: str) -> bool:
        """Returns True if a class of the project has a property with this name."""
        return name in self._properties

    @cached_property
    def _properties(self) -> frozenset[str]:
        found: set[str] = set()
        for path in self._project.paths_mentioning("property"):
            text = read(path).decode("utf-8", "replace")
            found.update(one[1] or one[2] for one in _PROPERTY.finditer(text))
        return frozenset(found)

    def _sets(self, name: str) -> bool:
        files = self._mentioning(name)
        return self.is_assigned(name) or any(name in file.keywords for file in files)

    def _passes(self, names: Collection[str]) -> bool:
        """Whether code passes on one of these classes."""
        return any(
            one.is_unknown
            or name in one.passed
            or any(bound in one.passed for _, bound in one.imports.get(name, ()))
            for name in names
            for one in self._mentioning(name)
        )

    def _passes_module(self, module: str) -> bool:
        last = module.rpartition(".")[2]
        return any(
            one.is_unknown
            or any(
                bound in one.passed and is_named(module, name)
                for name, bound in one.imports.get(last, ())
            )
            for one in self._mentioning(last)
        )

    @cached_property
    def _setters(self) -> frozenset[str]:
        found = (one for word in _DYNAMIC for one in self._mentioning(word))
        return frozenset[str]().union(*({""} if one.is_unknown else one.setters for one in found))

    @cached_property
    def _getters(self) -> frozenset[str]:
        found = self._mentioning("getattr")
        known = ({""} if one.is_unknown else one.getters for one in found)
        return self._setters.union(*known)

    def _mentioning(self, name: str) -> Iterator[_FileUses]:
        return map(self._of, self._project.paths_mentioning(name))

    def _of(self, path: str) -> _FileUses:
        if path not in self._files:
            self._files[path] = _uses_in(path)
        return self._files[path]


def _uses_in(path: str) -> _FileUses:
    try:
        tree = ast.parse(read(path))
    except (OSError, LimitError, SyntaxError, ValueError, RecursionError, MemoryError):
        return _FileUses(is_unknown=True)
    return _Reader(tree, path).found


class _Reader:
    """Looks at each name of a file, and at what is around it."""

    def __init__(self, tree: ast.Module, path: str) -> None:
        self.found = _FileUses()
        self._path = path
        self._parents: dict[ast.AST, ast.AST] = {}
        nodes: list[ast.AST] = []
        for node in ast.walk(tree):
            nodes.append(node)
            self._parents.update(dict.fromkeys(ast.iter_child_nodes(node), node))
        # Built-in functions that are something else in this file.
        self._own = {
            one.name if isinstance(one, (*_FUNCTIONS, ast.ClassDef)) else one.id
            for one in nodes
            if isinstance(one, (*_FUNCTIONS, ast.ClassDef))
            or (isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))
        }
        for node in nodes:
            self._add(node)

    def _add(self, node: ast.AST) -> None:
        match node:
            case ast.Name():
                self._add_use(node, node.id, node.ctx)
                self.found.sees_all |= node.id in _SEE_ALL
            case ast.Attribute():
                self._add_use(node, node.attr, node.ctx)
                if not isinstance(node.ctx, ast.Load):
                    self.found.assigned.add(node.attr)
                    self.found.stored.add(node.attr)
                self._add_namespace(node)
            case ast.Constant(value=str() as text) if _DOTTED.fullmatch(text):
                # `mock.patch("shop.keys.KEY", …)`
                self._add_text(node, text.rpartition(".")[2])
            case ast.Assign() if len(node.targets) > 1:
                # `KEYS = others = []`
                self.found.changed |= {_last(target) for target in node.targets}
            case ast.NamedExpr():
                self.found.changed.add(node.target.id)
            case ast.keyword(arg=str() as name):
                self.found.keywords.add(name)
            case ast.ImportFrom() | ast.Import():
                self._add_import(node)
            case ast.Call():
                self._add_call(node)
            case _:
                pass

    def _add_use(self, node: ast.expr, name: str, context: ast.expr_context) -> None:
        parent = self._parents[node]
        if isinstance(context, ast.Del):
            self.found.assigned.add(name)
            self.found.deleted.add(name)
        if isinstance(context, ast.Del) or isinstance(parent, ast.AugAssign):
            self.found.changed.add(name)
        elif isinstance(context, ast.Load) and not self._reads(node, parent):
            self.found.changed.add(name)
            if not self._reads_class(node, parent):
                self.found.passed.add(name)
        if name in _SETTERS and not (isinstance(parent, ast.Call) and parent.func is node):
            # `map(setattr, …)`
            self.found.setters.add("")

    def _reads(self, node: ast.expr, parent: ast.AST) -> bool:  # noqa: PLR0911
        if type(parent) in _READ_FIELDS:
            return getattr(parent, _READ_FIELDS[type(parent)]) is node
        match parent:
            case ast.Subscript():
                return parent.value is node and isinstance(parent.ctx, ast.Load)
            case ast.Compare():
                return all(isinstance(one, ast.In | ast.NotIn) for one in parent.ops)
            case ast.Attribute():
                outer = self._parents[parent]
                is_called = isinstance(outer, ast.Call) and outer.func is parent
                return is_called and parent.attr in _READS
            case ast.Call():
                name = parent.func.id if isinstance(parent.func, ast.Name) else ""
                # A collection cannot be called: it is a method with the same name.
                return parent.func is node or (name in _READERS and name not in self._own)
            case ast.Dict():
                return any(one is node for one in _unpacked(parent))
            case ast.keyword():
                return parent.arg is None
            case ast.UnaryOp():
                return isinstance(parent.op, ast.Not)
            case ast.Starred() | ast.FormattedValue() | ast.Expr():
                return True
            case _:
                return False

    @staticmethod
    def _reads_class(node: ast.expr, parent: ast.AST) -> bool:
        match parent:
            case ast.Attribute():
                return not parent.attr.startswith("__")
            case ast.Call():
                return parent.func is node or _last(parent.func) == "super"
            case ast.ClassDef() | ast.ExceptHandler() | ast.Raise() | ast.arg() | ast.BinOp():
                return True
            case ast.AnnAssign():
                return parent.annotation is node
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                return parent.returns is node
            case _:
                return False

    def _add_namespace(self, node: ast.Attribute) -> None:
        """Notes what may set attributes by `x.__dict__` or `x.__class__`."""
        parent = self._parents[node]
        is_set = not isinstance(node.ctx, ast.Load)
        if node.attr == "__dict__":
            is_read = self._reads(node, parent) or (
                isinstance(parent, ast.Attribute) and parent.attr in _READS_OF_NAMESPACE
            )
            is_set = is_set or not is_read
        if is_set and node.attr in ("__dict__", _CLASS):
            self._add_setter(node.value, node)

    def _add_text(self, node: ast.Constant, name: str) -> None:
        parent = self._parents[node]
        outer = self._parents.get(parent)
        match parent:
            case ast.Expr() | ast.Assign() | ast.AnnAssign() | ast.Compare():
                return
            case ast.Dict() if node in parent.keys and self._is_assigned(parent):
                return
            case ast.Subscript():
                base = parent.value
                is_namespace = _last(base) in (*_NAMESPACES, "__dict__")
                if isinstance(parent.ctx, ast.Load) or not is_namespace:
                    return
            case ast.Call() if _last(parent.func) in _GETTERS:
                return
            case ast.List() | ast.Tuple():
                targets = outer.targets if isinstance(outer, ast.Assign) else []
                target = outer.target if isinstance(outer, ast.AugAssign | ast.AnnAssign) else None
                if any(_last(one) in _LISTS for one in (*targets, *([target] if target else []))):
                    return
            case _:
                pass
        for names in (self.found.changed, self.found.passed, self.found.assigned):
            names.add(name)

    def _is_assigned(self, node: ast.AST) -> bool:
        """Whether a collection, or the one around it, is the value of a name."""
        while isinstance(node, ast.Dict | ast.List | ast.Tuple):
            node = self._parents[node]
        return isinstance(node, ast.Assign | ast.AnnAssign)

    def _add_import(self, node: ast.Import | ast.ImportFrom) -> None:
        package = ""
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            package = absolute_name(module, module_name(self._path), self._path)
        for alias in node.names:
            name = alias.name.rpartition(".")[2]
            full = f"{package}.{alias.name}".lstrip(".")
            self.found.imports.setdefault(name, set()).add((full, alias.asname or name))
            if alias.asname is not None and alias.asname != name:
                self.found.changed.add(name)
            if name in _SETTERS | _SEE_ALL and alias.asname is not None:
                self.found.setters.add("")

    def _add_call(self, node: ast.Call) -> None:
        name = _last(node.func)
        is_method = isinstance(node.func, ast.Attribute)
        if name in _SETTERS or (name == "object" and is_method):
            args = node.args
            if isinstance(node.func, ast.Attribute) and len(args) == _METHOD_ARGUMENTS.get(name):
                # `x.__setattr__(name, value)`
                args = [node.func.value, *args]
            # `setattr(Keys, "KEY", …)`, `monkeypatch.setattr("shop.keys.KEY", …)`
            if not any(isinstance(one, ast.Constant) for one in args[:2]):
                self._add_setter(args[0] if args else None, node)
        elif name == "getattr":
            if not any(isinstance(one, ast.Constant) for one in node.args[:2]):
                self.found.getters.add(self._owner(node.args[0] if node.args else None, node))
        elif name == "vars":
            if node.args:
                self._add_setter(node.args[0], node)
            else:
                self.found.sees_all = True

    def _add_setter(self, receiver: ast.expr | None, node: ast.AST) -> None:
        if receiver is not None and any(_last(part) in _MODULES for part in _parts(receiver)):
            self.found.setters.add(_ANY_MODULE)
        self.found.setters.add(self._owner(receiver, node))

    def _owner(self, receiver: ast.expr | None, node: ast.AST) -> str:
        """Returns the name of the class around for `self`, "" for anything else."""
        is_own = isinstance(receiver, ast.Name | ast.Call) and _last(receiver) in _OWN
        while is_own and not isinstance(node, ast.ClassDef | ast.Module):
            node = self._parents[node]
        return node.name if is_own and isinstance(node, ast.ClassDef) else ""


def _unpacked(node: ast.Dict) -> Iterator[ast.expr]:
    """Yields what `**` stands before."""
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            yield value


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    return (one for one in ast.walk(node) if isinstance(one, ast.expr))


def _last(node: ast.expr) -> str:
    """Returns the last part of a dotted name or of the name that is called; else ""."""
    if isinstance(node, ast.Call):
        return _last(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
