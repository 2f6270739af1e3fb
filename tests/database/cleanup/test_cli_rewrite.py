"""`manage.py flags rewrite waffle`: the patch, the files that it writes, and what it lists."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from flagstaff.models import FeatureFlag
from tests.support.references import write_project
from tests.support.terminals import document, flags

pytestmark = pytest.mark.django_db

VIEWS = """\
import os

import waffle
from django.http import HttpResponse


def home(request):
    return HttpResponse(waffle.switch_is_active("new"))
"""
COMPAT = VIEWS.replace("import waffle\n", "").replace(
    "HttpResponse\n\n", "HttpResponse\nfrom flagstaff.compat import waffle\n\n", 1
)
FLAGSTAFF = (
    VIEWS.replace("import waffle\n", "")
    .replace("HttpResponse\n\n", "HttpResponse\nfrom flagstaff import flag_enabled\n\n", 1)
    .replace("waffle.switch_is_active", "flag_enabled")
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Path:
    """Works in the folder of a project that git knows."""
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"SERVE": ["new"]}}
    write_project(tmp_path, {"shop/views.py": VIEWS})
    monkeypatch.chdir(tmp_path)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "--path", "shop")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "shop@example.com")
    _git("init", "-q")
    _commit()
    return tmp_path


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


def _commit() -> None:
    _git("add", ".")
    _git("commit", "-q", "-m", "x")


def test_to_compat_changes_imports_only() -> None:
    ran = flags("rewrite", "waffle", "--to", "compat", "--write", "--path", "shop")
    assert ran.err == "1 place rewritten in 1 file; 0 left to you\n"
    assert Path("shop/views.py").read_text() == COMPAT


def test_to_flagstaff_uses_flagstaff_for_flags_that_exist() -> None:
    ran = flags("rewrite", "waffle", "--to", "flagstaff", "--path", "shop")
    assert ran.err == (
        "shop/views.py:8:25: there is no flag new; run manage.py flags import-from waffle, or pass "
        "--flags\n0 places can be rewritten in 0 files; 1 left to you\n"
    )
    FeatureFlag.objects.create(key="new")
    flags("rewrite", "waffle", "--to", "flagstaff", "--write", "--path", "shop")
    assert Path("shop/views.py").read_text() == FLAGSTAFF


def test_to_flagstaff_leaves_flags_that_waffle_serves(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"SERVE": False}}
    FeatureFlag.objects.create(key="new")
    ran = flags("rewrite", "waffle", "--to", "flagstaff", "--path", "shop")
    assert "8:25: waffle evaluates new; add it to FLAGSTAFF" in ran.err


def test_names_with_a_key_of_their_own_get_it(settings: Any) -> None:
    served = {"SERVE": True, "KEYS": {"switch:new": "new.switch"}}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": served}
    FeatureFlag.objects.create(key="new.switch")
    flags("rewrite", "waffle", "--to", "flagstaff", "--write", "--path", "shop")
    assert Path("shop/views.py").read_text() == FLAGSTAFF.replace('"new"', '"new.switch"')


def test_flags_can_come_from_an_export() -> None:
    FeatureFlag.objects.create(key="new")
    flags("export", "--file", "export.json")
    FeatureFlag.objects.all().delete()
    ran = flags(
        "rewrite", "waffle", "--to", "flagstaff", "--flags", "export.json", "--path", "shop"
    )
    assert ran.err == "1 place can be rewritten in 1 file; 0 left to you\n"


@pytest.mark.parametrize("folder", [".", "docs", ".."])
def test_diff_is_a_patch_that_applies_in_the_folder_that_it_names(
    project: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    path = str(project / "shop") if folder != "." else "shop"
    (project / "docs").mkdir()
    monkeypatch.chdir(folder)
    ran = flags("rewrite", "waffle", "--to", "compat", "--diff", "--path", path)
    assert (f"apply the patch in {project}\n" in ran.err) is (folder != ".")
    subprocess.run(["git", "-C", project, "apply", "-"], input=ran.out.encode(), check=True)
    assert (project / "shop/views.py").read_text() == COMPAT


def test_json_has_the_patch_and_what_is_left() -> None:
    found: Any = document("rewrite", "waffle", "--to", "flagstaff", "--path", "shop")
    assert (found["rewritten"], found["files"], found["patch"]) == (0, [], "")
    assert [(one["line"], one["why"]) for one in found["left"]] == [(8, "there is no flag new")]


def test_flags_that_migrations_create_by_models_of_waffle_are_named() -> None:
    FeatureFlag.objects.create(key="new")
    Path("shop/migrations").mkdir()
    code = (
        "NAME = 'new'\ndef up(apps, editor):\n    Switch = apps.get_model('waffle', 'Switch')\n"
        "    Switch.objects.bulk_create([Switch(name=NAME), Switch(name='other')])\n"
    )
    Path("shop/migrations/0001.py").write_text(code)
    ran = flags("rewrite", "waffle", "--to", "flagstaff", "--path", "shop")
    assert "migrations create new with waffle's models, so a new database" in ran.err
    assert "shop/migrations/0001.py:3:29: the migration uses waffle's tables" in ran.err
    FeatureFlag.objects.all().delete()
    ran = flags("rewrite", "waffle", "--to", "flagstaff", "--path", "shop")
    assert "migrations create" not in ran.err
    FeatureFlag.objects.create(key="new")
    code = code.replace("Switch(name=NAME)", "Switch.objects.get(name=NAME)")
    Path("shop/migrations/0001.py").write_text(code)
    ran = flags("rewrite", "waffle", "--to", "flagstaff", "--path", "shop")
    assert "migrations create" not in ran.err


@pytest.mark.parametrize("state", ["unknown", "changed", "staged"])
def test_write_refuses_files_that_git_cannot_take_back(state: str) -> None:
    other = Path("shop/other.py")
    other.write_text("import waffle\n")
    if state != "unknown":
        _commit()
        other.write_text("import waffle as w\n")
    if state == "staged":
        _git("add", ".")
    ran = flags("rewrite", "waffle", "--to", "compat", "--write", "--path", "shop")
    assert ran.status == 4
    assert "shop/other.py" in ran.err
    assert "Nothing was written." in ran.err
    assert Path("shop/views.py").read_text() == VIEWS


def test_write_that_fails_writes_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("shop/other.py").write_text("import waffle\n")
    _commit()
    replace = Path.replace

    def fail(self: Path, target: Any) -> Path:
        if str(target).endswith("views.py"):
            raise PermissionError(13, "Permission denied", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    ran = flags("rewrite", "waffle", "--to", "compat", "--write", "--path", "shop")
    assert (ran.status, "Permission denied" in ran.err) == (4, True)
    assert Path("shop/other.py").read_text() == "import waffle\n"
    assert sorted(path.name for path in Path("shop").iterdir()) == ["other.py", "views.py"]


def test_file_that_is_not_valid_is_listed_and_ends_nothing() -> None:
    Path("shop/broken.py").write_text("import waffle (\n")
    ran = flags("rewrite", "waffle", "--to", "compat", "--path", "shop")
    assert (ran.status, "shop/broken.py: not valid Python" in ran.err) == (1, True)
    assert "1 place can be rewritten in 1 file" in ran.err
