"""The system checks that do not connect: settings, connection parameters and models."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.checks import CheckMessage, run_checks
from django.db import connections, models
from django.test import override_settings

import flagstaff
from flagstaff.base_models import AbstractFeatureFlag, AbstractKeyValueStore
from flagstaff.checks import database_messages
from flagstaff.conf import Conf
from flagstaff.models import FeatureFlag
from tests.support.models_of_others import flag_fields, model_of, value_fields

TESTED = Path(__file__).resolve().parent.parent.parent
PACKAGE = Path(flagstaff.__path__[0])
# The checks of the core, and those of optional apps.
CODE = [
    *sorted(PACKAGE.glob("checks/*.py")),
    *sorted(PACKAGE.glob("**/checks.py")),
    PACKAGE / "admin" / "parts_admin.py",
]
TESTS = [*TESTED.glob("unit/**/test_*.py"), *TESTED.glob("database/**/test_*.py")]
PAGE = TESTED.parent / "docs" / "reference" / "checks.md"

Use = Callable[..., Any]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Makes a model of flags or values the one that is read, and returns it."""

    def use(name: str, changed: dict[str, Any], *base: Any, **through: Any) -> Any:
        is_flag = name == "FeatureFlag"
        fields = flag_fields(**changed) if is_flag else value_fields(**changed)
        model = model_of(name, fields, *base, **through)
        monkeypatch.setattr(Conf, "flag_model" if is_flag else "value_model", model)
        return model

    return use


def messages() -> list[CheckMessage]:
    """The messages of the checks that do not connect. Each has a hint."""
    found = run_checks(tags=["flagstaff"])
    assert all(message.hint for message in found)
    return found


def only_message() -> tuple[str, str, str]:
    """Id, text and hint of the only message."""
    [message] = messages()
    label = f"{message.obj._meta.label}: " if message.obj else ""
    return str(message.id), f"{label}{message.msg}", str(message.hint)


def test_default_settings_have_no_messages() -> None:
    assert messages() == []


def test_only_forced_off_keys_that_are_not_valid_are_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", " new_checkout ,, search_v2,")
    assert messages() == []
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", "new_checkout, New Checkout, *, search_v2")
    assert only_message() == (
        "flagstaff.W024",
        "FLAGSTAFF_FORCE_OFF has keys that are not valid: 'New Checkout', '*'",
        "write the keys of flags, separated by commas, such as FLAGSTAFF_FORCE_OFF=new_checkout",
    )


NO_COLUMN = "not a column of the user model"
NO_MODULE = "which cannot be imported: No module named 'shop'"
NO_NAME = (
    'which cannot be imported: Module "flagstaff.exceptions" does not define a "missing" '
    "attribute/class"
)
NO_FUNCTION = "which is not a synchronous function"
RETURNS_ATTRIBUTES = "write a function (user, request) that returns a mapping of names to values"
RETURNS_CONSENT = "write a function (request) that returns True or False"
CORRECT = "correct the path, or install what it needs"
RETURNS_ADDRESS = "write a function (request) that returns an IP address"


@pytest.mark.parametrize(
    ("setting", "name", "problem", "hint"),
    [
        ("ATTRIBUTES", "country", NO_COLUMN, "name concrete fields of the user model"),
        ("ATTRIBUTES", "shop.missing", NO_MODULE, CORRECT),
        ("ATTRIBUTES", "flagstaff.exceptions.missing", NO_NAME, CORRECT),
        ("ATTRIBUTES", "asyncio.sleep", NO_FUNCTION, RETURNS_ATTRIBUTES),
        ("VISITOR_COOKIE", "shop.missing", NO_MODULE, CORRECT),
        ("VISITOR_COOKIE", "asyncio.sleep", NO_FUNCTION, RETURNS_CONSENT),
        ("IS_CRAWLER", "shop.missing", NO_MODULE, CORRECT),
        ("IS_CRAWLER", "asyncio.sleep", NO_FUNCTION, RETURNS_CONSENT),
        ("CLIENT_ADDRESS", "shop.missing", NO_MODULE, CORRECT),
        ("CLIENT_ADDRESS", "asyncio.sleep", NO_FUNCTION, RETURNS_ADDRESS),
    ],
)
def test_setting_that_names_what_cannot_be_used_is_reported(
    setting: str, name: str, problem: str, hint: str
) -> None:
    given = ["email", name] if setting == "ATTRIBUTES" else name
    with override_settings(FLAGSTAFF={setting: given}):
        message = f'FLAGSTAFF["{setting}"] names {name!r}, {problem}'
        assert only_message() == ("flagstaff.E035", message, hint)


def test_limit_that_cannot_be_imported_is_reported() -> None:
    with override_settings(FLAGSTAFF={"OFREP": {"LIMIT": "shop.missing"}}):
        message = f"FLAGSTAFF[\"OFREP\"] names 'shop.missing', {NO_MODULE}"
        assert only_message() == ("flagstaff.E053", message, CORRECT)


def test_function_of_an_extra_that_is_not_installed_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("crawleruseragents", "flagstaff.experiments.crawlers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "crawleruseragents", None)
    with override_settings(FLAGSTAFF={"IS_CRAWLER": "flagstaff.experiments.crawlers.is_crawler"}):
        check, message, hint = only_message()
    assert check == "flagstaff.E035"
    assert message.endswith('run: pip install "django-flagstaff[crawlers]"')
    assert hint == "correct the path, or install what it needs"


@pytest.mark.parametrize(
    "given",
    [
        *({"ATTRIBUTES": one} for one in (["email", "is_active"], "operator.and_", ())),
        *({"VISITOR_COOKIE": one} for one in (True, False, "operator.truth")),
        *({"CLIENT_ADDRESS": one} for one in (None, "operator.itemgetter")),
    ],
    ids=str,
)
def test_setting_that_names_what_exists_is_accepted(given: dict[str, Any]) -> None:
    with override_settings(FLAGSTAFF=given):
        assert messages() == []


def test_invalid_settings_skip_all_other_checks(use: Use) -> None:
    use("FeatureFlag", {"enabled": None})
    with override_settings(FLAGSTAFF={"POOL_SIZE": 0}):
        assert [message.id for message in messages()] == ["flagstaff.E002"]
        assert [*database_messages(["default"])] == []


@pytest.fixture
def set_options(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Sets OPTIONS of the database."""
    settings = connections["default"].settings_dict
    return lambda options: monkeypatch.setitem(settings, "OPTIONS", options)


VERIFIED = "use one of: verify-full; or set"
ENCRYPTED = "use one of: require, verify-ca, verify-full; or set"
REMOVE = "remove it from OPTIONS, from the environment and from the service file, or set"


@pytest.mark.parametrize(
    ("shown", "options", "hint"),
    [
        (
            "gssencmode=require",
            {"gssencmode": "require"},
            (
                'use one of: disable, prefer; or set "DATABASE" in FLAGSTAFF to an alias without '
                "gssencmode=require"
            ),
        ),
        ("sslmode=require", {"sslmode": "require", "sslrootcert": "system"}, VERIFIED),
        ("sslmode=prefer", {"sslnegotiation": "direct"}, ENCRYPTED),
        ("requirepeer", {"requirepeer": "postgres"}, REMOVE),
        ("no_such_option", {"no_such_option": 1}, REMOVE),
    ],
)
def test_unsupported_connection_parameter_is_reported(
    shown: str, options: dict[str, Any], hint: str, set_options: Any
) -> None:
    set_options(options)
    check, message, found = only_message()
    assert check == "flagstaff.E003"
    assert message == f'the option {shown} of database "default" is not supported'
    assert found.startswith(hint)


def test_unsupported_environment_variable_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREQUIREPEER", "postgres")
    assert only_message()[1] == 'the option requirepeer of database "default" is not supported'


def test_missing_service_is_reported(monkeypatch: pytest.MonkeyPatch, set_options: Any) -> None:
    monkeypatch.setenv("PGSERVICEFILE", "/nowhere")
    set_options({"service": "shop"})
    check, message, hint = only_message()
    assert check == "flagstaff.E003"
    assert message.startswith('the connection service "shop" is not found')
    assert hint == (
        'correct the file, or set "DATABASE" in FLAGSTAFF to an alias without a service or '
        "password file"
    )


@pytest.mark.parametrize(
    "options",
    [
        {"sslmode": "prefer", "application_name": "shop", "options": "-c search_path=shop"},
        {"sslmode": "verify-full", "sslrootcert": "/etc/shop/root.crt", "sslsni": "0"},
        {"assume_role": "shop", "isolation_level": 3, "server_side_binding": True},
        {"pool": True, "prepare_threshold": 5, "client_encoding": "UTF8"},
    ],
)
def test_supported_and_ignored_parameters_are_accepted(
    options: dict[str, Any], set_options: Any
) -> None:
    set_options(options)
    assert messages() == []


def test_custom_backend_is_not_called_for_its_parameters(
    monkeypatch: pytest.MonkeyPatch, set_options: Any
) -> None:
    monkeypatch.setattr(type(connections["default"]), "get_connection_params", pytest.fail)
    set_options({"use_a_token": True, "gssencmode": "require"})
    message = 'the option gssencmode=require of database "default" is not supported'
    assert only_message()[1] == message


def test_database_without_a_name_is_left_to_django(
    monkeypatch: pytest.MonkeyPatch, set_options: Any
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", "")
    set_options({})
    assert messages() == []


class Elsewhere:
    def db_for_write(self, model: type[models.Model], **hints: object) -> str | None:
        return "flags" if model is FeatureFlag else None


@pytest.fixture
def flags_alias(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A second alias, for another database."""
    settings = dict(connections.settings["default"], NAME="flags")
    monkeypatch.setitem(connections.settings, "flags", settings)
    return settings


def test_model_written_to_another_database_is_reported(flags_alias: Any) -> None:
    with override_settings(DATABASE_ROUTERS=[Elsewhere()], FLAGSTAFF={"DATABASE": "default"}):
        assert only_message() == (
            "flagstaff.W004",
            (
                'flagstaff.FeatureFlag: this model is read from database "default", '
                'but written to "flags"'
            ),
            (
                'if "default" is a replica of "flags", add "TEST": {"MIRROR": "flags"} to '
                'DATABASES["default"] (flagstaff uses this outside of tests, too); otherwise set '
                '"DATABASE" to "flags" in FLAGSTAFF, or change db_for_write in your '
                'router to return "default"'
            ),
        )
    # Values, which are written to another database than flags.
    with override_settings(DATABASE_ROUTERS=[Elsewhere()]):
        assert only_message()[1] == (
            'flagstaff.KeyValueStore: this model is read from database "flags", '
            'but written to "default"'
        )


@pytest.mark.parametrize(
    "changed", [{"USER": "reader"}, {"NAME": "replica", "TEST": {"MIRROR": "default"}}]
)
def test_other_alias_of_the_same_database_is_accepted(
    changed: dict[str, Any], flags_alias: Any
) -> None:
    flags_alias.update({"NAME": connections.settings["default"]["NAME"], **changed})
    with override_settings(FLAGSTAFF={"DATABASE": "flags"}):
        assert messages() == []


def test_database_that_is_not_supported_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("vendor", "mysql"), ("display_name", "MySQL")):
        monkeypatch.setattr(connections["default"], name, value)
    assert only_message() == (
        "flagstaff.E049",
        'database "default" is MySQL, which flagstaff does not support',
        (
            'use PostgreSQL, or SQLite for development and tests; or set "DATABASE" in FLAGSTAFF '
            "to an alias of such a database"
        ),
    )
    assert [*database_messages(["default"])] == []


@pytest.mark.parametrize(
    ("model", "name"),
    [
        *(("FeatureFlag", name) for name in ("key", "enabled", "rollout_percent", "allowed_users")),
        *(("KeyValueStore", name) for name in ("key", "value")),
    ],
)
def test_model_without_a_required_field_is_reported(model: str, name: str, use: Use) -> None:
    use(model, {name: None})
    check, message, hint = only_message()
    assert check == "flagstaff.E005"
    assert message == f"common.{model}: the model has no field {name!r}"
    assert hint.startswith(f"add {name} = models.")


@pytest.mark.parametrize(
    ("model", "name", "field"),
    [
        ("FeatureFlag", "key", models.IntegerField(unique=True)),
        ("FeatureFlag", "enabled", models.CharField(max_length=3)),
        ("FeatureFlag", "rollout_percent", models.CharField(max_length=3)),
        ("FeatureFlag", "allowed_users", models.ForeignKey(User, models.CASCADE, "+")),
        ("FeatureFlag", "client_side", models.TextField()),
        ("KeyValueStore", "value", models.IntegerField()),
    ],
)
def test_field_of_another_type_is_reported(model: str, name: str, field: Any, use: Use) -> None:
    use(model, {name: field})
    check, message, hint = only_message()
    assert check == "flagstaff.E006"
    kind = type(field).__name__
    assert message == f"common.{model}: {name} has the type {kind}, which is not supported"
    assert hint == "use models.JSONField()" if name == "value" else hint.startswith("use models.")


class Sealed(models.BinaryField):  # type: ignore[type-arg]
    def from_db_value(self, value: Any, *args: Any) -> Any:
        return value


@pytest.mark.parametrize(
    ("model", "name", "field"),
    [
        ("FeatureFlag", "key", models.SlugField(primary_key=True)),
        ("FeatureFlag", "key", models.TextField(unique=True)),
        ("FeatureFlag", "rollout_percent", models.DecimalField(max_digits=5, decimal_places=2)),
        ("FeatureFlag", "client_side", models.BooleanField(null=True)),
        ("KeyValueStore", "value", models.TextField()),
        ("KeyValueStore", "value", models.JSONField(null=True)),
        ("KeyValueStore", "value", Sealed()),
        ("KeyValueStore", "secret", models.BooleanField(default=False)),
    ],
)
def test_compatible_field_is_accepted(model: str, name: str, field: Any, use: Use) -> None:
    use(model, {name: field})
    assert messages() == []


def test_allowed_users_of_another_model_are_reported(use: Use) -> None:
    use("FeatureFlag", {"allowed_users": models.ManyToManyField(Group, related_name="+")})
    assert only_message() == (
        "flagstaff.E007",
        "common.FeatureFlag: allowed_users does not refer to the primary key of auth.User",
        (
            "use a ManyToManyField to settings.AUTH_USER_MODEL, without to_field in the "
            "through model"
        ),
    )


def test_allowed_users_by_another_column_are_reported(use: Use) -> None:
    names = models.ForeignKey(User, models.CASCADE, to_field="username", related_name="+")
    flag = models.ForeignKey("common.FeatureFlag", models.CASCADE)
    users = models.ManyToManyField(User, through="common.Allowed", related_name="+")
    use("FeatureFlag", {"allowed_users": users}, through={"flag": flag, "user": names})
    assert only_message()[0] == "flagstaff.E007"


@pytest.mark.parametrize("name", ["key", "enabled", "rollout_percent"])
def test_nullable_field_of_a_flag_is_reported(name: str, use: Use) -> None:
    field = flag_fields()[name]
    field.null = True
    use("FeatureFlag", {name: field})
    message = f"common.FeatureFlag: {name} allows NULL; rows with NULL are ignored"
    assert only_message() == ("flagstaff.W008", message, f"declare {name} without null=True")


def test_key_is_unique_by_itself_or_by_a_constraint(use: Use) -> None:
    use("KeyValueStore", {"key": models.TextField()})
    assert only_message() == (
        "flagstaff.W009",
        "common.KeyValueStore: key is not unique; rows with duplicate keys are ignored",
        "declare key with unique=True",
    )
    model = use("KeyValueStore", {"key": models.TextField()})
    model._meta.constraints = [models.UniqueConstraint(fields=["key"], name="one")]
    assert messages() == []


def test_field_in_the_table_of_a_parent_is_reported(use: Use) -> None:
    switch = model_of("Switch", {"enabled": models.BooleanField()})
    use("FeatureFlag", {"enabled": None}, switch)
    assert only_message() == (
        "flagstaff.E010",
        "common.FeatureFlag: enabled is stored in the table of common.Switch",
        "inherit from an abstract model, so that one table has all the fields",
    )


def test_secret_in_another_column_is_reported(use: Use) -> None:
    use("KeyValueStore", {"secret": models.BooleanField(default=False, db_column="is_secret")})
    problem = 'the field "secret" must use the column "secret" of common_keyvaluestore'
    assert only_message() == (
        "flagstaff.E020",
        (
            f"common.KeyValueStore: {problem}; otherwise the history stores secret values in "
            "plain text"
        ),
        "declare secret = models.BooleanField(default=False), without db_column",
    )


def test_models_that_inherit_from_the_abstract_ones_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = {"allowed_users": models.ManyToManyField(User, related_name="+")}
    flag_model = model_of("FeatureFlag", users, AbstractFeatureFlag)
    monkeypatch.setattr(Conf, "flag_model", flag_model)
    monkeypatch.setattr(Conf, "value_model", model_of("Value", {}, AbstractKeyValueStore))
    assert messages() == []


def test_checks_without_a_database_do_not_connect() -> None:
    # The test runner forbids the database here.
    assert run_checks() == []
    assert [*database_messages(["another"]), *database_messages(None)] == []


def ids() -> list[str]:
    """The ids of all messages in the code."""
    code = "".join(file.read_text() for file in CODE)
    return [*dict.fromkeys(re.findall(r'"(flagstaff\.[EWI]\d+)"', code))]


def test_every_id_is_tested() -> None:
    tested = "".join(file.read_text() for file in TESTS)
    assert [check for check in ids() if f'"{check}"' not in tested] == []


def test_ids_have_a_heading_in_the_docs_in_their_order() -> None:
    headings = re.findall(r"^### (flagstaff\.\w+)", PAGE.read_text(), re.MULTILINE)
    assert headings == sorted(ids(), key=lambda check: check[-3:])
    numbers = [check[-3:] for check in headings]
    assert len(numbers) == len({*numbers})


def test_each_id_stands_for_one_problem() -> None:
    code = "".join(file.read_text() for file in CODE)
    used = re.findall(r'"(flagstaff\.[EWI]\d+)"', code)
    assert sorted(used) == sorted({*used})
