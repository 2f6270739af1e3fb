"""docs/reference/commands.md shows what the commands print."""

import json
import re
import subprocess
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from flagstaff.contrib.ofrep.settings import hash_of
from flagstaff.testing import live_engine
from tests.conftest import ROOT
from tests.support.shop import Shop
from tests.support.terminals import run, typed
from tests.support.waffle_rows import open_waffle
from tools.commands_page import single_verbs, written

PAGE = (ROOT / "docs" / "reference" / "commands.md").read_text()
PROMPT = "$ python manage.py "
SINGLE = dict(single_verbs())
# What runs for ever, what needs an engine, and what needs a row of an optional app.
NOT_RUN = ("run-jobs --loop", "status", "plan", "experiment", "waiting")
CONDITIONS = [{"attribute": "plan", "operator": "in", "values": ["enterprise"]}]
RULES = [{"name": "big customers", "conditions": [{"segment": "enterprise"}]}]
CHANGES = {"new_checkout": {"rollout_percent": 50}, "winter_banner": {"enabled": True}}
# The files that examples name.
FILES = {
    "beta.csv": "alice,Berlin\nbob,Bern\n",
    "enterprise.json": json.dumps(CONDITIONS),
    "flags.json": json.dumps({"flagstaff": 1, "flags": CHANGES}),
    "password.json": '"hunter2"',
    "rules.json": json.dumps(RULES),
    "size.json": "50",
    "staging.json": json.dumps({"flagstaff": 1, "flags": {**CHANGES, "search_v2": {"rules": []}}}),
    "sizes.json": json.dumps([{"conditions": CONDITIONS, "value": 100}]),
}


def examples(text: str) -> list[tuple[str, str]]:
    """Returns the command lines, each with its output."""
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shown = [part for block in blocks for part in block.split(PROMPT)[1:]]
    return [(line, after) for line, _, after in (part.partition("\n") for part in shown)]


ALL_EXAMPLES = examples(PAGE)
ON_PAGE = {line.removeprefix("flags ") for line, _after in ALL_EXAMPLES}
IN_HELP = [
    line
    for verb in SINGLE.values()
    for line in verb.examples
    if line not in ON_PAGE and not line.startswith(NOT_RUN)
]
STATUS, KEY = "flags status", "flags ofrep-key"
EXAMPLES = [(line, after) for line, after in ALL_EXAMPLES if line not in (STATUS, KEY)]


def test_page_has_the_arguments_of_every_verb() -> None:
    assert written(PAGE) == PAGE, "run: python -m tools.commands_page"


@pytest.fixture(autouse=True)
def example_files(plain_terminal: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs each test in a folder with the files that examples name."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("line", "after"), EXAMPLES, ids=[line for line, _ in EXAMPLES])
def test_example_shows_the_output(line: str, after: str) -> None:
    Shop().open()
    open_waffle()
    # As after a commit: no table can be altered while checks of its rows are pending.
    connection.check_constraints()
    assert typed(line) == after


def test_help_of_every_verb_has_two_examples() -> None:
    assert [name for name, verb in SINGLE.items() if len(verb.examples) < 2] == []


@pytest.mark.parametrize("line", IN_HELP)
@pytest.mark.one_in(4)
def test_example_of_a_help_runs(line: str, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.CONSTANCE_CONFIG = {"PAGE_SIZE": (20, "Rows on a page")}
    Shop().open()
    open_waffle()
    connection.check_constraints()
    # `references` reads what git tracks.
    subprocess.run(["git", "init", "--quiet"], check=True)
    command, _, file = line.partition(" > ")[0].partition(" < ")
    stdin = StringIO(Path(file).read_text() if file else "")
    monkeypatch.setattr("sys.stdin", stdin)
    ran = run(command)
    # Refused are versions that do not exist; waffle's rows differ; no worker is registered.
    assert ran.status in (0, 4, 6, 7), ran.err


@pytest.mark.django_db(transaction=True)
def test_example_of_status_shows_the_output_except_numbers() -> None:
    after = dict(ALL_EXAMPLES)[STATUS]
    Shop().open()
    with live_engine():
        shown = typed(STATUS)
    assert re.sub(r"[\d.]+", "0", shown) == re.sub(r"[\d.]+", "0", after)


def test_example_of_a_key_has_its_hash() -> None:
    after = dict(ALL_EXAMPLES)[KEY]
    [key, digest] = re.findall(r"^\w+  +(\w\S+)$", after, re.MULTILINE)
    assert digest == hash_of(key)
    [new_key, new_digest] = re.findall(r"^\w+  +(\w\S+)$", shown := typed(KEY), re.MULTILINE)
    assert shown.replace(new_key, key).replace(new_digest, digest) == after
