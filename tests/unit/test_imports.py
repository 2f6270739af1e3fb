"""The modules of the package import each other in one direction, also for types."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import flagstaff

ROOT = Path(flagstaff.__file__).parent.parent
#: A reader follows at most so many imports. Longer chains hide what a module needs.
LONGEST = 28


def _imports(node: ast.AST, *, at_start: bool = True) -> Iterator[tuple[str, bool]]:
    """Yields the names that are imported below a node, and whether the module's start does it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, at_start) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((f"{child.module}.{alias.name}", at_start) for alias in child.names)
        is_later = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        )
        yield from _imports(child, at_start=at_start and not is_later)


@cache
def _modules() -> dict[str, list[tuple[str, bool]]]:
    """Returns the imports of each module. Reading the package takes a second of processor time."""
    modules = {}
    for path in (ROOT / "flagstaff").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        # The stand-in is imported as "waffle".
        name = name.removeprefix("flagstaff.contrib.waffle.stand_in.").removesuffix(".__init__")
        modules[name] = [*_imports(ast.parse(path.read_text()))]
    return modules


def _graph(*, at_start: bool) -> dict[str, set[str]]:
    """The modules that each module imports: at its start, or at any time and for types."""
    graph: dict[str, set[str]] = {}
    for module, imports in _modules().items():
        imported = (
            name if name in _modules() else name.rpartition(".")[0]
            for name, is_at_start in imports
            if is_at_start or not at_start
        )
        graph[module] = {name for name in imported if name in _modules()} - {module}
    return graph


def test_imports_are_found_at_the_start_in_functions_and_for_types() -> None:
    source = """
import flagstaff.conf
from flagstaff._engine import direct
if TYPE_CHECKING:
    from flagstaff.models import Segment
class Config:
    from flagstaff._tables.rows import Kind
    def ready(self):
        from flagstaff import checks
"""
    assert [*_imports(ast.parse(source))] == [
        ("flagstaff.conf", True),
        ("flagstaff._engine.direct", True),
        ("flagstaff.models.Segment", False),
        ("flagstaff._tables.rows.Kind", True),
        ("flagstaff.checks", False),
    ]


def test_imports_form_no_circle() -> None:
    # Raises CycleError, which has the circle.
    TopologicalSorter(_graph(at_start=False)).prepare()


def test_chain_of_imports_is_not_too_long() -> None:
    graph = _graph(at_start=True)
    chains: dict[str, list[str]] = {}
    for module in TopologicalSorter(graph).static_order():
        longest = max((chains[name] for name in graph[module]), key=len, default=[])
        chains[module] = [module, *longest]
    longest = max(chains.values(), key=len)
    assert len(longest) <= LONGEST, longest


@pytest.mark.parametrize(
    "module",
    [
        "experiments.crawlers",
        *map(
            "contrib.{}".format,
            ("drf", "jinja2", "openfeature", "otel", "prometheus", "sentry", "toolbar"),
        ),
    ],
)
def test_module_for_another_package_is_imported_by_no_other(module: str) -> None:
    graph = _graph(at_start=False)
    assert [name for name, imported in graph.items() if f"flagstaff.{module}" in imported] == []
