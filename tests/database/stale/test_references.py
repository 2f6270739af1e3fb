"""`manage.py flags references`: the lines that name keys, and the keys that no line names."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flagstaff import experiments
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.shop import Shop
from tests.support.sql import rows
from tests.support.terminals import Ran, document, flags

#: No larger file is searched.
MAX_BYTES = 1_000_000
VIEWS = """\
def view(request):
    if flag_enabled("known"):
        return get_value("size")
    return get_variant("color") or flag_enabled("unknown")
"""
PAGE = "{% load flagstaff %}{% flag 'known' %}x{% endflag %}\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any, shop: Shop) -> Path:
    """Works in the repository of a project with keys of each kind."""
    write(tmp_path / "page.html", PAGE)
    write(tmp_path / "views.py", VIEWS)
    track(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings.BASE_DIR = tmp_path
    shop.flag("known", rollout_percent=0)
    shop.value("size", value=1)
    experiments.create("color", ["red", "blue"])
    return tmp_path


def write(path: Path, text: str = "flag_enabled('known')\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def track(folder: Path) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "add", "."], check=True)


def found_in(text: str, *keys: str) -> list[str]:
    """The keys that are found in a file, in the order of its lines."""
    write(Path("page.html"), text)
    records = document("references", *keys)["keys"] or []
    places = [(place, record["key"]) for record in records for place in record["places"]]
    by_line = [(place["line"], key) for place, key in places if place["path"] == "page.html"]
    return [key for _line, key in sorted(by_line)]


@pytest.mark.parametrize(
    ("text", "keys", "keys_in_text"),
    [
        ("flag_enabled('new')", ["new"], ["new"]),
        ('{% flag "new" %}', ["new"], ["new"]),
        ("{{-flags.new-}}", ["new"], ["new"]),
        ("useFlag(`new`)", ["new"], ["new"]),
        ("useFlag( new )", ["new"], ["new"]),
        ("flags?.new", ["new"], ["new"]),
        ("python manage.py flags off new", ["new"], ["new"]),
        ("key: new_2\n# remove new_2.", ["new_2"], ["new_2", "new_2"]),
        ("FLAGSTAFF_FORCE_OFF=old,new", ["new"], ["new"]),
        ("flags.new.toString()", ["new"], ["new"]),
        # A line is a place of each key, once.
        ("'new' or 'new' or 'old'", ["new", "old"], ["new", "old"]),
        # The longest key at a place is found.
        ("'shop.new'\n'shop'\n'new'", ["shop", "new", "shop.new"], ["shop.new", "shop", "new"]),
        # SQL can write any key.
        ("'old key', '!?', ''", ["old key", "!?", ""], ["!?", "old key"]),
        *[
            (f"'{key}'", [key], [key])
            for key in ("shop.new", "shop-new", "a--b", "a..b", "a-", "ä")
        ],
        ("'new'".ljust(MAX_BYTES), ["new"], ["new"]),
    ],
)
def test_key_between_quotes_or_at_borders_of_words_is_found(
    text: str, keys: list[str], keys_in_text: list[str]
) -> None:
    assert found_in(text, *keys) == keys_in_text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        *[(f"'{text}'", "new") for text in ("newer", "renew", "new_2", "new-2", "brand-new")],
        ("'NEW'", "new"),
        *[(f"'{text}'", "shop.new") for text in ("my.shop.new", "shop.new.old", "shopXnew")],
        *[(f"'x{key}' '{key}x'", key) for key in ("shop-new", "a..b", "a-", "ä")],
    ],
)
def test_part_of_a_longer_word_is_not_the_key(text: str, key: str) -> None:
    assert found_in(f"{text}\n'known'", key, "known") == ["known"]


@pytest.mark.parametrize(
    "text",
    ["interval: weekly", "<p>We send it weekly.</p>", "(weekly)", "# weekly", '"a weekly letter"'],
)
def test_word_of_a_sentence_is_not_the_key(text: str) -> None:
    assert found_in(f"{text}\n'weekly'", "weekly") == ["weekly"]
    assert found_in(text, "weekly", "known") == []


def test_place_is_the_line_without_its_indent_or_its_part_around_the_key() -> None:
    long = f"{'x' * 5_000} 'known' {'y' * 5_000}"
    write(Path("page.html"), f"\ufeff# a page\x0c\r\n\tif flags.known:\r\n{long}\n")
    [record] = document("references", "known")["keys"]
    first, second, _in_views = record["places"]
    assert (first["line"], first["code"]) == (2, "if flags.known:")
    assert len(second["code"]) <= 202
    assert " 'known' " in second["code"]
    assert second["code"][0] == second["code"][-1] == "…"


def test_line_that_uses_the_constant_of_a_key_is_a_place_of_the_key() -> None:
    write(Path("flags.py"), 'from flagstaff import Flag\nKNOWN = Flag("known")\n')
    write(Path("views.py"), "from flags import KNOWN\nif KNOWN.enabled(user) or 'known': pass\n")
    Path("page.html").unlink()
    track(Path())
    assert flags("references", "known").out.splitlines() == [
        'flags.py:2: KNOWN = Flag("known")',
        "views.py:2: if KNOWN.enabled(user) or 'known': pass",
    ]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"known\0", None),
        (b"\0" * (MAX_BYTES + 1), None),
        (b"known" + b" " * MAX_BYTES, "larger than 1 MB"),
        (b"known \xe9", "not UTF-8"),
    ],
)
def test_binary_file_is_skipped_and_other_files_that_are_not_searched_are_named(
    data: bytes, reason: str | None
) -> None:
    Path("page.html").write_bytes(data)
    printed = document("references", "known")
    assert len(printed["keys"][0]["places"]) == 1
    assert printed["not_searched"] == ({"page.html": reason} if reason else {})
    shown = f"not searched: page.html ({reason})\n" if reason else ""
    assert flags("references", "known").err == shown


def test_file_without_permission_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    # The superuser, who may run the tests, can read everything.
    def deny(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "page.html":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", deny)
    assert document("references", "known")["not_searched"] == {"page.html": "Permission denied"}


def test_tracked_files_are_those_of_the_whole_repository(project: Path, settings: Any) -> None:
    write(Path("front end/ä\nb.ts"))
    write(Path("backend/a.py"))
    write(Path("gone.py"))
    Path("link.py").symlink_to("views.py")
    track(project)
    Path("gone.py").unlink()
    write(Path("untracked.py"))
    settings.BASE_DIR = project / "backend"
    os.chdir(settings.BASE_DIR)
    [record] = document("references", "known")["keys"]
    paths = sorted(place["path"] for place in record["places"])
    assert paths == ["../front end/ä\nb.ts", "../page.html", "../views.py", "a.py"]


@pytest.mark.parametrize("path", [True, False], ids=["no repository", "no git"])
def test_references_without_git_is_an_error(
    path: bool, project: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path:
        settings.BASE_DIR = project.parent
    else:
        monkeypatch.setenv("PATH", str(project))
    ran = flags("references")
    assert (ran.status, ran.out) == (2, "")
    assert ("not a git repository" if path else "git cannot be run") in ran.err


def test_references_prints_each_line_that_names_a_key() -> None:
    color = 'views.py:4: return get_variant("color") or flag_enabled("unknown")\n'
    known = (
        "page.html:1: {% load flagstaff %}{% flag 'known' %}x{% endflag %}\n"
        'views.py:2: if flag_enabled("known"):\n'
    )
    size = 'views.py:3: return get_value("size")\n'
    assert flags("references") == Ran(0, f"{color}{known}{size}", "")
    # Given keys need not exist.
    assert flags("references", "unknown", "size") == Ran(0, f"{color}{size}", "")


def test_key_that_no_line_names_is_listed(shop: Shop) -> None:
    shop.flag("unused", rollout_percent=0)
    shop.value("limit", value=1)
    assert flags("references", "unused", "size", "limit").err == "in no file: unused, value limit\n"
    place = {"path": "views.py", "line": 3, "code": 'return get_value("size")'}
    assert document("references", "size", "unused") == {
        "keys": [
            {"key": "size", "kind": "value", "places": [place], "rules": []},
            {"key": "unused", "kind": "flag", "places": [], "rules": []},
        ],
        "not_searched": {},
    }


def test_key_that_nothing_has_fails() -> None:
    ran = flags("references", "knwon", "known")
    assert ran.status == 5
    assert "neither the code nor the database has the key knwon; correct it" in ran.err
    assert len(ran.out.splitlines()) == 2


def test_references_of_given_keys_work_without_a_database() -> None:
    rows("ALTER TABLE flagstaff_keyvaluestore RENAME TO gone")
    ran = flags("references", "known")
    assert (ran.status, len(ran.out.splitlines())) == (0, 2)
    assert "the database cannot be read" in ran.err
    assert flags("references").status == 1


def test_control_characters_of_the_code_are_not_printed(project: Path) -> None:
    write(project / "page.html", "'known' \x1b[2J\n")
    assert flags("references", "known").out.splitlines()[0] == "page.html:1: 'known' \ufffd[2J"


def test_database_without_keys_says_so() -> None:
    FeatureFlag.objects.all().delete()
    KeyValueStore.objects.all().delete()
    experiments.delete("color")
    assert flags("references") == Ran(0, "", "nothing has a key\n")


UNKNOWN = """\
from flagstaff import flag_enabled, get_value
from flagstaff.experiments import get_variant

def view(request):
    flag_enabled("knwon"), flag_enabled("known"), flag_enabled("allowed")
    return get_value("size"), get_variant("colour")
"""


def test_lines_with_an_unknown_key_are_listed_and_fail(settings: Any) -> None:
    settings.FLAGSTAFF = {"ALLOWED_KEYS": ["allowed"]}
    write(Path("views.py"), UNKNOWN)
    write(Path("runbook.md"), "1. `python manage.py flags kill knwon`, not `flags kill known`\n")
    write(Path("tests/test_views.py"), "from flagstaff import flag_enabled\nflag_enabled('x')\n")
    track(Path())
    ran = flags("references", "--fail-unknown")
    assert (ran.status, ran.out.splitlines()) == (
        1,
        [
            'runbook.md:1: no flag has the key "knwon"; did you mean "known"?',
            'views.py:5: no flag has the key "knwon"; did you mean "known"?',
            'views.py:6: no experiment has the key "colour"; did you mean "color"?',
        ],
    )
    assert "3 lines use an unknown key; correct it, or declare it" in ran.err


def test_code_with_known_keys_does_not_fail() -> None:
    assert flags("references", "--fail-unknown") == Ran(0, "", "")
    assert flags("references", "--fail-unknown", "known").status == 2
