"""Local variables that hold the result of a flag, and are used in conditions only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import libcst as cst

from flagstaff.cleanup.references.model import Kind
from flagstaff.cleanup.references.targets import Target, Targets

# They see all variables of the function.
_SEE_ALL = frozenset({"dir", "eval", "exec", "locals", "vars"})


@dataclass
class Variables:
    """What becomes of the variables."""

    #: The assignments that go.
    assignments: set[cst.CSTNode] = field(default_factory=set)
    #: The names in conditions, with their results.
    uses: dict[cst.CSTNode, bool] = field(default_factory=dict)


def variables_in(tree: cst.Module, targets: Targets) -> Variables:
    """Returns the variables whose uses are all known.

    Such a variable is assigned once, at the place of a statement, and used only in conditions of
    the same function, in the statements that follow in the same block.
    """
    finder = _Finder(targets)
    tree.visit(finder)
    return finder.found


def evaluation_in(node: cst.BaseExpression, targets: Targets) -> tuple[Target, bool] | None:
    """Returns the evaluation that an expression is, and the expression's result."""
    if isinstance(node, cst.Await):
        return evaluation_in(node.expression, targets)
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Not):
        found = evaluation_in(node.expression, targets)
        return (found[0], not found[1]) if found is not None else None
    target = targets.of(node, Kind.EVALUATION)
    return (target, target.result) if target is not None else None


class _Finder(cst.CSTVisitor):
    """Looks at each block of each function."""

    def __init__(self, targets: Targets) -> None:
        super().__init__()
        self._targets = targets
        # The scopes around; None for a class.
        self._functions: list[cst.FunctionDef | None] = []
        self.found = Variables()

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:  # noqa: N802 (as in LibCST)
        self._functions.append(node)

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:  # noqa: N802
        self._functions.pop()

    def visit_ClassDef(self, node: cst.ClassDef) -> None:  # noqa: N802
        self._functions.append(None)

    def leave_ClassDef(self, original_node: cst.ClassDef) -> None:  # noqa: N802
        self._functions.pop()

    def visit_IndentedBlock(self, node: cst.IndentedBlock) -> None:  # noqa: N802
        function = self._functions[-1] if self._functions else None
        if function is None:
            return
        for index, statement in enumerate(node.body):
            assigned = _assigned(statement)
            if assigned is None:
                continue
            assignment, target, value = assigned
            evaluation = evaluation_in(value, self._targets)
            if evaluation is None:
                continue
            uses = _uses(target, function, node.body[index + 1 :])
            if uses:
                self.found.assignments.add(assignment)
                self.found.uses.update(dict.fromkeys(uses, evaluation[1]))


def _assigned(
    statement: cst.BaseStatement,
) -> tuple[cst.CSTNode, cst.Name, cst.BaseExpression] | None:
    """Returns the parts of `name = value`, on a line of its own."""
    if not isinstance(statement, cst.SimpleStatementLine) or len(statement.body) != 1:
        return None
    node = statement.body[0]
    if isinstance(node, cst.Assign) and len(node.targets) == 1:
        target = node.targets[0].target
    elif isinstance(node, cst.AnnAssign):
        target = node.target
    else:
        return None
    if not isinstance(target, cst.Name) or node.value is None:
        return None
    return node, target, node.value


def _uses(
    target: cst.Name, function: cst.FunctionDef, following: Sequence[cst.BaseStatement]
) -> set[cst.Name]:
    """Returns the uses of a variable; nothing if there is one that is no condition."""
    everywhere = _Occurrences(target)
    function.params.visit(everywhere)
    function.body.visit(everywhere)
    after = _Occurrences(target)
    for statement in following:
        statement.visit(after)
    is_safe = not everywhere.has_others and everywhere.uses == after.uses
    return everywhere.uses if is_safe else set()


class _Occurrences(cst.CSTVisitor):
    """Finds a name in a function: in conditions, and elsewhere."""

    def __init__(self, target: cst.Name) -> None:
        super().__init__()
        self._target = target
        self._conditions: set[cst.CSTNode] = set()
        # Functions, classes and comprehensions around the node.
        self._depth = 0
        self.uses: set[cst.Name] = set()
        self.has_others = False

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.If | cst.While | cst.IfExp):
            self._conditions.update(_operands(node.test))
        elif isinstance(node, cst.Name):
            self._name(node)
        elif isinstance(node, cst.Attribute):
            node.value.visit(self)
            return False
        elif isinstance(node, cst.Arg):
            # The name of a keyword is no variable.
            node.value.visit(self)
            return False
        self._depth += isinstance(node, _SCOPES)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        self._depth -= isinstance(original_node, _SCOPES)

    def _name(self, node: cst.Name) -> None:
        if node.value in _SEE_ALL:
            self.has_others = True
        elif node.value == self._target.value and node is not self._target:
            if node in self._conditions and not self._depth:
                self.uses.add(node)
            else:
                self.has_others = True


_SCOPES = (cst.FunctionDef, cst.Lambda, cst.ClassDef, cst.BaseComp)


def _operands(node: cst.BaseExpression) -> Iterator[cst.CSTNode]:
    """Yields what a condition combines by `not`, `and` and `or`."""
    if isinstance(node, cst.BooleanOperation):
        yield from _operands(node.left)
        yield from _operands(node.right)
    elif isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Not):
        yield from _operands(node.expression)
    else:
        yield node
