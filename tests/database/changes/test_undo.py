"""Undo: of an event, of a transaction, of a selection, and to an earlier version."""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from flagstaff import acting_as, changes
from flagstaff.changes import preview_undo, undo
from flagstaff.changes.consequence import Consequence, consequence_of
from flagstaff.changes.fields import AllowedUsersChange
from flagstaff.changes.impact import impact, sides_of
from flagstaff.changes.row_changes import write_change
from flagstaff.changes.undo import entries_of_transaction, entries_of_versions
from flagstaff.exceptions import ConflictError, InvalidChangeError, UnknownFlagError
from flagstaff.history import Kind, flag_version
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.concurrency import in_threads, run_during
from tests.support.shop import GERMAN, Shop
from tests.support.sql import rows
from tools.token_triggers import always

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

KEY = "new_checkout"
ALLOWED_USERS = "flagstaff_featureflag_allowed_users"
GERMAN_RULE = [{"conditions": [{"segment": "german"}], "rollout_percent": 100}]
Step = Callable[[], Any]


def at(percent: int, key: str = KEY) -> Step:
    return partial(changes.flags.set_rollout, key, percent)


ON, OFF = partial(changes.flags.enable, KEY), partial(changes.flags.disable, KEY)
GONE, UNDO = partial(changes.flags.delete, KEY), partial(changes.flags.undo, KEY)
ADD, REMOVE = partial(changes.flags.allow, KEY, 1), partial(changes.flags.disallow, KEY, 1)
NO_RULES = partial(changes.flags.update, KEY, {"rules": []})


@pytest.fixture(autouse=True)
def flag_and_value() -> None:
    """A flag at 10 % and a value. Tests keep the history, so empty it."""
    Change.objects.all().delete()
    changes.flags.create(KEY, rollout_percent=10)
    changes.values.create("gateway", "stripe")


@pytest.fixture
def users(shop: Shop) -> list[User]:
    return [shop.user(name) for name in ("alice", "bob", "carol")]


def run(steps: Iterable[Step]) -> int:
    """Runs each step, in a transaction of its own. Returns the version of the last entry."""
    for step in steps:
        step()
    return Change.objects.latest("id").pk


def by_ana(*steps: Step) -> list[Change]:
    """Runs each step as ana, in a transaction of its own. Returns her entries."""
    with acting_as("ana"):
        run(steps)
    return [*Change.objects.by("ana")]


def state() -> dict[Any, Any]:
    """All columns but the times that Django sets, and all allowed users."""
    columns: dict[Any, Any] = {
        (model, row["key"]): {**row, "changed_at": None}
        for model in (FeatureFlag, KeyValueStore, Segment)
        for row in model.objects.values()
    }
    users = FeatureFlag.allowed_users.through.objects
    return {**columns, "users": {*users.values_list("featureflag_id", "user_id")}}


def test_second_undo_is_refused_and_names_the_command_that_takes_the_first_back(shop: Shop) -> None:
    changes.flags.set_rollout(KEY, 50)
    first = changes.flags.undo(KEY)
    assert (first.old, first.new) == ({"rollout_percent": 50}, {"rollout_percent": 10})
    assert (first.written, first.version) == (True, flag_version(KEY))
    with pytest.raises(InvalidChangeError, match=f'flags undo {KEY} {first.version}"'):
        changes.flags.undo(KEY)
    assert shop.flag().rollout_percent == 10
    changes.flags.undo(KEY, first.version)
    assert shop.flag().rollout_percent == 50


def test_undo_keeps_newer_changes_of_other_columns_and_users(users: list[User], shop: Shop) -> None:
    version = changes.flags.set_rollout(KEY, 50).version
    changes.flags.enable(KEY)
    changes.flags.allow(KEY, users[0])
    assert changes.flags.undo(KEY, version).new == {"rollout_percent": 10}
    assert (shop.flag().enabled, shop.flag().rollout_percent) == (True, 10)
    assert shop.flag().allowed_users.get() == users[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (1, True),
        (1, 1.0),
        (False, 0),
        ([1], [True]),
        ({"a": 0}, {"a": False}),
        (0.1, ""),
        (10**30, ""),
        ([1, None], ""),
        ({"a": {"b": "ž"}}, ""),
        ("", 0),
    ],
)
@pytest.mark.one_in(4)
def test_undo_and_restore_return_the_same_json(old: Any, new: Any) -> None:
    created = changes.values.create("limit", old).version or 0
    changed = changes.values.set("limit", new).version
    backs: list[tuple[Step, Step]] = [
        (lambda: None, partial(changes.values.undo, "limit", changed)),
        (
            partial(changes.values.set, "limit", new),
            partial(changes.values.restore, "limit", to=created),
        ),
        (partial(changes.values.delete, "limit"), partial(changes.values.undo, "limit")),
    ]
    for change, back in backs:
        change()
        assert back().written is True
        assert repr(KeyValueStore.objects.get(key="limit").value) == repr(old)


def pass_on(free: str, first: str, second: str) -> list[Step]:
    """Each of two flags, and then "last", gets the key that is free."""
    keys = zip((first, second, "last"), (free, first, second), strict=True)
    return [
        partial(changes.flags.delete, free),
        *(partial(changes.flags.update, old, {"key": new}) for old, new in keys),
    ]


# What one transaction changes. Before, there are also the flags "a", "b", "c" and "last".
TRANSACTIONS: dict[str, list[Step]] = {
    "deletion of a flag with users": [at(50), GONE],
    "new flag, and the segment that it names": [
        partial(changes.segments.create, "beta", [GERMAN]),
        partial(changes.flags.create, "poster", rules=[{"conditions": [{"segment": "beta"}]}]),
    ],
    "rule, and the segment that it names": [NO_RULES, partial(changes.segments.delete, "german")],
    "keys passed on": pass_on("a", "b", "c"),
    "keys passed on backwards": pass_on("c", "b", "a"),
    "keys passed on from the middle": pass_on("b", "c", "a"),
    "key taken by a new flag": [GONE, partial(changes.flags.create, KEY, enabled=True)],
    "key taken by another flag": [GONE, partial(changes.flags.update, "last", {"key": KEY})],
    "SQL that deletes users after their flag": [
        partial(
            rows,
            f"""
            INSERT INTO {ALLOWED_USERS} (featureflag_id, user_id) VALUES (999, 1);
            INSERT INTO flagstaff_featureflag (id, key) VALUES (999, 'from_sql');
            DELETE FROM flagstaff_featureflag WHERE key = '{KEY}';
            DELETE FROM {ALLOWED_USERS} WHERE featureflag_id <> 999;
            """,
        )
    ],
}


@pytest.mark.parametrize("steps", TRANSACTIONS.values(), ids=TRANSACTIONS)
@pytest.mark.one_in(4)
def test_undo_of_a_transaction_restores_all_rows_exactly(
    steps: list[Step], users: list[User]
) -> None:
    changes.segments.create("german", [GERMAN])
    changes.flags.update(KEY, {"rules": GERMAN_RULE, "allowed_users": users[:2]})
    for key in ("a", "b", "c", "last"):
        changes.flags.create(key)
    before = state()
    with transaction.atomic():
        version = run(steps)
    after = state()
    assert after != before
    undo(entries_of_transaction(version))
    assert state() == before
    # So does the undo of the undo.
    undo(entries_of_transaction(Change.objects.latest("id").pk))
    assert state() == after


def test_columns_that_an_entry_lacks_stay_or_get_their_default_at_an_insert(shop: Shop) -> None:
    version = changes.flags.update(KEY, {"rollout_percent": 50, "owner": "web"}).version or 0
    changes.flags.enable(KEY)
    rows("UPDATE flagstaff_change SET old = old - ARRAY['rollout_percent', 'owner']")
    changes.flags.restore(KEY, to=version)
    assert (shop.flag().enabled, shop.flag().rollout_percent, shop.flag().owner) == (
        False,
        50,
        "web",
    )
    changes.flags.delete(KEY)
    rows("UPDATE flagstaff_change SET old = old - ARRAY['rollout_percent', 'owner']")
    changes.flags.undo(KEY)
    assert (shop.flag().rollout_percent, shop.flag().owner) == (FeatureFlag().rollout_percent, "")


def test_users_who_no_longer_exist_or_were_of_another_model_are_left_out(
    users: list[User], shop: Shop
) -> None:
    changes.flags.allow(KEY, users[:2])
    version = changes.flags.delete(KEY).version
    pk = users[0].pk
    users[0].delete()
    assert changes.flags.undo(KEY, version).missing == (pk,)
    assert shop.flag().allowed_users.get() == users[1]
    version = changes.flags.allow(KEY, users[2]).version
    rows("UPDATE flagstaff_change SET new = new || '[\"ana\"]' WHERE id = %s", version)
    changes.flags.undo(KEY, version)
    assert shop.flag().allowed_users.get() == users[1]


# Steps of which the last is undone, and what has left nothing to undo.
NOTHING_LEFT: list[tuple[list[Step], list[Step]]] = [
    ([at(50)], [at(10)]),
    ([partial(changes.flags.create, "banner")], [partial(changes.flags.delete, "banner")]),
    ([ADD], [GONE]),
    ([GONE], [UNDO]),
    ([ADD, GONE, UNDO], [GONE]),
]


@pytest.mark.parametrize(("steps", "since"), NOTHING_LEFT)
def test_undo_of_what_is_as_before_writes_nothing(
    steps: list[Step], since: list[Step], users: list[User]
) -> None:
    version = run(steps)
    run(since)
    entries = Change.objects.count()
    [done] = undo(entries_of_versions([version]))
    assert (done.written, done.problem) == (None, None)
    assert Change.objects.count() == entries


WITHOUT_ENTRY = f"""
    ALTER TABLE flagstaff_featureflag DISABLE TRIGGER USER;
    UPDATE flagstaff_featureflag SET rollout_percent = 60;
    ALTER TABLE flagstaff_featureflag ENABLE TRIGGER USER; {always("flagstaff_featureflag")}
"""
# Steps of which the last is undone, what happens then, and the conflict.
CONFLICTS: list[tuple[list[Step], list[Step], str]] = [
    ([at(50)], [at(75)], "new_checkout: rollout was changed again and is 75 % now$"),
    ([at(50)], [at(75), UNDO], "rollout was changed again and is 50 % now"),
    ([at(50)], [partial(rows, WITHOUT_ENTRY)], "is 60 % now"),
    (
        [partial(changes.values.set, "gateway", "paypal")],
        [partial(changes.values.set, "gateway", "adyen")],
        'gateway: value was changed again and is "adyen" now$',
    ),
    # An undo never enables a flag that a later entry has disabled.
    ([ON, OFF], [ON, OFF], "state was changed again and is off now"),
    ([ADD, REMOVE], [ADD, REMOVE], "its allowed users, 1 were added or removed again"),
    (
        [partial(changes.flags.create, "banner")],
        [at(5, "banner")],
        "banner: it was changed since it was created",
    ),
    ([at(50)], [GONE], "it was deleted since; restore it with"),
    ([ADD, REMOVE], [GONE], "it was deleted since; restore it with"),
    (
        [GONE],
        [partial(changes.flags.create, KEY)],
        "^new_checkout: a flag has this key now; rename or delete it",
    ),
    (
        [GONE],
        [partial(changes.values.create, KEY, 1)],
        "^new_checkout: a value has this key now; rename or",
    ),
    (
        [ADD, GONE],
        [lambda: FeatureFlag.objects.create(pk=Change.objects.latest("id").object_pk, key="other")],
        "it was created again since",
    ),
]


@pytest.mark.parametrize(("steps", "since", "message"), CONFLICTS)
def test_undo_of_what_was_changed_again_is_a_conflict_and_writes_nothing(
    steps: list[Step], since: list[Step], message: str, users: list[User]
) -> None:
    version = run(steps)
    run(since)
    before, entries = state(), entries_of_versions([version])
    [shown] = preview_undo(entries)
    problem = str(shown.problem)
    assert re.search(message, problem)
    with pytest.raises(ConflictError, match=re.escape(problem)) as caught:
        undo(entries)
    assert (caught.value.key, caught.value.actual) == (shown.key, shown.version)
    [skipped] = undo(entries, skip_conflicts=True)
    assert (skipped.changed, str(skipped.problem)) == (None, problem)
    assert state() == before


@pytest.mark.parametrize(("old", "new"), [("0.1", "0.1000000000000000055"), ("7.0", "7.00")])
def test_undo_distinguishes_numbers_that_are_equal_as_floats(old: str, new: str) -> None:
    version = changes.flags.update(KEY, {"description": "x"}).version or 0
    rows(
        "UPDATE flagstaff_change SET old = jsonb_set(old, '{rollout_percent}', %s::jsonb), "
        "new = jsonb_set(new, '{rollout_percent}', %s::jsonb) WHERE id = %s",
        old,
        new,
        version,
    )
    # The present number is neither.
    with pytest.raises(ConflictError, match="rollout was changed again"):
        changes.flags.undo(KEY, version)


def test_row_that_was_created_again_keeps_what_it_got(users: list[User], shop: Shop) -> None:
    changes.flags.enable(KEY)
    off = changes.flags.disable(KEY).version or 0
    on = changes.flags.enable(KEY).version or 0
    changes.flags.allow(KEY, users[0])
    deletion, pk = changes.flags.delete(KEY).version or 0, Change.objects.latest("id").object_pk
    FeatureFlag.objects.create(pk=pk, key=KEY, enabled=False)
    entries = entries_of_versions([off, on, deletion])
    with pytest.raises(ConflictError, match="it was created again since"):
        undo(entries)
    [done] = undo(entries, skip_conflicts=True)
    assert done.written is None
    assert (shop.flag().enabled, shop.flag().allowed_users.exists()) == (False, False)


def test_flag_is_not_mixed_up_with_a_value_of_the_same_primary_key(shop: Shop) -> None:
    KeyValueStore.objects.all().delete()
    KeyValueStore.objects.create(pk=shop.flag().pk, key="limit", value=1)
    with transaction.atomic():
        changes.flags.set_rollout(KEY, 25)
        version = changes.values.set("limit", 2).version
    changes.flags.set_rollout(KEY, 50)
    done = undo(entries_of_transaction(version or 0), skip_conflicts=True)
    flag_row, value = sorted(done, key=lambda undone: undone.kind.value)
    assert (bool(flag_row.problem), bool(value.problem)) == (True, False)
    assert (shop.flag().rollout_percent, KeyValueStore.objects.get().value) == (50, 1)


@pytest.mark.parametrize("is_transaction", [False, True])
def test_row_that_was_deleted_and_loaded_again_in_one_transaction_is_undone(
    is_transaction: bool, users: list[User], shop: Shop
) -> None:
    changes.flags.allow(KEY, users[:2])
    before, pk = state(), shop.flag().pk
    with transaction.atomic():
        changes.flags.delete(KEY)
        FeatureFlag.objects.create(pk=pk, key=KEY, enabled=True, rollout_percent=99)
        changes.flags.allow(KEY, users[2])
        changes.flags.delete(changes.flags.create("short_lived").key)
    version = flag_version(KEY) or 0
    undo(entries_of_transaction(version) if is_transaction else entries_of_versions([version]))
    assert state() == before


UNWRITABLE = {
    "the key had another column": "old - 'key' || '{\"name\": \"new_checkout\"}'",
    "a column had another type": 'old || \'{"rollout_percent": "few"}\'',
}


@pytest.mark.parametrize("old", UNWRITABLE.values(), ids=UNWRITABLE)
def test_deleted_row_that_no_longer_fits_its_table_is_a_conflict(old: str) -> None:
    version = changes.flags.delete(KEY).version or 0
    other = changes.values.set("gateway", "adyen").version or 0
    changes.flags.create("banner")
    deleted = changes.flags.delete("banner").version or 0
    rows(f"UPDATE flagstaff_change SET old = {old} WHERE id = %s", version)
    entries = entries_of_versions([version, other, deleted])
    assert [bool(preview.problem) for preview in preview_undo(entries)] == [False, False, True]
    undo(entries, skip_conflicts=True)
    assert [*FeatureFlag.objects.values_list("key", flat=True)] == ["banner"]
    assert KeyValueStore.objects.get().value == "stripe"


def test_deleted_row_whose_foreign_key_names_nothing_is_refused() -> None:
    rows("CREATE TABLE team (name text PRIMARY KEY)")
    try:
        rows("INSERT INTO team VALUES (''), ('shop')")
        rows(
            "ALTER TABLE flagstaff_featureflag ADD CONSTRAINT team FOREIGN KEY (owner) "
            "REFERENCES team DEFERRABLE INITIALLY DEFERRED"
        )
        changes.flags.create("banner", owner="shop")
        changes.flags.delete("banner")
        rows("DELETE FROM team WHERE name = 'shop'")
        with pytest.raises(InvalidChangeError, match="the database rejected the change"):
            changes.flags.undo("banner")
    finally:
        rows("DROP TABLE team CASCADE")


def test_rules_whose_segment_is_gone_are_a_conflict_of_their_flag_alone(shop: Shop) -> None:
    changes.segments.create("german", [GERMAN])
    changes.flags.update(KEY, {"rules": GERMAN_RULE})
    entries = by_ana(NO_RULES, partial(changes.values.set, "gateway", "adyen"))
    changes.segments.delete("german")
    shown = preview_undo(entries)
    done = undo(entries, skip_conflicts=True)
    [problem] = [str(undone.problem) for undone in done if undone.problem]
    assert [str(preview.problem) for preview in shown if preview.problem] == [problem]
    assert "names the segment 'german', which does not exist" in problem
    assert (shop.flag().rules, KeyValueStore.objects.get().value) == ([], "stripe")


def test_undo_to_a_value_that_is_no_longer_a_choice_is_refused() -> None:
    version = changes.values.set("gateway", "Stripe").version
    changes.values.update("gateway", {"choices": ["Stripe", "PayPal"]})
    with pytest.raises(InvalidChangeError, match='"stripe" is not one of "Stripe", "PayPal"'):
        changes.values.undo("gateway", version)


def test_foreign_key_is_written_as_the_history_has_it() -> None:
    old, new = (Group.objects.create(name=name).pk for name in ("old", "new"))
    row: Any = Group.permissions.through.objects.create(
        group_id=new, permission=Permission.objects.all()[0]
    )
    row.key = "banner"
    changed = write_change(Kind.FLAG, row, {"group": old}, AllowedUsersChange())
    assert (changed.old, changed.new) == ({"group": new}, {"group": old})
    row.refresh_from_db()
    assert row.group_id == old


@pytest.mark.parametrize(
    "fields",
    [
        {"value": "hunter3"},
        {"choices": ["hunter2", "hunter4"]},
        {"rules": [{"conditions": [], "rollout_percent": 5, "value": "hunter3"}]},
    ],
)
def test_undo_of_a_secret_is_refused_and_of_its_other_columns_is_not(
    fields: dict[str, Any],
) -> None:
    choices = ["hunter2", "hunter3"]
    created = changes.values.create("token", "hunter2", secret=True, choices=choices).version or 0
    changed = changes.values.update("token", fields).version or 0
    changes.values.update("token", {"description": "x"})
    refused = "token is secret, so the history does not have"
    for call in (
        partial(changes.values.undo, "token", changed),
        partial(undo, entries_of_transaction(changed)),
        partial(changes.values.restore, "token", to=created),
    ):
        with pytest.raises(InvalidChangeError, match=refused):
            call()
    assert changes.values.undo("token").new == {"description": ""}
    changes.values.update("token", {"description": "x"})
    changes.values.restore("token", to=changed)
    row = KeyValueStore.objects.get(key="token")
    assert row.description == ""
    assert {name: getattr(row, name) for name in fields} == fields
    changes.values.delete("token")
    with pytest.raises(InvalidChangeError, match="token is secret, so the history does not have"):
        changes.values.undo("token")
    assert not KeyValueStore.objects.filter(key="token").exists()


def test_undo_after_a_value_became_public_keeps_the_value() -> None:
    changes.values.create("token", "hunter2", secret=True)
    described = changes.values.update("token", {"description": "changed"}).version
    marked = changes.values.update("token", {"secret": False}).version
    changes.values.set("token", "hunter3")
    changes.values.undo("token", described)
    changes.values.undo("token", marked)
    row = KeyValueStore.objects.get(key="token")
    assert (row.value, row.description, row.secret) == ("hunter3", "", True)


@pytest.mark.parametrize("fields", [{"value": "hunter3"}, {"choices": ["hunter2"]}])
def test_undo_never_makes_public_what_was_set_in_secret(fields: dict[str, Any]) -> None:
    changes.values.create("token", "hunter2")
    marked = changes.values.update("token", {"secret": True}).version
    changes.values.update("token", fields)
    with pytest.raises(ConflictError, match="token: it was set while it was secret"):
        changes.values.undo("token", marked)


def test_conflict_names_no_value_that_is_secret_now() -> None:
    changes.values.create("token", 1)
    version = changes.values.set("token", 2).version or 0
    pk = KeyValueStore.objects.get(key="token").pk
    changes.values.delete("token")
    KeyValueStore.objects.create(pk=pk, key="token", value="hunter2", secret=True)
    [shown] = preview_undo(entries_of_versions([version]))
    assert shown.problem
    assert "hunter2" not in str(shown.problem)


def test_everything_of_a_person_is_undone_together_newest_first() -> None:
    before = state()
    banner = partial(changes.flags.create, "banner"), partial(changes.flags.enable, "banner")
    entries = by_ana(at(25), at(50), partial(changes.values.set, "gateway", "adyen"), *banner)
    done = undo(entries)
    assert state() == before
    assert [(undone.key, len(undone.entries)) for undone in done] == [
        ("banner", 2),
        ("gateway", 1),
        (KEY, 2),
    ]
    newest = Change.objects.latest("id")
    assert len({*Change.objects.in_transaction(newest).values_list("object_pk", "relation")}) == 3


def test_undo_across_a_deletion_that_stays_says_so_and_with_it_is_possible(shop: Shop) -> None:
    changed = run([at(50)])
    deleted = run([GONE])
    back = run([UNDO])
    with pytest.raises(ConflictError, match="it was deleted and brought back between these"):
        undo(entries_of_versions([changed, back]))
    undo(entries_of_versions([changed, deleted, back]))
    assert shop.flag().rollout_percent == 10


def test_entry_stands_for_the_event_that_wrote_it(users: list[User], shop: Shop) -> None:
    with transaction.atomic():
        changes.flags.allow(KEY, users)
        changes.values.set("gateway", "adyen")
        changes.flags.set_rollout(KEY, 50)
        with acting_as("bob"):
            changes.flags.enable(KEY)
    oldest = Change.objects.order_by("id").filter(relation="m").values_list("id", flat=True)[0]
    undo(entries_of_versions([oldest]))
    flag = shop.flag()
    assert (flag.rollout_percent, flag.enabled, flag.allowed_users.count()) == (10, True, 0)
    assert KeyValueStore.objects.get().value == "adyen"


def test_conflicts_are_all_named_and_refuse_all_unless_they_are_skipped() -> None:
    entries = by_ana(
        at(25),
        partial(changes.values.set, "gateway", "adyen"),
        partial(changes.flags.create, "banner"),
    )
    changes.flags.set_rollout(KEY, 75)
    changes.values.set("gateway", "braintree")
    before = state()
    with pytest.raises(ConflictError, match="rollout was changed again") as caught:
        undo(entries)
    assert (len(str(caught.value).splitlines()), state()) == (2, before)
    done = undo(entries, skip_conflicts=True)
    assert {undone.key: (bool(undone.written), bool(undone.problem)) for undone in done} == {
        KEY: (False, True),
        "gateway": (False, True),
        "banner": (True, False),
    }
    assert state() == {key: row for key, row in before.items() if key != (FeatureFlag, "banner")}


def test_interleaved_transaction_is_a_conflict(users: list[User], shop: Shop) -> None:
    alice, bob = users[:2]
    allowed_users = shop.flag().allowed_users
    with transaction.atomic():
        allowed_users.add(alice)
        in_threads(lambda: allowed_users.add(bob))
        allowed_users.remove(alice)
    undo(entries_of_transaction(Change.objects.latest("id").pk))
    assert [*allowed_users.all()] == [bob]


def test_event_that_another_transaction_has_split_is_undone_whole_or_kept(
    users: list[User], shop: Shop
) -> None:
    allowed_users = shop.flag().allowed_users
    with transaction.atomic():
        allowed_users.add(users[0])
        in_threads(lambda: allowed_users.add(users[1]))
        allowed_users.add(users[2])
    entries = entries_of_versions([Change.objects.latest("id").pk])
    assert len(entries) == 2
    changes.flags.disallow(KEY, users[0])
    changes.flags.allow(KEY, users[0])
    [done] = undo(entries, skip_conflicts=True)
    assert (done.written, bool(done.problem)) == (None, True)
    changes.flags.disallow(KEY, users[0])
    assert undo(entries)[0].written
    assert [*allowed_users.all()] == [users[1]]


def test_restore_undoes_all_newer_entries_as_one_change(users: list[User]) -> None:
    version = flag_version(KEY) or 0
    before = state()
    changes.flags.set_rollout(KEY, 50)
    changes.flags.allow(KEY, users)
    with acting_as("ana"):
        changes.flags.enable(KEY)
    with acting_as("ana", reason="back to Monday"):
        changes.flags.restore(KEY, to=version)
    assert state() == before
    newest = Change.objects.latest("id")
    assert (newest.actor, newest.reason) == ("ana", "back to Monday")
    assert changes.flags.restore(KEY, to=flag_version(KEY) or 0).written is False


def test_restore_of_a_deleted_row_returns_its_state_at_the_version(users: list[User]) -> None:
    changes.flags.allow(KEY, users[0])
    before, version = state(), flag_version(KEY) or 0
    changes.flags.set_rollout(KEY, 50)
    changes.flags.disallow(KEY, users[0])
    changes.flags.delete(KEY)
    assert changes.flags.restore(KEY, to=version).old is None
    assert state() == before


def test_unknown_keys_and_versions_are_refused() -> None:
    other = changes.flags.create("banner").version or 0
    for call in (
        partial(changes.flags.restore, KEY, to=other),
        partial(changes.flags.undo, KEY, other),
    ):
        with pytest.raises(
            InvalidChangeError,
            match=f'no version {other}; see "manage.py flags history new_checkout',
        ):
            call()
    with pytest.raises(UnknownFlagError):
        changes.flags.undo("new_chekout")
    with pytest.raises(InvalidChangeError, match="the history has no version 987654321; see"):
        entries_of_versions([987654321])
    deleted = changes.flags.delete("banner").version or 0
    with pytest.raises(InvalidChangeError, match=f"banner did not exist at version {deleted}"):
        changes.flags.restore("banner", to=deleted)


def test_flag_and_value_that_had_the_same_key_do_not_both_return() -> None:
    changes.flags.create("mode")
    entries = by_ana(lambda: changes.flags.delete("mode"))
    changes.values.create("mode", 1)
    entries += by_ana(lambda: changes.values.delete("mode"))
    with pytest.raises(ConflictError, match=r"mode: a (flag|value) has this key now"):
        undo(entries)
    [done] = [undone for undone in undo(entries, skip_conflicts=True) if undone.written]
    assert FeatureFlag.objects.filter(key="mode").exists() is (done.kind is Kind.FLAG)
    assert KeyValueStore.objects.filter(key="mode").exists() is (done.kind is Kind.VALUE)


def test_preview_shows_the_rows_before_and_after_and_neither_locks_nor_writes(
    users: list[User], shop: Shop
) -> None:
    fields = {"rollout_percent": 50, "allowed_users": users}
    version = changes.flags.update(KEY, fields).version or 0
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        rows("SET TRANSACTION READ ONLY")
        [shown] = preview_undo(entries_of_versions([version]))
    assert not [query["sql"] for query in queries if "FOR " in query["sql"]]
    assert (shown.before.row.rollout_percent, shown.after.row.rollout_percent) == (50, 10)
    assert shown.before.allowed_users == {user.pk for user in users}
    assert shown.after.allowed_users == set()
    assert shown.written is not None
    assert (shown.version, shop.flag().rollout_percent) == (version, 50)


def change_rows(count: int) -> list[Change]:
    """Changes as many rows of each kind as ana, among them users, creations and deletions."""
    users = [*User.objects.all()[:2]]
    keys = [f"row_{number:02}" for number in range(count)]
    for key in keys:
        changes.segments.create(key, [GERMAN])
        changes.flags.create(key, rules=[{"conditions": [{"segment": key}], "rollout_percent": 5}])
        changes.values.create(f"{key}.value", 1)
        changes.flags.create(f"old_{key}", allowed_users=users)
    return by_ana(
        *(
            partial(changes.flags.update, key, {"rules": [], "allowed_users": users})
            for key in keys
        ),
        *(partial(changes.values.update, f"{key}.value", {"description": "x"}) for key in keys),
        *(partial(changes.segments.update, key, {"description": "x"}) for key in keys),
        *(partial(changes.flags.delete, f"old_{key}") for key in keys),
    )


def undo_queries(entries: list[Change]) -> tuple[int, int, int]:
    """Undoes entries. Returns the numbers of reads, of writes, and of the names of undone ones."""
    with CaptureQueriesContext(connection) as queries:
        undo(entries)
    texts = [query["sql"] for query in queries]
    writes = [
        text for text in texts if text.startswith(("INSERT", "UPDATE", "DELETE", "SAVEPOINT"))
    ]
    names = [text for text in texts if "set_config('flagstaff.undoes'" in text]
    return len(texts) - len(writes) - len(names), len(writes), len(names)


def test_undo_reads_as_often_for_many_rows_and_writes_changed_ones_together(
    users: list[User],
) -> None:
    few, writes, names = undo_queries(change_rows(2))
    assert (writes <= 3 * 6, names) == (True, 2)
    many, writes, names = undo_queries(change_rows(6))
    assert (writes <= 3 * 14, names) == (True, 2)
    assert few < 65
    assert many == few


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("users")
def test_entries_of_an_undo_of_several_rows_store_those_of_their_row() -> None:
    entries = change_rows(2)
    undone = {row.id: {*row.entries} for row in undo(entries)}
    new = Change.objects.filter(pk__gt=max(entry.pk for entry in entries))
    assert {(entry.kind, entry.object_pk) for entry in new} == undone.keys()
    assert all({*entry.undone} == undone[entry.kind, entry.object_pk] for entry in new)


def test_undo_of_created_segments_reads_all_rules_before_the_lock_and_under_it() -> None:
    entries = by_ana(*(partial(changes.segments.create, f"new_{n}", [GERMAN]) for n in range(5)))
    with CaptureQueriesContext(connection) as queries:
        assert all(undone.written for undone in undo(entries))
    # Each time one query says that no rules name anything.
    assert len([query for query in queries if '%"segment"%' in query["sql"]]) == 2
    assert not Segment.objects.exists()


@pytest.mark.thorough
def test_flag_with_many_allowed_users_returns_with_one_insert(shop: Shop) -> None:
    # More than two statements of other lists of users have.
    many = User.objects.bulk_create([User(username=f"user{number}") for number in range(20_001)])
    rows(
        f"INSERT INTO {ALLOWED_USERS} (featureflag_id, user_id) SELECT %s, id FROM auth_user",
        shop.flag().pk,
    )
    version = changes.flags.delete(KEY).version or 0
    with CaptureQueriesContext(connection) as queries:
        undo(entries_of_versions([version]))
    inserts = [
        query for query in queries if query["sql"].startswith(f'INSERT INTO "{ALLOWED_USERS}"')
    ]
    assert len(inserts) == 1
    assert shop.flag().allowed_users.count() == len(many)


def test_undo_of_a_segment_and_of_rules_waits_for_rules_that_name_both_segments() -> None:
    changes.segments.create("first", [GERMAN])
    changes.segments.create("last", [GERMAN])
    named = {
        key: [{"conditions": [{"segment": key}], "rollout_percent": 5}] for key in ("first", "last")
    }
    changes.flags.update(KEY, {"rules": named["first"]})
    changes.flags.create("banner")
    changes.flags.create("poster")
    entries = by_ana(
        lambda: changes.flags.update(KEY, {"rules": []}),
        lambda: changes.segments.update("last", {"description": "x"}),
    )
    # The undo needs both segments, and so does the other transaction.
    done = run_during(
        lambda: changes.flags.update("banner", {"rules": named["first"]}),
        lambda: undo(entries),
        lambda: changes.flags.update("poster", {"rules": named["last"]}),
    )
    assert all(undone.written for undone in done)


def test_undo_that_waited_for_a_kill_is_refused(shop: Shop) -> None:
    changes.flags.enable(KEY)
    entries = entries_of_versions([changes.flags.disable(KEY).version or 0])
    changes.flags.enable(KEY)
    with pytest.raises(ConflictError, match="state was changed again and is off now"):
        run_during(OFF, lambda: undo(entries))
    assert shop.flag().enabled is False


@pytest.mark.usefixtures("users")
def test_two_undos_of_a_deletion_at_once_bring_the_row_back_once() -> None:
    ADD()
    before = state()
    entries = entries_of_versions([changes.flags.delete(KEY).version or 0])

    def is_written() -> bool:
        try:
            return undo(entries)[0].written is not None
        except ConflictError:  # The key is taken since the entries were read.
            return False

    assert sorted(in_threads(is_written, is_written)) == [False, True]
    assert state() == before


@pytest.mark.parametrize("outermost", [True, False])
def test_deadlock_is_retried_once_unless_a_transaction_surrounds_the_undo(
    outermost: bool, monkeypatch: pytest.MonkeyPatch, shop: Shop
) -> None:
    entries = by_ana(at(50))
    calls = []

    def write_after_a_deadlock(entries: Sequence[int]) -> None:
        calls.append(entries)
        if len(calls) == 1:
            with connection.cursor() as cursor:
                cursor.execute("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")
        record_undo_of(entries)

    record_undo_of = undo.__globals__["_record_undo_of"]
    monkeypatch.setitem(undo.__globals__, "_record_undo_of", write_after_a_deadlock)
    if outermost:
        undo(entries)
        assert (shop.flag().rollout_percent, len(calls)) == (10, 3)
        return
    with pytest.raises(OperationalError), transaction.atomic():
        undo(entries)
    assert len(calls) == 1


def test_row_that_gets_the_key_of_a_deleted_one_is_counted() -> None:
    User.objects.bulk_create(User(username=f"user{number}") for number in range(20))
    changes.flags.create("a", enabled=True, rollout_percent=100)
    with transaction.atomic():
        changes.flags.update("a", {"key": "b"})
        changes.flags.create("a")
        last = changes.flags.update("b", {"enabled": False, "rollout_percent": 0})
    assert last.version
    undone = preview_undo(entries_of_transaction(last.version))
    impacts = impact(*sides_of([row.written for row in undone if row.written]))
    assert consequence_of(impacts) is Consequence.MOST
