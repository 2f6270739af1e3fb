"""The page of stable names has those of the code, so a change of one fails here."""

import re
from importlib import import_module
from typing import Any

import pytest

from flagstaff._tables.user_lookup import LOADDATA
from flagstaff.actions import Kind, all_actions
from flagstaff.cli import errors
from flagstaff.history.describe import _PLACES
from tests.conftest import ROOT
from tests.support.pages import DOCS

PAGE = (DOCS / "reference" / "stable.md").read_text()
COMMANDS = (DOCS / "reference" / "commands.md").read_text()
KINDS: tuple[Kind | str, ...] = (*Kind, "plan", "experiment")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_actions_and_arguments_of_a_kind_are_on_the_page(kind: Kind | str) -> None:
    word = kind.value if isinstance(kind, Kind) else kind
    [cells] = re.findall(rf"^\| {word} \| (.+) \|$", PAGE, re.MULTILINE)
    shown = {}
    for cell in cells.split(" · "):
        name, *arguments = re.findall(r"`([^`]+)`", cell)
        shown[name] = arguments
    assert shown == {action.name: list(dict(action.arguments())) for action in all_actions(kind)}


def test_sources_are_on_the_page() -> None:
    table = PAGE.split("## Sources of changes")[1].split("## ")[0]
    code = "".join(path.read_text() for path in ROOT.glob("python/flagstaff/**/*.py"))
    apps = set(re.findall(r'^ *_?SOURCE = "(\w+)"$', code, re.MULTILINE))
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == {*_PLACES, LOADDATA, *apps}


def test_exit_statuses_are_on_the_page_of_commands() -> None:
    in_order = "FAILED USAGE UNCONFIRMED REFUSED UNKNOWN DIFFERS UNVERIFIABLE GIVEN_UP"
    names = in_order.split()
    shown = re.findall(r"^\| (\d) \| ", COMMANDS, re.MULTILINE)
    assert [int(status) for status in shown] == [0, *(getattr(errors, name) for name in names)]


@pytest.mark.parametrize(
    "module", ["flagstaff.urls", "flagstaff.health", "flagstaff.contrib.ofrep.urls"]
)
def test_urls_are_on_the_page(module: str) -> None:
    urls: Any = import_module(module)
    names = [f"{urls.app_name}:{url.name}" for url in urls.urlpatterns]
    [cell] = re.findall(rf"^\| `{module}` \| (.+) \|$", PAGE, re.MULTILINE)
    assert re.findall(r"`([^`]+)`", cell) == names


def test_granted_functions_exist() -> None:
    granted = set(re.findall(r"`(flagstaff_\w+_v\d+)`", PAGE))
    sql = "".join(path.read_text() for path in ROOT.glob("python/flagstaff/sql/*.sql"))
    assert granted <= set(re.findall(r"FUNCTION \{schema\}\.(flagstaff_\w+)", sql))
    assert granted
