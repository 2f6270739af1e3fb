"""The public names of `flagstaff`: when they can be imported, and their documentation."""

import ast
import inspect
import pydoc
from importlib import import_module
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from pkgutil import iter_modules

import pytest

import flagstaff
from flagstaff import _core
from tests.conftest import RunIsolated

# Before the project's settings are known.
UNSET = {"DJANGO_SETTINGS_MODULE": ""}


def test_main_functions_are_public_and_names_are_sorted() -> None:
    expected = {"flag_enabled", "get_value", "explain", "status", "ready", "aready", "refresh"}
    assert expected <= set(flagstaff.__all__)
    assert flagstaff.__all__ == sorted(flagstaff.__all__)


def test_stub_has_the_module_of_each_lazy_name() -> None:
    stub = ast.parse(Path(flagstaff.__file__).with_suffix(".pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    modules = {alias.name: node.module for node in imports for alias in node.names}
    assert vars(flagstaff)["_MODULES"].items() <= modules.items()
    [names] = [ast.literal_eval(node.value) for node in stub.body if isinstance(node, ast.Assign)]
    assert names == flagstaff.__all__


@pytest.mark.parametrize("name", ["flagstaff", "flagstaff.rollouts", "flagstaff.experiments"])
def test_lazy_name_is_not_the_name_of_a_module(name: str) -> None:
    package = import_module(name)
    # The import of a module would replace the function.
    modules = {module.name for module in iter_modules(package.__path__)}
    assert not modules & set(package.__all__)


def test_name_is_cached_after_the_first_use_and_an_unknown_one_raises_attribute_error() -> None:
    assert flagstaff.flag_enabled is vars(flagstaff)["flag_enabled"]
    with pytest.raises(AttributeError) as error:
        _ = flagstaff.flag_enabeld  # type: ignore[attr-defined]
    assert str(error.value) == "module 'flagstaff' has no attribute 'flag_enabeld'"


@pytest.mark.parametrize("module", ["flagstaff", "flagstaff.pytest_plugin"])
def test_import_does_not_load_django_or_the_extension(
    module: str, run_isolated: RunIsolated
) -> None:
    script = f"""
import sys, {module}
print([name for name in ("django", "flagstaff._core") if name in sys.modules])
"""
    assert run_isolated(script, **UNSET) == "[]\n"


def test_signature_is_available() -> None:
    evaluation = "(key, user=None, *, default=False, context=None)"
    assert str(inspect.signature(flagstaff.flag_enabled)) == evaluation
    value = "(key, default=None, *, user=None, context=None)"
    assert str(inspect.signature(flagstaff.get_value)) == value


@pytest.mark.parametrize("name", flagstaff.__all__)
def test_docstring_begins_with_a_sentence(name: str) -> None:
    function = getattr(flagstaff, name)
    summary, *_ = str(inspect.getdoc(function)).splitlines()
    assert summary.endswith(".")
    assert summary in pydoc.render_doc(function)


def _stub_docstrings() -> dict[str, str | None]:
    """The docstring of each function, class, method and property of the extension's stub."""
    stub = ast.parse(Path(flagstaff.__file__).with_name("_core.pyi").read_text())
    docstrings: dict[str, str | None] = {}
    for node in stub.body:
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        members = [(prefix, member) for member in getattr(node, "body", ())]
        for start, member in [("", node), *members]:
            if isinstance(member, (ast.ClassDef, ast.FunctionDef)):
                # The first overload has the docstring.
                docstrings.setdefault(f"{start}{member.name}", ast.get_docstring(member))
    # At run time a constructor has the docstring of its class.
    return {name: text for name, text in docstrings.items() if not name.endswith("__")}


@pytest.mark.parametrize(("name", "text"), _stub_docstrings().items())
def test_docstring_of_the_extension_is_the_one_of_the_stub(name: str, text: str | None) -> None:
    assert text
    assert inspect.getdoc(attrgetter(name)(_core)) == text


PUBLIC = ["", ".changes", ".changes.flags", ".changes.segments", ".changes.values"]


@pytest.mark.parametrize("module", [*PUBLIC, ".experiments", ".rollouts"])
def test_dir_of_a_public_module_is_its_public_names(module: str) -> None:
    imported = import_module(f"flagstaff{module}")
    assert dir(imported) == sorted(imported.__all__)


def test_docstring_of_flag_enabled_has_user_types_and_errors() -> None:
    text = str(inspect.getdoc(flagstaff.flag_enabled))
    for part in ("request.user", "int, str or uuid.UUID", "TypeError", "UnknownFlagError"):
        assert part in text


def test_docstring_in_the_stub_of_the_extension_follows_its_name() -> None:
    stub = Path(flagstaff.__path__[0], "_core.pyi").read_text()
    [_module, *body] = ast.parse(stub).body
    pairs = [(before, node) for before, node in pairwise(body) if isinstance(node, ast.Expr)]
    assert pairs
    strays = [node.lineno for before, node in pairs if not isinstance(before, ast.AnnAssign)]
    assert strays == []
