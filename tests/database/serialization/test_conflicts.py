"""Imports beside other changes: versions, expected plans, and locks.

A kill beside an import waits for nothing but the write of its own row.
"""

from collections.abc import Callable, Iterable, Iterator
from textwrap import dedent
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext
from django.utils.translation import override

from flagstaff import changes, serialization
from flagstaff._tables import user_lookup
from flagstaff._tables.rows import Kind
from flagstaff.exceptions import BusyError, ConflictError, DocumentError, InvalidChangeError
from flagstaff.history.log import versions_of
from flagstaff.models import FeatureFlag
from tests.support.concurrency import in_threads, run_during
from tests.support.documents import (
    EDITED,
    database_state,
    dry_run,
    export_text,
    import_text,
    summaries,
)
from tests.support.history_fixtures import undo_transaction
from tests.support.plans import rollout
from tests.support.shop import Shop
from tests.support.sql import rows

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_shop")]

Meanwhile = Callable[..., None]
CHANGED = "flagstaff: 1\nflags: {dark_mode: {enabled: true}, new_checkout: {rollout_percent: 50}}"
NAMING = "flags: {new_checkout: {rules: [{conditions: [{segment: enterprise}]}]}}"


def elsewhere(*work: Callable[[], Any]) -> None:
    """Does this in another session, which soon gives up if it has to wait for a lock."""

    def work_with_a_limit() -> None:
        rows("SET lock_timeout = '1s'")
        for change in work:
            change()

    in_threads(work_with_a_limit)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Does this in another session as soon as an import has read the rows of its file."""

    def arrange(*work: Callable[[], Any]) -> None:
        def look_up() -> user_lookup.UserTable:
            monkeypatch.undo()
            elsewhere(*work)
            return user_lookup.allowed_user_table()

        monkeypatch.setattr(serialization, "allowed_user_table", look_up)

    return arrange


@pytest.fixture
def while_writing() -> Iterator[Any]:
    """Does this in another session as soon as an import has written its first flag."""
    work: list[Callable[[], Any]] = []

    def receive(**_: object) -> None:
        if work:
            elsewhere(work.pop())

    post_save.connect(receive, FeatureFlag)
    yield work.append
    post_save.disconnect(receive, FeatureFlag)


def test_kill_does_not_wait_for_a_dry_run(meanwhile: Meanwhile) -> None:
    text = export_text().replace('"rollout_percent": 25', '"rollout_percent": 50')
    keys = FeatureFlag.objects.values_list("key", flat=True)
    meanwhile(*(lambda key=key: changes.flags.disable(key) for key in keys))
    assert [key for _, key in import_text(text, dry_run=True).changed] == ["new_checkout"]
    assert not FeatureFlag.objects.filter(enabled=True).exists()


def test_kill_does_not_wait_for_an_import_without_differences(
    meanwhile: Meanwhile, shop: Shop
) -> None:
    text = export_text()
    meanwhile(lambda: changes.flags.disable("dark_mode"))
    assert import_text(text).changed == {}
    assert not shop.flag("dark_mode").enabled


def test_kill_of_a_flag_that_is_like_the_file_does_not_wait(while_writing: Any, shop: Shop) -> None:
    while_writing(lambda: changes.flags.disable("dark_mode"))
    assert len(import_text(CHANGED).changed) == 1
    assert not shop.flag("dark_mode").enabled


def test_kill_of_a_flag_that_is_written_waits_for_the_commit(while_writing: Any) -> None:
    while_writing(lambda: changes.flags.disable("new_checkout"))
    with pytest.raises(BusyError, match="another change holds these rows"):
        import_text(CHANGED)


def test_dry_run_does_not_wait_for_an_import_that_writes(while_writing: Any) -> None:
    while_writing(lambda: import_text(CHANGED, dry_run=True))
    assert len(import_text(CHANGED).changed) == 1


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ("dark_mode: {enabled: false}, new_checkout: {rollout_percent: 50}", {}),
        ("dark_mode: {enabled: false}, new_checkout: {allowed_users: []}", {}),
        ("dark_mode: {}", {"delete_missing": True}),
    ],
    ids=["rollout", "users", "delete"],
)
def test_import_is_refused_after_a_kill_that_it_has_not_read(
    flags: str, options: dict[str, bool], meanwhile: Meanwhile
) -> None:
    before = database_state()
    before[0]["new_checkout"]["enabled"] = False
    meanwhile(lambda: changes.flags.disable("new_checkout"))
    problem = "new_checkout has changed while the import ran; nothing was written; run it again"
    with pytest.raises(ConflictError, match=problem):
        import_text(f"flagstaff: 1\nflags: {{{flags}}}", **options)
    assert database_state() == before


def test_conflict_names_all_rows_that_have_changed(meanwhile: Meanwhile) -> None:
    text = "flagstaff: 1\nflags: {dark_mode: {enabled: false}, new: {}, search_v2: {kind: release}}"
    meanwhile(
        lambda: changes.flags.create("new"),
        lambda: changes.flags.delete("search_v2"),
        lambda: changes.flags.allow("dark_mode", [1]),
    )
    with pytest.raises(ConflictError) as caught:
        import_text(text)
    assert str(caught.value).splitlines() == [
        "dark_mode has changed while the import ran",
        "new has changed while the import ran",
        "search_v2 has changed while the import ran; nothing was written; run it again",
    ]


@pytest.mark.parametrize(
    ("text", "change", "problem"),
    [
        (
            NAMING,
            lambda: changes.segments.delete("enterprise"),
            "flags.new_checkout: rules: rule 1 names the segment 'enterprise', which does not",
        ),
        (
            "segments: {}",
            lambda: changes.flags.update(
                "dark_mode", {"rules": [{"conditions": [{"segment": "enterprise"}]}]}
            ),
            "segments.enterprise: the segment 'enterprise' is used by the rules of 'dark_mode'",
        ),
        (
            "values: {motto: {value: 1}}",
            lambda: changes.flags.create("motto"),
            "values.motto: motto is the key of a flag; choose another key",
        ),
    ],
    ids=["segment", "use", "key"],
)
def test_what_a_file_needs_is_compared_again_under_the_locks(
    text: str, change: Callable[[], Any], problem: str, meanwhile: Meanwhile
) -> None:
    meanwhile(change)
    with pytest.raises(DocumentError) as caught:
        import_text(f"flagstaff: 1\n{text}", delete_missing=text == "segments: {}")
    assert str(caught.value).startswith(problem)


def test_segment_of_the_file_that_is_deleted_meanwhile_is_missing(meanwhile: Meanwhile) -> None:
    document = serialization.export(["enterprise"])
    rules = [{"conditions": [{"segment": "enterprise"}]}]
    document["flags"] = {"new_checkout": {"rules": rules}}
    meanwhile(lambda: changes.segments.delete("enterprise"))
    with pytest.raises(DocumentError, match="names the segment 'enterprise', which does not"):
        serialization.apply(document)
    assert FeatureFlag.objects.get(key="new_checkout").rules == []


def test_user_who_is_deleted_while_an_import_writes_is_an_error_before_the_commit(
    while_writing: Any, shop: Shop
) -> None:
    while_writing(lambda: User.objects.filter(username="bob").delete())
    text = "flagstaff: 1\nflags: {search_v2: {rollout_percent: 5, allowed_users: [bob]}}"
    with pytest.raises(InvalidChangeError, match="the database rejected the change"):
        import_text(text)
    flag = shop.flag("search_v2")
    assert (flag.rollout_percent, flag.allowed_users.count()) == (0, 0)


def test_statements_are_as_many_for_many_rows_that_are_written_as_for_few() -> None:
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"f{number}") for number in range(40))
    document = serialization.export()

    def statements(count: int, **options: Any) -> list[str]:
        for key in sorted(document["flags"])[:count]:
            document["flags"][key]["rollout_percent"] = 50 + count
        with CaptureQueriesContext(connection) as queries:
            assert len(serialization.apply(document, **options).changed) == count
        return [query["sql"] for query in queries]

    assert len(unchanged := statements(0)) <= 8
    assert not any("FOR UPDATE" in statement or statement == "BEGIN" for statement in unchanged)
    assert len(statements(40, dry_run=True)) == len(unchanged)
    assert len(statements(40)) == len(statements(10))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (
            """
            segments: {new: {conditions: [{attribute: plan, operator: in, values: [a]}]}}
            flags: {one: {rules: [{conditions: [{segment: new}]}], allowed_users: [bob, alice]}}
            """,
            {},
        ),
        ("segments: {}\nflags: {}", {"delete_missing": True}),
        ("flags: {}\nvalues: {dark_mode: {value: 3, type: integer}}", {"delete_missing": True}),
        ("values: {}\nflags: {page_size: {review_on: '2027-03-01'}}", {"delete_missing": True}),
    ],
    ids=["create", "delete", "free-a-flag", "free-a-value"],
)
def test_import_does_what_its_dry_run_has_shown(text: str, options: dict[str, bool]) -> None:
    changes.flags.update("dark_mode", {"rules": [{"conditions": [{"segment": "enterprise"}]}]})
    document = f"flagstaff: 1\n{dedent(text)}"
    planned = dry_run(document, **options)
    imported = import_text(document, expect_plan=planned.plan, **options)
    assert (imported.plan, imported.changed) == (planned.plan, planned.changed)
    assert dry_run(document, **options).changed == {}


NARROWER, WIDER = '"rollout_percent": 25', '"rollout_percent": 30'


def test_newer_change_is_not_overwritten() -> None:
    edited = export_text(versions=True).replace(NARROWER, WIDER)
    changes.flags.set_rollout("new_checkout", 40)
    changes.flags.set_rollout("dark_mode", 99)
    before = database_state()
    for attempt in (dry_run, import_text):
        with pytest.raises(ConflictError) as caught:
            attempt(edited)
        assert "new_checkout has version" in str(caught.value)
        assert "dark_mode has version" in str(caught.value)
    assert database_state() == before
    import_text(edited, ignore_versions=True)
    assert rollout() == 30


def test_change_during_the_export_is_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def change_first(kind: Kind, pks: Iterable[Any]) -> dict[str, int]:
        if rollout() != 60:
            changes.flags.set_rollout("new_checkout", 60)
        return versions_of(kind, pks)

    monkeypatch.setattr("flagstaff.serialization.versions_of", change_first)
    exported = export_text(versions=True)
    monkeypatch.undo()
    assert not dry_run(exported).changed


def test_newer_change_of_an_unchanged_flag_is_no_conflict() -> None:
    exported = export_text(keys=["new_checkout", "page_size"], versions=True)
    edited = exported.replace(NARROWER, WIDER)
    changes.flags.set_rollout("dark_mode", 99)
    assert len(import_text(edited).changed) == 1
    assert import_text(edited).changed == {}


def test_deleted_flag_is_a_conflict() -> None:
    exported = export_text(keys=["dark_mode"], versions=True)
    changes.flags.delete("dark_mode")
    with pytest.raises(ConflictError, match=r"dark_mode has version \d+ in the file, but does not"):
        import_text(exported)


def test_import_with_an_expected_plan_refuses_another_in_any_language() -> None:
    edited = EDITED.replace(", pk: 3", "")
    expected = dry_run(edited).plan
    changes.flags.set_rollout("new_checkout", 50)
    before = database_state()
    with pytest.raises(ConflictError, match=f"not {expected}, because"):
        import_text(edited, expect_plan=expected)
    assert database_state() == before
    new = dry_run(edited).plan
    with override("de"):
        assert "angelegt, an, " in summaries(dry_run(edited))["brand_new"]
        assert import_text(edited, expect_plan=new).plan == new


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        (True, r"new_checkout has version .*; export again, or pass"),
        (False, r"new_checkout has changed .* run it again"),
    ],
)
def test_import_waits_for_a_change_and_is_refused(versions: bool, problem: str) -> None:
    exported = export_text(keys=["new_checkout"], versions=versions)
    edited = exported.replace(NARROWER, WIDER)
    with pytest.raises(ConflictError, match=problem):
        run_during(
            lambda: changes.flags.set_rollout("new_checkout", 40), lambda: import_text(edited)
        )
    assert rollout() == 40


def test_undo_of_an_import_waits_for_a_change_and_is_refused(shop: Shop) -> None:
    imported = import_text(
        "flagstaff: 1\nflags: {dark_mode: {enabled: false}, search_v2: {rollout_percent: 5}}"
    )
    [first, *_] = imported.changed.values()
    version = first.version
    assert version
    with pytest.raises(ConflictError, match="search_v2: rollout was changed again"):
        run_during(
            lambda: changes.flags.set_rollout("search_v2", 40), lambda: undo_transaction(version)
        )
    assert not shop.flag("dark_mode").enabled


def test_imports_of_the_same_flags_do_not_deadlock(shop: Shop) -> None:
    first = "flagstaff: 1\nflags: {beta_reviews: {enabled: false}, search_v2: {enabled: false}}"
    other = "flagstaff: 1\nflags: {search_v2: {kind: release}, beta_reviews: {kind: ops}}"
    with pytest.raises(ConflictError, match="beta_reviews has changed while the import ran"):
        run_during(lambda: import_text(first), lambda: import_text(other))
    import_text(other)
    beta, search = shop.flag("beta_reviews"), shop.flag("search_v2")
    assert (beta.enabled, beta.kind) == (False, "ops")
    assert (search.enabled, search.kind) == (False, "release")
