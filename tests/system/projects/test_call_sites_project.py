"""A project's call sites of waffle behave alike with waffle and with the stand-in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.projects import PROJECTS, STAND_IN, WAFFLE, Project
from tests.support.workers import address
from tools.postgres import Postgres

KEYS = """
# A second call does nothing.
install()
FLAGSTAFF = {
    "WAFFLE": {"KEYS": {"switch:search": "search.switch", "sample:search": "search.sample"}}
}
"""
OWN_MODEL = 'WAFFLE_FLAG_MODEL = "own.TeamFlag"\n'
OWN_CODE = """
WAFFLE_FLAG_MODEL = "own_code.OrgFlag"
WAFFLE_SWITCH_MODEL = "own_code.LoudSwitch"
WAFFLE_SAMPLE_MODEL = "own_code.LoudSample"
"""

pytestmark = pytest.mark.timeout(180)


def project_of(app: str, folder: Path, server: Postgres, settings: str = "") -> Project:
    """A copy of the project that has this app, and waffle."""
    return Project(
        folder,
        address(server.url, "postgres"),
        copied=PROJECTS / "call_sites_project",
        apps=[app],
        urls=f"{'shop' if app == 'own' else app}.urls",
        settings=WAFFLE + settings,
    )


def passed(output: str, file: str) -> set[str]:
    """Returns the tests of a file that pytest reports as passed."""
    return {line for line in output.splitlines() if line.startswith(f"PASSED {file}::")}


@pytest.mark.parametrize(
    ("file", "stand_in_files", "settings"),
    [("shop/call_sites.py", ["shop/stand_in.py"], ""), ("own/own_model.py", [], OWN_MODEL)],
    ids=["models of waffle", "own model"],
)
def test_call_sites_behave_alike_with_waffle_and_with_stand_in(
    file: str,
    stand_in_files: list[str],
    settings: str,
    tmp_path: Path,
    module_postgres_server: Postgres,
) -> None:
    app = file.partition("/")[0]
    project = project_of(app, tmp_path, module_postgres_server, settings)
    if app == "own":
        # The stand-in gets the migrations that Django writes with waffle.
        project.manage("makemigrations", app)
    with_waffle = passed(project.pytest("-rA", file), file)
    project.append(STAND_IN + KEYS)
    # What only the stand-in does is tested on the same database.
    with_stand_in = passed(project.pytest("-rA", file, *stand_in_files), file)
    assert with_waffle == with_stand_in != set()


def test_own_code_has_the_results_of_waffle_and_a_kill_precedes_it(
    module_postgres_server: Postgres, tmp_path: Path
) -> None:
    project = project_of("own_code", tmp_path, module_postgres_server, OWN_CODE)
    results = []
    for more_settings, files in [("", []), (STAND_IN + KEYS, ["own_code/kill.py"])]:
        project.append(more_settings)
        project.pytest("own_code/contract.py", *files, "-p", "own_code.tables")
        parts = [json.loads(project.read(name)) for name in ("flags.json", "others.json")]
        results.append({place: result for part in parts for place, result in part.items()})
    waffle, stand_in = results
    assert len(waffle) > 2_000
    assert waffle == stand_in
