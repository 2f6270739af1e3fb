"""One place in Python → the edits that rewrite it, or the reason why it stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import libcst as cst

from flagstaff.cleanup.references.evaluating import ExpressionEvaluator
from flagstaff.cleanup.references.functions import Function
from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.references.naming import (
    is_of_tests,
    is_request_name,
    key_of,
    last_name,
)
from flagstaff.cleanup.references.places import Place
from flagstaff.cleanup.references.scopes import FunctionScope, find
from flagstaff.cleanup.references.values import Bound, Name, Object, Parameter
from flagstaff.cleanup.rewrite import reasons
from flagstaff.cleanup.rewrite.edits import Edit, Source, Span, removals
from flagstaff.cleanup.rewrite.keys import Keys
from flagstaff.cleanup.rewrite.made_requests import MadeRequests
from flagstaff.cleanup.rewrite.passed_requests import PassedRequests
from flagstaff.cleanup.rewrite.reasons import Reason

_REQUEST_FLAGS = "request.flags.enabled"
_PATHS = frozenset({"path", "re_path", "url"})
_BOOLS = ("True", "False")
_STACKS = frozenset({"enter_context", "enterContext", "addClassCleanup"})
_OVERRIDE_METHODS = frozenset({"enable", "disable", "__enter__", "__exit__"})


class StaysError(Exception):
    """A place has to stay as it is."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.why)
        self.reason = reason


@dataclass
class Rewritten:
    """The edits of one place."""

    edits: list[Edit] = field(default_factory=list)
    #: The module and the name that it needs; None if it needs no import.
    needs: tuple[str, str] | None = None
    #: The nodes that name what was imported from waffle.
    names: list[cst.CSTNode] = field(default_factory=list)

    def by_module(self) -> Rewritten | None:
        """Returns the same with `testing.override_flag` for `override_flag`, if possible."""
        module, name = self.needs or ("", "")
        package, _, last = module.rpartition(".")
        if not package:
            return None
        edits = [
            replace(one, text=f"{last}.{name}") if one.text == name else one for one in self.edits
        ]
        return Rewritten(edits, (package, last), self.names)


@dataclass(frozen=True)
class Setting:
    """What is the same for all places."""

    keys: Keys
    evaluator: ExpressionEvaluator
    requests: MadeRequests
    passed: PassedRequests
    #: The middleware of the project up to ours, or None without ours.
    middleware: Sequence[str] | None


class Calls:
    """Rewrites the places of one module."""

    def __init__(self, setting: Setting, source: Source) -> None:
        self._keys = setting.keys
        self._evaluator = setting.evaluator
        self._setting = setting
        self._source = source
        self._span, self._text, self._parents = source.span, source.text, source.parents

    def rewritten(self, place: Place) -> Rewritten:
        """Returns the edits of a place. Raises StaysError with the reason why it stays."""
        function = cast("Function", place.function)
        if not function.becomes and not self._is_fixed_sample(place, function):
            raise StaysError(reasons.SAMPLE)
        if place.kind == Kind.MIXIN:
            return self._mixin(place, function)
        node = place.node
        if not isinstance(node, cst.Call):
            raise StaysError(reasons.PASSED)
        self._require_one_function(node, place, function)
        if any(arg.star for arg in node.args):
            raise StaysError(reasons.ARGUMENTS)
        if place.kind == Kind.EVALUATION:
            return self._evaluation(node, place, function)
        if place.kind == Kind.DECORATOR:
            return self._decorator(node, place, function)
        return self._override(node, place, function)

    @staticmethod
    def _is_fixed_sample(place: Place, function: Function) -> bool:
        return place.kind == Kind.TEST and function.source == "sample"

    def _require_one_function(self, node: cst.Call, place: Place, function: Function) -> None:
        found = self._evaluator.evaluate(node.func, place.scope)
        known = self._evaluator.vocabulary.functions
        is_certain = len(found) == 1 and isinstance(found[0], Name)
        if not is_certain or known.get(found[0].name) is not function:  # type: ignore[union-attr]
            raise StaysError(reasons.OTHER_NAME if found else reasons.PASSED)

    def _key(self, place: Place, function: Function, *, for_user: bool) -> list[Edit]:
        """Checks each name that a place may have. Returns the edit of its text, if any."""
        found = self._evaluator.strict.evaluate(place.key, place.scope)
        names = [key_of(value) for value in found]
        for name in names:
            if name is None:
                raise StaysError(reasons.DYNAMIC)
            if name.startswith("!"):
                raise StaysError(reasons.OPPOSITE)
            problem = self._keys.problem(function.source, name, place.kind, for_user=for_user)
            if problem is not None:
                raise StaysError(problem)
            key = self._keys.key_of(function.source, name)
            if key == name:
                continue
            if len(names) > 1 or not isinstance(place.key, cst.SimpleString):
                raise StaysError(reasons.RENAMED)
            quote = place.key.quote
            return [Edit(*self._span(place.key), f"{quote}{key}{quote}")]
        return []

    # Evaluations.

    def _evaluation(self, node: cst.Call, place: Place, function: Function) -> Rewritten:
        edits = self._key(place, function, for_user=False)
        is_flag = function.source == "flag"
        names = ("request", function.parameter, "read_only") if is_flag else (function.parameter,)
        given = _arguments(node, names)
        if any(arg.keyword is not None for arg in given.values()):
            key = given[function.parameter]
            if key.keyword is not None:
                edits.append(Edit(*self._span(key.keyword), "key"))
        new = function.becomes.rpartition(".")[2]
        if is_flag:
            new = f"{self._request(given, place)}.flags.enabled"
            edits += self._without(node, [given["request"], *self._read_only(given)])
        edits.append(Edit(*self._span(node.func), new))
        if self._keys.has_default(function.source):
            last = next(arg for arg in node.args[::-1] if arg is not given.get("read_only"))
            end = self._span(last.value)[1]
            edits.append(Edit(end, end, ", default=True"))
        needs = None if is_flag else _module_and_name(function.becomes)
        return Rewritten(edits, needs, [node.func])

    @staticmethod
    def _read_only(given: Mapping[str, cst.Arg]) -> list[cst.Arg]:
        arg = given.get("read_only")
        if arg is None:
            return []
        if not isinstance(arg.value, cst.Name) or arg.value.value not in _BOOLS:
            raise StaysError(reasons.ARGUMENTS)
        # It says whether waffle may set a cookie.
        return [arg]

    def _request(self, given: Mapping[str, cst.Arg], place: Place) -> str:
        """Returns the code of a request that has passed the middleware."""
        if "request" not in given:
            raise StaysError(reasons.ARGUMENTS)
        node = given["request"].value
        self._require_request(node, place)
        if is_of_tests(place.scope.root.path):
            raise StaysError(reasons.TEST_REQUEST)
        outer = place.scope.name.partition(".")[0]
        middleware = self._setting.middleware
        if middleware is None or any(one.endswith(f".{outer}") for one in middleware):
            raise StaysError(reasons.NO_MIDDLEWARE)
        if outer and self._setting.requests.may_reach(outer):
            raise StaysError(reasons.MADE_REQUEST)
        return self._text(node)

    def _require_request(self, node: cst.BaseExpression, place: Place) -> None:
        if isinstance(node, cst.SimpleString) or self._text(node) == "None":
            raise StaysError(reasons.WITHOUT_REQUEST)
        if isinstance(node, cst.Name):
            self._require_parameter(node.value, place)
            return
        is_named = isinstance(node, cst.Attribute) and node.attr.value in ("request", "_request")
        if not is_named or not isinstance(node, cst.Attribute) or not _is_plain(node.value):
            raise StaysError(reasons.NO_REQUEST)
        for owner in self._evaluator.evaluate(node.value, place.scope):
            is_function = isinstance(owner, Parameter) and owner.name == "self"
            if isinstance(owner, Name) or is_function:
                # An attribute of a module, or of a task of Celery.
                raise StaysError(reasons.NO_REQUEST)
            if isinstance(owner, Bound) and self._evaluator.member(owner.scope, node.attr.value):
                raise StaysError(reasons.OPTIONAL_REQUEST)

    def _require_parameter(self, name: str, place: Place) -> None:
        scope, bindings = find(name, place.scope) or (None, [])
        if not isinstance(scope, FunctionScope) or bindings != [name]:
            raise StaysError(reasons.NO_REQUEST)
        annotation = scope.annotations.get(name)
        shown = last_name(annotation) if annotation is not None else ""
        if name in scope.defaults or (annotation is not None and not shown):
            raise StaysError(reasons.OPTIONAL_REQUEST)
        if not shown.endswith("Request") and not is_request_name(name):
            raise StaysError(reasons.NO_REQUEST)
        values = self._evaluator.evaluate(cst.Name(name), place.scope)
        if values != (Object("request"),):
            raise StaysError(reasons.NO_REQUEST)
        made = self._setting.passed.made_for(scope, name)
        if made is not None:
            raise StaysError(reasons.made_at(made))

    # Decorators.

    def _decorator(self, node: cst.Call, place: Place, function: Function) -> Rewritten:
        given = _arguments(node, (function.parameter, "redirect_to"))
        if "redirect_to" in given:
            raise StaysError(reasons.REDIRECT)
        edits = self._key(place, function, for_user=True)
        if self._keys.has_default(function.source):
            raise StaysError(reasons.DEFAULT)
        if not self._decorates_view(node, function):
            raise StaysError(reasons.NO_VIEW)
        keyword = given[function.parameter].keyword
        if keyword is not None:
            edits.append(Edit(*self._span(keyword), "key"))
        return self._renamed(node.func, function.becomes, edits)

    def _decorates_view(self, node: cst.Call, function: Function) -> bool:
        parent = self._parents[node]
        if isinstance(parent, cst.Decorator):
            view = self._parents[parent]
            if not isinstance(view, cst.FunctionDef):
                return False
            names = [one.name.value for one in view.params.params]
            # For a method, waffle takes `self` as the request, so a flag is off.
            wanted = names[: 1 if function.source == "flag" else 2]
            return any(map(is_request_name, wanted))
        if isinstance(parent, cst.Call) and parent.func is node:
            while not isinstance(parent, cst.BaseStatement):
                parent = self._parents[parent]
                if isinstance(parent, cst.Call) and last_name(parent.func) in _PATHS:
                    return True
            return False
        while isinstance(parent, cst.Arg | cst.Element | cst.List | cst.Tuple):
            parent = self._parents[parent]
        return isinstance(parent, cst.Call) and last_name(parent.func) == "method_decorator"

    def _renamed(self, node: cst.BaseExpression, becomes: str, edits: list[Edit]) -> Rewritten:
        module, name = _module_and_name(becomes)
        return Rewritten([*edits, Edit(*self._span(node), name)], (module, name), [node])

    # Overrides.

    def _override(self, node: cst.Call, place: Place, function: Function) -> Rewritten:
        given = _arguments(node, ("name", "active"))
        edits = self._key(place, function, for_user=False)
        active = given.get("active")
        is_set = active is not None and isinstance(active.value, cst.Name)
        if active is None or not is_set or self._text(active.value) not in _BOOLS:
            raise StaysError(reasons.UNCLEAR_OVERRIDE)
        if not self._is_used_as_override(node):
            raise StaysError(reasons.UNCLEAR_OVERRIDE)
        key = given["name"].keyword
        if key is not None:
            edits.append(Edit(*self._span(key), "key"))
        if active.keyword is not None:
            is_positional = key is None and node.args[1] is active
            start, value = self._span(active.keyword)[0], self._span(active.value)[0]
            new = "" if is_positional else "enabled="
            edits.append(Edit(start, value, new))
        return self._renamed(node.func, function.becomes, edits)

    def _is_used_as_override(self, node: cst.Call) -> bool:
        parent = self._parents[node]
        if isinstance(parent, cst.WithItem):
            return parent.asname is None
        if isinstance(parent, cst.Attribute):
            return parent.attr.value in _OVERRIDE_METHODS
        if isinstance(parent, cst.Arg):
            call = self._parents[parent]
            return isinstance(call, cst.Call) and last_name(call.func) in _STACKS
        return isinstance(parent, cst.Decorator)

    # Mixins.

    def _mixin(self, place: Place, function: Function) -> Rewritten:
        owner = self._parents.get(self._statement(place.node))
        owner = self._parents.get(owner) if owner is not None else None
        if not isinstance(owner, cst.ClassDef) or place.node is not place.key:
            raise StaysError(reasons.VIEW_CLASS)
        edits = self._key(place, function, for_user=True)
        if self._keys.has_default(function.source):
            raise StaysError(reasons.DEFAULT)
        mixins = self._evaluator.vocabulary.mixins
        outside = place.scope.parent or place.scope
        bases = [
            base.value
            for base in owner.bases
            for value in self._evaluator.evaluate(base.value, outside)
            if isinstance(value, Name) and value.name in mixins
        ]
        if len(bases) != 1 or self._is_configured(place) or self._handles_response(place):
            raise StaysError(reasons.VIEW_CLASS)
        edits.append(Edit(*self._span(self._target(place.node)), "flag_key"))
        return self._renamed(bases[0], function.becomes, edits)

    def _statement(self, node: cst.CSTNode) -> cst.CSTNode:
        while not isinstance(node, cst.BaseStatement):
            node = self._parents[node]
        return node

    def _target(self, node: cst.CSTNode) -> cst.BaseExpression:
        assigned = self._parents[node]
        if isinstance(assigned, cst.AnnAssign):
            return assigned.target
        if isinstance(assigned, cst.Assign) and len(assigned.targets) == 1:
            return assigned.targets[0].target
        raise StaysError(reasons.VIEW_CLASS)

    def _is_configured(self, place: Place) -> bool:
        evaluator, scope, name = self._evaluator, place.scope, place.name
        return (
            len(scope.bindings[name]) > 1
            or evaluator.is_overridden(scope, name)
            or evaluator.is_configured(scope, name)
            or evaluator.uses.is_stored(name)
            or f"self.{name}".encode() in self._source.data
        )

    def _handles_response(self, place: Place) -> bool:
        classes = [place.scope, *self._evaluator.children(place.scope)]
        hooks = ("invalid_waffle", "validate_waffle")
        return any(self._evaluator.member(one, hook) for one in classes for hook in hooks)

    # Texts.

    def _without(self, node: cst.Call, gone: list[cst.Arg]) -> list[Edit]:
        """Returns the edits that remove arguments with their commas."""
        places = [node.args.index(arg) for arg in gone]
        edits = list(removals([self._arg_span(arg) for arg in node.args], places))
        if any(b"#" in self._source.data[one.start : one.end] for one in edits):
            raise StaysError(reasons.COMMENT)
        return edits

    def _arg_span(self, arg: cst.Arg) -> Span:
        start = self._span(arg.keyword if arg.keyword is not None else arg.value)[0]
        return start, self._span(arg.value)[1]


def _module_and_name(becomes: str) -> tuple[str, str]:
    module, _, name = becomes.rpartition(".")
    return module, name


def _arguments(node: cst.Call, names: tuple[str, ...]) -> dict[str, cst.Arg]:
    """Returns the arguments by the names of their parameters."""
    found: dict[str, cst.Arg] = {}
    for place, arg in enumerate(node.args):
        if arg.keyword is None and place >= len(names):
            raise StaysError(reasons.ARGUMENTS)
        name = arg.keyword.value if arg.keyword is not None else names[place]
        if name not in names or name in found:
            raise StaysError(reasons.ARGUMENTS)
        found[name] = arg
    return found


def _is_plain(node: cst.BaseExpression) -> bool:
    if isinstance(node, cst.Attribute):
        return _is_plain(node.value)
    return isinstance(node, cst.Name)
