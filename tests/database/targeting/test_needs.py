"""Rules that name other flags: what is refused at save, and what must stay."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from django.db import connection, transaction

from flagstaff import changes, experiments
from flagstaff.changes.rule_use import ChainError
from flagstaff.exceptions import DocumentError, FlagstaffError, InvalidChangeError
from flagstaff.models import FeatureFlag, Segment
from tests.support.concurrency import run_during
from tests.support.conditions import condition, needs
from tests.support.documents import import_text
from tests.support.history import flag_history
from tests.support.segment_rules import message_of, rules, rules_of
from tests.support.shop import Shop
from tests.support.terminals import Ran, json_word, refused, run

pytestmark = pytest.mark.django_db(transaction=True)

FLAG_A = [{"flag": "a", "is": True}]


@pytest.fixture(autouse=True)
def flags() -> None:
    """Three flags; b needs a."""
    for key in "abc":
        changes.flags.create(key, enabled=True)
    changes.flags.update("b", rules=needs("a"))


def save(key: str, needed: str) -> object:
    return changes.flags.update(key, rules=needs(needed))


def test_flag_that_does_not_exist_is_refused_with_a_similar_one() -> None:
    changes.flags.create("new_checkout")
    text = "rules: rule 1 names the flag 'new_chekout', which does not exist; did you mean"
    assert message_of(save, "c", "new_chekout") == f"{text} 'new_checkout'?"


def test_flag_that_was_deleted_is_refused_with_the_command_that_brings_it_back() -> None:
    changes.flags.delete("c")
    assert 'undo its deletion first with "manage.py flags undo c"' in message_of(save, "a", "c")


@pytest.mark.parametrize(("key", "path"), [("a", "a → a"), ("b", "a → b → a")])
def test_circle_is_refused_with_its_path(key: str, path: str) -> None:
    assert message_of(save, "a", key) == f"{path}: {CIRCLE}"
    assert rules_of("a") == []


CIRCLE = "a flag cannot depend on itself; change one of these rules"


def test_circle_through_a_segment_is_refused_by_either_of_its_rows() -> None:
    changes.segments.create("team", [{"flag": "b", "is": True}])
    path = f"a → segment team → b → a: {CIRCLE}"
    assert message_of(changes.flags.update, "a", rules=rules("team")) == path
    changes.segments.update("team", {"conditions": [condition("is_staff", "in", True)]})
    changes.flags.update("a", rules=rules("team"))
    conditions = {"conditions": [{"flag": "b", "is": False}]}
    path = f"segment team → b → a → segment team: {CIRCLE}"
    assert message_of(changes.segments.update, "team", conditions) == path


def test_chain_of_four_flags_below_a_flag_is_saved_and_a_longer_one_is_not() -> None:
    for key, needed in zip("defg", "cdef"):  # noqa: B905 (the shorter one ends it)
        changes.flags.create(key, rules=needs(needed))
    assert "at most 4 flags may depend" in message_of(changes.flags.create, "h", rules=needs("g"))
    # Not at its end either.
    assert message_of(save, "c", "a").startswith("g → f → e → d → c → a: at most 4")
    value_rules = [{**needs("g")[0], "value": 2}]
    assert "at most 4" in message_of(changes.values.create, "limit", 1, rules=value_rules)


def test_experiment_is_refused_with_a_flag_that_does_not_exist() -> None:
    with pytest.raises(FlagstaffError, match="names the flag 'x', which does not exist"):
        experiments.create("price", rules=needs("x"))


def test_import_with_a_circle_is_refused() -> None:
    text = """\
        flagstaff: 1
        flags:
          a: {rules: [{conditions: [{flag: c, is: true}]}]}
          c: {rules: [{conditions: [{flag: b, is: true}]}]}
    """
    with pytest.raises(DocumentError, match="c → b → a → c"):
        import_text(text)


def test_import_of_flags_that_need_each_other_is_written() -> None:
    text = """\
        flagstaff: 1
        flags:
          new: {rules: [{conditions: [{flag: newer, is: true}]}]}
          newer: {}
    """
    import_text(text)
    assert rules_of("new")[0]["conditions"] == [{"flag": "newer", "is": True}]


def test_undo_that_would_close_a_circle_is_refused() -> None:
    changes.flags.update("b", rules=[])
    changes.flags.update("a", rules=needs("b"))
    with pytest.raises(ChainError, match="b → a → b"):
        changes.flags.undo("b")


@pytest.mark.parametrize("bound", [0.125, "5", 101])
def test_bound_of_a_bucket_is_a_percentage_with_two_decimals(bound: object) -> None:
    bucket = {"bucket": "holdout", "operator": "lt", "values": [bound]}
    text = message_of(changes.flags.update, "a", rules=[{"conditions": [bucket]}])
    assert "a number from 0 to 100 with at most two decimals" in text


def test_terminal_notes_a_bucket_of_another_flag_and_a_similar_name(shop: Shop) -> None:
    bucket = {"bucket": "holdout_2027", "operator": "lt", "values": [5]}
    changes.flags.update("b", rules=[{"conditions": [bucket]}])
    assert "the bucket 'c' is that of the flag 'c'" in set_bucket("a", "c").err
    assert "did you mean 'holdout_2027'?" in set_bucket("c", "holdout_2072").err


def set_bucket(key: str, name: str) -> Ran:
    rule = {"conditions": [{"bucket": name, "operator": "lt", "values": [1]}]}
    return run(f"rules {key} {json_word([rule])}")


def test_client_side_flag_that_needs_another_one_says_what_browsers_learn() -> None:
    text = "browsers read 'b', so each of them learns whether 'a' is on for its user"
    assert text in run("details b --client-side").err


DELETIONS: dict[str, Callable[[], object]] = {
    "changes": partial(changes.flags.delete, "a"),
    "ORM": lambda: FeatureFlag.objects.filter(key="a").delete(),
    "import": lambda: import_text("flagstaff: 1\nflags: {b: {}, c: {}}", delete_missing=True),
    "undo of the creation": lambda: changes.flags.undo("a", flag_history("a")[-1].version),
    "rename": partial(changes.flags.update, "a", {"key": "z"}),
}


@pytest.mark.parametrize("delete", DELETIONS.values(), ids=DELETIONS)
def test_flag_that_a_rule_names_is_not_deleted(delete: Callable[[], object]) -> None:
    used = "the flag 'a' is used by the rules of 'b'"
    with pytest.raises((InvalidChangeError, DocumentError), match=used):
        delete()
    assert FeatureFlag.objects.filter(key="a").exists()


def test_terminal_does_not_delete_a_flag_that_a_segment_names() -> None:
    changes.segments.create("team", [{"flag": "c", "is": True}])
    refused("delete c --yes", 4, "'c' is used by the rules of segment 'team'")


def test_flags_that_need_each_other_are_deleted_together() -> None:
    FeatureFlag.objects.filter(key__in="ab").delete()
    assert [*FeatureFlag.objects.values_list("key", flat=True)] == ["c"]


def test_show_says_what_uses_a_flag(plain_terminal: None) -> None:
    assert "used by flags" in run("show a").out


use_c = partial(changes.flags.update, "b", {"rules": needs("c")})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (partial(save, "a", "c"), partial(save, "c", "b")),
        (
            partial(changes.segments.create, "team", FLAG_A),
            partial(changes.flags.update, "a", {"rules": rules("team")}),
        ),
    ],
)
def test_two_saves_at_once_close_no_circle(
    first: Callable[[], object], second: Callable[[], object]
) -> None:
    with pytest.raises(InvalidChangeError):
        run_during(first, second)


def test_flag_that_is_needed_meanwhile_is_not_deleted() -> None:
    with pytest.raises(InvalidChangeError, match="'c' is used by the rules of 'b'"):
        run_during(use_c, partial(changes.flags.delete, "c"))


def test_flag_that_is_deleted_meanwhile_is_not_named() -> None:
    with pytest.raises(InvalidChangeError, match="'c', which does not exist"):
        run_during(partial(changes.flags.delete, "c"), use_c)


@pytest.mark.parametrize("brake", ["kill a --no-wait", "off a", "rollout a 0"])
def test_kill_does_not_wait_for_a_change_of_rules_that_name_the_flag(brake: str) -> None:
    def pull() -> Ran:
        try:
            return run(brake)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        save("c", "a")
        changes.segments.create("team", FLAG_A)
        assert pool.submit(pull).result(30).status == 0
    flag = FeatureFlag.objects.get(key="a")
    assert not (flag.enabled and flag.rollout_percent)
    assert Segment.objects.exists()
