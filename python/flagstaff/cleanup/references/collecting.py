"""One pass over a module: its scopes, and the calls, subscripts and classes in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

import libcst as cst

from flagstaff.cleanup.references.naming import dotted, imported_module
from flagstaff.cleanup.references.scopes import Assigned, FunctionScope, Imported, Scope, find

# In the order of the source, where the fields of the class are in another one.
_IN_ORDER: dict[type[cst.CSTNode], tuple[str, ...]] = {
    cst.IfExp: ("body", "test", "orelse"),
    cst.Parameters: ("posonly_params", "params", "star_arg", "kwonly_params", "star_kwarg"),
    cst.ExceptHandler: ("type", "name", "body"),
    cst.ExceptStarHandler: ("type", "name", "body"),
    cst.MatchCase: ("pattern", "guard", "body"),
    cst.FormattedString: ("parts",),
    cst.Name: (),
    cst.SimpleString: (),
}
# Fields of spaces, brackets and signs.
_WITHOUT_NAMES = (
    "asynchronous", "at", "colon", "comma", "dot", "empty", "equal", "first_line", "footer",
    "header", "indent", "lbr", "leading", "lines_after", "lpar", "newline", "operator", "rbr",
    "rpar", "semicolon", "trailing", "whitespace",
)  # fmt: skip


class Walker:
    """Walks over all nodes that may contain expressions, in the order of the source.

    It only reads, and is five times faster than the visitors of LibCST. A handler takes the place
    of the walk over the children of its nodes.
    """

    handlers: Mapping[type[cst.CSTNode], Callable[[Any], None]]

    def __init__(self) -> None:
        self.handlers = {}
        self._in_string = 0
        #: Calls and subscripts, by the order of their opening brackets; without those in f-strings.
        self.numbers: dict[cst.CSTNode, int] = {}
        #: How many of each type have a number.
        self.counts: dict[type[cst.CSTNode], int] = {}

    def walk(self, node: cst.CSTNode) -> None:
        """Handles a node, or walks over its children."""
        handler = self.handlers.get(type(node))
        if handler is not None:
            handler(node)
        elif isinstance(node, cst.FormattedString):
            self._in_string += 1
            self.walk_children(node)
            self._in_string -= 1
        else:
            self.walk_children(node)

    def walk_children(self, node: cst.CSTNode) -> None:
        """Walks over the children of a node."""
        kind = type(node)
        names = _NAMES.get(kind)
        if names is None:
            names = _NAMES[kind] = _names(kind)
        for name in names:
            child = getattr(node, name)
            if isinstance(child, cst.CSTNode):
                self.walk(child)
            elif isinstance(child, tuple | list):
                self.walk_all(child)

    def walk_all(self, nodes: Iterable[cst.CSTNode]) -> None:
        """Walks over some nodes."""
        for node in nodes:
            self.walk(node)

    def number(self, node: cst.CSTNode) -> None:
        """Gives a node the next number of its type."""
        if not self._in_string:
            number = self.counts.get(type(node), 0)
            self.numbers[node] = number
            self.counts[type(node)] = number + 1


_NAMES = dict(_IN_ORDER)


def _names(kind: type[cst.CSTNode]) -> tuple[str, ...]:
    every = (field.name for field in fields(kind))
    return tuple(name for name in every if not name.startswith(_WITHOUT_NAMES))


# Methods that change a list, a set or a dict.
_CHANGES = frozenset(
    {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "reverse"}
    | {"setdefault", "sort", "update"}
)


class Collector(Walker):
    """Collects names and places; nothing is resolved before the pass has ended."""

    def __init__(self, path: str, module: str) -> None:
        super().__init__()
        self.module = self._scope = Scope("module", "", path=path, module=module)
        self.calls: list[tuple[cst.Call, Scope]] = []
        self.subscripts: list[tuple[cst.Subscript, Scope]] = []
        self.classes: list[tuple[cst.ClassDef, Scope]] = []
        #: Strings that may be templates.
        self.strings: list[tuple[cst.BaseExpression, Scope]] = []
        self.handlers = {
            cst.Expr: self._expression,
            cst.SimpleString: self._string,
            cst.ConcatenatedString: self._strings,
            cst.Import: self._import,
            cst.ImportFrom: self._import_from,
            cst.ClassDef: self._class,
            cst.FunctionDef: self._function,
            cst.Lambda: self._lambda,
            cst.Assign: self._assign,
            cst.AnnAssign: self._assign_annotated,
            cst.NamedExpr: self._assign_expression,
            cst.AugAssign: self._assign_unknown,
            cst.For: self._loop,
            cst.CompFor: self._loop,
            cst.AsName: self._as_name,
            cst.MatchAs: self._capture,
            cst.Del: self._delete,
            cst.Global: self._global,
            cst.Nonlocal: self._nonlocal,
            cst.Call: self._call,
            cst.Subscript: self._subscript,
        }

    def _import(self, node: cst.Import) -> None:
        for alias in node.names:
            name = dotted(alias.name)
            if alias.asname is not None:
                self._bind_target(alias.asname.name, Imported(name))
            else:
                first = name.partition(".")[0]
                self._scope.bind(first, Imported(first))

    def _import_from(self, node: cst.ImportFrom) -> None:
        module = imported_module(node, self.module.module, self.module.path)
        if isinstance(node.names, cst.ImportStar):
            self._scope.stars.append(module)
            return
        for alias in node.names:
            name = dotted(alias.name)
            bound = alias.asname.name if alias.asname is not None else alias.name
            self._bind_target(bound, Imported(f"{module}.{name}"))

    def _class(self, node: cst.ClassDef) -> None:
        self.walk_all([*node.decorators, *node.bases, *node.keywords])
        bases = tuple(base.value for base in node.bases)
        scope = Scope("class", self._qualified(node.name.value), self._scope, bases=bases)
        scope.decorators = tuple(decorator.decorator for decorator in node.decorators)
        metaclasses = (keyword.value for keyword in node.keywords if keyword.keyword is not None)
        scope.metaclass = next(metaclasses, None)
        self._scope.bind(node.name.value, scope)
        self.classes.append((node, scope))
        self._walk_inside(node.body, scope)

    def _function(self, node: cst.FunctionDef) -> None:
        # Decorators and defaults are evaluated outside of the function.
        self.walk_all([*node.decorators, node.params, *([node.returns] if node.returns else [])])
        decorators = {dotted(decorator.decorator) for decorator in node.decorators}
        scope = FunctionScope("function", self._qualified(node.name.value), self._scope)
        scope.is_class_method = "classmethod" in decorators
        scope.decorators = tuple(decorator.decorator for decorator in node.decorators)
        is_method = self._scope.kind == "class" and "staticmethod" not in decorators
        self._add_parameters(scope, node.params, is_method=is_method)
        self._scope.bind(node.name.value, scope)
        self._walk_inside(node.body, scope)

    def _lambda(self, node: cst.Lambda) -> None:
        self.walk(node.params)
        scope = FunctionScope("function", self._qualified("<lambda>"), self._scope)
        self._add_parameters(scope, node.params, is_method=False)
        self._walk_inside(node.body, scope)

    def _assign(self, node: cst.Assign) -> None:
        for target in node.targets:
            self._bind_target(target.target, Assigned(node.value, self._scope))
        self.walk_children(node)

    def _assign_annotated(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self._bind_target(node.target, Assigned(node.value, self._scope))
        self.walk_children(node)

    def _assign_expression(self, node: cst.NamedExpr) -> None:
        self._bind_target(node.target, Assigned(node.value, self._scope))
        self.walk_children(node)

    def _assign_unknown(self, node: cst.AugAssign) -> None:
        self._bind_target(node.target, None)
        self.walk_children(node)

    def _loop(self, node: cst.For | cst.CompFor) -> None:
        # The scope of a comprehension is taken as that around it.
        self._bind_target(node.target, Assigned(node.iter, self._scope, is_element=True))
        self.walk_children(node)

    def _as_name(self, node: cst.AsName) -> None:
        self._bind_target(node.name, None)

    def _capture(self, node: cst.MatchAs) -> None:
        if node.name is not None:
            self._bind_target(node.name, None)
        self.walk_children(node)

    def _global(self, node: cst.Global) -> None:
        # The function may assign anything to it.
        for item in node.names:
            self.module.bind(item.name.value, None)

    def _nonlocal(self, node: cst.Nonlocal) -> None:
        for item in node.names:
            scope = self._scope.parent
            while scope is not None and item.name.value not in scope.bindings:
                scope = scope.parent
            (scope or self._scope).bind(item.name.value, None)

    def _delete(self, node: cst.Del) -> None:
        self.walk_children(node)
        targets = node.target.elements if isinstance(node.target, cst.Tuple) else (node.target,)
        for target in targets:
            one = target.value if isinstance(target, cst.Element) else target
            if isinstance(one, cst.Subscript):
                self._change(one.value)

    def _change(self, target: cst.BaseExpression) -> None:
        """Notes that a collection is changed after its assignment."""
        if isinstance(target, cst.Name):
            name = target.value
            scope = self._scope if name in self._scope.bindings else self.module
            if name in scope.bindings:
                scope.bind(name, None)

    def _call(self, node: cst.Call) -> None:
        if isinstance(node.func, cst.Attribute) and node.func.attr.value in _CHANGES:
            self._change(node.func.value)
        self.calls.append((node, self._scope))
        self.walk(node.func)
        self.number(node)
        self.walk_all(node.args)

    def _subscript(self, node: cst.Subscript) -> None:
        self.subscripts.append((node, self._scope))
        self.walk(node.value)
        self.number(node)
        self.walk_all(node.slice)

    def _expression(self, node: cst.Expr) -> None:
        # A string that stands alone is a docstring.
        if not isinstance(node.value, cst.SimpleString | cst.ConcatenatedString):
            self.walk(node.value)

    def _string(self, node: cst.SimpleString) -> None:
        if "{%" in node.value or "{{" in node.value:
            self.strings.append((node, self._scope))

    def _strings(self, node: cst.ConcatenatedString) -> None:
        before = len(self.strings)
        self.walk_children(node)
        if len(self.strings) > before:
            # The parts are one template.
            self.strings[before:] = [(node, self._scope)]

    def _walk_inside(self, node: cst.CSTNode, scope: Scope) -> None:
        outer, self._scope = self._scope, scope
        self.walk(node)
        self._scope = outer

    def _qualified(self, name: str) -> str:
        return f"{self._scope.name}.{name}".lstrip(".")

    def _bind_target(self, target: cst.BaseExpression, binding: Assigned | Imported | None) -> None:
        if isinstance(target, cst.Name):
            self._scope.bind(target.value, binding)
        elif isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name):
            self._bind_attribute(target.value.value, target.attr.value, binding)
        elif isinstance(target, cst.Tuple | cst.List):
            has_star = False
            for index, element in enumerate(target.elements):
                # What a star takes, and what follows it, is at no known place.
                has_star = has_star or isinstance(element, cst.StarredElement)
                part = None if has_star else _part(binding, index)
                self._bind_target(element.value, part)
        elif isinstance(target, cst.Subscript):
            self._change(target.value)

    def _bind_attribute(
        self, receiver: str, name: str, binding: Assigned | Imported | None
    ) -> None:
        """Binds `self.name` and `Keys.NAME` in the class."""
        scope = self._scope
        if isinstance(scope, FunctionScope) and scope.receiver == receiver and scope.parent:
            scope.parent.bind(name, binding)
            return
        found = find(receiver, scope)
        for owner in found[1] if found is not None else ():
            if isinstance(owner, Scope) and owner.kind == "class":
                owner.bind(name, binding)

    def _add_parameters(
        self, scope: FunctionScope, params: cst.Parameters, *, is_method: bool
    ) -> None:
        positional = [*params.posonly_params, *params.params]
        if is_method and positional:
            receiver = positional.pop(0).name.value
            scope.receiver = receiver
            scope.bind(receiver, receiver)
        every = [*positional, *params.kwonly_params]
        scope.parameters = [param.name.value for param in positional]
        for param in every:
            name = param.name.value
            scope.bind(name, name)
            if param.default is not None:
                scope.defaults[name] = param.default
            if param.annotation is not None:
                scope.annotations[name] = param.annotation.annotation
        for star in (params.star_arg, params.star_kwarg):
            if isinstance(star, cst.Param):
                scope.bind(star.name.value, None)


def _part(binding: Assigned | Imported | None, index: int) -> Assigned | None:
    if not isinstance(binding, Assigned) or binding.index is not None:
        return None
    return Assigned(binding.node, binding.scope, binding.is_element, index)
