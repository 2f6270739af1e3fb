"""Changes lock their row, validate, and write only what differs."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.validators import StepValueValidator
from django.db import connection, models
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext, isolate_apps

from flagstaff import changes
from flagstaff.actions.flags import details
from flagstaff.base_models import AbstractFeatureFlag, KeyManager
from flagstaff.changes import Changed
from flagstaff.conf import Conf
from flagstaff.exceptions import InvalidChangeError, UnknownFlagError, UnknownValueError
from flagstaff.history import Kind
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.concurrency import run_during
from tests.support.conditions import condition
from tests.support.shop import GERMAN, STAFF, Shop


def test_enable_and_set_rollout_keep_each_others_field(shop: Shop) -> None:
    flag = shop.flag(enabled=False)
    before = flag.changed_at
    changed = changes.flags.set_rollout(flag.key, 50)
    sides = {"rollout_percent": 25}, {"rollout_percent": 50}
    assert changed == Changed(Kind.FLAG, flag.key, *sides, written=True)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (False, 50)
    changed = changes.flags.enable(flag.key)
    assert changed == Changed(Kind.FLAG, flag.key, {"enabled": False}, {"enabled": True}, True)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (True, 50)
    assert flag.changed_at > before


@pytest.mark.django_db(transaction=True)
def test_release_to_everybody_is_one_change_with_one_undo(shop: Shop) -> None:
    german = {"conditions": [GERMAN], "rollout_percent": 10}
    staff = {"name": "staff", "conditions": [STAFF]}
    flag = shop.flag(enabled=False, rules=[german, staff])
    changed = changes.flags.release(flag.key)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (True, 100)
    assert flag.rules == [{**german, "rollout_percent": 100}, staff]
    assert changed.undo is not None
    assert changed.version is not None
    changes.flags.undo(flag.key, changed.version)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent, flag.rules) == (False, 25, [german, staff])


def test_release_to_everybody_removes_rules_that_cannot_be_read(shop: Shop) -> None:
    shop.flag(enabled=False, rules=[{"conditions": "all"}])
    changes.flags.release("new_checkout")
    assert (shop.flag().enabled, shop.flag().rules) == (True, [])


def test_release_to_everybody_locks_the_rules_before_it_reads_them(shop: Shop) -> None:
    shop.flag(enabled=False, rules=[{"conditions": "all"}])
    with CaptureQueriesContext(connection) as queries:
        changes.flags.release("new_checkout")
    select, *_ = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert select.endswith("FOR UPDATE")


def test_change_locks_the_row_and_writes_no_other_column(shop: Shop) -> None:
    shop.flag()
    with CaptureQueriesContext(connection) as queries:
        changes.flags.set_rollout("new_checkout", 50)
    select, *_ = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert select.endswith("FOR UPDATE")
    [update] = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    assert update.count(" = ") == 3  # the rollout, the time, and the key of the row
    assert "description" not in update


def test_change_with_an_expected_version_looks_for_the_history_once(shop: Shop) -> None:
    shop.flag()
    version = changes.flags.set_rollout("new_checkout", 50).version
    with CaptureQueriesContext(connection) as queries:
        changes.flags.set_rollout("new_checkout", 60, expect_version=version)
    assert len([query for query in queries if "row_security_active" in query["sql"]]) == 1


@pytest.mark.django_db(transaction=True)
def test_change_sends_post_save_and_is_rolled_back_if_a_receiver_fails(shop: Shop) -> None:
    shop.flag(enabled=False)
    signals: list[Any] = []

    def receive(instance: FeatureFlag, update_fields: Any, **kwargs: Any) -> None:
        signals.append((instance.key, sorted(update_fields)))
        raise RuntimeError

    post_save.connect(receive, FeatureFlag)
    try:
        with pytest.raises(RuntimeError):
            changes.flags.enable("new_checkout")
    finally:
        post_save.disconnect(receive, FeatureFlag)
    assert signals == [("new_checkout", ["changed_at", "enabled"])]
    assert shop.flag().enabled is False


@pytest.mark.parametrize(
    ("old", "new", "written"),
    [
        ("stripe", {"fee": 0.5, "name": "paypal"}, True),
        *[(1, True, True), (1, 1.0, True), (0, False, True)],
        ([0], [False], True),
        ({"b": 2, "a": 1}, {"a": 1, "b": 2}, False),
    ],
)
def test_set_value_compares_as_json(old: Any, new: Any, written: bool) -> None:
    row = KeyValueStore.objects.create(key="limit", value=old)
    changed = changes.values.set("limit", new)
    sides = {"value": old}, {"value": new}
    assert (changed.old, changed.new, changed.written) == (*sides, written)
    row.refresh_from_db()
    assert repr(row.value) == repr(new)


def test_rules_are_written_if_their_json_differs(shop: Shop) -> None:
    shop.flag()
    rules = [{"conditions": [condition("level", "in", True)]}]
    assert changes.flags.update("new_checkout", {"rules": rules}).written
    turned = [{"conditions": [dict(reversed(rules[0]["conditions"][0].items()))]}]
    assert not changes.flags.update("new_checkout", {"rules": turned}).written
    of_one = [{"conditions": [condition("level", "in", 1)]}]
    assert changes.flags.update("new_checkout", {"rules": of_one}).written
    assert repr(shop.flag().rules[0]["conditions"][0]["values"]) == "[1]"


@pytest.mark.parametrize("percent", [-1, 101, 25.0, "25", True, None, Decimal(25)], ids=repr)
def test_set_rollout_with_invalid_percent_is_rejected(percent: Any, shop: Shop) -> None:
    shop.flag()
    with pytest.raises(InvalidChangeError) as error:
        changes.flags.set_rollout("new_checkout", percent)
    expected = f"the rollout percent must be a whole number from 0 to 100, not {percent!r}"
    assert str(error.value) == expected


def test_change_of_unknown_key_suggests_similar_keys(shop: Shop) -> None:
    shop.flag()
    shop.value()
    FeatureFlag.objects.create(key="old_checkout")
    with pytest.raises(UnknownFlagError) as error:
        changes.flags.enable("new_chekout")
    assert str(error.value) == ("there is no flag 'new_chekout'; did you mean 'new_checkout'?")
    for key in ("", "new\0checkout", "new\ud800", "x" * 300, "NEW_CHECKOUT"):
        with pytest.raises(UnknownFlagError):
            changes.flags.enable(key)
    with pytest.raises(UnknownFlagError, match=r"no flag 'xyz'; .+ flags list. lists all keys"):
        changes.flags.delete("xyz")
    with pytest.raises(UnknownValueError, match="did you mean 'payment_gateway'"):
        changes.values.set("payments_gateway", 1)


@pytest.mark.django_db(transaction=True)
def test_change_waits_for_a_concurrent_change_and_sees_it(shop: Shop) -> None:
    shop.flag()
    changed = run_during(
        lambda: changes.flags.set_rollout("new_checkout", 33),
        lambda: changes.flags.set_rollout("new_checkout", 50),
    )
    assert changed.old == {"rollout_percent": 33}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "change",
    [
        lambda: changes.flags.create("brand_new", enabled=True),
        lambda: changes.flags.undo("search_v2"),
    ],
    ids=["create", "undo of a deletion"],
)
def test_two_concurrent_equal_changes_write_once(change: Callable[[], Changed]) -> None:
    changes.flags.create("search_v2")
    changes.flags.delete("search_v2")
    first: list[Changed] = []
    second = run_during(lambda: first.append(change()), change)
    assert [first[0].written, second.written] == [True, False]


class _Visible(KeyManager[Any]):
    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(hidden=False)


@pytest.fixture
def shop_flags(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project's own model, with a validator and a manager that hides rows."""
    with isolate_apps("flagstaff"):

        class ShopFlag(AbstractFeatureFlag):
            rollout_percent = models.PositiveSmallIntegerField(
                default=0, validators=[StepValueValidator(5)]
            )
            allowed_users = models.ManyToManyField(  # type: ignore[assignment]
                User, related_name="+"
            )
            team = models.CharField(max_length=20)
            hidden = models.BooleanField(default=False)
            touched = models.DateField(auto_now=True)

            objects = _Visible()

            class Meta(AbstractFeatureFlag.Meta):
                app_label = "flagstaff"

    with connection.schema_editor() as editor:
        editor.create_model(ShopFlag)
    monkeypatch.setattr(Conf, "flag_model", ShopFlag)
    return ShopFlag._base_manager


def test_change_of_a_projects_own_model_validates_and_writes_its_field(shop_flags: Any) -> None:
    # The team is not valid either.
    shop_flags.create(key="new_checkout", hidden=True, enabled=True, rollout_percent=7, team="")
    with pytest.raises(InvalidChangeError) as error:
        changes.flags.set_rollout("new_checkout", 8)
    assert str(error.value) == "rollout_percent: Ensure this value is a multiple of step size 5."
    assert changes.flags.disable("new_checkout").written is True
    assert changes.flags.set_rollout("new_checkout", 20).written is True
    assert shop_flags.values_list("enabled", "rollout_percent").get() == (False, 20)
    assert not FeatureFlag.objects.exists()


def test_action_sets_columns_of_a_projects_own_model_by_option(shop_flags: Any) -> None:
    shop_flags.create(key="new_checkout", team="search")
    declared = {name: argument for name, (argument, _required) in details.arguments().items()}
    assert declared["team"].option("team") == "--set-team"
    # A clock is no option.
    assert "touched" not in declared
    typed = {"set_team": "payments", "set_hidden": True}
    fields = {name: declared[name].read(name, typed, print)[name] for name in ("team", "hidden")}
    details.write("new_checkout", **fields)
    assert shop_flags.values_list("team", "hidden").get() == ("payments", True)
