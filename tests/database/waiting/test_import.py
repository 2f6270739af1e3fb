"""An import names what waits for the rows of its file, and cancels it only if it is told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flagstaff.models import WaitingAction
from tests.support.shop import Shop
from tests.support.terminals import run
from tests.support.waiting import ask

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_terminal")]


@pytest.mark.parametrize(
    ("options", "printed_state", "state"),
    [
        ("", "runs at ", "waiting"),
        ("--cancel-waiting --dry-run", "would be cancelled\n", "waiting"),
        ("--cancel-waiting", "cancelled\n", "cancelled"),
    ],
)
def test_import_names_what_waits_for_rows_that_it_does_not_change(
    options: str, printed_state: str, state: str, shop: Shop, tmp_path: Path
) -> None:
    shop.user("ana")
    for key in ("summer_banner", "search_v2"):
        shop.flag(key)
        ask(f"rollout {key} 50")
    file = tmp_path / "flags.json"
    flags = {"summer_banner": {"enabled": False}}
    file.write_text(json.dumps({"flagstaff": 1, "partial": True, "flags": flags}))
    printed = run(f"import {file} {options}").err
    assert f"summer_banner: Roll out to 50 %: {printed_state}" in printed
    assert "search_v2" not in printed
    waiting, other = WaitingAction.objects.order_by("id")
    assert (waiting.state, other.state) == (state, "waiting")
