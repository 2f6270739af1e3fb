"""`make mutants-python`: what it changes, which tests it runs, and how two suites compare."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.limits import CHILD, seconds
from tools.python_mutants.comparing import compare
from tools.python_mutants.mutations import mutations_of
from tools.python_mutants.record import Record
from tools.python_mutants.sampling import draw

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "python" / "flagstaff" / "cli"

SUITE = """
from colours import is_red

def test_of_red(): assert is_red("red")

def test_of_another_module(): assert True
"""


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ("return a == b", {"return (a != b)", "return None"}),
        ("return a and b", {"return ((a) or (b))", "return None"}),
        (
            "if not a:\n        pass",
            {"if (not (not a)):\n        pass", "if bool(a):\n        pass"},
        ),
        ("a = b + 1", {"a = (b - 1)", "a = b + 2"}),
        ("a = True", {"a = False"}),
        ("a = 'é'", {"a = 'Xé'"}),
        ("a = f'{b}'", {'a = "X"'}),
        ("print()", {"pass"}),
        ("for a in b:\n        break", {"for a in b:\n        continue"}),
        ("'A docstring.'", set[str]()),
    ],
)
def test_each_change_of_a_body_is_one_mutation(body: str, changed: set[str]) -> None:
    source = f"# é\ndef function(a, b):\n    {body}\n"
    found = [mutation.apply(source.encode()).decode() for mutation in mutations_of(source)]
    assert {text.split("\n    ", 1)[1].rstrip() for text in found} == changed


def test_draw_of_one_seed_is_repeatable_and_its_mutants_parse() -> None:
    drawn = draw(PACKAGE, "A", 40)
    assert drawn == draw(PACKAGE, "A", 40) != draw(PACKAGE, "B", 40)
    for mutant in drawn:
        ast.parse(mutant.mutation.apply((PACKAGE / mutant.file).read_bytes()))


def test_record_gives_the_tests_that_reach_a_line(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "colours.py").write_text('def is_red(name):\n    return name == "red"\n')
    (tmp_path / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tools.python_mutants.plugin"]
    subprocess.run(
        [*command, "--rootdir", tmp_path, "-p", "no:cacheprovider", "test_suite.py"],
        cwd=tmp_path,
        env={
            "PYTHONPATH": f"{package}:{ROOT}",
            "RECORD": str(tmp_path),
            "COVERAGE_OF": str(package),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        check=True,
        capture_output=True,
        timeout=seconds(CHILD),
    )
    assert Record(tmp_path, package).tests_of("colours.py", 2, 60) == ["test_suite.py::test_of_red"]


def test_lost_mutant_is_printed_with_the_test_that_caught_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    caught = {"room": "cli", "result": "caught", "by": ["test_a"]}
    old.write_text(json.dumps([caught | {"name": "a"}, caught | {"name": "b"}]))
    new.write_text(json.dumps([caught | {"name": "a", "result": "hung"}, caught | {"name": "b"}]))
    assert compare(old, new) == 0
    new.write_text(
        json.dumps([caught | {"name": "a"}, caught | {"name": "b", "result": "survived"}])
    )
    assert compare(old, new) == 1
    assert "lost: b (test_a)\n1 of 2 caught" in capsys.readouterr().out
