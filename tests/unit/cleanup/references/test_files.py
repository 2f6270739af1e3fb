"""Which files are searched, by how many processes, and which cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flagstaff.cleanup.references import search
from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.parsing import Module, parse
from flagstaff.cleanup.references.patching import patch
from flagstaff.cleanup.references.project import Project
from flagstaff.cleanup.references.searching import search_files
from tests.support.references import patched, write_project
from tools.limits import seconds

CALL = 'from flagstaff import flag_enabled\nflag_enabled("a")\n'


@pytest.mark.parametrize(
    "folder", [".git", ".venv", "node_modules", "site-packages", "__pycache__", "build", "python"]
)
def test_folder_of_a_tool_is_left_out(tmp_path: Path, folder: str) -> None:
    # A virtual environment may have any name.
    write_project(tmp_path, {"python/pyvenv.cfg": "", f"{folder}/views.py": CALL})
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


def test_two_processes_find_the_same_as_one(tmp_path: Path) -> None:
    files = {f"app_{n}/views.py": CALL.replace('"a"', f'"key_{n}"') for n in range(10)}
    wrapper = "from flagstaff import flag_enabled\ndef on(key): return flag_enabled(key)\n"
    calls = {f"app_{n}/calls.py": f"from helpers import on\non('w{n}')" for n in range(10)}
    write_project(tmp_path, {**files, **calls, "helpers.py": wrapper})
    paths = searched_files([tmp_path])
    done: list[int] = []
    two = search_files(paths, done.append, processes=2)
    one = search_files(paths, processes=1, patched=["key_0", "key_1"])
    assert two.references == one.references
    assert len(two.references) == 21
    assert sum(done) >= 2 * len(paths)
    results = {"key_0": True, "key_1": True}
    made = patch(two, two.references, results)
    assert made == patch(one, one.references, results)
    assert made.text.count("+++") == 2


def test_patch_parses_no_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def count(path: str, module: str) -> Module:
        parsed.append(path)
        return parse(path, module)

    monkeypatch.setattr("flagstaff.cleanup.references.project.parse", count)
    # More than the search keeps of files without the flag.
    monkeypatch.setattr("flagstaff.cleanup.references.project._MAX_KEPT_BYTES", 0)
    assert patched(tmp_path, {"one.py": CALL, "two.py": CALL}, a=True).text.count("+++") == 2
    assert len(parsed) == 2


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


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"from flagstaff import (\n", "not valid Python (line 1)"),
        (b"import flagstaff\nx = '\xe9'\n", "not valid Python ('utf-8' codec"),
        (b"# coding: nonsense\nimport flagstaff\n", "not valid Python (unknown encoding"),
        (b"import flagstaff\nx = 1\0\n", "not valid Python (it contains a NUL)"),
        (b"import flagstaff\nx = '\0'\n", "not valid Python (it contains a NUL)"),
        (b"import flagstaff" + b"\n" * 400_000, "it is larger than 400 kB"),
        (b"import flagstaff\n" + b"f(1)\n" * 10_001, "it has more than 10,000 calls"),
        (b"import flagstaff\nx = [" + b"1," * 80_000 + b"]", "it has more than 80,000 syntax"),
        (b"import flagstaff\nx = '" + b"{% flag " * 5_001 + b"'", "it has more than 5,000 tags"),
        (b"import flagstaff\n\nx = 0777\n", "not valid Python (line 3)"),
        (b"import flagstaff\n\nif x:\n\t  y = 1\n        z = 1\n", "not valid Python (line 5)"),
        (b"import flagstaff\n\nprint 'x'\n", "not valid Python (line 3)"),
        (b"import flagstaff\nx = " + b"(" * 3_000 + b"1" + b")" * 3_000, "nested too deeply"),
    ],
)
def test_file_that_cannot_be_parsed_is_listed(tmp_path: Path, data: bytes, reason: str) -> None:
    # A file without the word flagstaff is not parsed.
    write_project(tmp_path, {"good.py": CALL, "other.py": "x = ("})
    (tmp_path / "views.py").write_bytes(data)
    found = search_files(searched_files([tmp_path]))
    assert [one.key for one in found.references] == ["a"]
    [(path, text)] = found.unreadable.items()
    assert path == str(tmp_path / "views.py")
    assert text.startswith(reason)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("page.html", "{% flag " * 5_001, "it has more than 5,000 tags"),
        ("page.jinja", "{{ flags.a }}" * 5_001, "it has more than 5,000 tags"),
        (
            "page.html",
            f"{{% flag 'a' {'x' * 10_000} %}}",
            "it has a tag with more than 10,000 characters",
        ),
        ("page.html", " " * 4_000_000 + "{% flag 'a' %}", "it is larger than 4 MB"),
        ("views.py", "\n" * 4_000_000 + CALL, "it is larger than 4 MB"),
    ],
)
def test_file_above_a_limit_is_listed(tmp_path: Path, name: str, text: str, reason: str) -> None:
    write_project(tmp_path, {"good.py": CALL})
    (tmp_path / name).write_text(text)
    assert unreadable(tmp_path) == {name: reason}


def test_large_file_without_a_key_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("x" * 4_000_001)
    assert unreadable(tmp_path) == {}


def test_file_on_which_the_search_or_the_patch_fails_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("no such node")

    page = "{% load flagstaff %}{% flag 'a' %}{% endflag %}"
    files = {"good.py": CALL, "page.html": page}
    reason = "it caused an error (RuntimeError: no such node)"
    with monkeypatch.context() as patching:
        patching.setattr("flagstaff.cleanup.references.patching.rewritten_template", fail)
        found = patched(tmp_path, files, a=True)
    assert found.problems == {str(tmp_path / "page.html"): reason}
    assert ("+" in found.text, [one.key for one in found.remaining]) == (True, ["a"])
    monkeypatch.setattr("flagstaff.cleanup.references.worker.in_template", fail)
    assert unreadable(tmp_path) == {"page.html": reason}


MEASURE = """
import resource, sys
from flagstaff.cleanup.references.files import searched_files
from flagstaff.cleanup.references.searching import search_files

resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2])))
found = search_files(searched_files([sys.argv[1]]))
assert len(found.references) == 1, found.references
print(*sorted(found.unreadable.values()), sep="; ")
# Not `ru_maxrss`: that begins with the memory of the process that started this one.
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak) // 1_000)
"""


def test_huge_files_end_within_ten_seconds_and_500_mb(tmp_path: Path) -> None:
    calls = {name: f"{CALL * count}" for name, count in (("big.py", 67_000), ("calls.py", 10_001))}
    write_project(tmp_path, {**calls, "good.py": CALL, "page.html": "{% flag " * 20_000})
    limit = str(int(seconds(10)))
    command = [sys.executable, "-c", MEASURE, str(tmp_path), limit]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    reasons, megabytes = ran.stdout.splitlines()
    assert reasons.count("; ") == 2
    assert int(megabytes) < 500


def unreadable(root: Path) -> dict[str, str]:
    """Returns the names of the files that are not searched, and the reasons."""
    found = search_files(searched_files([root])).unreadable
    return {Path(path).name: reason for path, reason in found.items()}


@pytest.mark.parametrize("name", ["views.py", "page.html"])
def test_link_to_itself_is_listed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(name)
    (tmp_path / "good.py").write_text(CALL)
    assert unreadable(tmp_path) == {name: f"it cannot be read ({os.strerror(40)})"}


def test_link_without_a_file_or_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "views.py").write_text(CALL)
    (tmp_path / "lost.py").symlink_to("missing.py")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert searched_files([tmp_path]) == [str(tmp_path / "views.py")]


@pytest.mark.parametrize("name", ["views.py", "page.html", "folder", "large.py"])
def test_file_without_permission_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, scan, is_large = tmp_path / name, os.scandir, name == "large.py"

    # The superuser, who may run the tests, can read everything.
    def deny(_path: object, *_mode: object, **_options: object) -> Any:
        raise PermissionError(13, "Permission denied")

    path.write_text(CALL.ljust(4_000_001 * is_large)) if path.suffix else path.mkdir()
    monkeypatch.setattr(Path, "open", deny)
    monkeypatch.setattr(os, "scandir", lambda of: (deny if of == str(path) else scan)(of))
    reason = "it is larger than 4 MB" if is_large else "it cannot be read (Permission denied)"
    assert unreadable(tmp_path) == {name: reason}


def test_module_that_was_read_last_is_kept_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flagstaff.cleanup.references.project._MAX_KEPT_BYTES", 2 * len(CALL))
    write_project(tmp_path, dict.fromkeys(("a.py", "b.py", "c.py"), CALL))
    a, b, c = searched_files([tmp_path])
    project = Project([a, b, c])
    first, second, again, _ = (project.read(path) for path in (a, b, a, c))
    assert first is again is project.read(a)
    assert project.read(b) is not second


def test_pipe_and_missing_path_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "views.py")
    assert searched_files([tmp_path]) == []
    with pytest.raises(FileNotFoundError):
        searched_files([tmp_path / "views.py"])
    with pytest.raises(FileNotFoundError):
        search([tmp_path / "missing"])


def test_folder_without_files_has_no_references(tmp_path: Path) -> None:
    found = search_files(searched_files([tmp_path]))
    assert (found.references, found.unreadable) == ([], {})


def test_template_with_another_encoding_is_found_but_not_patched(tmp_path: Path) -> None:
    text = '{% load flagstaff %}é{% flag "a" %}A{% endflag %}\n'
    (tmp_path / "page.html").write_bytes(text.encode("latin-1"))
    found = patched(tmp_path, {}, a=True)
    assert (found.text, [one.key for one in found.remaining]) == ("", ["a"])


def test_file_with_a_line_break_in_its_name_is_found_but_not_patched(tmp_path: Path) -> None:
    found = patched(tmp_path, {"my\nviews.py": CALL}, a=True)
    assert (found.text, [one.line for one in found.remaining]) == ("", [2])
