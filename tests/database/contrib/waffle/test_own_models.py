"""The project's own models whose code decides: their checks, and the flags of their rows."""

import json
from typing import Any

import pytest
import waffle
from django.contrib.auth.models import User

from flagstaff import changes, serialization
from flagstaff.changes.consequence import Consequence, consequence_of
from flagstaff.changes.impact import impact, sides_of
from flagstaff.changes.row_states import previewed
from flagstaff.contrib.waffle.rows import check_waffle, deciding_code, is_off
from flagstaff.models import FeatureFlag
from flagstaff.testing import override_flag
from tests.support.forced_off import forced_off
from tests.support.sql import rows
from tests.support.terminals import asked, document, ok
from tests.support.waffle_rows import statuses, use_flag_model

CODE = "is_active() of common.OwnFlag"
CANNOT = "so its users cannot be counted."


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Any:
    model = use_flag_model(monkeypatch, "OwnFlag", is_active=lambda *_: True)
    return model.objects.create(name="checkout", everyone=True)


def test_model_whose_code_decides_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = use_flag_model(monkeypatch, "OwnFlag", is_active_for_user=lambda *_: True)
    [message] = check_waffle()
    assert (message.id, message.obj) == ("flagstaff.W057", model)
    assert "is_active_for_user() of common.OwnFlag decides" in message.msg


def test_model_with_other_methods_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    model = use_flag_model(monkeypatch, "NamedFlag", get_flush_keys=lambda self: [])
    model.objects.create(name="checkout")
    assert [*check_waffle()] == []
    assert statuses() == {"flag:checkout": "exact"}


@pytest.mark.parametrize(("version", "ids"), [("4.1.0", ["flagstaff.W058"]), ("5.1.0", [])])
def test_older_waffle_is_named(
    version: str, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waffle, "__version__", version)
    assert [message.id for message in check_waffle()] == ids


def test_flag_of_a_row_with_own_code_is_created_on_unless_the_caller_says_off(row: Any) -> None:
    printed = ok("create checkout").err
    assert f"On: {CODE} decides who has it, {CANNOT}" in printed
    ok("create other")
    states = FeatureFlag.objects.order_by("key").values_list("enabled", "rollout_percent", "kind")
    assert [*states] == [(True, 0, "ops"), (False, 0, "release")]
    FeatureFlag.objects.all().delete()
    changes.flags.create("checkout", enabled=False)
    assert not FeatureFlag.objects.get(key="checkout").enabled


def test_imported_flag_of_a_row_with_own_code_is_on_unless_the_file_says_otherwise(
    row: Any,
) -> None:
    type(row).objects.create(name="other")
    document = {"checkout": {"description": "x"}, "other": {"enabled": False}, "none": {}}
    text = json.dumps({"flagstaff": 1, "partial": True, "flags": document})
    serialization.apply(serialization.read(text))
    states = FeatureFlag.objects.order_by("key").values_list("key", "enabled", "rollout_percent")
    assert [*states] == [("checkout", True, 0), ("none", False, 0), ("other", False, 0)]


def test_flag_without_a_row_or_the_table_of_waffle_is_created_off(row: Any) -> None:
    row.delete()
    changes.flags.create("checkout")
    rows(f'SET CONSTRAINTS ALL IMMEDIATE; DROP TABLE "{row._meta.db_table}" CASCADE')
    changes.flags.create("without_table")
    assert not FeatureFlag.objects.filter(enabled=True).exists()


@pytest.mark.parametrize("rules", [[], [{"unknown": 1}]])
def test_row_is_off_if_its_flag_is_disabled_or_forced_off(rules: Any, row: Any) -> None:
    assert not is_off("flag", "checkout")
    for enabled in (True, False):
        FeatureFlag.objects.update_or_create(
            key="checkout", defaults={"enabled": enabled, "rules": rules}
        )
        assert is_off("flag", "checkout") is not enabled
        for active in (True, False):
            with override_flag("checkout", active):
                assert is_off("flag", "checkout") is not active
    changes.flags.enable("checkout")
    with forced_off(["checkout", "deleted"]):
        assert (is_off("flag", "checkout"), is_off("flag", "deleted")) == (True, True)


@pytest.mark.parametrize("kill", ["kill", "off"])
def test_kill_says_nothing_of_own_code(kill: str, row: Any) -> None:
    ok("create checkout")
    printed = ok(f"{kill} checkout").err
    assert "Off for all users." in printed
    assert CODE not in printed


@pytest.mark.parametrize("undo", ["on", "release", "undo"])
def test_undo_of_a_kill_asks_and_says_that_own_code_decides_again(undo: str, row: Any) -> None:
    ok("create checkout")
    ok("kill checkout")
    question = asked(f"{undo} checkout", "n")
    assert f"{CODE} decides again who has it, {CANNOT} Go on?" in question.err
    assert not FeatureFlag.objects.get().enabled


@pytest.mark.parametrize("is_on", [True, False])
def test_deletion_says_that_own_code_decides(is_on: bool, row: Any) -> None:
    changes.flags.create("checkout", enabled=is_on)
    asking = asked("delete checkout", "n").err
    assert (f"{CODE} decides again who has it" in asking) is not is_on
    assert f"checkout: the flag no longer exists; {CODE} decides who has it" in (
        ok("delete checkout --yes").err
    )


@pytest.mark.parametrize(
    ("before", "change", "expected"),
    [
        (False, lambda: changes.flags.enable("checkout"), Consequence.MOST),
        (False, lambda: changes.flags.delete("checkout"), Consequence.MOST),
        (False, lambda: changes.flags.update("checkout", {"key": "other"}), Consequence.MOST),
        (False, lambda: changes.flags.set_rollout("checkout", 50), Consequence.NONE),
        (True, lambda: changes.flags.disable("checkout"), Consequence.FEWER),
    ],
    ids=["enable", "delete", "rename", "rollout", "disable"],
)
def test_consequence_is_that_of_own_code(
    before: bool, change: Any, expected: Consequence, row: Any, alice: User
) -> None:
    changes.flags.create("checkout", enabled=before)
    with previewed():
        changed = change()
    assert consequence_of(impact(*sides_of([changed]))) is expected


def test_document_of_a_dry_run_says_why_users_are_not_counted(row: Any) -> None:
    changes.flags.create("checkout", enabled=False)
    impact = document("on", "checkout", "--dry-run")["impact"]
    assert (impact["users"], impact["problem"]) == (None, f"{CODE} decides who has it")
    assert "code" not in impact


def test_pages_say_that_own_code_decides(row: Any, admin_client: Any) -> None:
    changes.flags.create("checkout")
    pk = FeatureFlag.objects.get().pk
    for path in ("", f"{pk}/"):
        page = admin_client.get(f"/admin/flagstaff/featureflag/{path}", follow=True)
        assert CODE in page.content.decode()
    changes.flags.disable("checkout")
    page = admin_client.get(f"/admin/flagstaff/featureflag/{pk}/on/", follow=True)
    assert f"{CODE} decides again who has it" in page.content.decode()


def test_explanation_says_that_own_code_decides(row: Any, admin_client: Any) -> None:
    changes.flags.create("checkout")
    path = f"/admin/flagstaff/featureflag/{FeatureFlag.objects.get().pk}/change/"
    for is_on in (True, False):
        pages = [admin_client.get(path, query) for query in ({}, {"user": "", "context": ""})]
        without, explained = (page.content.decode().count(CODE) for page in pages)
        # Of a flag that is off, who has it when it is on.
        assert explained - without == 1
        of_user = admin_client.get("/admin/flagstaff/featureflag/user/", {"user": ""})
        assert (CODE in of_user.content.decode()) is is_on
        assert (CODE in ok("explain checkout --anonymous").err) is is_on
        changes.flags.disable("checkout")


def test_locked_table_of_waffle_does_not_hold_the_texts_of_a_flag(
    row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes.flags.create("checkout")
    before = rows("SHOW statement_timeout")
    assert deciding_code(["checkout", "other"]) == {"checkout": CODE}
    slow = type(row)._base_manager.extra(where=["pg_sleep(3) IS NOT NULL"])
    monkeypatch.setattr(type(row)._base_manager, "using", lambda _alias: slow)
    assert deciding_code(["checkout"]) == {"checkout": f"perhaps {CODE}"}
    assert rows("SHOW statement_timeout") == before
