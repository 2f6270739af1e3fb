"""What an import locks, and when: a kill beside it waits for nothing but its own row's write."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from flagstaff import changes, serialization
from flagstaff._tables import user_lookup
from flagstaff.exceptions import ConflictError, DocumentError, InvalidChangeError
from flagstaff.models import FeatureFlag
from tests.support.documents import database_state, dry_run, export_text, import_text

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("open_shop")]

Meanwhile = Callable[..., None]
CHANGED = "flagstaff: 1\nflags: {dark_mode: {enabled: true}, new_checkout: {rollout_percent: 50}}"
NAMING = "flags: {new_checkout: {rules: [{conditions: [{segment: enterprise}]}]}}"


def elsewhere(*work: Callable[[], Any]) -> None:
    """Does this in another session, which soon gives up if it has to wait for a lock."""

    def run() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '1s'")
            for one in work:
                one()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(run).result()


def kill(*keys: str) -> None:
    elsewhere(*(lambda key=key: changes.flags.disable(key) for key in keys))


def is_on(key: str) -> bool:
    return FeatureFlag.objects.get(key=key).enabled


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
def while_writing() -> Any:
    """Does this as soon as an import has written its first flag."""
    receivers = []

    def arrange(work: Callable[[], Any]) -> None:
        def receive(**_: object) -> None:
            post_save.disconnect(receive, FeatureFlag)
            work()

        receivers.append(receive)
        post_save.connect(receive, FeatureFlag)

    yield arrange
    for receive in receivers:
        post_save.disconnect(receive, FeatureFlag)


def test_kill_does_not_wait_for_a_dry_run(meanwhile: Meanwhile) -> None:
    text = export_text().replace('"rollout_percent": 25', '"rollout_percent": 50')
    keys = [*FeatureFlag.objects.values_list("key", flat=True)]
    meanwhile(*(lambda key=key: changes.flags.disable(key) for key in keys))
    assert [key for _, key in import_text(text, dry_run=True).changed] == ["new_checkout"]
    assert not any(map(is_on, keys))


def test_kill_does_not_wait_for_an_import_without_differences(meanwhile: Meanwhile) -> None:
    text = export_text()
    meanwhile(lambda: changes.flags.disable("dark_mode"))
    assert import_text(text).changed == {}
    assert not is_on("dark_mode")


def test_kill_of_a_flag_that_is_like_the_file_does_not_wait(while_writing: Any) -> None:
    while_writing(lambda: kill("dark_mode", "search_v2"))
    assert len(import_text(CHANGED).changed) == 1
    assert not is_on("dark_mode")


def test_kill_of_a_flag_that_is_written_waits_for_the_commit(while_writing: Any) -> None:
    while_writing(lambda: kill("new_checkout"))
    with pytest.raises(OperationalError, match="lock timeout"):
        import_text(CHANGED)


def test_dry_run_does_not_wait_for_an_import_that_writes(while_writing: Any) -> None:
    while_writing(lambda: elsewhere(lambda: import_text(CHANGED, dry_run=True)))
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
    while_writing: Any,
) -> None:
    while_writing(lambda: elsewhere(lambda: User.objects.filter(username="bob").delete()))
    text = "flagstaff: 1\nflags: {search_v2: {rollout_percent: 5, allowed_users: [bob]}}"
    with pytest.raises(InvalidChangeError, match="the database rejected the change"):
        import_text(text)
    flag = FeatureFlag.objects.get(key="search_v2")
    assert (flag.rollout_percent, flag.allowed_users.count()) == (0, 0)


def test_statements_are_few_for_what_stays_and_one_for_each_row_that_is_written() -> None:
    FeatureFlag.objects.bulk_create(FeatureFlag(key=f"f{number}") for number in range(40))
    document = serialization.export()

    def statements(count: int, **options: Any) -> list[str]:
        for key in sorted(document["flags"])[:count]:
            document["flags"][key]["rollout_percent"] = 50 + count
        with CaptureQueriesContext(connection) as queries:
            assert len(serialization.apply(document, **options).changed) == count
        return [query["sql"] for query in queries]

    assert len(unchanged := statements(0)) <= 8
    assert not any("FOR UPDATE" in one or one == "BEGIN" for one in unchanged)
    assert len(statements(40, dry_run=True)) == len(unchanged)
    assert len(statements(40)) == len(statements(10)) + 30


def test_dry_run_calls_no_receiver_and_an_import_does() -> None:
    saved: list[str] = []

    def receive(instance: FeatureFlag, **_: object) -> None:
        saved.append(instance.key)

    post_save.connect(receive, FeatureFlag)
    try:
        dry_run(CHANGED)
        assert saved == []
        import_text(CHANGED)
    finally:
        post_save.disconnect(receive, FeatureFlag)
    assert saved == ["new_checkout"]


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
