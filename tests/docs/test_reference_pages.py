"""Every public thing has its heading in docs/reference, and what stands there is so."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import fields
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest

import flagstaff
from flagstaff._core import Snapshot
from flagstaff._engine.explain import Explanation
from flagstaff._engine.impact import Impact
from flagstaff._engine.status import Status
from flagstaff._engine.usage import HourlyUsage, LostWorker, Usage
from flagstaff._workers.sessions import Worker
from flagstaff._workers.wait import Propagation
from flagstaff.conf.rules import RULES
from tests.conftest import ROOT

REFERENCE = ROOT / "docs" / "reference"
API, SETTINGS, REASONS = (
    (REFERENCE / f"{name}.md").read_text() for name in ("api", "settings", "reasons")
)

# Django, and the package's own files, import these. A project has no need to.
INNER = [
    "acting",
    "admin",
    "aliases",
    "apps",
    "asked",
    "barrier",
    "catalog",
    "census",
    "checks",
    "cli",
    "conf",
    "confirmation",
    "connection",
    "connection_options",
    "context",
    "direct",
    "endings",
    "engine",
    "explanation",
    "exposition",
    "forecast",
    "forks",
    "journal",
    "management",
    "measures",
    "migrations",
    "passfile",
    "raw_cursor",
    "receivers",
    "reporting",
    "request_flags",
    "rollouts",
    "rows",
    "servicefile",
    "sqlstate",
    "states",
    "tables",
    "templatetags",
    "values",
    "watched",
    "workers",
    "_core",
]


def sections(text: str, level: str) -> dict[str, str]:
    """What stands below each heading of a level."""
    parts = re.split(rf"^{level} (.+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


MODULES = {
    name: sections(text, "###")
    for name, text in sections(API, "##").items()
    if name != "What they give"
}
GIVEN = sections(sections(API, "##")["What they give"], "###")
GIVES: dict[str, Any] = {
    given.__name__: given for given in (HourlyUsage, Propagation, Impact, LostWorker, Usage, Worker)
}
NAMES = [(module, name) for module, names in MODULES.items() for name in names]


def test_every_public_module_has_its_heading() -> None:
    found = {module.name for module in walk_packages(flagstaff.__path__)}
    assert set(MODULES) == {
        "flagstaff",
        "flagstaff.templatetags.flagstaff",
        *(f"flagstaff.{name}" for name in found - set(INNER)),
    }
    assert set(INNER) <= found | {"_core"}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_its_heading(module: str) -> None:
    assert sorted(MODULES[module]) == sorted(import_module(module).__all__)


def plain_signature(thing: Any) -> str:
    """Its signature without the types."""
    signature = inspect.signature(thing)
    empty = inspect.Parameter.empty
    parameters = [p.replace(annotation=empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=empty))


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_signature_is_the_one_in_the_page(module: str, name: str) -> None:
    shown = re.match(rf"\n`{name}(\(.*\))`\n", MODULES[module][name])
    if shown:
        assert shown[1] == plain_signature(getattr(import_module(module), name))
    else:
        assert module not in ("flagstaff", "flagstaff.testing")


@pytest.mark.parametrize("name", flagstaff.__all__)
def test_function_says_what_it_raises_and_whether_it_blocks(name: str) -> None:
    assert re.findall(r"^- \*\*(\w+)\*\*", MODULES["flagstaff"][name], re.MULTILINE) == [
        "Raises",
        "Blocks",
    ]


def code_in(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)", text))


def test_what_functions_give_has_its_fields_in_the_page() -> None:
    assert set(GIVEN) == set(GIVES) | {"Explanation", "Status", "Snapshot"}
    for given in GIVES.values():
        assert {field.name for field in fields(given)} <= code_in(GIVEN[given.__name__])
    assert {field.name for field in fields(Explanation)} <= code_in(GIVEN["Explanation"])
    assert {name for name in dir(Snapshot) if name[0] != "_"} <= code_in(GIVEN["Snapshot"])


@pytest.mark.parametrize("name", ["AbstractFeatureFlag", "AbstractKeyValueStore"])
def test_model_has_its_fields_in_the_page(name: str) -> None:
    model: Any = getattr(import_module("flagstaff.base_models"), name)
    named = [field.name for field in (*model._meta.fields, *model._meta.many_to_many)]
    listed = re.findall(r"`(\w+)`", MODULES["flagstaff.base_models"][name])
    assert sorted(listed) == sorted(named)


def test_history_has_its_fields_in_the_page() -> None:
    model: Any = import_module("flagstaff.models").Change
    named = {field.name for field in model._meta.fields} - {"id"}
    assert set(re.findall(r"`(\w+)`", MODULES["flagstaff.models"]["Change"])) == named


def test_every_setting_has_its_heading() -> None:
    assert sorted(sections(SETTINGS, "##")) == sorted(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_default_of_a_setting_is_the_one_in_the_page(name: str) -> None:
    [default] = re.findall(r"Defaults to\s+`(.+?)`", sections(SETTINGS, "##")[name])
    assert ast.literal_eval(default) == RULES[name].default


def reasons_and_codes() -> tuple[set[str], set[str]]:
    """What the core can say, as it stands there."""
    reasons = re.findall(r'=> "([A-Z_]+)"', (ROOT / "src" / "evaluate.rs").read_text())
    sources = "".join(path.read_text() for path in ROOT.glob("src/**/*.rs"))
    return set(reasons), set(re.findall(r'"(PROVIDER_[A-Z_]+|FLAG_NOT_[A-Z_]+)"', sources))


def test_every_reason_has_its_heading() -> None:
    reasons, codes = reasons_and_codes()
    section = sections(REASONS, "##")["Reasons"]
    assert set(sections(section, "###")) == reasons
    assert len(codes) == 2
    assert codes <= code_in(sections(section, "###")["ERROR"])


def test_every_field_of_the_status_has_its_heading() -> None:
    headings = sections(sections(REASONS, "##")["Status"], "###")
    assert list(headings) == [field.name for field in fields(Status)]


def test_modes_are_those_of_the_architecture() -> None:
    modes = re.compile(r"^\| `\w+` \| .+$", re.MULTILINE)
    told = modes.findall(sections(REASONS, "##")["Status"])
    architecture = sections((ROOT / "docs" / "architecture.md").read_text(), "##")["Modes"]
    assert [line.split("`")[1] for line in told] == [
        line.split("`")[1] for line in modes.findall(architecture)
    ]
