"""The reference is complete: public names, fields, settings and reasons."""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pkgutil import resolve_name, walk_packages
from types import ModuleType
from typing import Any

import pytest

import flagstaff
from flagstaff import contrib
from flagstaff._engine import forced_off, forced_on
from flagstaff.conf import all_settings
from tests.conftest import ROOT
from tools import settings_page

REFERENCE = ROOT / "docs" / "reference"
SETTINGS_PAGE, REASONS = (
    (REFERENCE / f"{name}.md").read_text() for name in ("settings", "reasons")
)


# Django and pytest find these by name, and pages and the terminal show actions that wait; a project
# does not import them. `extensions` is for the apps of this package.
USED_BY_DJANGO = {
    "admin",
    "apps",
    "checks",
    "cli",
    "conf",
    "contrib",
    "extensions",
    "management",
    "migrations",
    "templatetags",
    "waiting",
}
# Modules that are not at the top level of the package.
DEEPER = {
    "flagstaff.templatetags.flagstaff",
    "flagstaff.experiments.metrics",
    "flagstaff.experiments.crawlers",
    "flagstaff.contrib.ofrep.urls",
}
# Apps: one replaces another package under its own name, the other has only URLs.
APPS = {"flagstaff.contrib.waffle", "flagstaff.contrib.ofrep"}


def sections(text: str, level: str) -> dict[str, str]:
    """Returns the text below each name in a heading of a level."""
    parts = re.split(rf"^{level} (.+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


API = "".join(page.read_text() for page in sorted((REFERENCE / "api").glob("*.md")))
DOCUMENTED = re.findall(r"^::: (\S+)$", API, re.MULTILINE)


def test_public_module_is_on_a_page() -> None:
    modules = {module.name for module in walk_packages(flagstaff.__path__)}
    public = {name for name in modules - USED_BY_DJANGO if not name.startswith("_")}
    integrations = {
        module.name for module in walk_packages(contrib.__path__, f"{contrib.__name__}.")
    }
    public = {"flagstaff"} | {f"flagstaff.{name}" for name in public}
    public |= {name for name in integrations if name.count(".") == 2} - APPS
    assert public | DEEPER <= set(DOCUMENTED)
    assert len(DOCUMENTED) == len(set(DOCUMENTED))


def public_names(module: ModuleType) -> Iterator[Any]:
    for name in getattr(module, "__all__", ()):
        member = getattr(module, name)
        yield from (public_names(member) if inspect.ismodule(member) else [member])


@pytest.mark.parametrize("name", DOCUMENTED)
def test_public_name_has_a_docstring(name: str) -> None:
    # The pages are made from the docstrings.
    named_object = resolve_name(name)
    public = public_names(named_object) if inspect.ismodule(named_object) else [named_object]
    documented = [
        member for member in public if inspect.isclass(member) or inspect.isroutine(member)
    ]
    assert [member for member in documented if not inspect.getdoc(member)] == []


@pytest.mark.parametrize("name", ["FeatureFlag", "KeyValueStore", "Segment", "Change"])
def test_model_has_all_fields_in_the_page(name: str) -> None:
    model: Any = getattr(import_module("flagstaff.models"), name)
    named = {field.name for field in (*model._meta.fields, *model._meta.many_to_many)}
    [cells] = re.findall(rf"^\| `{name}` \| (.+) \|$", API, re.MULTILINE)
    listed = re.findall(r"`(\w+)`", cells)
    assert len(listed) == len(set(listed))
    assert set(listed) | {"id"} == named


def test_setting_has_a_heading() -> None:
    variables = [forced_off.VARIABLE, forced_on.VARIABLE]
    assert list(sections(SETTINGS_PAGE, "##")) == [*all_settings(), *variables]


def test_settings_page_has_the_values_and_defaults_of_the_table() -> None:
    assert settings_page.written(SETTINGS_PAGE) == SETTINGS_PAGE, "run -m tools.settings_page"


def test_reason_has_a_heading() -> None:
    reasons = re.findall(r'=> "([A-Z_]+)"', (ROOT / "src" / "evaluate.rs").read_text())
    sources = "".join(path.read_text() for path in ROOT.glob("src/**/*.rs"))
    codes = set(re.findall(r'"(PROVIDER_[A-Z_]+|FLAG_NOT_[A-Z_]+)"', sources))
    by_reason = sections(sections(REASONS, "##")["Reasons"], "###")
    assert set(by_reason) == set(reasons)
    assert len(codes) == 2
    assert codes <= set(re.findall(r"`(\w+)", by_reason["ERROR"]))


def test_every_mode_has_a_row() -> None:
    source = (ROOT / "src" / "postgres" / "status.rs").read_text()
    modes = set(re.findall(r'Self::\w+ => "(\w+)"', source))
    shown = re.findall(r"^\| `(\w+)` \| .+$", sections(REASONS, "##")["Status"], re.MULTILINE)
    assert modes
    assert set(shown) == modes | {"idle", "direct"}
