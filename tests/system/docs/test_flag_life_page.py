"""The commands of the page work in their order."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff.models import FeatureFlag
from tests.support.pages import code_of, names_of
from tests.support.terminals import run

PAGE = "how-to/flag-life.md"


@pytest.mark.django_db
def test_commands_of_the_page_lead_a_flag_from_its_name_to_its_end(
    alice: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    [declaration] = code_of(PAGE, "python")
    (tmp_path / "flags.py").write_text(declaration)
    monkeypatch.chdir(tmp_path)
    settings.BASE_DIR = tmp_path
    for git in (["git", "init", "--quiet"], ["git", "add", "."]):
        subprocess.run(git, check=True)
    names_of(PAGE, "NEW_CHECKOUT = Flag")
    shown = []
    for block in code_of(PAGE, "console"):
        for line in block.splitlines():
            command = line.removeprefix("$ python manage.py flags ")
            is_read = command.startswith(("stale", "references"))
            ran = run(command if is_read else f"{command} --yes")
            assert ran.status == 0, (line, ran.err)
            row = FeatureFlag.objects.filter(key="new_checkout").first()
            shown.append((row and (row.enabled, row.rollout_percent, row.owner), ran.out))
    states, printed = zip(*shown, strict=True)
    released = (True, 100, "payments")
    assert states[1:] == ((True, 5, "payments"), released, released, released, None)
    assert 'flags.py:4: "new_checkout",\n' in printed[4]


def test_page_has_six_commands() -> None:
    assert sum(block.count("$ ") for block in code_of(PAGE, "console")) == 6
