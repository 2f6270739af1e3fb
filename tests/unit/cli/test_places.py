"""Where keys stand in files: which files are searched, and what counts as the key."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flagstaff.stale.places import (
    MAX_BYTES,
    UntrackedError,
    files_below,
    find_places,
    tracked_files,
)


def write(root: Path, *names: str, text: str = "flag_enabled('new')\n") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def found(tmp_path: Path, text: str, *keys: str) -> list[str]:
    """The keys that are found in a file, in the order of their lines."""
    write(tmp_path, "file", text=text)
    places = find_places([str(tmp_path / "file")], keys).places
    return [key for _line, key in sorted((one.line, key) for key in places for one in places[key])]


def repository(root: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


@pytest.mark.parametrize(
    "text",
    [
        "flag_enabled('new')",
        '{% flag "new" %}',
        "{{ request.flags.new }}",
        "{{-flags.new-}}",
        "useFlag(`new`)",
        "key: new",
        "FLAGSTAFF_FORCE_OFF=old,new",
        "remove new.",
        "flags.new.toString()",
    ],
)
def test_key_between_quotes_or_at_borders_of_words_is_found(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, text, "new") == ["new"]


@pytest.mark.parametrize("text", ["'newer'", "'renew'", "'new_2'", "'new-2'", "'brand-new'", "NEW"])
def test_part_of_a_longer_word_is_not_the_key(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, text, "new") == []


@pytest.mark.parametrize("key", ["shop.new", "shop-new", "shop.new-2", "a--b", "a..b", "a-", "ä"])
def test_key_with_dots_or_hyphens_is_found_as_a_whole(tmp_path: Path, key: str) -> None:
    assert found(tmp_path, f"x = '{key}'", key) == [key]
    assert found(tmp_path, f"x = 'x{key}'", key) == []
    assert found(tmp_path, f"x = '{key}x'", key) == []


@pytest.mark.parametrize("text", ["'my.shop.new'", "'shop.new.old'", "'shop_new'", "'shopXnew'"])
def test_key_with_a_dot_is_not_found_in_a_longer_name(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, text, "shop.new") == []


def test_longest_key_at_a_place_is_found(tmp_path: Path) -> None:
    assert found(tmp_path, "'shop.new'\n'shop'\n'new'", "shop", "new", "shop.new") == [
        "shop.new",
        "shop",
        "new",
    ]


def test_key_that_only_sql_can_write_is_found(tmp_path: Path) -> None:
    assert found(tmp_path, "'old key', '!?', ''", "old key", "!?", "") == ["!?", "old key"]


def test_line_is_a_place_of_a_key_once_and_of_each_key(tmp_path: Path) -> None:
    assert found(tmp_path, "new or new or old", "new", "old") == ["new", "old"]


def test_place_has_the_line_without_its_indent(tmp_path: Path) -> None:
    write(tmp_path, "a.py", text="\ufeff# a page\x0c\r\n\tif flags.new:\r\n")
    [place] = find_places([str(tmp_path / "a.py")], ["new"]).places["new"]
    assert (place.line, place.code) == (2, "if flags.new:")


def test_long_line_is_shown_around_the_key(tmp_path: Path) -> None:
    write(tmp_path, "a.js", text="x" * 5_000 + " new " + "y" * 5_000)
    [place] = find_places([str(tmp_path / "a.js")], ["new"]).places["new"]
    assert len(place.code) <= 202
    assert " new " in place.code
    assert (place.code[0], place.code[-1]) == ("…", "…")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"new\0", None),
        (b"\0" * (MAX_BYTES + 1), None),
        (b"new" + b" " * MAX_BYTES, "larger than 1 MB"),
        (b"new \xe9", "not UTF-8"),
    ],
)
def test_binary_file_is_skipped_and_other_files_that_are_not_searched_are_named(
    tmp_path: Path, data: bytes, reason: str | None
) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    result = find_places([str(path)], ["new"])
    assert dict(result.places) == {}
    assert result.not_searched == ({str(path): reason} if reason else {})


def test_file_of_1_mb_is_searched(tmp_path: Path) -> None:
    assert found(tmp_path, "new".ljust(MAX_BYTES), "new") == ["new"]


def test_file_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The superuser, who may run the tests, can read everything.
    def deny(*_args: object) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    assert find_places(["a.py"], ["new"]).not_searched == {"a.py": "Permission denied"}


@pytest.mark.parametrize(
    "folder", [".git", ".venv", "node_modules", "site-packages", "__pycache__", "build", "python"]
)
def test_folder_of_a_tool_is_left_out(tmp_path: Path, folder: str) -> None:
    # A virtual environment may have any name.
    write(tmp_path, "python/pyvenv.cfg", f"{folder}/views.py")
    assert files_below([str(tmp_path)]) == []


def test_given_folder_is_searched_whatever_its_name(tmp_path: Path) -> None:
    write(tmp_path, "build/views.py", "build/.github/ci.yml", "build/.env")
    names = [os.path.relpath(path, tmp_path) for path in files_below([str(tmp_path / "build")] * 2)]
    assert sorted(names) == ["build/.env", "build/.github/ci.yml", "build/views.py"]


def test_links_and_pipes_are_not_searched(tmp_path: Path) -> None:
    write(tmp_path, "views.py")
    (tmp_path / "lost.py").symlink_to("missing.py")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "other.py").symlink_to("views.py")
    os.mkfifo(tmp_path / "pipe")
    assert files_below([str(tmp_path)]) == [str(tmp_path / "views.py")]


def test_tracked_files_are_those_of_the_whole_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository(tmp_path), "backend/a.py", "front end/ä\nb.ts", "new.py", "gone.py")
    (tmp_path / "link.py").symlink_to("new.py")
    subprocess.run(["git", "-C", str(tmp_path), "add", "."], check=True)
    (tmp_path / "gone.py").unlink()
    write(tmp_path, "untracked.py")
    monkeypatch.chdir(tmp_path / "backend")
    files = tracked_files(tmp_path / "backend")
    assert files == ["../front end/ä\nb.ts", "../new.py", "a.py"]
    assert len(find_places(files, ["new"]).places["new"]) == 3


def test_folder_without_git_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UntrackedError, match="not a git repository"):
        tracked_files(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UntrackedError, match="git cannot be run"):
        tracked_files(tmp_path)
