"""The first action that decides makes the row of a declared key, with the texts of the code."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.validators import MaxValueValidator
from django.db import connection, transaction
from django.db.models import JSONField, expressions

from flagstaff import Flag, Value, acting_as, changes, resolve_value, serialization
from flagstaff.changes.row_changes import write_declared_rows
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.rollouts import plans
from tests.support.concurrency import run_during
from tests.support.conditions import condition, rule
from tests.support.fixtures import Load
from tests.support.shop import GERMANY
from tests.support.terminals import document, ok, refused, run, typed
from tests.support.waiting import TOMORROW, make_due, run_jobs

BY_NAME = condition("username", "in", "alice")


@pytest.fixture
def new_checkout() -> Flag:
    return Flag("new_checkout", "Checkout on one page", owner="payments", tags=["checkout"])


@pytest.fixture
def page_size() -> Value[int]:
    return Value("page_size", 20, "Products on a page", validators=[MaxValueValidator(100)])


def test_first_change_makes_the_row_with_the_declared_texts(new_checkout: Flag) -> None:
    changed = changes.flags.set_rollout(new_checkout, 25)
    row = FeatureFlag.objects.get()
    assert (row.key, row.enabled, row.rollout_percent) == ("new_checkout", False, 25)
    assert (row.description, row.owner, row.tags) == (
        "Checkout on one page",
        "payments",
        ["checkout"],
    )
    assert changed.written
    assert changed.version


def test_allowed_user_makes_the_row(new_checkout: Flag, alice: User) -> None:
    changes.flags.allow(new_checkout, alice)
    assert [*FeatureFlag.objects.get().allowed_users.all()] == [alice]


def test_kill_of_what_has_no_row_makes_one_that_is_off(new_checkout: Flag) -> None:
    assert not changes.flags.disable(new_checkout).written
    assert not FeatureFlag.objects.get().enabled


def enable() -> None:
    changes.flags.enable("new_checkout")


def insert() -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=50)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", [enable, insert])
def test_kill_beside_an_uncommitted_row_turns_it_off(
    first: Callable[[], None], new_checkout: Flag
) -> None:
    assert run_during(first, lambda: changes.flags.disable(new_checkout)).written
    assert not FeatureFlag.objects.get().enabled


@pytest.mark.django_db(transaction=True)
def test_kill_beside_an_enable_that_is_rolled_back_makes_a_row_that_is_off(
    new_checkout: Flag,
) -> None:
    kill = partial(changes.flags.disable, new_checkout)
    run_during(enable, kill, partial(transaction.set_rollback, True))
    assert not FeatureFlag.objects.get().enabled


@pytest.mark.django_db(transaction=True)
def test_enable_after_an_uncommitted_kill_turns_the_flag_on(new_checkout: Flag) -> None:
    assert run_during(
        lambda: changes.flags.disable(new_checkout), lambda: changes.flags.enable(new_checkout)
    ).written
    assert FeatureFlag.objects.get().enabled


@pytest.mark.django_db(transaction=True)
def test_change_to_what_is_declared_undoes_an_uncommitted_row(new_checkout: Flag) -> None:
    fields = {"enabled": True, "rollout_percent": 0}
    run_during(insert, lambda: changes.flags.update(new_checkout, fields))
    assert FeatureFlag.objects.get().rollout_percent == 0


def test_undo_of_a_change_leaves_the_row_with_the_declared_texts(new_checkout: Flag) -> None:
    # As before the code declared it, by somebody else: this is another event.
    with acting_as("seed"):
        FeatureFlag.objects.create(key="new_checkout")
    assert changes.flags.set_rollout(new_checkout, 25).written
    undone = changes.flags.undo(new_checkout)
    assert (undone.new, undone.left_out) == ({"rollout_percent": 0}, ())
    stored = FeatureFlag.objects.values_list("rollout_percent", "description").get()
    assert stored == (0, "Checkout on one page")


def test_undo_of_the_first_change_deletes_the_row(new_checkout: Flag) -> None:
    changes.flags.enable(new_checkout)
    changes.flags.undo(new_checkout)
    assert not FeatureFlag.objects.exists()


def test_value_that_is_set_to_its_default_stays_when_the_default_changes(
    page_size: Value[int],
) -> None:
    assert changes.values.set(page_size, 20).written
    assert KeyValueStore.objects.get().value == 20


def test_back_to_the_default_deletes_the_row(page_size: Value[int]) -> None:
    changes.values.set(page_size, 50)
    assert run("value default page_size --yes")[0] == 0
    assert not KeyValueStore.objects.exists()


def test_deletion_says_what_code_declares_instead(
    new_checkout: Flag, page_size: Value[int]
) -> None:
    changes.flags.enable(new_checkout)
    changes.flags.create("other", enabled=True, rollout_percent=100)
    printed = run("delete new_checkout other --yes").err.splitlines()
    assert "new_checkout: On for no users" in printed[0]
    assert printed[0].endswith(" → off, as declared")
    assert printed[1].endswith(" → deleted")
    assert "After the deletion, the code uses its own default for “other”." in printed
    changes.values.set(page_size, 50)
    printed = run("value delete page_size --yes").err.splitlines()
    assert printed[0] == "page_size: 50 → 20, as declared"
    assert not any("its own default" in line for line in printed)
    changes.values.create("color", "red")
    assert run("value delete color --yes").err.splitlines()[:2] == [
        'color: "red" → deleted',
        "After the deletion, the code uses its own default for “color”.",
    ]


def test_value_without_a_declaration_has_no_default() -> None:
    changes.values.create("other", 1)
    refused("value default other --yes", 4, "is not declared in code")


def test_change_expects_a_row_that_nobody_has_made(page_size: Value[int]) -> None:
    changes.values.set(page_size, 50)
    with pytest.raises(ConflictError):
        changes.values.set(page_size, 60, expect_version=0)


def test_first_change_of_two_transactions_is_the_one_that_makes_the_row(
    page_size: Value[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other transaction commits after this one has found no row.
    from flagstaff._tables import rows

    find = rows.find_row

    def late(model: Any, key: str, *, lock: bool = False) -> Any:
        monkeypatch.setattr(rows, "find_row", find)
        KeyValueStore.objects.create(key="page_size", value=50)
        return None

    monkeypatch.setattr(rows, "find_row", late)
    changes.values.set(page_size, 60)
    assert KeyValueStore.objects.get().value == 60


def test_field_that_code_owns_is_refused(new_checkout: Flag) -> None:
    with pytest.raises(InvalidChangeError, match=r"owner: it is declared in .*; change it there"):
        changes.flags.update(new_checkout, owner="search")


def test_row_shows_the_texts_of_the_code(new_checkout: Flag) -> None:
    FeatureFlag.objects.create(key="new_checkout", owner="search", client_side=True)
    row = FeatureFlag.objects.get()
    assert (row.owner, row.client_side) == ("payments", False)


def test_next_change_writes_the_texts_of_the_code(new_checkout: Flag) -> None:
    FeatureFlag.objects.create(key="new_checkout", owner="search")
    changes.flags.enable(new_checkout)
    with connection.cursor() as cursor:
        cursor.execute("SELECT owner FROM flagstaff_featureflag")
        assert cursor.fetchone() == ("payments",)


def test_value_that_a_validator_refuses_is_not_written(page_size: Value[int]) -> None:
    with pytest.raises(InvalidChangeError, match="less than or equal to 100"):
        changes.values.set(page_size, 101)


def test_rule_whose_value_a_validator_refuses_is_not_written(page_size: Value[int]) -> None:
    with pytest.raises(InvalidChangeError, match="less than or equal to 100"):
        changes.values.update(page_size, rules=[rule(BY_NAME, value=101)])


REFUSED: list[tuple[object, object]] = [
    (Decimal("4.90"), "cheap"),
    (Decimal("4.90"), "NaN"),
    (Decimal("4.90"), "1_0"),
    (date(2027, 3, 1), "20270401"),
    (date(2027, 3, 1), "2027-02-30"),
    (datetime(2027, 3, 1), "2027-04-01"),  # noqa: DTZ001
    (timedelta(minutes=5), "5"),
    (20, None),
]


@pytest.mark.parametrize(("default", "stored"), REFUSED, ids=str)
def test_value_that_evaluations_replace_is_not_written(
    default: Any, stored: object, load: Load
) -> None:
    value = Value("x", default)
    with pytest.raises(InvalidChangeError, match=r"must be|null"):
        changes.values.set(value, stored)
    with pytest.raises(InvalidChangeError, match="must"):
        changes.values.update(value, rules=[rule(BY_NAME, value=stored)])
    KeyValueStore.objects.create(key="x", value=expressions.Value(stored, JSONField()))
    load()
    assert resolve_value(value).error_code == "TYPE_MISMATCH"


def test_value_whose_default_is_none_is_set() -> None:
    limit = Value("limit", None, type=int)
    assert changes.values.set(limit, 5).written
    assert KeyValueStore.objects.get().value == 5
    changes.values.undo(limit)
    assert not KeyValueStore.objects.exists()


@pytest.mark.parametrize("write", [write_declared_rows, lambda: changes.values.set("limit", None)])
def test_none_is_stored_as_null_of_json(write: Callable[[], object], load: Load) -> None:
    limit = Value("limit", 5, type=int, null=True)
    Value("pause", None, type=int)
    changes.values.set(limit, None)
    write()
    load()
    assert limit.get() is None
    assert "flagstaff.W065" not in {message.id for message in run_checks(databases=["default"])}


def test_none_is_null_in_a_fixture_and_in_a_file(tmp_path: Path, load: Load) -> None:
    limit = Value("limit", 5, type=int, null=True)
    changes.values.set(limit, None)
    call_command("dumpdata", "flagstaff.keyvaluestore", output=tmp_path / "values.json")
    document = serialization.export(["limit"])
    for read in (
        lambda: call_command("loaddata", tmp_path / "values.json", verbosity=0),
        lambda: serialization.apply(document),
    ):
        changes.values.set(limit, 6)
        read()
        load()
        assert limit.get() is None
        assert KeyValueStore.objects.get().value is None


def test_rule_gives_null_only_if_it_is_declared(load: Load) -> None:
    limit = Value("limit", 5, null=True)
    changes.values.update(limit, rules=[GERMANY | {"value": None}])
    load()
    assert (limit.get(context={"country": "DE"}), limit.get()) == (None, 5)
    changes.values.create("other", 5)
    for key in ("other", Value("page_size", 20)):
        with pytest.raises(InvalidChangeError, match=r"rule 1: .* null"):
            changes.values.update(key, rules=[rule(BY_NAME, value=None)])


@pytest.mark.parametrize(("type_", "text"), [(int, "null"), (str, "null"), (Decimal, "null")])
def test_terminal_sets_a_value_to_null(type_: type[Any], text: str) -> None:
    Value("x", type_(5), null=True)
    ok(f"value set x {text}")
    assert KeyValueStore.objects.get().value is None


def test_secret_is_kept_set_and_set_to_null_by_a_file_and_the_terminal(
    plain_terminal: None,
) -> None:
    key = Value("api_key", "hunter1", null=True, secret=True)
    changes.values.set(key, "hunter2")
    masked = serialization.export([key])
    for step, stored in (
        (lambda: serialization.apply(masked), "hunter2"),
        (lambda: serialization.apply(with_value(masked, None)), None),
        (lambda: ok("value set api_key null"), None),
        (lambda: ok("value set api_key hunter3"), "hunter3"),
        (lambda: ok("value details api_key --value null"), None),
    ):
        step()
        assert KeyValueStore.objects.get().value == stored
    lines = ("value show api_key", "value list", "history api_key", "export api_key --json")
    assert not any("hunter" in str(run(line)) for line in lines)


def with_value(exported: dict[str, Any], value: object) -> dict[str, Any]:
    return {**exported, "values": {"api_key": {**exported["values"]["api_key"], "value": value}}}


@pytest.mark.parametrize("text", ["hunter2", '"hunter2"', "hunter2\n"])
def test_terminal_reads_a_declared_value_from_the_standard_input(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Value("api_key", "hunter1", secret=True)
    monkeypatch.setattr("sys.stdin", StringIO(text))
    ok("value set api_key -")
    assert KeyValueStore.objects.get().value == "hunter2"


def test_empty_standard_input_is_not_the_empty_text(monkeypatch: pytest.MonkeyPatch) -> None:
    changes.values.set(Value("api_key", "hunter1", secret=True), "hunter2")
    monkeypatch.setattr("sys.stdin", StringIO("\n"))
    refused("value set api_key -", 2, "the value is missing")
    assert KeyValueStore.objects.get().value == "hunter2"


def test_name_that_is_twice_in_an_object_is_refused() -> None:
    Value("sizes", {"a": 1})
    refused("""value set sizes '{"a": 1, "a": 2}'""", 2, "an object has a name twice")


def test_secret_that_is_refused_is_not_shown() -> None:
    Value("fee", Decimal(1), secret=True)
    with pytest.raises(InvalidChangeError) as refused_change:
        changes.values.set("fee", "hunter2")
    assert "hunter2" not in str(refused_change.value)


@pytest.mark.parametrize(
    ("default", "text", "stored"),
    [
        (Decimal("4.90"), "5.10", "5.10"),
        ("stripe", "paypal", "paypal"),
        ("stripe", '"paypal"', "paypal"),
        (20, "50", 50),
        ([1], "[2]", [2]),
        (timedelta(minutes=5), "600", "00:10:00"),
        (datetime(2027, 3, 1), "2027-04-01 10:00", "2027-04-01T10:00:00"),  # noqa: DTZ001
    ],
)
def test_terminal_reads_a_value_by_its_type(default: Any, text: str, stored: object) -> None:
    Value("x", default)
    assert run(f"value set x '{text}'")[0] == 0
    assert KeyValueStore.objects.get().value == stored


def test_terminal_shows_what_has_no_row(
    new_checkout: Flag, page_size: Value[int], plain_terminal: None
) -> None:
    assert "off, as declared" in typed("flags list")
    assert "20 (default)" in typed("flags value list")
    assert document("show", "new_checkout")["owner"] == "payments"
    assert document("value", "show", "page_size")["declared"].endswith("test_changes.py")


def test_list_selects_what_has_no_row_by_owner(new_checkout: Flag) -> None:
    assert "new_checkout" in run("list --owner payments --tag checkout")[1]
    assert "new_checkout" not in run("list --owner search")[1]


def test_terminal_changes_what_has_no_row(new_checkout: Flag) -> None:
    assert run("rollout new_checkout 25")[0] == 0
    assert run("on new_checkout")[0] == 0
    assert FeatureFlag.objects.get().enabled


def test_plan_makes_the_row(new_checkout: Flag) -> None:
    assert run("plan create new_checkout")[0] == 0
    assert FeatureFlag.objects.get().key == "new_checkout"


def test_start_of_a_plan_makes_the_row(new_checkout: Flag) -> None:
    run_jobs()
    ok("plan start new_checkout --step 5:1h --step 100 --enable --yes")
    row = FeatureFlag.objects.get()
    assert (row.enabled, row.rollout_percent) == (True, 5)


def test_start_of_a_plan_expects_a_row_that_nobody_has_made(new_checkout: Flag) -> None:
    run_jobs()
    changes.flags.disable(FeatureFlag.objects.create(key="new_checkout").key)
    with pytest.raises(ConflictError):
        plans.start("new_checkout", enable=True, expect_version=0)


def test_key_that_code_declares_is_taken_for_another_kind(
    new_checkout: Flag, page_size: Value[int]
) -> None:
    with pytest.raises(InvalidChangeError, match="is the key of a flag"):
        changes.values.create(new_checkout, 1)
    with pytest.raises(InvalidChangeError, match="is the key of a value"):
        changes.flags.create(page_size)


def test_write_rows_makes_missing_rows_and_writes_texts(
    new_checkout: Flag, page_size: Value[int]
) -> None:
    FeatureFlag.objects.create(key="new_checkout", owner="search", enabled=True)
    changed = write_declared_rows()
    assert [(change.key, change.written) for change in changed] == [
        ("new_checkout", True),
        ("page_size", True),
    ]
    assert FeatureFlag.objects.get().enabled
    assert KeyValueStore.objects.get().value == 20
    with connection.cursor() as cursor:
        cursor.execute("SELECT owner FROM flagstaff_featureflag")
        assert cursor.fetchone() == ("payments",)
    assert write_declared_rows() == []


def test_import_leaves_the_texts_to_the_code(new_checkout: Flag) -> None:
    item = {"enabled": True, "owner": "search"}
    document = {"flagstaff": 1, "flags": {"new_checkout": item}}
    assert serialization.apply(document).changed
    assert not serialization.apply(document).changed
    row = FeatureFlag.objects.get()
    assert (row.enabled, row.owner) == (True, "payments")


def test_check_names_a_stored_value_that_code_refuses(page_size: Value[int]) -> None:
    KeyValueStore.objects.create(key="page_size", value=101)
    [message] = [
        message for message in run_checks(databases=["default"]) if message.id == "flagstaff.W065"
    ]
    assert "less than or equal to 100" in message.msg


def test_explain_shows_what_has_no_row(new_checkout: Flag) -> None:
    Value("delivery_fee", Decimal("4.90"))
    assert "new_checkout is off" in run("explain new_checkout 1").out
    assert 'delivery_fee is "4.90"' in run("explain delivery_fee 1").out


def test_action_of_several_flags_makes_the_rows_that_are_missing(new_checkout: Flag) -> None:
    Flag("search_v2")
    FeatureFlag.objects.create(key="banner")
    assert run("on new_checkout search_v2 banner")[0] == 0
    assert set(FeatureFlag.objects.values_list("key", "enabled")) == {
        ("new_checkout", True),
        ("search_v2", True),
        ("banner", True),
    }


def test_action_of_a_flag_without_a_row_can_wait(new_checkout: Flag, admin_user: User) -> None:
    ok(f"on new_checkout --as admin --at {TOMORROW}")
    assert not FeatureFlag.objects.exists()
    make_due()
    [report] = run_jobs()
    assert report["state"] == "done", report
    assert FeatureFlag.objects.get().enabled


def test_declared_secret_without_a_row_cannot_wait(admin_user: User) -> None:
    Value("api_key", "none", secret=True)
    line = f"value set api_key sk_1 --as admin --at {TOMORROW}"
    refused(line, 2, "of a secret value cannot wait")


def test_waiting_action_of_what_code_says_is_secret_by_now_is_masked(admin_user: User) -> None:
    changes.values.create("api_key", "none")
    ok(f"value set api_key '\"hunter2\"' --as admin --at {TOMORROW}")
    Value("api_key", "none", secret=True)
    [waiting] = document("waiting", "list")
    assert waiting["arguments"]["value"] == "••••••"


def test_row_with_a_declared_key_is_valid(new_checkout: Flag) -> None:
    row = FeatureFlag(key=new_checkout)
    row.full_clean()
    assert type(row.key) is str


def test_unknown_key_is_compared_with_those_that_have_no_row(new_checkout: Flag) -> None:
    refused("on new_chekout", 5, "did you mean 'new_checkout'?")


def test_kill_of_what_has_no_row_says_that_it_is_off(new_checkout: Flag) -> None:
    assert "no longer exists" not in ok("kill new_checkout").err
