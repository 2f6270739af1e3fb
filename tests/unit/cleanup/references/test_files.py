"""Which files are searched, by how many processes, and settings that hold keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagstaff.cleanup.references import search
from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.searching import search_files
from tests.support.references import write_project

CALL = 'from flagstaff import flag_enabled\nflag_enabled("a")\n'


@pytest.mark.parametrize(
    "folder", [".git", ".venv", "node_modules", "site-packages", "__pycache__", "build"]
)
def test_folder_of_a_tool_is_left_out(tmp_path: Path, folder: str) -> None:
    write_project(tmp_path, {f"{folder}/views.py": CALL})
    assert searched_files([tmp_path]) == []


def test_virtual_environment_of_any_name_is_left_out(tmp_path: Path) -> None:
    write_project(tmp_path, {"python/pyvenv.cfg": "", "python/views.py": CALL})
    assert searched_files([tmp_path]) == []


def test_given_folder_is_searched_whatever_its_name(tmp_path: Path) -> None:
    write_project(tmp_path, {"build/views.py": CALL})
    assert len(searched_files([tmp_path / "build"])) == 1


def test_file_is_searched_once(tmp_path: Path) -> None:
    write_project(tmp_path, {"views.py": CALL})
    assert len(list(search([tmp_path, tmp_path / "views.py"]))) == 1


@pytest.mark.parametrize("glob", ["legacy", "legacy/*", "*/legacy/*", "*.py", "views.py"])
def test_excluded_file_is_left_out(tmp_path: Path, glob: str) -> None:
    write_project(tmp_path, {"legacy/views.py": CALL})
    assert searched_files([tmp_path], [glob]) == []


def test_missing_path_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        search([tmp_path / "missing"])


def test_two_processes_find_the_same_as_one(tmp_path: Path) -> None:
    files = {f"app_{n}/views.py": CALL.replace('"a"', f'"key_{n}"') for n in range(10)}
    wrapper = "from flagstaff import flag_enabled\ndef on(key): return flag_enabled(key)\n"
    calls = {f"app_{n}/calls.py": f"from helpers import on\non('w{n}')" for n in range(10)}
    write_project(tmp_path, {**files, **calls, "helpers.py": wrapper})
    paths = searched_files([tmp_path])
    done: list[int] = []
    two = search_files(paths, done.append, processes=2)
    assert two.references == search_files(paths, processes=1).references
    assert len(two.references) == 21
    assert sum(done) >= 2 * len(paths)


def test_file_that_is_not_python_is_reported(tmp_path: Path) -> None:
    write_project(tmp_path, {"views.py": "from flagstaff import (", "other.py": "x = ("})
    found = search_files(searched_files([tmp_path]))
    assert found.unreadable == {str(tmp_path / "views.py"): "not valid Python (line 1)"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "FLAGSTAFF_FORCE_OFF=a,b\n"),
        ("compose.yaml", 'environment:\n  FLAGSTAFF_FORCE_OFF: "a, b"\n'),
        ("Dockerfile", "ENV FLAGSTAFF_FORCE_OFF=a,b\n"),
        ("app.service", 'Environment="FLAGSTAFF_FORCE_OFF=a,b"\n'),
        ("settings.py", 'import os\nos.environ["FLAGSTAFF_FORCE_OFF"] = "a,b"\n'),
        (
            "test_it.py",
            'def test(monkeypatch):\n    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", "a,b")',
        ),
    ],
)
def test_key_that_is_forced_off_is_found(tmp_path: Path, name: str, text: str) -> None:
    found = list(search([write_project(tmp_path, {name: text})]))
    assert [(str(one.kind), one.key) for one in found] == [("setting", "a"), ("setting", "b")]
