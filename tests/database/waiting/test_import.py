"""An import names what waits for the rows of its file, and cancels it only if it is told to."""

import json
from pathlib import Path

import pytest

from flagstaff.exceptions import InvalidChangeError
from flagstaff.models import FeatureFlag, WaitingAction
from tests.support.shop import Shop
from tests.support.terminals import run
from tests.support.waiting import ask

pytestmark = pytest.mark.usefixtures("plain_terminal")


@pytest.mark.parametrize(
    ("options", "printed_state", "state"),
    [
        ("", "runs at ", "waiting"),
        ("--cancel-waiting --dry-run", "would be cancelled\n", "waiting"),
        ("--cancel-waiting", "cancelled: by an import\n", "cancelled"),
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


def test_import_that_cannot_cancel_what_waits_changes_nothing(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: str) -> None:
        raise InvalidChangeError("no right")

    shop.user("ana")
    shop.flag("summer_banner")
    ask("rollout summer_banner 50")
    monkeypatch.setattr("flagstaff.models._WaitingActions.cancel", fail)
    file = tmp_path / "flags.json"
    flags = {"summer_banner": {"enabled": True}}
    file.write_text(json.dumps({"flagstaff": 1, "partial": True, "flags": flags}))
    assert run(f"import {file} --cancel-waiting").status == 4
    assert not FeatureFlag.objects.get().enabled
