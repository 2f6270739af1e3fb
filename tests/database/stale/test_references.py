"""`manage.py flags references`: the lines that name keys, and the keys that no line names."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from flagstaff import experiments
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.stale_flags import collect_usage, evaluate, make_flag
from tests.support.terminals import Ran, document, flags

VIEWS = """\
def view(request):
    if flag_enabled("known"):
        return get_value("size")
    return get_variant("color") or flag_enabled("unknown")
"""
PAGE = "{% load flagstaff %}{% flag 'known' %}x{% endflag %}\n"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Path:
    """Works in the repository of a project with keys of each kind."""
    (tmp_path / "page.html").write_text(PAGE)
    (tmp_path / "views.py").write_text(VIEWS)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "add", "."], check=True)
    monkeypatch.chdir(tmp_path)
    settings.BASE_DIR = tmp_path
    Change.objects.all().delete()
    collect_usage()
    make_flag("known")
    KeyValueStore.objects.create(key="size", value=1)
    experiments.create("color", ["red", "blue"])
    return tmp_path


def test_references_prints_each_line_that_names_a_key() -> None:
    assert flags("references") == Ran(
        0,
        'views.py:4: return get_variant("color") or flag_enabled("unknown")\n'
        "page.html:1: {% load flagstaff %}{% flag 'known' %}x{% endflag %}\n"
        'views.py:2: if flag_enabled("known"):\n'
        'views.py:3: return get_value("size")\n',
        "",
    )


def test_references_of_keys_finds_only_these_whether_or_not_they_exist() -> None:
    assert flags("references", "unknown", "size").out.splitlines() == [
        'views.py:4: return get_variant("color") or flag_enabled("unknown")',
        'views.py:3: return get_value("size")',
    ]


def test_references_searches_the_given_folders_instead_of_tracked_files(project: Path) -> None:
    (project / "front").mkdir()
    (project / "front" / "app.ts").write_text("isOn('known')\n")
    assert flags("references", "known", "--in", "front").out == "front/app.ts:1: isOn('known')\n"
    assert "front" not in flags("references", "known").out


def test_key_without_a_place_is_ready_to_delete_if_no_worker_evaluated_it() -> None:
    for key in ("unused", "used", "bulk"):
        make_flag(key)
    make_flag("ops", kind="ops")
    make_flag("young", days=3)
    evaluate("used", 2)
    KeyValueStore.objects.create(key="limit", value=1)
    assert flags("references", "unused", "used", "ops", "young", "limit").err.splitlines() == [
        "ready to delete (in no file, and not evaluated for 30 days): unused, ops",
        "in no file, but evaluated in the last 30 days (built at run time, or elsewhere): used",
        "in no file, and its use is not known (it got its key in the last 30 days): young",
        "in no file, and its use is not known (only evaluations of flags are counted): value limit",
    ]


def test_key_without_a_place_is_not_ready_while_usage_is_not_known() -> None:
    make_flag("unused")
    collect_usage(5)
    ran = flags("references", "unused")
    assert "ready to delete" not in ran.err
    assert "usage is known only since" in ran.err


def test_place_keeps_a_key_from_being_ready_to_delete() -> None:
    [one] = document("references", "known")["keys"]
    assert (one["state"], one["last_evaluated_at"]) == ("in code", None)


def test_references_as_json_has_places_and_states(project: Path) -> None:
    make_flag("unused")
    (project / "views.py").write_bytes(b"'unused' \xe9")
    found = document("references", "known", "unused")
    place = {"path": "page.html", "line": 1, "code": PAGE.strip()}
    use = {"why": "", "last_evaluated_at": None}
    assert found == {
        "keys": [
            {"key": "known", "kind": "flag", "state": "in code", **use, "places": [place]},
            {"key": "unused", "kind": "flag", "state": "ready to delete", **use, "places": []},
        ],
        "not_searched": {"views.py": "not UTF-8"},
    }
    assert "not searched: views.py (not UTF-8)\n" in flags("references", "known").err


def test_key_that_nothing_has_fails_unless_the_code_names_it() -> None:
    ran = flags("references", "knwon", "known")
    assert ran.status == 5
    assert "neither the code nor the database has the key knwon; correct it" in ran.err
    assert len(ran.out.splitlines()) == 2
    assert flags("references", "unknown").status == 0


def test_references_without_git_asks_for_folders(tmp_path: Path, settings: Any) -> None:
    settings.BASE_DIR = tmp_path.parent
    ran = flags("references")
    assert (ran.status, ran.out) == (2, "")
    assert "name the folders with --in FOLDER" in ran.err


def test_missing_folder_is_refused() -> None:
    ran = flags("references", "--in", "missing")
    assert (ran.status, ran.out) == (2, "")
    assert "there is no folder missing; correct --in" in ran.err


def test_references_of_given_keys_work_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_model: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("flagstaff.cli.verbs.cleanup.all_rows", fail)
    ran = flags("references", "known")
    assert (ran.status, len(ran.out.splitlines())) == (0, 2)
    assert "the database cannot be read" in ran.err
    assert flags("references").status == 1


def test_control_characters_of_the_code_are_not_printed(project: Path) -> None:
    (project / "page.html").write_text("known \x1b[2J\n")
    assert flags("references", "known").out.splitlines()[0] == "page.html:1: known \ufffd[2J"


def test_database_without_keys_says_so() -> None:
    FeatureFlag.objects.all().delete()
    KeyValueStore.objects.all().delete()
    experiments.delete("color")
    assert flags("references") == Ran(0, "", "nothing has a key\n")
