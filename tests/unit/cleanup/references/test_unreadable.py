"""Files and folders that the search cannot read: each is listed with its reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.searching import search_files
from tests.support.references import patched

CALL = 'from flagstaff import flag_enabled\nflag_enabled("a")\n'


def unreadable(root: Path) -> dict[str, str]:
    """Returns the names of the files that are not searched, and the reasons."""
    found = search_files(searched_files([root])).unreadable
    return {Path(path).name: reason for path, reason in found.items()}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"from flagstaff import (\n", "not valid Python (line 1)"),
        (b"import flagstaff\nx = '\xe9'\n", "not valid Python ('utf-8' codec"),
        (b"# coding: nonsense\nimport flagstaff\n", "not valid Python (unknown encoding"),
        (b"import flagstaff\nx = 1\0\n", "not valid Python"),
        (b"import flagstaff\nx = " + b"(" * 3_000 + b"1" + b")" * 3_000, "nested too deeply"),
    ],
)
def test_file_that_cannot_be_parsed_is_listed(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "good.py").write_text(CALL)
    (tmp_path / "views.py").write_bytes(data)
    found = search_files(searched_files([tmp_path]))
    assert [one.key for one in found.references] == ["a"]
    assert unreadable(tmp_path)["views.py"].startswith(reason)


@pytest.mark.parametrize("name", ["views.py", "page.html"])
def test_link_to_itself_is_listed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(name)
    (tmp_path / "good.py").write_text(CALL)
    assert unreadable(tmp_path) == {name: f"it cannot be read ({os.strerror(40)})"}


def test_link_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "views.py").write_text(CALL)
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert searched_files([tmp_path]) == [str(tmp_path / "views.py")]


def test_link_without_a_file_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "views.py").symlink_to("missing.py")
    assert searched_files([tmp_path]) == []


@pytest.mark.parametrize("name", ["views.py", "page.html", "folder"])
def test_file_without_permission_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    if path.suffix:
        path.write_text(CALL)
    else:
        path.mkdir()
    real = Path.read_bytes, os.scandir

    # The superuser, who may run the tests, can read everything.
    def read(file: Path) -> bytes:
        if file == path:
            raise PermissionError(13, "Permission denied")
        return real[0](file)

    def scan(folder: str) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        if folder == str(path):
            raise PermissionError(13, "Permission denied")
        return real[1](folder)

    monkeypatch.setattr(Path, "read_bytes", read)
    monkeypatch.setattr(os, "scandir", scan)
    assert unreadable(tmp_path) == {name: "it cannot be read (Permission denied)"}


def test_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "views.py")
    assert searched_files([tmp_path]) == []
    with pytest.raises(FileNotFoundError):
        searched_files([tmp_path / "views.py"])


def test_folder_without_files_has_no_references(tmp_path: Path) -> None:
    found = search_files(searched_files([tmp_path]))
    assert (found.references, found.unreadable) == ([], {})


def test_template_with_another_encoding_is_found_but_not_patched(tmp_path: Path) -> None:
    text = '{% load flagstaff %}é{% flag "a" %}A{% endflag %}\n'
    (tmp_path / "page.html").write_bytes(text.encode("latin-1"))
    found = patched(tmp_path, {}, a=True)
    assert (found.text, [one.key for one in found.remaining]) == ("", ["a"])


@pytest.mark.parametrize("line", ["x = 0777", "if x:\n\t  y = 1\n        z = 1", "print 'x'"])
def test_error_names_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "views.py").write_text(f"import flagstaff\n\n{line}\n")
    number = 2 + len(line.split("\n"))
    assert unreadable(tmp_path)["views.py"] == f"not valid Python (line {number})"


def test_file_with_a_line_break_in_its_name_is_found_but_not_patched(tmp_path: Path) -> None:
    found = patched(tmp_path, {"my\nviews.py": CALL}, a=True)
    assert (found.text, [one.line for one in found.remaining]) == ("", [2])
