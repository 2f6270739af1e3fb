"""`manage.py flags undo` and `restore`."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flagstaff.changes import set_rollout, update
from flagstaff.history import flag_version
from flagstaff.models import KeyValueStore
from tests.support.terminals import run

# Each change is a transaction of its own.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cli_shop")]


def test_undo_and_restore_revert_changes() -> None:
    version = flag_version("new_checkout")
    set_rollout("new_checkout", 50)
    assert run("undo new_checkout").err.splitlines()[0] == "new_checkout: rollout_percent 50 → 25"
    run("allow new_checkout alice --remove")
    run("rollout new_checkout 75")
    printed = run(f"restore new_checkout {version}").err.splitlines()
    assert printed[:2] == [
        "new_checkout: rollout_percent 75 → 25",
        "new_checkout: allowed users: +alice",
    ]
    assert run(f"restore new_checkout {version}").err.startswith(
        "new_checkout: already up to date\n"
    )
    assert run("undo new_checkout 987654").status == 4
    assert run("restore nothing 1").status == 5


def test_restore_names_users_that_no_longer_exist() -> None:
    version = flag_version("beta_reviews")
    User.objects.get(username="bob").delete()
    printed = run(f"restore beta_reviews {version}").err
    assert "skipped users that do not exist: 2" in printed


def test_undo_of_a_renamed_flag_does_not_name_other_keys() -> None:
    change = set_rollout("new_checkout", 50).version
    update("new_checkout", {"key": "checkout"})
    assert "the same transaction also changed" not in run(f"undo checkout {change}").err


def test_undo_with_value_reverts_a_value() -> None:
    run("value set page_size 50")
    assert run("undo page_size --value").err.splitlines()[0] == "page_size: value 50 → 20"
    assert KeyValueStore.objects.get(key="page_size").value == 20
