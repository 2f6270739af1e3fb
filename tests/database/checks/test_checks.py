"""The system checks that query the database. Their hints fix the problem."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.core.management import call_command
from django.db import connection, connections

from flagstaff import experiments
from flagstaff._tables.catalog import watched_tables
from flagstaff._tables.database import fill, sql
from flagstaff.checks import database_messages
from flagstaff.checks.database import table_messages
from flagstaff.conf import Conf
from flagstaff.experiments.models import Experiment
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.check_messages import check_messages, only_message
from tests.support.conditions import condition
from tests.support.models_of_others import flag_model_of, value_model_of
from tests.support.shop import Shop
from tests.support.sql import rows

FLAGS, VALUES = "public.flagstaff_featureflag", "public.flagstaff_keyvaluestore"
ALLOWED = "public.flagstaff_featureflag_allowed_users"
SEGMENTS, PLANS = "public.flagstaff_segment", "public.flagstaff_rollouts_plan"
EXPERIMENTS = "public.flagstaff_experiments_experiment"


def messages() -> list[CheckMessage]:
    """The messages of the checks of the database."""
    return check_messages("flagstaff", "database", databases=["default"])


@pytest.fixture
def project_models(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The models of a project, with their tables."""
    flag, value = flag_model_of("FeatureFlag"), value_model_of("KeyValueStore")
    with connection.schema_editor() as editor:
        editor.create_model(flag)
        editor.create_model(value)
    monkeypatch.setattr(Conf, "flag_model", flag)
    monkeypatch.setattr(Conf, "value_model", value)
    return flag, value


def test_database_in_another_encoding_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flagstaff.checks.database.query_catalog", lambda *_: [("SQL_ASCII",)])
    assert only_message(messages())[:2] == (
        "flagstaff.E060",
        'database "default" is in the encoding SQL_ASCII, so workers load nothing',
    )


def test_missing_tables_are_reported_with_the_command_and_the_router() -> None:
    # Triggers are not reported: they cannot be installed without the table of tokens.
    rows(f"DROP TABLE {VALUES}, flagstaff_rollouts_failednetwork, flagstaff_token CASCADE")
    check, text, hint = only_message(messages())
    assert (check, text) == (
        "flagstaff.W013",
        (
            'tables are missing in database "default": "flagstaff_token", '
            '"flagstaff_keyvaluestore", "flagstaff_rollouts_failednetwork"'
        ),
    )
    assert hint == (
        'run "manage.py migrate"; if it creates none, change allow_migrate in your router to '
        'allow their apps on "default"'
    )


READER = "CREATE ROLE reader; GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON"
OF_APPS = "flagstaff_rollouts_plan, flagstaff_experiments_experiment"
HIDING = "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
# What a role may do or see, the id, and how the text begins.
RIGHTS = {
    "may not read": (
        (
            f"{READER} {FLAGS}, {ALLOWED}, flagstaff_segment, flagstaff_token, {OF_APPS} "
            "TO reader; SET LOCAL ROLE reader"
        ),
        "flagstaff.W014",
        f"role reader may not read {VALUES}, so",
    ),
    "may create": (
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "flagstaff.W021",
        "every role may create objects in schema public, so each of them can make Django call",
    ),
    "sees no rows": (
        (
            f"{READER} ALL TABLES IN SCHEMA public TO reader; "
            f"{HIDING.format(table=VALUES)}; SET LOCAL ROLE reader"
        ),
        "flagstaff.W022",
        f"row level security can hide rows of {VALUES} from role reader, so",
    ),
}
# The functions of the triggers run as the owner.
for _table in (FLAGS, ALLOWED, VALUES, SEGMENTS, PLANS, EXPERIMENTS, "public.flagstaff_change"):
    RIGHTS[f"owner sees no rows of {_table}"] = (
        (
            "CREATE ROLE app; GRANT USAGE, CREATE ON SCHEMA public TO app; "
            f"ALTER TABLE {_table} OWNER TO app; {HIDING.format(table=_table)}; "
            f"ALTER TABLE {_table} FORCE ROW LEVEL SECURITY"
        ),
        "flagstaff.W022",
        f"row level security can hide rows of {_table} from role app, so",
    )


@pytest.mark.parametrize(("statement", "check", "text"), RIGHTS.values(), ids=RIGHTS)
def test_right_that_is_wrong_is_reported_and_the_hint_corrects_it(
    statement: str, check: str, text: str
) -> None:
    rows(statement)
    check_id, message, hint = only_message(messages())
    assert check_id == check
    assert message.startswith(text)
    # The statement of the hint, as the owner.
    [[role]] = rows("SELECT quote_ident(current_user)")
    statement = hint.partition(": ")[2].partition("; or")[0].rstrip(";")
    rows(f"RESET ROLE; {statement}; SET LOCAL ROLE {role}")
    assert messages() == []


@pytest.mark.parametrize(
    "statement",
    [
        (
            "CREATE ROLE app; GRANT USAGE, CREATE ON SCHEMA public TO app; "
            f"ALTER TABLE {FLAGS} OWNER TO app; {HIDING.format(table=FLAGS)}"
        ),
        f"ALTER TABLE {FLAGS} ENABLE ALWAYS TRIGGER flagstaff_history_insert_v1",
    ],
    ids=["row security that is not forced on the owner", "history trigger that fires always"],
)
def test_what_harms_nothing_is_not_reported(statement: str) -> None:
    rows(statement)
    assert messages() == []


def test_row_security_of_a_second_alias_is_reported_for_its_role_and_the_engines_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Conf, "engine_database", "default")
    monkeypatch.setattr(Conf, "database", "another")
    rows("CREATE ROLE app; GRANT SELECT ON ALL TABLES IN SCHEMA public TO app")
    rows(f"{HIDING.format(table=FLAGS)}; {HIDING.format(table='flagstaff_change')}")
    rows("SET LOCAL ROLE app")
    second = table_messages(connection, is_first=False)
    assert [message.msg.partition(", so")[0] for message in second] == [
        f"row level security can hide rows of {FLAGS} from role app"
    ]


def test_unreadable_tables_leave_the_transaction_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", "new_checkout")
    rows("CREATE ROLE other; GRANT USAGE ON SCHEMA public TO other; SET LOCAL ROLE other")
    assert {message.id for message in messages()} == {"flagstaff.W014"}
    rows("RESET ROLE")
    assert FeatureFlag.objects.count() == 0


TOKEN_TRIGGERS = [
    f"flagstaff_token_{event}_v1" for event in ("insert", "update", "delete", "truncate")
]
# Statements, and the table that is named. tests/database/sql/test_trigger_health.py has more.
WRONG_TRIGGERS = {
    **{
        f"without {trigger} on {table}": (f"DROP TRIGGER {trigger} ON {table}", table)
        for table in (ALLOWED, PLANS, EXPERIMENTS)
        for trigger in TOKEN_TRIGGERS
    },
    **{
        f"{change} token": (f"ALTER TABLE {FLAGS} {change} TRIGGER {TOKEN_TRIGGERS[0]}", FLAGS)
        for change in ("DISABLE", "ENABLE REPLICA", "ENABLE")
    },
    "without history": (f"DROP TRIGGER flagstaff_history_insert_v1 ON {VALUES}", VALUES),
    "disabled history": (
        f"ALTER TABLE {SEGMENTS} DISABLE TRIGGER flagstaff_history_insert_v1",
        SEGMENTS,
    ),
    "all disabled": (f"ALTER TABLE {FLAGS} DISABLE TRIGGER USER", FLAGS),
    "another version": (
        (
            f"ALTER TRIGGER flagstaff_history_insert_v1 ON {FLAGS} RENAME TO "
            "flagstaff_history_insert_v0"
        ),
        FLAGS,
    ),
    "other columns": (
        f"""
            CREATE OR REPLACE TRIGGER flagstaff_history_insert_v1
            AFTER INSERT ON {FLAGS} REFERENCING NEW TABLE AS new_rows
            FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_row_history_v1(f, id, name, '')
        """,
        FLAGS,
    ),
    "replaced function": (
        (
            "CREATE OR REPLACE FUNCTION flagstaff_allowed_users_history_v1() RETURNS trigger "
            "LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        ),
        ALLOWED,
    ),
}


@pytest.mark.parametrize(("statement", "table"), WRONG_TRIGGERS.values(), ids=WRONG_TRIGGERS)
@pytest.mark.one_in(4)
def test_trigger_that_is_not_as_installed_is_reported_and_the_hint_fixes_it(
    statement: str, table: str
) -> None:
    rows(statement)
    assert only_message(messages()) == (
        "flagstaff.W015",
        (
            f"triggers are missing, disabled or changed on: {table}; workers may see changes "
            "late, and the history may be incomplete"
        ),
        (
            'as the owner of the tables, run "manage.py migrate" and "manage.py flags '
            'install-triggers"'
        ),
    )
    call_command("flags", "install-triggers", stdout=io.StringIO())
    assert messages() == []


def test_missing_triggers_on_models_of_a_project_are_reported_with_the_operation(
    project_models: Any,
) -> None:
    check, text, hint = only_message(messages())
    assert check == "flagstaff.W015"
    assert "on: public.common_featureflag, public.common_featureflag_allowed_users, " in text
    assert hint.endswith(
        "; first, if no migration has it, add one with the operation flagstaff.operations."
        'InstallTriggers(flag_model="common.FeatureFlag", value_model="common.KeyValueStore") and '
        'the dependency ("flagstaff", "0001_flagstaff")'
    )
    for watched in watched_tables(connection, *project_models):
        for file in ("token_trigger_v1", "history_triggers_v1"):
            rows(fill(sql(file), {"schema": "public", **watched.placeholders()}))
    # flagstaff's own tables keep theirs.
    FeatureFlag.objects.create(key="new_checkout")
    assert messages() == []


@pytest.mark.parametrize(
    ("command", "reported"), [("check", True), ("migrate", False), ("migrate_schemas", False)]
)
def test_tables_that_a_running_migrate_may_create_are_not_reported(
    command: str, reported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(f"DROP TABLE {VALUES}; DROP TRIGGER flagstaff_token_insert_v1 ON {FLAGS}")
    both = ["flagstaff.W013", "flagstaff.W015"]
    monkeypatch.setattr("sys.argv", ["manage.py", command])
    assert [message.id for message in messages()] == both
    rows("DELETE FROM django_migrations WHERE app = 'flagstaff'")
    assert [message.id for message in messages()] == (both if reported else [])


def test_forced_off_flags_that_do_not_exist_are_reported(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.flag()
    shop.experiment("button")
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", " new_checkout ,, button,")
    assert messages() == []
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", "new_checkout, new_chekout; button, *")
    assert only_message(messages())[:2] == (
        "flagstaff.W025",
        "FLAGSTAFF_FORCE_OFF names flags that do not exist: new_chekout; button, *",
    )


READS = [condition("groups", "in", "beta")]
RULES = [{"conditions": READS}]


@pytest.mark.parametrize(
    "create",
    [
        lambda shop: shop.flag(rules=RULES),
        lambda shop: shop.value(rules=[{**RULES[0], "value": 50}]),
        lambda shop: shop.segment(conditions=READS),
        lambda _shop: experiments.create("button", rules=RULES),
    ],
    ids=["flag", "value", "segment", "experiment"],
)
def test_rules_on_groups_that_cannot_be_read_are_reported(
    create: Callable[[Shop], object], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.flag("groups", description='{"attribute": "groups"}')
    with monkeypatch.context() as without_groups:
        without_groups.setattr("flagstaff._tables.rows.find_field", lambda model, name: None)
        assert messages() == []
        create(shop)
        assert only_message(messages())[:2] == (
            "flagstaff.W040",
            (
                "workers cannot read the groups of users: auth.User has no ManyToManyField "
                '"groups"; so conditions on groups are false'
            ),
        )
    assert messages() == []


class OwnMiddleware(FlagstaffMiddleware):
    """A project may extend the middleware."""


@pytest.mark.parametrize("model", [FeatureFlag, KeyValueStore, Experiment])
def test_row_that_counts_visitors_needs_the_middleware(model: Any, settings: Any) -> None:
    fields: dict[str, Any] = {"value": 1} if model is KeyValueStore else {}
    if model is Experiment:
        fields = {"variants": []}
        model.objects.create(key="0", bucket_by="visitor", state="shipped", winner="a", **fields)
    for key, unit in zip("abc", ("visitor", "user", "visitor"), strict=True):
        model.objects.create(key=key, bucket_by=unit, **fields)
    settings.MIDDLEWARE = others = ["shop.missing.middleware", *settings.MIDDLEWARE]
    [message] = messages()
    assert (message.id, message.obj) == ("flagstaff.W042", model)
    assert message.msg == (
        "bucketed by visitor: 'a', 'c'; but no browser has a visitor, because "
        "FlagstaffMiddleware is not in MIDDLEWARE"
    )
    for path in ("flagstaff.middleware.FlagstaffMiddleware", f"{__name__}.OwnMiddleware"):
        settings.MIDDLEWARE = [*others, path]
        assert messages() == []


def test_model_that_differs_is_reported_instead_of_its_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Conf, "flag_model", flag_model_of("FeatureFlag", allowed_users=None))
    assert [message.id for message in messages()] == ["flagstaff.E005"]


@pytest.mark.parametrize("vendor", ["sqlite", "mysql"])
def test_other_databases_than_postgresql_are_not_checked_for_tables(
    vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(f"DROP TRIGGER flagstaff_token_insert_v1 ON {FLAGS}")
    assert [*database_messages(["another"]), *database_messages(None)] == []
    monkeypatch.setattr(connections["default"], "vendor", vendor)
    assert [*database_messages(["default"])] == []
