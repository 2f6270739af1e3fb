"""What the page about stale flags says is so."""

import re
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from flagstaff import changes
from flagstaff.models import Change, FeatureFlag
from flagstaff.stale.signals import Signal
from tests.conftest import ROOT
from tests.support.pages import code_of, names_of
from tests.support.stale_flags import age_history, collect_usage, evaluate, make_flag
from tests.support.terminals import rows, run, typed

PAGE = "how-to/clean-up.md"
TEXT = (ROOT / "docs" / PAGE).read_text()

pytestmark = pytest.mark.django_db


@pytest.fixture
def stale_shop() -> None:
    """The flags of the page, as old as there."""
    Change.objects.all().delete()
    collect_usage()
    shipped, unused = make_flag("new_checkout"), make_flag("old_banner")
    reviewed = make_flag("price_display", owner="web", review_on=date(2026, 11, 1))
    changes.flags.set_rollout(shipped.key, 100)
    age_history(41, shipped)
    evaluate(shipped.key)
    evaluate(unused.key, 36)
    evaluate(reviewed.key)


def test_table_is_the_printed_one(stale_shop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    [block] = code_of(PAGE, "console", "SIGNALS")
    line, _, expected = block.partition("\n")
    shown = typed(line.removeprefix("$ python manage.py "))
    date_of_day = r"\d{4}-\d\d-\d\d"
    assert re.sub(date_of_day, "DATE", shown) == re.sub(date_of_day, "DATE", expected)


def test_page_has_all_signals() -> None:
    assert all(f"| `{signal.value}` |" in TEXT for signal in Signal)


def test_commands_that_keep_a_flag_do_what_the_page_says(stale_shop: None) -> None:
    [block] = code_of(PAGE, "console", "--review-on")
    keep, listed = (line.removeprefix("$ python manage.py flags ") for line in block.splitlines())
    assert run(keep).status == 0
    assert FeatureFlag.objects.get(key="old_banner").review_on == date(2099, 1, 31)
    assert "old_banner" not in [row[0] for row in rows("stale")]
    assert "old_banner" in run(listed).out


def test_lines_of_the_page_are_those_that_references_prints(
    stale_shop: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.BASE_DIR = tmp_path
    [block] = code_of(PAGE, "console", "flags references new_checkout\n")
    command, _, printed = block.partition("\n")
    imports = {"flags.py": "from flagstaff import Flag", "views.py": "from shop.flags import *"}
    for place in printed.splitlines():
        path, number, code = place.split(":", 2)
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        # The reader needs complete code.
        body = "\n    ..." if code.endswith(":") else ""
        lines = [imports.get(file.name, ""), *[""] * (int(number) - 2), f"{code.strip()}{body}"]
        file.write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    for git in (["git", "init", "--quiet"], ["git", "add", "."]):
        subprocess.run(git, check=True)
    ran = run(command.removeprefix("$ python manage.py flags "))
    assert ran.out == printed


def test_job_of_the_page_fails_with_a_stale_flag(stale_shop: None) -> None:
    [block] = code_of(PAGE, "yaml")
    *_, last = yaml.safe_load(block)["jobs"]["stale-flags"]["steps"]
    assert run(last["run"].removeprefix("python manage.py flags ")).status == 1


def test_function_of_the_page_returns_the_keys(stale_shop: None) -> None:
    assert names_of(PAGE, "stale_flags")["keys_to_delete"]() == ["price_display"]
