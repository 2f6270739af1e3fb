"""A project's call sites of waffle behave alike with waffle and with the stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.projects import run
from tests.support.workers import address
from tools.postgres import Postgres

PROJECT = "call_sites_project"
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pytest.ini"]


def passed(server: Postgres, *options: str, **variables: str) -> str:
    """Runs tests with these options of pytest, and returns the last line of the output."""
    url = address(server.url, "postgres")
    return run(url, *PYTEST, *options, project=PROJECT, **variables).splitlines()[-1]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "options", [["shop/call_sites.py"], ["own/own_model.py", "--ds=own.settings"]]
)
def test_call_sites_behave_alike_with_waffle_and_with_stand_in(
    options: list[str], module_postgres_server: Postgres
) -> None:
    with_waffle = passed(module_postgres_server, *options)
    stand_in = passed(module_postgres_server, *options, STAND_IN="1")
    assert with_waffle.split(" in ")[0] == stand_in.split(" in ")[0]


OWN_CODE = ["--ds=own_code.settings", "-p", "own_code.tables"]


@pytest.mark.timeout(180)
def test_own_code_has_the_results_of_waffle(
    module_postgres_server: Postgres, tmp_path: Path
) -> None:
    results = []
    for name, variables in {"waffle": {}, "stand_in": {"STAND_IN": "1"}}.items():
        folder = tmp_path / name
        folder.mkdir()
        options, variables["RESULTS"] = ["own_code/contract.py", *OWN_CODE], str(folder)
        passed(module_postgres_server, *options, **variables)
        texts = [(folder / file).read_text() for file in ("flags", "others")]
        results.append({place: one for text in texts for place, one in json.loads(text).items()})
    waffle, stand_in = results
    assert len(waffle) > 4_000
    assert waffle == stand_in


@pytest.mark.timeout(180)
def test_kill_precedes_own_code(module_postgres_server: Postgres) -> None:
    assert "passed" in passed(module_postgres_server, "own_code/kill.py", *OWN_CODE, STAND_IN="1")


@pytest.mark.timeout(180)
def test_rows_show_and_change_flags(module_postgres_server: Postgres) -> None:
    assert "passed" in passed(module_postgres_server, "shop/stand_in.py", STAND_IN="1")
