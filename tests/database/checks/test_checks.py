"""The system checks that query the database. Their hints fix the problem."""

from __future__ import annotations

import io
import re
from json import dumps
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.db import OperationalError, connection, connections, models
from django.test.utils import CaptureQueriesContext

from flagstaff import experiments
from flagstaff._tables.names import fill, sql
from flagstaff._tables.watched import watched_tables
from flagstaff.checks import database_messages
from flagstaff.checks.database import Database
from flagstaff.checks.flags import unknown_forced_off_keys
from flagstaff.conf import Conf
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.conditions import condition
from tests.support.models_of_others import flag_model_of, value_model_of
from tests.support.routers import RefusingRouter
from tests.support.sql import rows

pytestmark = pytest.mark.django_db

FLAGS, VALUES = "public.flagstaff_featureflag", "public.flagstaff_keyvaluestore"
ALLOWED = "public.flagstaff_featureflag_allowed_users"
NOT_FIRING = "workers may see changes late, and the history may be incomplete"
INSTALL = 'run "manage.py flags install-triggers" as the owner of the tables'


def messages() -> list[CheckMessage]:
    """The messages of the checks of the database. Each has a hint."""
    found = run_checks(tags=["flagstaff", "database"], databases=["default"])
    assert all(message.hint for message in found)
    return found


def only_message() -> tuple[str, str, str]:
    """Id, text and hint of the only message."""
    [message] = messages()
    return str(message.id), message.msg, str(message.hint)


def assert_fixed_by(hint: str) -> None:
    """Runs the statement of a hint, as the owner."""
    [[role]] = rows("SELECT quote_ident(current_user)")
    statement = hint.partition(": ")[2].partition("; or")[0].rstrip(";")
    rows(f"RESET ROLE; {statement}; SET LOCAL ROLE {role}")
    assert messages() == []


def assert_fixed_by_the_verb() -> None:
    """Runs the command of a hint."""
    call_command("flags", "install-triggers", stdout=io.StringIO())
    rows(f"DROP TRIGGER IF EXISTS flagstaff_history_insert_v0 ON {FLAGS}")
    assert messages() == []


@pytest.fixture
def project_models(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The models of a project, with their tables."""
    flag = flag_model_of("FeatureFlag")
    value = value_model_of("KeyValueStore")
    with connection.schema_editor() as editor:
        editor.create_model(flag)
        editor.create_model(value)
    monkeypatch.setattr(Conf, "flag_model", flag)
    monkeypatch.setattr(Conf, "value_model", value)
    return flag, value


def test_database_without_a_connection_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OperationalError("connection refused\n")

    monkeypatch.setattr(connections["default"], "ensure_connection", refuse)
    assert only_message() == (
        "flagstaff.W012",
        'cannot connect to database "default": connection refused',
        "start the database server, or correct its settings in DATABASES; then check again",
    )


def test_missing_tables_are_reported_with_a_hint_for_migrate_or_router(settings: Any) -> None:
    rows(f"DROP TABLE {VALUES}; DROP TABLE flagstaff_token CASCADE")
    # Not reported: triggers cannot be installed without the token table.
    rows(f"DROP TRIGGER flagstaff_token_insert_v1 ON {FLAGS}")
    assert only_message() == (
        "flagstaff.W013",
        ('tables are missing in database "default": "flagstaff_token", "flagstaff_keyvaluestore"'),
        'run "manage.py migrate"',
    )
    settings.DATABASE_ROUTERS = [RefusingRouter()]
    assert only_message()[2] == (
        'change allow_migrate in your router to allow flagstaff on "default"; '
        'then run "manage.py migrate"'
    )


def test_sqlite_is_reported_as_a_database_without_a_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("vendor", "sqlite"), ("display_name", "SQLite")):
        monkeypatch.setattr(connection, name, value)
    assert only_message()[:2] == (
        "flagstaff.I011",
        'database "default" is SQLite: every evaluation is a query, and there is no history',
    )


READER = "CREATE ROLE reader; GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON"
# What a role may do or see, and the message.
RIGHTS = {
    "too few": (
        (
            f"{READER} {FLAGS}, {ALLOWED}, flagstaff_segment, flagstaff_token, "
            "flagstaff_rollouts_plan, flagstaff_experiments_experiment TO reader; "
            "SET LOCAL ROLE reader"
        ),
        "flagstaff.W014",
        f'role reader of database "default" may not read {VALUES}',
        f"as the owner of the table, run: GRANT SELECT ON {VALUES} TO reader;",
    ),
    "too many": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "flagstaff.W021",
        (
            'every role may create objects in schema public of database "default", '
            "so each of them can make Django call functions that it has created there, with the "
            "rights of Django's role"
        ),
        "as the owner of the schema, run: REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
    ),
    "hidden rows": (
        (
            f"{READER} ALL TABLES IN SCHEMA public TO reader; "
            f"ALTER TABLE {VALUES} ENABLE ROW LEVEL SECURITY; SET LOCAL ROLE reader"
        ),
        "flagstaff.W022",
        (
            f'row level security can hide rows of {VALUES} in database "default" '
            "from role reader, so workers keep their last snapshot"
        ),
        (
            f"as the owner of the table, run: ALTER TABLE {VALUES} DISABLE ROW LEVEL SECURITY; "
            "or as a superuser: ALTER ROLE reader BYPASSRLS;"
        ),
    ),
}


@pytest.mark.parametrize(("statement", "check", "message", "hint"), RIGHTS.values(), ids=RIGHTS)
def test_right_that_is_wrong_is_reported_and_the_hint_corrects_it(
    statement: str, check: str, message: str, hint: str
) -> None:
    rows(statement)
    assert only_message() == (check, message, hint)
    assert_fixed_by(hint)


INCOMPLETE = "the admin and the history are incomplete"
CONSEQUENCES = {
    "flagstaff_featureflag": INCOMPLETE,
    "flagstaff_featureflag_allowed_users": INCOMPLETE,
    "flagstaff_keyvaluestore": INCOMPLETE,
    "flagstaff_segment": INCOMPLETE,
    "flagstaff_change": "the history cannot be read or lacks entries",
    "flagstaff_usage": "usage cannot be read or is incomplete",
    "flagstaff_report": "lost workers are not found",
    "flagstaff_worker": "it is not known which workers have applied a change",
    "flagstaff_token": "changes of flags can fail",
}


def test_row_security_that_is_forced_on_the_owner_is_reported_and_the_hint_disables_it() -> None:
    rows("CREATE ROLE app; GRANT USAGE, CREATE ON SCHEMA public TO app")
    for table, consequence in CONSEQUENCES.items():
        rows(f"ALTER TABLE {table} OWNER TO app; ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        assert messages() == []
        rows(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        check, message, hint = only_message()
        assert check == "flagstaff.W023"
        assert message == (
            f'row level security can hide rows of public.{table} in database "default" '
            f"from role app, so {consequence}"
        )
        assert_fixed_by(hint)


def test_row_security_that_hides_flags_from_djangos_role_alone_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Conf, "engine_database", "another role")
    rows(f"ALTER TABLE {FLAGS} ENABLE ROW LEVEL SECURITY")
    rows("CREATE ROLE app; GRANT SELECT ON ALL TABLES IN SCHEMA public TO app")
    rows("SET LOCAL ROLE app")
    found = [*database_messages(["default"])]
    assert [message.id for message in found] == ["flagstaff.W023"]
    assert found[0].msg.endswith(f"from role app, so {INCOMPLETE}")


TOKEN_TRIGGERS = [
    f"flagstaff_token_{event}_v1" for event in ("insert", "update", "delete", "truncate")
]
WRONG_TRIGGERS = {
    "missing": (
        (
            f"DROP TRIGGER flagstaff_token_delete_v1 ON {FLAGS}; "
            f"DROP TRIGGER flagstaff_token_insert_v1 ON {VALUES}; "
            f"DROP TRIGGER flagstaff_history_insert_v1 ON {VALUES}"
        ),
        "flagstaff.W015",
        (
            f"missing: flagstaff_token_delete_v1 on {FLAGS}; "
            f"flagstaff_token_insert_v1, flagstaff_history_insert_v1 on {VALUES}"
        ),
    ),
    **{
        f"{mode} {trigger}": (
            f"ALTER TABLE {ALLOWED} {mode} TRIGGER {trigger}",
            "flagstaff.W016",
            f"disabled: {trigger} on {ALLOWED}",
        )
        for mode in ("DISABLE", "ENABLE REPLICA", "ENABLE")
        for trigger in TOKEN_TRIGGERS
    },
    **{
        f"missing {trigger}": (
            f"DROP TRIGGER {trigger} ON {ALLOWED}",
            "flagstaff.W015",
            f"missing: {trigger} on {ALLOWED}",
        )
        for trigger in TOKEN_TRIGGERS
    },
    "whole table": (
        f"ALTER TABLE {FLAGS} DISABLE TRIGGER USER",
        "flagstaff.W016",
        f"disabled: all on {FLAGS}",
    ),
    "another version": (
        (
            f"ALTER TRIGGER flagstaff_history_insert_v1 ON {FLAGS} "
            "RENAME TO flagstaff_history_insert_v0"
        ),
        "flagstaff.W017",
        f"outdated: flagstaff_history_insert_v1 on {FLAGS}",
    ),
    "other columns": (
        f"""
            CREATE OR REPLACE TRIGGER flagstaff_history_insert_v1
            AFTER INSERT ON {FLAGS} REFERENCING NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_row_history_v1(f, id, name, '')
        """,
        "flagstaff.W017",
        f"outdated: flagstaff_history_insert_v1 on {FLAGS}",
    ),
}


@pytest.mark.parametrize(
    ("statement", "check", "problem"), WRONG_TRIGGERS.values(), ids=WRONG_TRIGGERS
)
def test_trigger_that_is_not_as_installed_is_reported_and_the_hint_fixes_it(
    statement: str, check: str, problem: str
) -> None:
    rows(statement)
    outdated = "the history may be incomplete or have wrong keys"
    consequence = outdated if check == "flagstaff.W017" else NOT_FIRING
    assert only_message() == (check, f"triggers are {problem}; {consequence}", INSTALL)
    assert_fixed_by_the_verb()


def test_missing_triggers_on_models_of_a_project_are_reported_with_a_migration(
    project_models: Any,
) -> None:
    check, message, hint = only_message()
    assert check == "flagstaff.W015"
    assert message == (
        "triggers are missing: all on public.common_featureflag; "
        "all on public.common_featureflag_allowed_users; all on public.common_keyvaluestore; "
        f"{NOT_FIRING}"
    )
    first, *code = hint.splitlines()
    assert first.endswith(", and in the new file add the import and replace the two lists:")
    assert code == [
        "    from flagstaff.operations import InstallTriggers",
        '    dependencies = [("flagstaff", "0001_flagstaff")]',
        '    operations = [InstallTriggers("common.FeatureFlag", "common.KeyValueStore")]',
    ]


def test_triggers_of_a_model_that_has_changed_are_outdated(project_models: Any) -> None:
    flag, _value = project_models
    install(flag)
    renamed = models.CharField(max_length=255, unique=True, db_column="name")
    renamed.model = flag
    renamed.set_attributes_from_name("key")
    with connection.schema_editor() as editor:
        editor.alter_field(flag, flag._meta.get_field("key"), renamed)
    flag._meta.get_field("key").column = "name"
    checks = {message.id: message for message in messages()}
    outdated = checks["flagstaff.W017"]
    assert "flagstaff_history_insert_v1" in outdated.msg
    assert 'operations = [InstallTriggers("common.FeatureFlag")]' in str(outdated.hint)


def install(flag: Any, value: Any = None) -> None:
    """Installs the triggers of models of a project."""
    for watched in watched_tables(connection, flag, value):
        rows(fill(sql("triggers_v1"), {"schema": "public", **watched.placeholders()}))


def test_triggers_on_a_table_of_former_models_are_reported_and_the_hint_drops_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flag = flag_model_of("FeatureFlag")
    with connection.schema_editor() as editor:
        editor.create_model(flag)
    install(flag)
    monkeypatch.setattr(Conf, "flag_model", flag)
    # flagstaff's own tables are empty, as in a project that has never used them.
    assert messages() == []
    FeatureFlag.objects.create(key="new_checkout")
    check, message, hint = only_message()
    assert check == "flagstaff.W026"
    assert message == (
        f"{FLAGS} has triggers of flagstaff, but is not the table of FLAG_MODEL or "
        "VALUE_MODEL: its changes have no effect, but make every worker check for changes"
    )
    assert_fixed_by(hint)
    FeatureFlag.objects.update(enabled=True)


def test_inheriting_table_without_a_token_trigger_is_reported_and_the_hint_creates_it() -> None:
    rows(f"CREATE TABLE archived () INHERITS ({FLAGS}); INSERT INTO archived VALUES (9, 'old')")
    # A history trigger may fire always.
    rows(f"ALTER TABLE {FLAGS} ENABLE ALWAYS TRIGGER flagstaff_history_insert_v1")
    check, message, hint = only_message()
    expected = (
        f"public.archived inherits from {FLAGS} and has no enabled token trigger for INSERT, "
        "UPDATE, DELETE, TRUNCATE, so every worker loads all flags and values at each poll"
    )
    assert (check, message) == ("flagstaff.W027", expected)
    assert_fixed_by(hint)


@pytest.mark.parametrize(
    ("trigger", "mode", "silent"),
    [
        ("AFTER INSERT OR UPDATE OR DELETE ON archived", "ENABLE ALWAYS", "TRUNCATE"),
        ("AFTER INSERT OR TRUNCATE ON archived", "ENABLE ALWAYS", "UPDATE, DELETE"),
        (
            "AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON archived",
            "ENABLE",
            "INSERT, UPDATE, DELETE, TRUNCATE",
        ),
    ],
)
def test_changes_of_an_inheriting_table_without_a_token_trigger_are_named(
    trigger: str, mode: str, silent: str
) -> None:
    rows(
        f"CREATE TABLE archived () INHERITS ({FLAGS}); CREATE TRIGGER flagstaff_token_v1 {trigger} "
        "FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_token_v1(f); "
        f"ALTER TABLE archived {mode} TRIGGER flagstaff_token_v1"
    )
    _, message, hint = only_message()
    assert f"has no enabled token trigger for {silent}, so" in message
    assert_fixed_by(hint)


def test_partition_without_a_token_trigger_is_reported(project_models: Any) -> None:
    flag, value = project_models
    with connection.schema_editor() as editor:
        editor.delete_model(value)
    rows(
        "CREATE TABLE common_keyvaluestore (id bigint, key text, value jsonb) "
        "PARTITION BY HASH (key); CREATE TABLE part PARTITION OF common_keyvaluestore "
        "FOR VALUES WITH (MODULUS 1, REMAINDER 0)"
    )
    install(flag, value)
    check, _, hint = only_message()
    assert check == "flagstaff.W027"
    assert_fixed_by(hint)


@pytest.mark.parametrize(
    ("function", "body"),
    [
        ("flagstaff_token_v1() RETURNS trigger", "NULL"),
        ("flagstaff_row_history_v1() RETURNS trigger", "NULL"),
        ("flagstaff_barrier_v1() RETURNS bigint", "0"),
    ],
)
def test_replaced_function_is_reported_and_the_hint_installs_it_again(
    function: str, body: str
) -> None:
    rows(f"CREATE OR REPLACE FUNCTION {function} LANGUAGE plpgsql AS 'BEGIN RETURN {body}; END'")
    name = function.partition("(")[0]
    assert only_message() == (
        "flagstaff.W028",
        f"functions in schema public were replaced: {name}; {NOT_FIRING}",
        INSTALL,
    )
    assert_fixed_by_the_verb()


def test_triggers_of_another_project_are_not_reported() -> None:
    rows(
        "CREATE SCHEMA other; CREATE TABLE other.flags (id int); "
        "CREATE FUNCTION other.flagstaff_token_v1() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER flagstaff_token_v1 AFTER INSERT ON other.flags "
        "FOR EACH STATEMENT EXECUTE FUNCTION other.flagstaff_token_v1(); "
        "INSERT INTO other.flags VALUES (1)"
    )
    assert messages() == []


@pytest.mark.parametrize(
    ("command", "reported"),
    [("check", True), ("migrate", False), ("migrate_schemas", False)],
)
def test_problems_that_a_running_migrate_fixes_are_not_reported(
    command: str, reported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows("DELETE FROM django_migrations WHERE app = 'flagstaff'")
    rows(f"DROP TABLE {VALUES}; DROP TRIGGER flagstaff_token_insert_v1 ON {FLAGS}")
    monkeypatch.setattr("sys.argv", ["manage.py", command])
    by_id = {message.id: message.hint for message in messages()}
    hint = 'run "manage.py migrate"'
    assert by_id == ({"flagstaff.W013": hint, "flagstaff.W015": hint} if reported else {})


def test_invalid_keys_are_reported() -> None:
    FeatureFlag.objects.create(key="new checkout")
    assert only_message()[1] == "1 flag has a key that is not valid: 'new checkout'"
    keys = ["a:b", "tab\t", "x" * 10, "ä.b-c_1", "z y", "--help", "🚩"]
    FeatureFlag.objects.bulk_create([FeatureFlag(key=key) for key in keys])
    check, message, hint = only_message()
    assert check == "flagstaff.W018"
    assert message == (
        "6 flags have keys that are not valid: '--help', 'a:b', 'new checkout' and 3 more"
    )
    assert hint == (
        'a key has 1 to 255 letters, digits, "_", "-" or ".", and does not begin with "-"; '
        "rename the keys in the table and in the code; the flags still work, but with "
        '":", two pairs of key and user can have the same hash input'
    )


def test_keys_that_differ_in_case_are_reported() -> None:
    similar = ["new_checkout", "NEW_CHECKOUT", "New_Checkout", "beta", "BETA"]
    keys = [*similar, "dark-mode", "dark_mode"]
    FeatureFlag.objects.bulk_create([FeatureFlag(key=key) for key in keys])
    check, text, _ = only_message()
    assert check == "flagstaff.W032"
    assert set(re.findall("'(.+?)'", text)) == {*similar}


def test_flag_and_value_with_the_same_key_are_reported() -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key=key) for key in ("limit", "beta")])
    KeyValueStore.objects.create(key="limit", value=5)
    check, text, _ = only_message()
    assert check == "flagstaff.W054"
    assert text == "a flag and a value have the same key: 'limit'"


def test_sequence_behind_the_history_is_reported() -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key="a"), FeatureFlag(key="b")])
    rows("ALTER TABLE flagstaff_change ALTER COLUMN id RESTART")
    check, text, hint = only_message()
    assert check == "flagstaff.W059"
    assert text.startswith("the sequence of public.flagstaff_change is lower than the highest id")
    assert_fixed_by(hint)


PAYING = [condition("plan", "in", "paid")]


def rule(segment: str) -> dict[str, Any]:
    return {"name": "beta", "conditions": [{"segment": segment, "negate": True}]}


def test_rules_that_name_a_missing_segment_are_reported() -> None:
    Segment.objects.create(key="enterprise", conditions=PAYING)
    FeatureFlag.objects.create(key="a", rules=[rule("enterprise"), rule("gone"), rule("gone")])
    assert only_message() == (
        "flagstaff.W033",
        (
            "rules name segments that do not exist: 'gone' in rule 2 (\"beta\") of 'a', "
            "'gone' in rule 3 (\"beta\") of 'a'"
        ),
        (
            "such a condition is never true; create the segment with "
            '"manage.py flags segment create", or change the rules'
        ),
    )
    Segment.objects.create(key="gone", conditions=PAYING)
    assert messages() == []


CORRECT = "correct the {} in the admin or with"


def set_rules_by_sql(json: object) -> None:
    """Writes JSON that no form, command or import accepts, as the rules of the flag "a"."""
    text = json if isinstance(json, str) else dumps(json)
    rows(f"UPDATE {FLAGS} SET rules = %s::jsonb WHERE key = 'a'", text)


# Rules, and how the problem begins.
UNREADABLE: dict[str, tuple[object, str]] = {
    "object": ({}, "the rules must be a list, not an object)"),
    "null": (None, "the rules must be a list, not null)"),
    "list": ([[]], "rule 1: a rule must be an object, not a list)"),
    "pattern": (
        [{"conditions": [condition("a", "regex", r"\w{200}" * 2)]}],
        (
            "rule 1, condition 1, value 1: the pattern is too big; use smaller repetitions "
            r"and fewer classes such as \w)"
        ),
    ),
    "operator": (
        [
            rule("x") | {"conditions": PAYING},
            {"name": "beta", "conditions": [condition("plan", "sounds_like", "paid")]},
        ],
        'rule 2 ("beta"), condition 1: the operator "sounds_like" is not known to this version; ',
    ),
}


@pytest.mark.parametrize(("rules", "problem"), UNREADABLE.values(), ids=UNREADABLE)
def test_rules_that_workers_cannot_read_are_reported(rules: object, problem: str) -> None:
    FeatureFlag.objects.create(key="a")
    set_rules_by_sql(rules)
    identifier, text, hint = only_message()
    assert identifier == "flagstaff.W034"
    assert hint.startswith(CORRECT.format("rules"))
    assert text.startswith(f"workers cannot read the rules of 'a' ({problem}")


def test_unreadable_rules_of_one_flag_do_not_hide_a_missing_segment_of_another() -> None:
    FeatureFlag.objects.create(key="b", rules=[rule("gone")])
    FeatureFlag.objects.create(key="a")
    set_rules_by_sql([[]])
    assert [message.id for message in messages()] == ["flagstaff.W033", "flagstaff.W034"]


def test_only_the_first_flags_with_unreadable_rules_are_listed() -> None:
    FeatureFlag.objects.bulk_create([FeatureFlag(key=key, rules={}) for key in "abcde"])
    text = only_message()[1]
    assert text.count("must be a list") == 3
    assert text.endswith("and 2 more")


def test_conditions_that_workers_cannot_read_are_reported() -> None:
    Segment.objects.create(key="enterprise", conditions=[])
    Segment.objects.create(key="paying", conditions=PAYING)
    FeatureFlag.objects.create(key="a", rules=[rule("enterprise")])
    [message] = messages()
    assert (message.id, message.obj) == ("flagstaff.W034", Segment)
    assert message.msg == (
        "workers cannot read the conditions of 'enterprise' (there are no conditions, which would "
        "include everyone; add at least one)"
    )
    assert str(message.hint).startswith(CORRECT.format("conditions"))


SPELLING = (
    "correct the spelling; if the context or your function has the attribute, silence "
    "this with SILENCED_SYSTEM_CHECKS"
)


def test_attribute_that_is_nearly_a_known_one_is_reported(settings: Any) -> None:
    settings.FLAGSTAFF = {"ATTRIBUTES": ["email"]}
    attributes = ("is_stafff", "email", "country", "is_staff", "e_mail", "IS_STAFF")
    conditions = [condition(name, "isnull", False) for name in attributes]
    FeatureFlag.objects.create(key="a", rules=[{"conditions": conditions[:4]}])
    Segment.objects.create(key="reachable", conditions=conditions[4:])
    assert only_message() == (
        "flagstaff.I036",
        (
            "rules read attributes that may be misspelled: 'IS_STAFF' (did you mean 'is_staff'?), "
            "'e_mail' (did you mean 'email'?), 'is_stafff' (did you mean 'is_staff'?)"
        ),
        SPELLING,
    )


def test_value_that_never_matches_is_reported_with_what_has_it(settings: Any) -> None:
    settings.FLAGSTAFF = {"ATTRIBUTES": ["date_joined"]}
    week, country = condition("date_joined", "lt", "7d"), condition("country", "regex", "a^")
    FeatureFlag.objects.create(key="a", rules=[{"conditions": [week]}])
    Segment.objects.create(key="near", conditions=[country, condition("country", "in", "DE")])
    identifier, text, hint = only_message()
    assert identifier == "flagstaff.W058"
    assert text.startswith(
        'rules have values that never match: rule 1: value 1 never matches "date_joined": it is a '
    )
    assert text.endswith(
        "('a'); value 1 never matches \"country\": no text can match this pattern; check where "
        '"^" and "$" are (segment \'near\')'
    )
    assert hint.startswith("such a condition is false, also if it is negated")


def test_flag_model_without_rules_is_not_checked_for_them(project_models: tuple[Any, Any]) -> None:
    assert not [one for one in messages() if one.id in {"flagstaff.W033", "flagstaff.W034"}]


def bucket_by(*units: str) -> None:
    """Creates a flag for each unit, with the keys from "a" on."""
    for key, unit in zip("abcdefg", units, strict=False):
        FeatureFlag.objects.create(key=key, bucket_by=unit)


def test_unusable_bucketing_unit_is_reported_with_the_reason() -> None:
    bucket_by("groups", "")
    assert only_message() == (
        "flagstaff.W037",
        (
            "unusable bucketing units: 'a' (\"groups\" cannot be the "
            'bucketing unit, because it is built in; use "user", "visitor", or the name of an '
            "attribute, such as \"organization\"); 'b' (the bucketing unit is empty; use "
            '"user", "visitor", or the name of an attribute, such as "organization")'
        ),
        (
            "percentages from 1 to 99 include no user; set another unit in the admin, or with "
            '"manage.py flags unit KEY UNIT", for a value "value rules"'
        ),
    )


def test_bucketing_unit_that_is_nearly_a_known_one_is_reported(settings: Any) -> None:
    settings.FLAGSTAFF = {"ATTRIBUTES": ["last_name"]}
    settings.MIDDLEWARE = ["flagstaff.middleware.FlagstaffMiddleware"]
    bucket_by("user", "visitor", "last_name", "plan", "lastname", "User", "visitors")
    assert only_message() == (
        "flagstaff.I038",
        (
            "bucketing units that may be misspelled: "
            "'lastname' of 'e' (did you mean 'last_name'?), 'User' of 'f' (did you mean 'user'?), "
            "'visitors' of 'g' (did you mean 'visitor'?)"
        ),
        SPELLING,
    )


def test_flag_that_counts_visitors_needs_the_middleware(settings: Any) -> None:
    bucket_by("visitor", "user", "visitor")
    assert only_message() == (
        "flagstaff.W042",
        (
            "bucketed by visitor: 'a', 'c'; but no browser has a visitor, because "
            "FlagstaffMiddleware is not in MIDDLEWARE"
        ),
        (
            'add "flagstaff.middleware.FlagstaffMiddleware" after AuthenticationMiddleware; if all '
            "calls pass the visitor in the context, silence this with SILENCED_SYSTEM_CHECKS"
        ),
    )
    others = settings.MIDDLEWARE
    for path in ("flagstaff.middleware.FlagstaffMiddleware", f"{__name__}.OwnMiddleware"):
        settings.MIDDLEWARE = ["shop.missing.middleware", *others, path]
        assert messages() == []


def a_value(*rules: object, **fields: Any) -> None:
    KeyValueStore.objects.create(key="max_items", value=10, rules=[*rules], **fields)


def test_rules_of_a_value_are_checked_like_those_of_a_flag() -> None:
    a_value({**rule("gone"), "value": 50}, {"conditions": [condition("is_stafff", "in", True)]})
    KeyValueStore.objects.create(key="page_size", value=10, rules={})
    found = {message.id: message for message in messages()}
    assert found["flagstaff.W033"].msg == (
        "rules name segments that do not exist: 'gone' in rule 1 (\"beta\") of value 'max_items'"
    )
    assert "'is_stafff' (did you mean 'is_staff'?)" in found["flagstaff.I036"].msg
    unreadable = found["flagstaff.W034"]
    assert unreadable.msg.startswith("workers cannot read the rules of the values 'max_items' (")
    assert "'page_size' (the rules must be a list" in unreadable.msg
    assert unreadable.obj is KeyValueStore
    assert '"manage.py flags value rules"' in str(unreadable.hint)


def test_bucketing_unit_of_a_value_is_checked(settings: Any) -> None:
    a_value(bucket_by="groups")
    assert only_message()[1].startswith("unusable bucketing units: value 'max_items' (")
    KeyValueStore.objects.update(bucket_by="visitor")
    assert only_message()[1].startswith("bucketed by visitor: value 'max_items'; ")
    settings.MIDDLEWARE = ["flagstaff.middleware.FlagstaffMiddleware"]
    KeyValueStore.objects.update(bucket_by="visitors")
    assert "'visitors' of value 'max_items' (did you mean 'visitor'?)" in only_message()[1]


class OwnMiddleware(FlagstaffMiddleware):
    """A project may extend the middleware."""


def test_database_in_another_encoding_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Database, "encoding", "SQL_ASCII")
    found = only_message()
    assert found[:2] == ("flagstaff.E060", 'database "default" is in the encoding SQL_ASCII')


def test_rules_and_conditions_are_read_once() -> None:
    FeatureFlag.objects.create(key="a", rules=[rule("gone")])
    with CaptureQueriesContext(connection) as queries:
        messages()
    read = [query["sql"] for query in queries]
    # Those of flags, of values and of experiments.
    assert sum('"rules"' in one for one in read) == 3
    assert sum('"conditions"' in one for one in read) == 1


def test_unreadable_tables_leave_the_transaction_usable() -> None:
    rows("CREATE ROLE other; GRANT USAGE ON SCHEMA public TO other; SET LOCAL ROLE other")
    assert {message.id for message in messages()} == {"flagstaff.W014"}
    rows("RESET ROLE")
    assert FeatureFlag.objects.count() == 0


def test_model_without_a_field_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    flag = flag_model_of("FeatureFlag", allowed_users=None)
    monkeypatch.setattr(Conf, "flag_model", flag)
    assert [message.id for message in messages()] == ["flagstaff.E005"]


def test_other_databases_are_not_checked() -> None:
    rows(f"DROP TRIGGER flagstaff_token_insert_v1 ON {FLAGS}")
    assert [*database_messages(["another"])] == []


def test_forced_off_flags_that_do_not_exist_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    FeatureFlag.objects.create(key="new_checkout")
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", "new_checkout, new_chekout, banner")
    message = "FLAGSTAFF_FORCE_OFF names flags that do not exist: "
    similar = 'did you mean "new_checkout"?'
    assert only_message() == ("flagstaff.W025", f"{message}new_chekout, banner", similar)
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", "banner")
    _, text, hint = only_message()
    assert text == f"{message}banner"
    assert hint == (
        "correct the keys and restart the process; a flag that is created later with such "
        "a key is forced off, too"
    )


def test_forced_off_experiment_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    experiments.create("button")
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", "button")
    assert messages() == []


def test_forced_off_flags_that_exist_or_have_invalid_keys_or_no_table_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FeatureFlag.objects.create(key="new_checkout")
    for given, ids in (("", []), ("new_checkout", []), ("New Checkout", ["flagstaff.W024"])):
        monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", given)
        assert [message.id for message in messages()] == ids
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", "banner")
    monkeypatch.setattr(FeatureFlag._meta, "db_table", "missing")
    assert [*unknown_forced_off_keys(Database(connection))] == []
