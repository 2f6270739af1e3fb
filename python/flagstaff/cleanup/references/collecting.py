"""One pass over a module: its scopes, and the calls, subscripts and classes in them."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from flagstaff.cleanup.references.scopes import Assigned, FunctionScope, Imported, Scope

__all__ = ["Collector"]


class Collector(cst.CSTVisitor):
    """Collects names and places; nothing is resolved before the pass has ended."""

    def __init__(self, path: str, module: str) -> None:
        super().__init__()
        self._is_package = path.endswith("__init__.py")
        self.module = self._scope = Scope("module", "", path=path, module=module)
        self.calls: list[tuple[cst.Call, Scope]] = []
        self.subscripts: list[tuple[cst.Subscript, Scope]] = []
        self.classes: list[tuple[cst.ClassDef, Scope]] = []

    def visit_Import(self, node: cst.Import) -> bool:  # noqa: N802 (as in LibCST)
        """Binds the modules."""
        for alias in node.names:
            name = _dotted(alias.name)
            if alias.asname is not None:
                self._bind_target(alias.asname.name, Imported(name))
            else:
                first = name.partition(".")[0]
                self._scope.bind(first, Imported(first))
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:  # noqa: N802
        """Binds the imported names."""
        module = self._absolute(node)
        if isinstance(node.names, cst.ImportStar):
            self._scope.stars.append(module)
            return False
        for alias in node.names:
            name = _dotted(alias.name)
            bound = alias.asname.name if alias.asname is not None else alias.name
            self._bind_target(bound, Imported(f"{module}.{name}"))
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:  # noqa: N802
        """Opens the scope of a class."""
        _visit_all(self, [*node.decorators, *node.bases, *node.keywords])
        bases = tuple(base.value for base in node.bases)
        scope = Scope("class", self._qualified(node.name.value), self._scope, bases=bases)
        self._scope.bind(node.name.value, scope)
        self.classes.append((node, scope))
        self._visit_inside(node.body, scope)
        return False

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:  # noqa: N802
        """Opens the scope of a function. Decorators and defaults are evaluated outside of it."""
        _visit_all(self, [*node.decorators, node.params])
        decorators = {_dotted(one.decorator) for one in node.decorators}
        scope = FunctionScope("function", self._qualified(node.name.value), self._scope)
        scope.is_class_method = "classmethod" in decorators
        self._add_parameters(
            scope,
            node.params,
            is_method=self._scope.kind == "class" and "staticmethod" not in decorators,
        )
        self._scope.bind(node.name.value, scope)
        self._visit_inside(node.body, scope)
        return False

    def visit_Lambda(self, node: cst.Lambda) -> bool:  # noqa: N802
        """Opens the scope of a lambda."""
        node.params.visit(self)
        scope = FunctionScope("function", self._qualified("<lambda>"), self._scope)
        self._add_parameters(scope, node.params, is_method=False)
        self._visit_inside(node.body, scope)
        return False

    def visit_Assign(self, node: cst.Assign) -> None:  # noqa: N802
        """Binds the targets."""
        for target in node.targets:
            self._bind_target(target.target, Assigned(node.value, self._scope))

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:  # noqa: N802
        """Binds the target."""
        if node.value is not None:
            self._bind_target(node.target, Assigned(node.value, self._scope))

    def visit_NamedExpr(self, node: cst.NamedExpr) -> None:  # noqa: N802
        """Binds the name of `:=`."""
        self._bind_target(node.target, Assigned(node.value, self._scope))

    def visit_AugAssign(self, node: cst.AugAssign) -> None:  # noqa: N802
        """Marks the target as unknown."""
        self._bind_target(node.target, None)

    def visit_For(self, node: cst.For) -> None:  # noqa: N802
        """Binds the target to the elements."""
        self._bind_target(node.target, Assigned(node.iter, self._scope, is_element=True))

    def visit_CompFor(self, node: cst.CompFor) -> None:  # noqa: N802
        """Binds the target to the elements. Its scope is that around the comprehension."""
        self._bind_target(node.target, Assigned(node.iter, self._scope, is_element=True))

    def visit_AsName(self, node: cst.AsName) -> None:  # noqa: N802
        """Marks the name of `with … as` and `except … as` as unknown."""
        self._bind_target(node.name, None)

    def visit_Call(self, node: cst.Call) -> None:  # noqa: N802
        """Keeps the call."""
        self.calls.append((node, self._scope))

    def visit_Subscript(self, node: cst.Subscript) -> None:  # noqa: N802
        """Keeps the subscript."""
        self.subscripts.append((node, self._scope))

    def _visit_inside(self, node: cst.CSTNode, scope: Scope) -> None:
        outer, self._scope = self._scope, scope
        node.visit(self)
        self._scope = outer

    def _qualified(self, name: str) -> str:
        return f"{self._scope.name}.{name}".lstrip(".")

    def _bind_target(self, target: cst.BaseExpression, binding: Assigned | Imported | None) -> None:
        if isinstance(target, cst.Name):
            self._scope.bind(target.value, binding)
        elif isinstance(target, cst.Attribute) and isinstance(target.value, cst.Name):
            self._bind_attribute(target.value.value, target.attr.value, binding)
        elif isinstance(target, cst.Tuple | cst.List):
            for index, element in enumerate(target.elements):
                self._bind_target(element.value, _part(binding, index))

    def _bind_attribute(
        self, receiver: str, name: str, binding: Assigned | Imported | None
    ) -> None:
        """Binds `self.name` in the class."""
        scope = self._scope
        if isinstance(scope, FunctionScope) and scope.receiver == receiver and scope.parent:
            scope.parent.bind(name, binding)

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

    def _absolute(self, node: cst.ImportFrom) -> str:
        name = _dotted(node.module) if node.module is not None else ""
        if not node.relative:
            return name
        parts = self.module.module.split(".") + (["__init__"] if self._is_package else [])
        package = parts[: max(len(parts) - len(node.relative), 0)]
        return ".".join([*package, *([name] if name else [])])


def _part(binding: Assigned | Imported | None, index: int) -> Assigned | None:
    if not isinstance(binding, Assigned) or binding.index is not None:
        return None
    return Assigned(binding.node, binding.scope, binding.is_element, index)


def _visit_all(visitor: cst.CSTVisitor, nodes: Sequence[cst.CSTNode]) -> None:
    for node in nodes:
        node.visit(visitor)


def _dotted(node: cst.BaseExpression) -> str:
    """Returns `a.b` of names and attributes, "" of anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        return f"{_dotted(node.value)}.{node.attr.value}"
    return ""
