"""`manage.py flags references`: where keys stand in the code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from flagstaff import experiments
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.references import write_project
from tests.support.terminals import Terminal, document, flags, rows

VIEWS = """\
from flagstaff import flag_enabled, get_value


def view(request):
    if flag_enabled("known"):
        return get_value("size")
    return flag_enabled("unknown") or flag_enabled(f"kno{request.x}")
"""
PAGE = "{% load flagstaff %}{% flag 'known' %}x{% endflag %}\n"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Works in the folder of a project with two flags' keys, of which one has a flag."""
    write_project(tmp_path, {"shop/views.py": VIEWS, "shop/templates/page.html": PAGE})
    monkeypatch.chdir(tmp_path)
    FeatureFlag.objects.create(key="known")
    KeyValueStore.objects.create(key="size", value=1)
    return tmp_path


def test_references_lists_each_place() -> None:
    assert rows("references", "--path", "shop") == [
        ["shop/templates/page.html:1:21", "template", "known", PAGE.strip()],
        ["shop/views.py:5:8", "evaluation", "known", 'if flag_enabled("known"):'],
        ["shop/views.py:6:16", "evaluation", "size", 'return get_value("size")'],
        ["shop/views.py:7:12", "evaluation", "unknown", VIEWS.splitlines()[-1].strip()],
        ["shop/views.py:7:39", "dynamic", "", VIEWS.splitlines()[-1].strip()],
    ]
    assert len(rows("references")) == 5
    assert [row[0] for row in rows("references", "unknown")] == ["shop/views.py:7:12"]


def test_references_names_what_to_check_by_hand(project: Path) -> None:
    assert flags("references").err.splitlines() == [
        "no flag has the key unknown",
        "in 1 place, the key is known only at run time; check it by hand",
    ]


@pytest.mark.parametrize("options", ["", "--result known=on --diff", "--json"])
def test_references_with_a_file_that_is_not_searched_lists_the_others_and_fails(
    project: Path, options: str
) -> None:
    before = flags("references", *options.split())
    (project / "shop" / "broken.py").write_text("from flagstaff import (\n")
    ran = flags("references", *options.split())
    assert (before.status, ran.status, ran.out) == (0, 1, before.out)
    assert "shop/broken.py: not valid Python" in ran.err
    assert "1 file could not be searched" in ran.err


def test_references_diff_with_a_file_that_fails_patches_the_others_and_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("no such node")

    monkeypatch.setattr("flagstaff.cleanup.references.patching.rewritten_template", fail)
    ran = flags("references", "--result", "known=on", "--diff")
    assert (ran.status, ran.out.startswith("--- a/shop/views.py\n")) == (1, True)
    reason = "it caused an error (RuntimeError: no such node), so it was not patched\n"
    assert f"shop/templates/page.html: {reason}" in ran.err
    assert "1 file could not be searched" in ran.err


@pytest.mark.parametrize(("key", "status"), [("other", 5), ("unknown", 0), ("customers", 0)])
@pytest.mark.parametrize("options", ["", "--diff"])
def test_references_with_a_result_of_an_unknown_key_fails(
    key: str, status: int, options: str
) -> None:
    """A key that only the code or only the database has is known."""
    FeatureFlag.objects.create(key="customers")
    ran = flags("references", "--result", f"{key}=on", *options.split())
    assert ran.status == status
    assert ("nothing has the key other of --result" in ran.err) is bool(status)


def test_references_as_json_has_candidates_and_whether_the_key_exists() -> None:
    found = document("references", "--path", "shop/views.py")
    assert [one["exists"] for one in found] == [True, True, False, None]
    assert found[0]["about"] == "flag"
    assert found[1]["about"] == "value"
    assert found[3]["candidates"] == ["known"]
    assert (found[0]["path"], found[0]["line"], found[0]["column"]) == ("shop/views.py", 5, 8)


def test_references_leaves_out_excluded_files() -> None:
    assert len(rows("references", "--exclude", "*.py")) == 1
    assert rows("references", "--exclude", "shop") == []


@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        ("other", "no flag, value, segment or experiment has the key other\n"),
        ("customers", ""),
        ("size", ""),
        ("", ""),
    ],
)
def test_references_without_a_place_says_so(project: Path, arguments: str, unknown: str) -> None:
    Segment.objects.create(key="customers", conditions=[])
    (project / "empty").mkdir()
    ran = flags("references", *arguments.split(), "--path", "empty")
    assert ran == (0, "", f"{unknown}no references were found\n")


def test_patch_with_absolute_paths_is_the_same_as_with_relative_ones(project: Path) -> None:
    options = ("references", "--result", "new_checkout=on", "--diff", "--path")
    ran = flags(*options, str(project))
    assert ran.out == flags(*options, ".").out
    assert "apply the patch" not in ran.err


def test_references_with_a_path_works_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_model: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("flagstaff.cleanup.references_verb.all_rows", fail)
    ran = flags("references", "--path", "shop")
    assert (ran.status, len(ran.out.splitlines())) == (0, 5)
    assert "the database cannot be read" in ran.err


def test_references_with_a_result_adds_advice() -> None:
    found = document("references", "--result", "known=on")
    assert [one["advice"] for one in found] == [
        "keep only the content for users with the flag",
        "replace it with True, and keep only the code for users with the flag",
        "check by hand: the key may be known",
    ]


def test_references_diff_prints_a_patch_and_lists_the_rest() -> None:
    ran = flags("references", "--result", "known=on", "--diff")
    assert '-    if flag_enabled("known"):' in ran.out
    assert ran.out.startswith("--- a/shop/templates/page.html\n")
    assert ran.err == "shop/views.py:7:39: check by hand: the key may be known\n"


def test_references_diff_keeps_carriage_returns(project: Path) -> None:
    path = project / "shop" / "views.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    ran = flags("references", "--path", "shop/views.py", "--result", "known=on", "--diff")
    assert '-    if flag_enabled("known"):\r\n' in ran.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--path missing", "there is no file or folder missing; correct --path"),
        ("--diff", "pass --result KEY=on or --result KEY=off"),
        (
            "--result known=on --result known=off",
            "--result gives known two results; pass only one of on and off",
        ),
        ("--result known", "expected KEY=on or KEY=off"),
        ("--result known=yes", "expected KEY=on or KEY=off"),
        ("--result =on", "expected KEY=on or KEY=off"),
    ],
)
def test_references_with_unusable_options_fails(options: str, message: str) -> None:
    ran = flags("references", *options.split())
    assert ran.status == 1 + (not message.startswith("expected"))
    assert message in ran.err


@pytest.mark.parametrize("is_json", [False, True])
def test_references_shows_progress_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, is_json: bool
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    flags("references", *(["--json"] if is_json else []))
    assert ("100 %" in screen.getvalue()) is not is_json


def test_key_of_a_client_of_openfeature_is_about_what_has_it(project: Path) -> None:
    code = """
        client.get_boolean_value("known", False)
        client.get_boolean_value("open", False)
        client.get_string_value("size", "")
        client.get_string_value("layout", "")
    """
    write_project(project, {"shop/views.py": code})
    KeyValueStore.objects.create(key="open", value=True)
    experiments.create("layout", ["control", "treatment"])
    found = document("references", "--path", "shop/views.py")
    assert [(one["key"], one["about"], one["exists"]) for one in found] == [
        ("known", "flag", True),
        ("open", "value", True),
        ("size", "value", True),
        ("layout", "experiment", True),
    ]
    assert flags("references", "--path", "shop/views.py").err == ""


def test_patch_leaves_calls_of_clients_of_openfeature(project: Path) -> None:
    code = "client.get_boolean_value('known', False)\n"
    write_project(project, {"shop/views.py": code})
    found = flags("references", "--path", "shop/views.py", "--result", "known=on", "--diff")
    assert found.out == ""
    assert found.err.startswith("shop/views.py:1:1: replace it with True")


def test_references_also_lists_places_of_waffle_by_the_keys_of_flags(
    project: Path, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": {"KEYS": {"switch:old name": "known"}}}
    code = (
        "from waffle.decorators import waffle_switch\n@waffle_switch('!old name')\ndef f(): ...\n"
    )
    write_project(project, {"shop/old.py": code})
    found = ["shop/old.py:2:2", "decorator", "known", "@waffle_switch('!old name')"]
    assert found in rows("references", "known", "--also", "waffle")
    assert found not in rows("references", "known")
