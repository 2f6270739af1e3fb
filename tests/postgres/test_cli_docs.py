"""The page of the commands shows what the commands print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flagstaff.cli.value import ACTIONS
from flagstaff.cli.verbs import VERBS
from flagstaff.testing import live_engine
from tests.conftest import ROOT
from tests.terminals import open_shop, typed

PAGE = (ROOT / "docs" / "reference" / "commands.md").read_text()
PROMPT = "$ python manage.py "
COMMANDS = {*VERBS, *(f"value {action}" for action in ACTIONS)}


def sections() -> Iterator[tuple[str, str]]:
    """Each heading, and what stands below it up to the next."""
    for section in re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        yield heading, text


def examples(text: str) -> list[tuple[str, str]]:
    """The lines that are typed, each with what is shown after it."""
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shown = [part for block in blocks for part in block.split(PROMPT)[1:]]
    return [(line, after) for line, _, after in (part.partition("\n") for part in shown)]


ALL_EXAMPLES = [example for _, text in sections() for example in examples(text)]
STATUS = "flags status"
EXAMPLES = [(line, after) for line, after in ALL_EXAMPLES if line != STATUS]


def test_every_verb_has_its_heading() -> None:
    assert {heading for heading, _ in sections()} >= COMMANDS


def test_every_verb_has_an_example_under_its_heading() -> None:
    shown = {heading for heading, text in sections() if f"{PROMPT}flags {heading}" in text}
    assert shown == COMMANDS - {"value"}


def test_table_says_of_each_verb_what_its_help_says() -> None:
    told = dict(re.findall(r"^\| \[`(.+?)`\]\(#\S+\) \| (.+) \|$", PAGE, re.MULTILINE))
    helps = {name: verb.HELP for name, verb in VERBS.items() if name != "value"}
    helps |= {f"value {name}": action.HELP for name, action in ACTIONS.items()}
    assert told == helps


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beside the file that the page shows."""
    [said] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "flags.yaml").write_text(said)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.django_db
@pytest.mark.parametrize(("line", "after"), EXAMPLES, ids=[line for line, _ in EXAMPLES])
def test_example_is_what_is_shown(line: str, after: str) -> None:
    open_shop()
    assert typed(line) == after


@pytest.mark.django_db(transaction=True)
def test_example_of_status_is_what_is_shown_but_for_the_numbers() -> None:
    after = dict(ALL_EXAMPLES)[STATUS]
    open_shop()
    with live_engine():
        shown = typed(STATUS)
    assert re.sub(r"[\d.]+", "0", shown) == re.sub(r"[\d.]+", "0", after)
