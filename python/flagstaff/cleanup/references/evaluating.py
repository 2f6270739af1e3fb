"""An expression → the values that it may have, without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

import libcst as cst

from flagstaff.cleanup.references.combining import at, elements, holed, union
from flagstaff.cleanup.references.functions import RESULTS, is_public
from flagstaff.cleanup.references.naming import is_test, last_name, model_of, public_name
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.references.scopes import (
    Assigned,
    Binding,
    FunctionScope,
    Imported,
    Scope,
    find,
)
from flagstaff.cleanup.references.values import (
    ANY,
    MAX_VALUES,
    Bound,
    Items,
    Name,
    Object,
    Parameter,
    Pattern,
    Text,
    Value,
    Values,
    class_of,
    glued,
)

__all__ = ["Evaluator"]

_REQUESTS = ("HttpRequest", "Request", "WSGIRequest", "ASGIRequest", "AsyncRequest")
_REQUEST_NAME = re.compile(r"(?:.*_)?req(?:uest)?")
_CONVERTERS = frozenset(
    {"str", "tuple", "list", "set", "frozenset", "sorted", "reversed", "iter", "dict"}
    | {"types.MappingProxyType", "builtins.str", "enum.unique"}
)
_MAX_DEPTH = 40
_FIXTURE = "flags"
_SETTINGS = "django.conf.settings"


class Evaluator:
    """Evaluates expressions of the modules of a project."""

    def __init__(self, project: Project) -> None:
        self._project = project
        # Each expression is evaluated once. One that refers to itself is unknown there.
        self._known: dict[cst.BaseExpression, Values] = {}
        self._active: set[cst.BaseExpression] = set()
        self._looking: set[tuple[Scope, str]] = set()

    def evaluate(self, node: cst.BaseExpression, scope: Scope) -> Values:
        """Returns the possible values of an expression."""
        if node in self._known:
            return self._known[node]
        if len(self._active) >= _MAX_DEPTH or node in self._active:
            return ANY
        self._active.add(node)
        try:
            found = self._evaluate(node, scope)
        finally:
            self._active.discard(node)
        self._known[node] = found if 0 < len(found) <= MAX_VALUES else ANY
        return self._known[node]

    def member(self, scope: Scope, name: str) -> Values:
        """Returns what a class or a module has under a name; nothing if it has none."""
        if name in scope.bindings:
            return self._bound(scope.bindings[name], scope)
        # Classes and star imports may go round in a circle.
        if (scope, name) in self._looking:
            return ()
        self._looking.add((scope, name))
        try:
            return self._inherited(scope, name)
        finally:
            self._looking.discard((scope, name))

    def _inherited(self, scope: Scope, name: str) -> Values:
        if scope.kind == "class":
            for base in self.bases(scope):
                if found := self.member(base, name):
                    return found
        return self._starred(scope, name)

    def bases(self, scope: Scope) -> Iterable[Scope]:
        """Yields the base classes of a class that are in the searched files."""
        for node in scope.bases:
            for value in self.evaluate(node, scope.parent or scope):
                base = class_of(value)
                if base is not None and base is not scope:
                    yield base

    def _evaluate(self, node: cst.BaseExpression, scope: Scope) -> Values:  # noqa: PLR0911
        match node:
            case cst.Name():
                return self._name(node.value, scope)
            case cst.Attribute():
                return self._attribute(node, scope)
            case cst.Call():
                return self._call(node, scope)
            case cst.Subscript():
                return self._subscript(node, scope)
            case cst.Await():
                return self.evaluate(node.expression, scope)
            case cst.NamedExpr():
                return self.evaluate(node.value, scope)
            case cst.IfExp():
                return union(self.evaluate(node.body, scope), self.evaluate(node.orelse, scope))
            case cst.BooleanOperation():
                return union(self.evaluate(node.left, scope), self.evaluate(node.right, scope))
            case cst.List() | cst.Tuple() | cst.Set() | cst.Dict():
                return (self._items(node, scope),)
            case _:
                return self._text(node, scope)

    def _text(self, node: cst.BaseExpression, scope: Scope) -> Values:
        match node:
            case cst.SimpleString():
                text = ast.literal_eval(node.value)
                return (Text(text),) if isinstance(text, str) else ANY
            case cst.ConcatenatedString():
                return glued(self.evaluate(node.left, scope), self.evaluate(node.right, scope))
            case cst.FormattedString():
                found: Values = (Text(""),)
                for part in node.parts:
                    found = glued(found, self._formatted_part(part, scope))
                return found
            case cst.BinaryOperation(operator=cst.Add()):
                return glued(self.evaluate(node.left, scope), self.evaluate(node.right, scope))
            case cst.BinaryOperation(operator=cst.Modulo()):
                return holed(self.evaluate(node.left, scope))
            case _:
                return ANY

    def _formatted_part(self, part: cst.BaseFormattedStringContent, scope: Scope) -> Values:
        if isinstance(part, cst.FormattedStringText):
            return (Text(part.value.replace("{{", "{").replace("}}", "}")),)
        if isinstance(part, cst.FormattedStringExpression) and part.format_spec is None:
            return self.evaluate(part.expression, scope)
        return ANY

    def _items(self, node: cst.List | cst.Tuple | cst.Set | cst.Dict, scope: Scope) -> Items:
        if isinstance(node, cst.Dict):
            pairs = [one for one in node.elements if isinstance(one, cst.DictElement)]
            return Items(
                tuple(self.evaluate(pair.value, scope) for pair in pairs),
                tuple(self.evaluate(pair.key, scope) for pair in pairs),
            )
        found: list[Values] = []
        for element in node.elements:
            values = self.evaluate(element.value, scope)
            found += elements(values) if isinstance(element, cst.StarredElement) else [values]
        return Items(tuple(found))

    def _name(self, name: str, scope: Scope) -> Values:
        if (found := find(name, scope)) is not None:
            return self._bound(found[1], found[0])
        return self._starred(scope.root, name) or (Name(name),)

    def _starred(self, scope: Scope, name: str) -> Values:
        """Returns what star imports bind: the first one that is known to have the name."""
        found = [self._imported_from(star, name) for star in scope.stars]
        known = (
            values
            for values in found
            if any(not isinstance(one, Name) or is_public(one.name) for one in values)
        )
        return next(known, next(filter(None, found), ()))

    def _bound(self, bindings: list[Binding], scope: Scope) -> Values:
        return union(*(self._binding(binding, scope) for binding in bindings))

    def _binding(self, binding: Binding, scope: Scope) -> Values:
        match binding:
            case None:
                return ANY
            case str():
                return self._parameter(binding, scope)
            case Imported():
                return self._imported(binding.name)
            case Scope():
                return (Bound(binding),)
            case Assigned():
                return self._assigned(binding, scope)

    def _assigned(self, binding: Assigned, scope: Scope) -> Values:
        values = self.evaluate(binding.node, binding.scope)
        if binding.is_element:
            values = union(*elements(tuple(map(self._members, values))))
        if binding.index is not None:
            values = at(values, binding.index)
        # The member of an enumeration may be written as `auto()`.
        return values or ANY

    def _members(self, value: Value) -> Value:
        """Returns the members of an enumeration; other values as they are."""
        scope = class_of(value)
        if scope is None or (isinstance(value, Bound) and value.is_instance):
            return value
        names = [name for name in scope.bindings if not name.startswith("_")]
        members = (self.member(scope, name) for name in names)
        return Items(tuple(one for one in members if not isinstance(one[0], Bound)))

    def _parameter(self, name: str, scope: Scope) -> Values:  # noqa: PLR0911
        if not isinstance(scope, FunctionScope):
            return ANY
        if name == scope.receiver and scope.parent is not None:
            return (Bound(scope.parent, is_instance=not scope.is_class_method),)
        annotation = scope.annotations.get(name)
        shown = last_name(annotation) if annotation is not None else ""
        if shown in _REQUESTS or _REQUEST_NAME.fullmatch(name):
            return (Object("request"),)
        if shown == "Snapshot":
            return (Object("snapshot"),)
        if shown == "RequestFlags":
            return (Object("request_flags"),)
        if name == _FIXTURE and is_test(scope) and not self._has_own_fixture(scope.root):
            return (Object("fixture"),)
        return (Parameter(scope, name),)

    def _has_own_fixture(self, module: Scope) -> bool:
        """Whether a fixture of the project hides ours, in the module or in a conftest.py."""
        package = module.module
        while True:
            if _FIXTURE in module.bindings:
                return True
            package = package.rpartition(".")[0]
            if not package:
                return False
            found = self._project.find(f"{package}.conftest")
            module = found.found.module if found is not None else module

    def _imported(self, name: str) -> Values:
        if (module := self._project.find(name)) is not None:
            return (Bound(module.found.module),)
        parent, _, last = name.rpartition(".")
        return self._imported_from(parent, last) or (Name(public_name(name)),)

    def _imported_from(self, module: str, name: str) -> Values:
        """Returns what `from module import name` binds; nothing if the search knows nothing."""
        if (found := self._project.find(module)) is not None:
            return self.member(found.found.module, name)
        if module == _SETTINGS:
            found_in = (one.found.module for one in self._project.settings_with(name))
            return union(*(self.member(scope, name) for scope in found_in)) or ANY
        if module.partition(".")[0] in ("flagstaff", "pytest", "django"):
            return (Name(public_name(f"{module}.{name}")),)
        return ()

    def _attribute(self, node: cst.Attribute, scope: Scope) -> Values:
        name = node.attr.value
        found = (self._attribute_of(value, name) for value in self.evaluate(node.value, scope))
        return union(*found)

    def _attribute_of(self, value: Value, name: str) -> Values:  # noqa: PLR0911
        match value:
            case Name():
                if name == "request":
                    return (Object("request"),)
                return self._imported(f"{value.name}.{name}")
            case Bound():
                return self._member_of(value, name)
            case Object(type="request"):
                return (
                    (Object("request_flags"),)
                    if name == "flags"
                    else ((Object("request"),) if name in ("_request", "request") else ANY)
                )
            case Object(type="request_flags") if name == "snapshot":
                return (Object("snapshot"),)
            case Text() if name == "value":
                return (value,)
            case Items() if name == "value" and value.keys is None:
                return value.values[0] if value.values else ANY
            case _:
                return (Object("request"),) if name == "request" else ANY

    def _member_of(self, value: Bound, name: str) -> Values:
        if found := self.member(value.scope, name):
            return found
        if value.scope.kind == "module":
            return self._imported(f"{value.scope.module}.{name}")
        return (Object("request"),) if name == "request" else ANY

    def _call(self, node: cst.Call, scope: Scope) -> Values:
        arguments = [arg.value for arg in node.args if not arg.star]
        if isinstance(node.func, cst.Attribute):
            method = node.func.attr.value
            if method == "get_model" and (model := self._model(arguments, scope)):
                return model
            owners = self.evaluate(node.func.value, scope)
            if found := union(*(self._method(owner, method, node) for owner in owners)):
                return found
        found = ()
        for function in self.evaluate(node.func, scope):
            found += self._result(function, arguments, scope)
        return tuple(dict.fromkeys(found))

    def _method(self, owner: Value, method: str, node: cst.Call) -> Values:  # noqa: PLR0911
        match owner:
            case Object():
                result = RESULTS.get((owner.type, method))
                if result is None and owner.type.startswith("query:"):
                    result = owner.type
                return (Object(result),) if result else ()
            case Items() if method == "values":
                return (Items(owner.values),)
            case Items() if method == "keys" and owner.keys is not None:
                return (Items(owner.keys),)
            case Items() if method == "items" and owner.keys is not None:
                pairs = zip(owner.keys, owner.values, strict=True)
                return (Items(tuple((Items(pair),) for pair in pairs)),)
            case Items() if method == "get" and owner.keys is not None:
                return union(*owner.values)
            case Text() | Pattern() if method == "format":
                return holed((owner,))
            case _:
                return ()

    def _result(self, function: Value, arguments: list[cst.BaseExpression], scope: Scope) -> Values:
        match function:
            case Name(name=name):
                if name in RESULTS:
                    return (Object(RESULTS[name]),)
                if model := model_of(name):
                    return (Object(f"query:{model}"),)
                if name in _CONVERTERS and arguments:
                    return self.evaluate(arguments[0], scope)
                if name == "functools.partial" and arguments:
                    return self.evaluate(arguments[0], scope)
            case Bound() if function.scope.kind == "class":
                return (Bound(function.scope, is_instance=True),)
            case _:
                pass
        return ANY

    def _model(self, arguments: list[cst.BaseExpression], scope: Scope) -> Values:
        texts = [
            value.text
            for node in arguments[:2]
            for value in self.evaluate(node, scope)
            if isinstance(value, Text)
        ]
        label = ".".join(texts)
        app, _, model = label.partition(".")
        return (Name(f"flagstaff.models.{model}"),) if app == "flagstaff" else ()

    def _subscript(self, node: cst.Subscript, scope: Scope) -> Values:
        index = subscript_index(node)
        if index is None:
            return ANY
        found: Values = ()
        for value in self.evaluate(node.value, scope):
            if isinstance(value, Items):
                found += self._item(value, index, scope)
            elif isinstance(value, Bound) and value.scope.kind == "class":
                # `Flags["NEW"]`, a member of an enumeration.
                for name in self.evaluate(index, scope):
                    found += self.member(value.scope, name.text) if isinstance(name, Text) else ANY
            else:
                found += ANY
        return tuple(dict.fromkeys(found))

    def _item(self, items: Items, index: cst.BaseExpression, scope: Scope) -> Values:
        if items.keys is None and isinstance(index, cst.Integer):
            place = index.evaluated_value
            return items.values[place] if place < len(items.values) else ANY
        wanted = self.evaluate(index, scope)
        if items.keys is not None and all(isinstance(one, Text | Name) for one in wanted):
            pairs = zip(items.keys, items.values, strict=True)
            exact = [values for key, values in pairs if set(key) & set(wanted)]
            if exact:
                return union(*exact)
        return union(*items.values)


def subscript_index(node: cst.Subscript) -> cst.BaseExpression | None:
    """Returns the index of `x[index]`; None for a slice or several indexes."""
    if len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
        return node.slice[0].slice.value
    return None
