"""Flags and values as a file: what is written is read again, and is one change."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import JSONField, Value
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flagstaff import acting_as, serialization
from flagstaff.changes import (
    add_allowed_users,
    create_value,
    delete,
    delete_value,
    set_rollout,
    undo_transaction,
    update,
    update_value,
)
from flagstaff.exceptions import (
    ConflictError,
    DocumentError,
    FlagstaffError,
    InvalidChangeError,
    UnknownFlagError,
    UnknownValueError,
)
from flagstaff.history import flag_history, value_history
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import versions_of
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from flagstaff.serialization import Plan
from tests.conftest import ROOT
from tests.terminals import open_shop

pytestmark = pytest.mark.django_db
# Where each change is a transaction of its own, as it is in life.
COMMITTED = pytest.mark.django_db(transaction=True)
Format = Literal["yaml", "json"]
BOTH = pytest.mark.parametrize("format_", ["yaml", "json"])

MASK = "••••••"


@pytest.fixture
def shop() -> None:
    Change.objects.all().delete()
    open_shop()


def text(format_: Format = "yaml", **how: Any) -> str:
    return serialization.as_text(serialization.export(**how), format_)


def take(said: str, format_: Format = "yaml", **how: Any) -> serialization.Imported:
    return serialization.apply(serialization.read(textwrap.dedent(said), format_), **how)


def differ(said: str, format_: Format = "yaml", **how: Any) -> Plan:
    return serialization.diff(serialization.read(textwrap.dedent(said), format_), **how)


def problems(said: str, format_: Format = "yaml", **how: Any) -> list[str]:
    """What is told of a file that nobody may take in; nothing is written."""
    before = state()
    with pytest.raises(DocumentError) as caught:
        take(said, format_, **how)
    assert state() == before
    return [str(problem) for problem in caught.value.problems]


def state() -> tuple[dict[str, Any], dict[str, Any]]:
    """Every field but the times, and the allow-lists; values by their JSON."""
    times = ("id", "created_at", "changed_at")
    flags = {
        flag.key: {
            **{name: v for name, v in vars(flag).items() if name[0] != "_" and name not in times},
            "allowed": set(flag.allowed_users.values_list("username", flat=True)),
        }
        for flag in FeatureFlag.objects.all()
    }
    values = {
        row.key: (json.dumps(row.value, sort_keys=True), row.description, row.secret)
        for row in KeyValueStore.objects.all()
    }
    return flags, values


def wipe() -> None:
    FeatureFlag.objects.all().delete()
    KeyValueStore.objects.all().delete()


# What is written.

SHOP = """\
# Flags and values, written by `manage.py flags export`.
# •••••• stands for a secret, which an import leaves as it is.
flagstaff: 1
partial: true
flags:
  beta_reviews:
    enabled: true
    rollout_percent: 0
    description: Reviews before everybody sees them
    kind: permission
    client_side: false
    allowed_users:
      - alice
      - bob
values:
  mail_password:
    value: ••••••
    description: ''
    secret: true
  page_size:
    value: 20
    description: ''
    secret: false
"""


def test_file_is_written_for_people(shop: None) -> None:
    assert text(keys=["page_size", "mail_password", "beta_reviews"]) == SHOP


@BOTH
def test_same_rows_make_the_same_file(shop: None, format_: Format) -> None:
    first = text(format_)
    flag = FeatureFlag.objects.get(key="beta_reviews")
    flag.allowed_users.clear()
    flag.allowed_users.add(2)
    flag.allowed_users.add(1)
    flag.save()
    assert text(format_) == first
    assert [*json.loads(text("json"))["flags"]] == sorted(state()[0])


def test_secret_stands_in_no_file(shop: None) -> None:
    assert "hunter2" not in text("yaml") + text("json") + text(keys=["mail_password"])


def test_all_is_written_with_few_queries(shop: None) -> None:
    with CaptureQueriesContext(connection) as queries:
        serialization.export(versions=True)
    assert len(queries) <= 10


def test_keys_that_are_nobodys_are_told_with_the_nearest(shop: None) -> None:
    with pytest.raises(UnknownFlagError, match="did you mean 'new_checkout'"):
        serialization.export(["new_chekout"])
    with pytest.raises(UnknownValueError, match="did you mean 'page_size'"):
        serialization.export(["page_sise"])


def test_username_that_is_not_one_user_alone_is_written_as_a_primary_key(shop: None) -> None:
    User.objects.filter(pk=2).update(username="")
    [*_, named] = serialization.export(["beta_reviews"])["flags"]["beta_reviews"]["allowed_users"]
    assert named == {"pk": 2}
    before = state()
    FeatureFlag.objects.get(key="beta_reviews").allowed_users.clear()
    take(SHOP.replace("- bob", "- pk: 2"))
    assert state() == before


# And read again.


@BOTH
def test_second_import_changes_nothing(shop: None, format_: Format) -> None:
    written = text(format_)
    entries = Change.objects.count()
    with CaptureQueriesContext(connection) as queries:
        imported = take(written, format_)
    assert (imported.plan.steps, imported.changed, imported.undo) == ((), (), None)
    assert imported.plan.same == 8
    assert Change.objects.count() == entries
    statements = [query["sql"].split()[0] for query in queries]
    assert set(statements) <= {"SELECT", "SAVEPOINT", "RELEASE"}


KEYS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters=":"), min_size=1
) | st.sampled_from(["on", "yes", "y", "null", "~", "012", "1e3", "1_000", "2026-11-20", "=", "<<"])
WORDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
) | st.sampled_from(
    ["no", "0o17", "1:30", ".inf", "- a", "# b", "a\n b\n", "\n\n x", " trailing \n", "|", "\ufeff"]
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
).filter(lambda value: value is not None and value != MASK)
PEOPLE = st.lists(st.sampled_from(["alice", "bob", "no", "42", "on@x.example", "a+b"]), unique=True)
FLAG = st.fixed_dictionaries(
    {
        "enabled": st.booleans(),
        "rollout_percent": st.integers(0, 100),
        "description": WORDS,
        "kind": st.sampled_from(["release", "ops", "permission"]),
        "client_side": st.booleans(),
    }
)
FLAGS = st.dictionaries(KEYS.map(lambda key: key[:255]), st.tuples(FLAG, PEOPLE), max_size=4)
VALUES = st.dictionaries(
    WORDS.map(lambda key: key[:255] or "x"), st.tuples(JSON, WORDS), max_size=4
)


@BOTH
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(flags=FLAGS, values=VALUES)
def test_what_is_wiped_comes_back_exactly(
    format_: Format, flags: dict[str, Any], values: dict[str, Any]
) -> None:
    wipe()
    users = {
        name: User.objects.get_or_create(username=name)[0]
        for name in ("alice", "bob", "no", "42", "on@x.example", "a+b")
    }
    for key, (fields, people) in flags.items():
        flag = FeatureFlag.objects.create(key=key, **fields)
        flag.allowed_users.set([users[name] for name in people])
    for key, (value, description) in values.items():
        KeyValueStore.objects.create(key=key, value=value, description=description)
    before, written = state(), text(format_)
    assert take(written, format_).plan.steps == ()
    wipe()
    take(written, format_)
    assert state() == before
    assert text(format_) == written


@BOTH
def test_value_that_is_null_is_no_change_and_a_new_null_is_refused(
    shop: None, format_: Format
) -> None:
    KeyValueStore.objects.create(key="nothing", value=Value(None, JSONField()))
    said = text(format_)
    assert not differ(said, format_).steps
    update_value("nothing", {"value": 1})
    [told] = problems(said, format_)
    assert "values.nothing.value: value cannot be null" in told
    delete_value("nothing")
    [told] = problems(said, format_)
    assert "values.nothing.value: a value is missing; write JSON" in told


def test_what_a_file_does_not_name_is_left_alone(shop: None) -> None:
    set_rollout("dark_mode", 70)
    before = state()
    imported = take("flagstaff: 1\nflags: {new_checkout: {rollout_percent: 26}}")
    before[0]["new_checkout"]["rollout_percent"] = 26
    assert state() == before
    assert [step.key for step in imported.plan.steps] == ["new_checkout"]


EDITED = """
    flagstaff: 1
    flags:
      beta_reviews: {allowed_users: [bob, pk: 3]}
      brand_new: {enabled: true, rollout_percent: 5, allowed_users: [alice]}
      new_checkout: {rollout_percent: 50, description: One page}
    values:
      page_size: {value: 50}
      motto: {value: "on"}
"""


def words(plan: Plan) -> dict[str, str]:
    return {step.key: step.as_dict(plan.names)["what"] for step in plan.steps}


def test_difference_speaks_as_the_history_does(shop: None) -> None:
    User.objects.create(pk=3, username="carol")
    entries, planned = Change.objects.count(), words(differ(EDITED))
    assert Change.objects.count() == entries
    assert planned == {
        "beta_reviews": "added 1 allowed user (carol), removed 1 allowed user (alice)",
        "brand_new": "created, enabled true, rollout_percent 5, added 1 allowed user (alice)",
        "new_checkout": 'rollout_percent 25 → 50, description "One page instead of three" → '
        '"One page"',
        "motto": 'created, value "on"',
        "page_size": "value 20 → 50",
    }


@COMMITTED
def test_import_is_one_transaction_by_one_hand(shop: None) -> None:
    User.objects.create(pk=3, username="carol")
    with acting_as("deploy", reason="release 42", source="command"):
        imported = take(EDITED)
    events = [
        event
        for event in (*flag_history(limit=9), *value_history(limit=9))
        if event.reason == "release 42"
    ]
    assert {event.key for event in events} == set(words(imported.plan))
    assert len({event.transaction_id for event in events}) == 1
    assert {(event.actor, event.source) for event in events} == {("deploy", "command")}
    assert take(EDITED).plan.steps == ()


def test_failure_at_the_last_step_writes_nothing(
    shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise InvalidChangeError("the database refuses it")

    before = state()
    monkeypatch.setattr("flagstaff.changes.update_value", fail)
    with pytest.raises(InvalidChangeError):
        take("flagstaff: 1\nflags: {dark_mode: {enabled: false}}\nvalues: {page_size: {value: 1}}")
    assert state() == before


def test_missing_are_deleted_only_if_that_is_said(shop: None) -> None:
    said = "flagstaff: 1\nflags: {dark_mode: {enabled: true}}"
    assert take(said).plan.steps == ()
    imported = take(said, delete_missing=True)
    assert [(step.action, step.key) for step in imported.plan.steps] == [
        ("delete", "beta_reviews"),
        ("delete", "new_checkout"),
        ("delete", "search_v2"),
        ("delete", "summer_banner"),
    ]
    assert "removed 2 allowed users (alice, bob)" in words(imported.plan)["beta_reviews"]
    # There is no section of values, and so nothing is said of them.
    assert (len(state()[0]), len(state()[1])) == (1, 3)


def test_file_of_some_keys_deletes_nothing_else(shop: None) -> None:
    before = state()
    with pytest.raises(InvalidChangeError, match="some keys alone"):
        take(text(keys=["dark_mode"]), delete_missing=True)
    assert state() == before


# Secrets.


def test_mask_is_never_written(shop: None) -> None:
    update_value("page_size", {"value": 7})
    take(text().replace("value: 7", f"value: {MASK}"))
    assert KeyValueStore.objects.get(key="mail_password").value == "hunter2"
    assert KeyValueStore.objects.get(key="page_size").value == 7


def test_mask_of_a_value_that_is_not_here_is_told(shop: None) -> None:
    written = text(keys=["mail_password"])
    delete_value("mail_password")
    [told] = problems(written)
    assert told.startswith("line 7: values.mail_password.value: is masked, and there is no such")


@BOTH
def test_new_secret_is_taken_and_told_nobody(shop: None, format_: Format) -> None:
    said = serialization.export(["mail_password"])
    said["values"]["mail_password"]["value"] = "correct horse"
    said["values"]["second"] = {"value": "battery staple", "secret": True}
    imported = take(serialization.as_text(said, format_), format_)
    assert KeyValueStore.objects.get(key="mail_password").value == "correct horse"
    shown = repr(imported.plan) + json.dumps([one.as_dict() for one in imported.plan.steps])
    for secret in ("hunter2", "correct horse", "battery staple"):
        assert secret not in shown
    # A digest gives nothing back.
    assert imported.undo is None


@pytest.mark.parametrize(
    "value", ["0123", "{0123: 1}", "{1: 0123}", "[0123]", "!!x 0123", "*s0123"]
)
def test_secret_stands_in_no_error(shop: None, value: str) -> None:
    told = problems(f"flagstaff: 1\nvalues: {{pin: {{secret: true, value: {value}}}}}")
    assert told
    assert "0123" not in "".join(told)


# What is wrong with a file.

WRONG = """\
flagstaff: 1
flogs: {}
flags:
  a:
    enabled: on
    rollout_percent: 2026-11-20
    color: red
  b:
    enabled: "true"
    rollout_percent: true
    kind: holiday
    allowed_users: [carol, dave, 77, ""]
  a:
    enabled: true
  on:
    enabled: true
  c d:
    rollout_percent: 101
  new_checkout: &here
    rollout_percent: 101
    version: old
  dark_mode: *here
  search_v2: true
values:
  fresh: {description: nothing else}
  page_size: {value: .nan, secret: 1}
  pi: {value: !!float "3"}
"""


AMBIGUOUS = (
    "{0} without quotes is not the same to every reader of YAML; "
    "put a text into quotes, else write true, false, or a plain decimal number"
)
TOLD = f"""\
line 2: flogs: is no part of this format
line 5: flags.a.enabled: {AMBIGUOUS.format("on")}
line 6: flags.a.rollout_percent: {AMBIGUOUS.format("2026-11-20")}
line 7: flags.a.color: a flag has no such field
line 9: flags.b.enabled: is true or false, and not a text
line 10: flags.b.rollout_percent: is a whole number, and not true or false
line 11: flags.b.kind: Value 'holiday' is not a valid choice.
line 12: flags.b.allowed_users: no user has the username 'carol', 'dave' or the primary key 77; \
--skip-unknown-users goes on without
line 12: flags.b.allowed_users[3]: is a username, or a primary key as in {{pk: 42}}
line 13: flags.a: stands here twice
line 15: flags: {AMBIGUOUS.format("on")}
line 17: flags.c d: a key has white space at position 2; write letters, digits, "_", "-" or ".", \
such as "new_checkout"
line 18: flags.c d.rollout_percent: Ensure this value is less than or equal to 100.
line 20: flags.new_checkout.rollout_percent: Ensure this value is less than or equal to 100.
line 21: flags.new_checkout.version: is a whole number, as `export --versions` writes it
line 22: flags.dark_mode: is an alias, and aliases are not read; write it out
line 23: flags.search_v2: is a mapping from fields to what they hold
line 25: values.fresh.value: is needed for a new value
line 26: values.page_size.secret: is true or false, and not a number
line 26: values.page_size.value: {AMBIGUOUS.format("what stands here")}
line 27: values.pi.value: has a tag, tag:yaml.org,2002:float, and tags are not read
""".splitlines()


def test_everything_that_is_wrong_is_told_at_once_and_where(shop: None) -> None:
    assert problems(WRONG) == TOLD


def test_first_lines() -> None:
    assert problems("") == ['does not say "flagstaff: 1" at its top, and so is no file of flags']
    assert problems("flagstaff: 2\nflags: {}") == [
        'is of version 2, and this flagstaff reads version "flagstaff: 1"'
    ]


@pytest.mark.parametrize(
    ("said", "format_", "told"),
    [
        ("flagstaff: 1\nflags: {a: [", "yaml", "line "),
        ("a: \x07", "yaml", "no YAML: it has control characters"),
        ("[" * 300, "yaml", "line 1: is nested deeper than 100 levels"),
        ("flagstaff: 1\n---\nflagstaff: 1", "yaml", "line 2: a second document begins here"),
        ('{"flagstaff": 1,\n "flags": {]}', "json", "line 2: no JSON: "),
        ("[" * 100_000, "json", "is nested deeper than 100 levels"),
        ('{"flagstaff": 1, "flags": {}, "flags": {}}', "json", "flags: stands here twice"),
        (
            '{"flagstaff": 1, "values": {"a": {"value": [1, NaN]}}}',
            "json",
            "values.a.value[1]: no number that JSON can hold",
        ),
        (
            '{"flagstaff": 1, "values": {"a": {"value": 1e999}}}',
            "json",
            "values.a.value: no number that JSON can hold",
        ),
        ('{"flagstaff": 1, "x": %s}' % ("9" * 5000), "json", "has a number with too many digits"),
        (
            r'{"flagstaff": 1, "flags": {"a\u0000": {}, "b": {"allowed_users": ["\ud800"]}}}',
            "json",
            r"flags.'a\x00': has a character that no database holds: a NUL, or half of a pair",
        ),
        ("#" * (16 * 2**20 + 1), "json", "is larger than 16,777,216 bytes; import it in parts"),
        ("{" * 900, "yaml", "line 1: is nested deeper than 100 levels"),
        ("? " * 900, "yaml", "line 1: is nested deeper than 100 levels"),
    ],
    ids=range(14),
)
def test_bad_text_is_told(said: str, format_: Format, told: str) -> None:
    assert problems(said, format_)[0].startswith(told)


BOMB = "\n".join(
    [
        "flagstaff: 1",
        "flags: &a0 {}",
        *(f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)),
    ]
)


@pytest.mark.timeout(3)
def test_aliases_are_no_bomb() -> None:
    assert "line 3: x1[0]: is an alias, and aliases are not read; write it out" in problems(BOMB)


def test_unknown_users_are_all_told_and_skipped_if_that_is_said(shop: None) -> None:
    said = "flagstaff: 1\nflags: {dark_mode: {allowed_users: [carol, bob, '2', 77]}}"
    [told] = problems(said)
    assert told == (
        "line 2: flags.dark_mode.allowed_users: no user has the username 'carol', '2' or the "
        "primary key 77; --skip-unknown-users goes on without"
    )
    imported = take(said, skip_unknown_users=True)
    assert imported.plan.left_out == ("'2'", "'carol'", "77")
    assert state()[0]["dark_mode"]["allowed"] == {"bob"}


def test_yaml_is_read_alike_without_the_library_in_c(
    shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("yaml.CSafeLoader", raising=False)
    assert problems(WRONG) == TOLD
    assert take(text()).plan.steps == ()


def test_yaml_without_its_package_says_what_to_install(
    shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "flagstaff.serialization.yaml_format", raising=False)
    monkeypatch.delattr("flagstaff.serialization.yaml_format", raising=False)
    for attempt in (text, lambda: take(SHOP)):
        with pytest.raises(FlagstaffError, match=r'pip install "django-flagstaff\[yaml\]"'):
            attempt()
    assert take(text("json"), "json").plan.steps == ()


# Somebody was faster.


def test_newer_change_is_not_written_over(shop: None) -> None:
    written = text(versions=True)
    edited = written.replace("rollout_percent: 25", "rollout_percent: 30")
    set_rollout("new_checkout", 40)
    set_rollout("dark_mode", 99)
    before = state()
    for attempt in (differ, take):
        with pytest.raises(ConflictError) as caught:
            attempt(edited)
        assert "new_checkout has version" in str(caught.value)
        assert "dark_mode has version" in str(caught.value)
    assert state() == before
    take(edited, ignore_versions=True)
    assert state()[0]["new_checkout"]["rollout_percent"] == 30


def test_change_while_a_file_is_written_is_not_written_over_by_it(
    shop: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(kind: Kind, pks: Iterable[Any]) -> dict[str, int]:
        if state()[0]["new_checkout"]["rollout_percent"] != 60:
            set_rollout("new_checkout", 60)
        return versions_of(kind, pks)

    monkeypatch.setattr("flagstaff.serialization.exporting.versions_of", late)
    said = text(versions=True)
    monkeypatch.undo()
    assert not differ(said).steps


def test_newer_change_elsewhere_is_no_conflict_and_neither_is_the_second_time(shop: None) -> None:
    written = text(keys=["new_checkout", "page_size"], versions=True)
    edited = written.replace("rollout_percent: 25", "rollout_percent: 30")
    set_rollout("dark_mode", 99)
    assert len(take(edited).changed) == 1
    assert take(edited).changed == ()


def test_flag_that_was_deleted_since_is_a_conflict(shop: None) -> None:
    written = text(keys=["dark_mode"], versions=True)
    delete("dark_mode")
    with pytest.raises(ConflictError, match="dark_mode had version"):
        take(written)


def test_plan_that_was_looked_at_is_the_one_that_is_done(shop: None) -> None:
    seen = differ(EDITED.replace(", pk: 3", "")).fingerprint
    add_allowed_users("beta_reviews", 1)
    update("new_checkout", {"rollout_percent": 26})
    before = state()
    with pytest.raises(ConflictError, match=f"and not {seen}"):
        take(EDITED.replace(", pk: 3", ""), expect_plan=seen)
    assert state() == before
    again = differ(EDITED.replace(", pk: 3", "")).fingerprint
    assert take(EDITED.replace(", pk: 3", ""), expect_plan=again).plan.fingerprint == again


def test_number_that_is_written_another_way_is_the_same(shop: None) -> None:
    create_value("much", 10**16)
    create_value("nothing", 0.0)
    said = '{"flagstaff": 1, "values": {"much": {"value": 1e16}, "nothing": {"value": -0.0}}}'
    assert take(said, "json").plan.steps == ()


PAGE = (ROOT / "docs" / "how-to" / "export-import.md").read_text()


def test_file_of_the_page_is_one(shop: None) -> None:
    [said] = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    User.objects.create(pk=42, username="carol")
    create_value("api_token", "hunter2", secret=True)
    take(said)
    assert state()[0]["new_checkout"]["allowed"] == {"alice", "carol"}
    assert KeyValueStore.objects.get(key="api_token").value == "hunter2"


# Two at once.


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_locks "
            "WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        )
        return bool(cursor.fetchone()[0])


def _meanwhile(work: Callable[[], Any], change: Callable[[], Any]) -> Any:
    """What work gives, or raises, that began while a change was not yet committed."""

    def at_last() -> Any:
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            change()
            future = pool.submit(at_last)
            while not _somebody_waits():
                assert not future.done(), future.result()
        return future.result()


@COMMITTED
def test_import_waits_for_a_change_and_is_refused_over_it(shop: None) -> None:
    edited = text(versions=True).replace("rollout_percent: 25", "rollout_percent: 30")
    with pytest.raises(ConflictError, match="new_checkout has version"):
        _meanwhile(lambda: take(edited), lambda: set_rollout("new_checkout", 40))
    assert state()[0]["new_checkout"]["rollout_percent"] == 40


@COMMITTED
def test_import_waits_for_a_change_and_tells_what_it_was(shop: None) -> None:
    said = "flagstaff: 1\nflags: {new_checkout: {rollout_percent: 30}}"
    imported = _meanwhile(lambda: take(said), lambda: set_rollout("new_checkout", 40))
    assert words(imported.plan) == {"new_checkout": "rollout_percent 40 → 30"}


@COMMITTED
def test_undo_of_an_import_waits_for_a_change_and_is_refused_over_it(shop: None) -> None:
    imported = take(
        "flagstaff: 1\nflags: {dark_mode: {enabled: false}, search_v2: {kind: release}}"
    )
    change = imported.changed[0].version
    assert change
    with pytest.raises(ConflictError, match=r"^search_v2 has version"):
        _meanwhile(lambda: undo_transaction(change), lambda: set_rollout("search_v2", 40))
    assert state()[0]["dark_mode"]["enabled"] is False


@COMMITTED
def test_two_imports_of_the_same_flags_do_not_wait_for_each_other_in_a_ring(shop: None) -> None:
    one = "flagstaff: 1\nflags: {beta_reviews: {enabled: false}, search_v2: {enabled: false}}"
    other = "flagstaff: 1\nflags: {search_v2: {kind: release}, beta_reviews: {kind: ops}}"
    _meanwhile(lambda: take(other), lambda: take(one))
    flags = state()[0]
    assert [
        (flags[key]["enabled"], flags[key]["kind"]) for key in ("beta_reviews", "search_v2")
    ] == [
        (False, "ops"),
        (False, "release"),
    ]
