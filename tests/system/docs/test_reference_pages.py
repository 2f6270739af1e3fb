"""Every public name has a heading in docs/reference, and its entry is correct."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from operator import attrgetter
from pkgutil import walk_packages
from types import ModuleType
from typing import Any

import pytest

import flagstaff
from flagstaff import contrib
from flagstaff._core import Resolution, Snapshot
from flagstaff._engine.explain import Explanation, ValueExplanation
from flagstaff._engine.forced_off import VARIABLE
from flagstaff._engine.status import Status
from flagstaff._engine.usage import HourlyUsage, Usage
from flagstaff._workers.register import Worker
from flagstaff._workers.wait import Propagation
from flagstaff.conf import all_settings
from flagstaff.listeners import Evaluation
from flagstaff.serialization import Imported
from tests.conftest import ROOT
from tools import settings_page

REFERENCE = ROOT / "docs" / "reference"
SETTINGS_PAGE, REASONS = (
    (REFERENCE / f"{name}.md").read_text() for name in ("settings", "reasons")
)


# Django and pytest find these by name; a project does not import them. `extensions` is for the apps
# of this package.
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
    headings = zip(parts[::2], parts[1::2], strict=True)
    return {name: text for heading, text in headings for name in heading.split(", ")}


def module_pages() -> dict[str, dict[str, str]]:
    """Returns the sections of each module's page, by module name."""
    pages = (page.read_text() for page in sorted((REFERENCE / "api").glob("*.md")))
    found = {text.splitlines()[0].removeprefix("# "): sections(text, "##") for text in pages}
    return {name: names for name, names in found.items() if name.startswith("flagstaff")}


MODULES = module_pages()
RETURN_TYPE_SECTIONS = sections(MODULES["flagstaff"].pop("Return types"), "###")
RETURN_TYPES: dict[str, Any] = {
    type_.__name__: type_
    for type_ in (
        *(HourlyUsage, Propagation, Usage),
        *(ValueExplanation, Worker),
    )
}
NAMES = [(module, name) for module, names in MODULES.items() for name in names]


def test_public_module_has_a_page() -> None:
    found = {module.name for module in walk_packages(flagstaff.__path__)}
    public = {name for name in found - USED_BY_DJANGO if not name.startswith("_")}
    integrations = {
        module.name for module in walk_packages(contrib.__path__, f"{contrib.__name__}.")
    }
    public = {"flagstaff"} | {f"flagstaff.{name}" for name in public}
    public |= {name for name in integrations if name.count(".") == 2} - APPS
    assert set(MODULES) == public | DEEPER


def test_page_of_a_module_has_an_example() -> None:
    for page in sorted((REFERENCE / "api").glob("*.md")):
        assert page.stem == "index" or "\n```" in page.read_text(), page.name


def public_names(module: ModuleType) -> Iterator[str]:
    for name in module.__all__:
        found = getattr(module, name)
        is_module = inspect.ismodule(found)
        yield from (f"{name}.{inner}" for inner in found.__all__) if is_module else [name]


def test_public_names_have_headings() -> None:
    public = {module: sorted(public_names(import_module(module))) for module in MODULES}
    assert {module: sorted(names) for module, names in MODULES.items()} == public


def plain_signature(thing: Any) -> str:
    """Returns the signature without types."""
    signature = inspect.signature(thing)
    empty = inspect.Parameter.empty
    parameters = [p.replace(annotation=empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=empty))


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_signature_in_the_page_is_correct(module: str, name: str) -> None:
    shown = re.match(rf"\n`{name}(\(.*\))`\n", MODULES[module][name])
    if shown:
        assert shown[1] == plain_signature(attrgetter(name)(import_module(module)))
    else:
        assert module not in ("flagstaff", "flagstaff.testing")


def test_entry_of_a_function_says_what_it_raises_and_if_it_blocks() -> None:
    for name in flagstaff.__all__:
        found = re.findall(r"^- \*\*(\w+)\*\*", MODULES["flagstaff"][name], re.MULTILINE)
        assert found == ["Raises", "Blocks"], name


def code_in(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)", text))


def test_returned_types_have_all_fields_in_the_page() -> None:
    others = {"Explanation", "Resolution", "Snapshot", "Status"}
    assert set(RETURN_TYPE_SECTIONS) == set(RETURN_TYPES) | others
    pages = {type_: RETURN_TYPE_SECTIONS[type_.__name__] for type_ in RETURN_TYPES.values()}
    pages[Explanation] = RETURN_TYPE_SECTIONS["Explanation"]
    pages[Imported] = MODULES["flagstaff.serialization"]["Imported"]
    for type_, text in pages.items():
        assert {field.name for field in fields(type_)} <= code_in(text), type_
    of_rust = {
        Snapshot: RETURN_TYPE_SECTIONS["Snapshot"],
        Resolution: RETURN_TYPE_SECTIONS["Resolution"],
        Evaluation: MODULES["flagstaff.listeners"]["Evaluation"],
    }
    for of_core, text in of_rust.items():
        assert {name for name in dir(of_core) if name[0] != "_"} <= code_in(text), of_core


@pytest.mark.parametrize("name", ["AbstractFeatureFlag", "AbstractKeyValueStore"])
def test_model_has_all_fields_in_the_page(name: str) -> None:
    model: Any = getattr(import_module("flagstaff.base_models"), name)
    named = [field.name for field in (*model._meta.fields, *model._meta.many_to_many)]
    listed = re.findall(r"`(\w+)`", MODULES["flagstaff.base_models"][name])
    assert sorted(listed) == sorted(named)


def test_history_entry_has_all_fields_in_the_page() -> None:
    model: Any = import_module("flagstaff.models").Change
    named = {field.name for field in model._meta.fields} - {"id"}
    assert set(re.findall(r"`(\w+)`", MODULES["flagstaff.models"]["Change"])) == named


def test_setting_has_a_heading() -> None:
    assert list(sections(SETTINGS_PAGE, "##")) == [*all_settings(), VARIABLE]


def test_settings_page_has_the_values_and_defaults_of_the_table() -> None:
    assert settings_page.written(SETTINGS_PAGE) == SETTINGS_PAGE, "run -m tools.settings_page"


def reasons_and_codes() -> tuple[set[str], set[str]]:
    """Returns the reasons and error codes in the Rust source."""
    reasons = re.findall(r'=> "([A-Z_]+)"', (ROOT / "src" / "evaluate.rs").read_text())
    sources = "".join(path.read_text() for path in ROOT.glob("src/**/*.rs"))
    return set(reasons), set(re.findall(r'"(PROVIDER_[A-Z_]+|FLAG_NOT_[A-Z_]+)"', sources))


def test_reason_has_a_heading() -> None:
    reasons, codes = reasons_and_codes()
    section = sections(REASONS, "##")["Reasons"]
    assert set(sections(section, "###")) == reasons
    assert len(codes) == 2
    assert codes <= code_in(sections(section, "###")["ERROR"])


def test_status_field_has_a_heading() -> None:
    headings = sections(sections(REASONS, "##")["Status"], "###")
    assert list(headings) == [field.name for field in fields(Status)]


def test_modes_equal_those_of_the_architecture() -> None:
    modes = re.compile(r"^\| `(\w+)` \| .+$", re.MULTILINE)
    architecture = sections((ROOT / "docs" / "architecture.md").read_text(), "##")["Modes"]
    found = modes.findall(sections(REASONS, "##")["Status"])
    assert found == modes.findall(architecture)
