"""The system checks that do not connect: settings, connection parameters and models."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.checks import CheckMessage, run_checks
from django.db import connections, models
from django.test import override_settings

import flagstaff
from flagstaff.base_models import AbstractFeatureFlag, AbstractKeyValueStore
from flagstaff.checks.connection import check_database_vendor
from flagstaff.checks.database import check_database
from flagstaff.conf import Conf
from flagstaff.models import FeatureFlag
from tests.support.models_of_others import flag_fields, model_of, value_fields

HERE = Path(__file__).resolve().parent.parent.parent
PACKAGE = Path(flagstaff.__path__[0])
# The checks of the core, and those of optional apps.
CODE = [
    *sorted(PACKAGE.glob("checks/*.py")),
    *sorted(PACKAGE.glob("*/checks.py")),
    PACKAGE / "admin" / "saving.py",
]
TESTS = [
    HERE / "test_checks.py",
    *HERE.parent.glob("postgres/test_*checks.py"),
    HERE.parent / "postgres" / "test_experiment_upkeep.py",
    HERE.parent / "postgres" / "test_admin.py",
]
PAGE = HERE.parent.parent / "docs" / "reference" / "checks.md"

Use = Callable[..., None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Read flags and values from these models."""

    def use(flag: Any = None, value: Any = None) -> None:
        if flag:
            monkeypatch.setattr(Conf, "flag_model", flag)
        if value:
            monkeypatch.setattr(Conf, "value_model", value)

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


def test_unknown_setting_is_reported() -> None:
    with override_settings(FLAGSTAFF={"POLL_INTERVALL": 5}):
        assert only_message() == (
            "flagstaff.E001",
            "FLAGSTAFF has no setting 'POLL_INTERVALL'",
            'did you mean "POLL_INTERVAL"?',
        )


def test_forced_off_keys_that_are_not_valid_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", "new_checkout, New Checkout, *, search_v2")
    assert only_message() == (
        "flagstaff.W024",
        "FLAGSTAFF_FORCE_OFF has keys that are not valid: 'New Checkout', '*'",
        "write the keys of flags, separated by commas, such as FLAGSTAFF_FORCE_OFF=new_checkout",
    )


def test_forced_off_keys_that_are_valid_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAGSTAFF_FORCE_OFF", " new_checkout ,, search_v2,")
    assert messages() == []


ATTRIBUTES = {
    "country": (
        "'country', not a column of the user model",
        "name concrete fields of the user model",
    ),
    "shop.missing": (
        "'shop.missing', which cannot be imported: No module named 'shop'",
        "correct the path",
    ),
    "flagstaff.exceptions.missing": (
        (
            "'flagstaff.exceptions.missing', which cannot be imported: "
            'Module "flagstaff.exceptions" does not define a "missing" attribute/class'
        ),
        "correct the path",
    ),
    "asyncio.sleep": (
        "'asyncio.sleep', which is not a synchronous function",
        "write a function (user, request) that returns a mapping of names to values",
    ),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_that_do_not_exist_are_reported(name: str) -> None:
    problem, hint = ATTRIBUTES[name]
    with override_settings(FLAGSTAFF={"ATTRIBUTES": ["email", name]}):
        message = f'FLAGSTAFF["ATTRIBUTES"] names {problem}'
        assert only_message() == ("flagstaff.E035", message, hint)


@pytest.mark.parametrize("setting", [["email", "is_active"], "operator.and_", ()])
def test_attributes_that_exist_are_accepted(setting: Any) -> None:
    with override_settings(FLAGSTAFF={"ATTRIBUTES": setting}):
        assert messages() == []


CONSENT = {
    "shop.missing": (
        "'shop.missing', which cannot be imported: No module named 'shop'",
        "correct the path",
    ),
    "asyncio.sleep": (
        "'asyncio.sleep', which is not a synchronous function",
        "write a function (request) that returns True or False",
    ),
}


@pytest.mark.parametrize("path", CONSENT)
def test_function_of_consent_that_does_not_exist_is_reported(path: str) -> None:
    problem, hint = CONSENT[path]
    with override_settings(FLAGSTAFF={"VISITOR_COOKIE": path}):
        message = f'FLAGSTAFF["VISITOR_COOKIE"] names {problem}'
        assert only_message() == ("flagstaff.E035", message, hint)


@pytest.mark.parametrize("setting", [True, False, "operator.truth"])
def test_function_of_consent_that_exists_is_accepted(setting: object) -> None:
    with override_settings(FLAGSTAFF={"VISITOR_COOKIE": setting}):
        assert messages() == []


HINT_FOR_A_SECRET = (
    'add "secret" to the receiver, such as "whsec_MfKQ9r8GKYqr…"; to create a secret, run: '
    'python -c "import base64, secrets; '
    "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
)


def test_receiver_without_a_secret_is_reported() -> None:
    webhooks = {
        "deploys": {"url": "https://deploys.example/hunter2"},
        "ops": {"url": "https://hooks.slack.example/hunter2", "format": "slack"},
    }
    with override_settings(FLAGSTAFF={"WEBHOOKS": webhooks}):
        assert only_message() == (
            "flagstaff.W019",
            'the receiver "deploys" of WEBHOOKS gets messages without a signature',
            HINT_FOR_A_SECRET,
        )


def test_command_of_the_hint_creates_a_valid_secret() -> None:
    code = HINT_FOR_A_SECRET.partition('python -c "')[2].removesuffix('"')
    secret = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    receiver = {"url": "https://deploys.example", "secret": secret}
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"deploys": receiver}}):
        assert messages() == []


def test_invalid_value_of_a_setting_is_reported() -> None:
    with override_settings(FLAGSTAFF={"POOL_SIZE": 0}):
        assert only_message() == (
            "flagstaff.E002",
            'FLAGSTAFF["POOL_SIZE"] is 0',
            "expected a whole number from 1 to 16",
        )


def test_invalid_settings_skip_all_other_checks(use: Use) -> None:
    use(flag=model_of("FeatureFlag", flag_fields(enabled=None)))
    with override_settings(FLAGSTAFF={"POOL_SIZE": 0}):
        assert [message.id for message in messages()] == ["flagstaff.E002"]
        assert check_database(databases=["default"]) == []


OPTIONS = {
    "gssencmode=require": (
        {"gssencmode": "require"},
        (
            'use one of: disable, prefer; or set "DATABASE" in FLAGSTAFF to an alias without '
            "gssencmode=require"
        ),
    ),
    "sslmode=require": (
        {"sslmode": "require", "sslrootcert": "system"},
        "use one of: verify-full; or set",
    ),
    "sslmode=prefer": (
        {"sslnegotiation": "direct"},
        "use one of: require, verify-ca, verify-full; or set",
    ),
    "requirepeer": (
        {"requirepeer": "postgres"},
        "remove it from OPTIONS, from the environment and from the service file, or set",
    ),
    "no_such_option": ({"no_such_option": 1}, "remove it from OPTIONS"),
}


@pytest.mark.parametrize("shown", OPTIONS)
def test_unsupported_connection_parameter_is_reported(
    shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, hint = OPTIONS[shown]
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)
    check, message, found = only_message()
    assert check == "flagstaff.E003"
    assert message == f'the option {shown} of database "default" is not supported'
    assert found.startswith(hint)


def test_unsupported_environment_variable_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGREQUIREPEER", "postgres")
    assert only_message()[:2] == (
        "flagstaff.E003",
        'the option requirepeer of database "default" is not supported',
    )


def test_missing_service_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICEFILE", "/nowhere")
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {"service": "shop"})
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
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)
    assert messages() == []


def test_custom_backend_is_not_called_for_its_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def get_connection_params(self: object) -> dict[str, str]:
        raise AssertionError

    connection = connections["default"]
    monkeypatch.setattr(type(connection), "get_connection_params", get_connection_params)
    options = {"use_a_token": True, "gssencmode": "require"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    assert (
        only_message()[1] == 'the option gssencmode=require of database "default" is not supported'
    )


def test_database_without_a_name_is_left_to_django(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", "")
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", {})
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


def test_flags_written_to_another_database_are_reported(flags_alias: Any) -> None:
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


def test_values_written_to_another_database_than_flags_are_reported(flags_alias: Any) -> None:
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


def test_database_other_than_postgresql_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("vendor", "oracle"), ("display_name", "Oracle")):
        monkeypatch.setattr(connections["default"], name, value)
    assert messages() == []
    [message] = check_database_vendor(databases=["default"])
    assert message.id == "flagstaff.I011"
    assert message.msg == (
        'database "default" is Oracle: every evaluation is a query, and there is no history'
    )


@pytest.mark.parametrize("name", ["key", "enabled", "rollout_percent", "allowed_users"])
def test_flag_model_without_a_required_field_is_reported(name: str, use: Use) -> None:
    use(flag=model_of("FeatureFlag", flag_fields(**{name: None})))
    check, message, hint = only_message()
    assert (check, message) == (
        "flagstaff.E005",
        f"common.FeatureFlag: the model has no field {name!r}",
    )
    assert hint.startswith(f"add {name} = models.")


@pytest.mark.parametrize("name", ["key", "value"])
def test_value_model_without_a_required_field_is_reported(name: str, use: Use) -> None:
    use(value=model_of("KeyValueStore", value_fields(**{name: None})))
    assert only_message()[:2] == (
        "flagstaff.E005",
        f"common.KeyValueStore: the model has no field {name!r}",
    )


WRONG_TYPES = {
    "key": models.IntegerField(unique=True),
    "enabled": models.CharField(max_length=3),
    "rollout_percent": models.CharField(max_length=3),
    "allowed_users": models.ForeignKey(User, models.CASCADE, related_name="+"),
    "client_side": models.TextField(),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_flag_model_with_a_field_of_another_type_is_reported(name: str, use: Use) -> None:
    field = WRONG_TYPES[name]
    use(flag=model_of("FeatureFlag", flag_fields(**{name: field})))
    assert only_message()[:2] == (
        "flagstaff.E006",
        f"common.FeatureFlag: {name} has the type {type(field).__name__}, which is not supported",
    )


def test_value_model_with_a_field_of_another_type_is_reported(use: Use) -> None:
    use(value=model_of("KeyValueStore", value_fields(value=models.IntegerField())))
    assert only_message() == (
        "flagstaff.E006",
        "common.KeyValueStore: value has the type IntegerField, which is not supported",
        "use models.JSONField()",
    )


class Sealed(models.BinaryField):  # type: ignore[type-arg]
    def from_db_value(self, value: Any, *args: Any) -> Any:
        return value


@pytest.mark.parametrize("field", [models.TextField(), models.JSONField(null=True), Sealed()])
def test_value_field_that_is_text_or_decodes_itself_is_accepted(
    field: models.Field[Any, Any], use: Use
) -> None:
    use(value=model_of("KeyValueStore", value_fields(value=field)))
    assert messages() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"key": models.SlugField(primary_key=True)},
        {"key": models.TextField(unique=True)},
        {"rollout_percent": models.DecimalField(max_digits=5, decimal_places=2)},
        {"client_side": models.BooleanField(null=True)},
    ],
    ids=str,
)
def test_flag_model_with_compatible_fields_is_accepted(changed: dict[str, Any], use: Use) -> None:
    use(flag=model_of("FeatureFlag", flag_fields(**changed)))
    assert messages() == []


def test_allowed_users_of_another_model_are_reported(use: Use) -> None:
    groups = models.ManyToManyField(Group, related_name="+")
    use(flag=model_of("FeatureFlag", flag_fields(allowed_users=groups)))
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
    fields = flag_fields(allowed_users=users)
    use(flag=model_of("FeatureFlag", fields, through={"flag": flag, "user": names}))
    assert only_message()[0] == "flagstaff.E007"


def test_nullable_key_is_reported(use: Use) -> None:
    field = models.CharField(max_length=9, unique=True, null=True)
    use(flag=model_of("FeatureFlag", flag_fields(key=field)))
    assert only_message() == (
        "flagstaff.W008",
        "common.FeatureFlag: key allows NULL; rows with NULL are ignored",
        "declare key without null=True",
    )


@pytest.mark.parametrize("name", ["key", "enabled", "rollout_percent"])
def test_nullable_field_of_a_flag_is_reported(name: str, use: Use) -> None:
    fields = flag_fields()
    fields[name].null = True
    use(flag=model_of("FeatureFlag", fields))
    assert only_message()[0] == "flagstaff.W008"


def test_key_that_is_not_unique_is_reported(use: Use) -> None:
    use(value=model_of("KeyValueStore", value_fields(key=models.TextField())))
    assert only_message() == (
        "flagstaff.W009",
        "common.KeyValueStore: key is not unique; rows with duplicate keys are ignored",
        "declare key with unique=True",
    )


def test_key_that_is_unique_by_a_constraint_is_accepted(use: Use) -> None:
    model = model_of("KeyValueStore", value_fields(key=models.TextField()))
    model._meta.constraints = [models.UniqueConstraint(fields=["key"], name="one")]
    use(value=model)
    assert messages() == []


def test_field_in_the_table_of_a_parent_is_reported(use: Use) -> None:
    switch = model_of("Switch", {"enabled": models.BooleanField()})
    use(flag=model_of("FeatureFlag", flag_fields(enabled=None), switch))
    assert only_message() == (
        "flagstaff.E010",
        "common.FeatureFlag: enabled is stored in the table of common.Switch",
        "inherit from an abstract model, so that one table has all the fields",
    )


def test_secret_in_another_column_is_reported(use: Use) -> None:
    secret = models.BooleanField(default=False, db_column="is_secret")
    use(value=model_of("KeyValueStore", value_fields(secret=secret)))
    problem = 'the field "secret" must use the column "secret" of common_keyvaluestore'
    assert only_message() == (
        "flagstaff.E020",
        (
            f"common.KeyValueStore: {problem}; otherwise the history stores secret values in "
            "plain text"
        ),
        "declare secret = models.BooleanField(default=False), without db_column",
    )


def test_secret_in_the_column_secret_is_accepted(use: Use) -> None:
    use(value=model_of("KeyValueStore", value_fields(secret=models.BooleanField(default=False))))
    assert messages() == []


def test_models_that_inherit_from_the_abstract_ones_are_accepted(use: Use) -> None:
    users = models.ManyToManyField(User, related_name="+")
    use(
        flag=model_of("FeatureFlag", {"allowed_users": users}, AbstractFeatureFlag),
        value=model_of("KeyValueStore", {}, AbstractKeyValueStore),
    )
    assert messages() == []


def test_checks_without_a_database_do_not_connect() -> None:
    # The test runner forbids the database here.
    assert run_checks() == []
    assert check_database(databases=["another"]) == []
    assert [*check_database(), *check_database_vendor()] == []


def ids() -> list[str]:
    """The ids of all messages in the code."""
    code = "".join(file.read_text() for file in CODE)
    return re.findall(r'id="(flagstaff\.[EWI]\d+)"', code)


def test_ids_are_numbered_without_gaps() -> None:
    numbers = sorted(int(check[-3:]) for check in ids())
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_id_is_tested() -> None:
    tested = "".join(file.read_text() for file in TESTS)
    assert [check for check in ids() if f'"{check}"' not in tested] == []


def test_every_id_has_a_heading_in_the_docs() -> None:
    headings = re.findall(r"^### (flagstaff\.\w+)", PAGE.read_text(), re.MULTILINE)
    assert headings == sorted(ids(), key=lambda check: check[-3:])


@pytest.fixture
def tenants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection such as that of django-tenants."""
    monkeypatch.setattr(connections["default"], "set_schema_to_public", None, raising=False)


AUTH, FLAGSTAFF = "django.contrib.auth", "flagstaff.apps.FlagstaffConfig"
OF_TENANTS = (
    "flagstaff.E029",
    (
        '"flagstaff" is an app of tenants, but workers read flags and values from schema "public" '
        "only, so changes in the schema of a tenant have no effect"
    ),
    'put "flagstaff" into SHARED_APPS, and not into TENANT_APPS',
)
OF_TYPES_OF_TENANTS = (
    'put "flagstaff" into the APPS of "public" in TENANT_TYPES, and of no other type'
)


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("shared", [[AUTH, "flagstaff"], [AUTH]])
@pytest.mark.parametrize("name", ["flagstaff", FLAGSTAFF])
def test_flags_of_tenants_are_reported(shared: list[str], name: str) -> None:
    with override_settings(SHARED_APPS=shared, TENANT_APPS=[name]):
        assert only_message() == OF_TENANTS


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("app", ["rollouts", "experiments"])
def test_optional_apps_of_tenants_are_reported(app: str) -> None:
    with override_settings(SHARED_APPS=[AUTH, "flagstaff"], TENANT_APPS=[f"flagstaff.{app}"]):
        identifier, text, hint = only_message()
    assert identifier == "flagstaff.E029"
    assert text.startswith(f'"flagstaff_{app}" is an app of tenants, but workers read')
    assert hint == f'put "flagstaff.{app}" into SHARED_APPS, and not into TENANT_APPS'


@pytest.mark.usefixtures("tenants")
def test_flags_of_a_type_of_tenants_are_reported() -> None:
    types = {"public": {"APPS": ["flagstaff", AUTH]}, "shop": {"APPS": ["flagstaff"]}}
    with override_settings(HAS_MULTI_TYPE_TENANTS=True, TENANT_TYPES=types):
        assert only_message() == (*OF_TENANTS[:2], OF_TYPES_OF_TENANTS)


@pytest.mark.usefixtures("tenants")
def test_model_of_tenants_is_reported(use: Use) -> None:
    use(flag=Permission)
    with override_settings(SHARED_APPS=["flagstaff"], TENANT_APPS=[AUTH]):
        found = {message.id: message for message in messages()}
    assert found["flagstaff.E029"].msg.startswith('"auth" is an app of tenants')


@pytest.mark.usefixtures("tenants")
def test_users_of_tenants_are_reported() -> None:
    with override_settings(SHARED_APPS=[AUTH, "flagstaff"], TENANT_APPS=[AUTH]):
        assert only_message() == (
            "flagstaff.W030",
            (
                "auth.User has a table in each tenant, and flags cannot distinguish two users with "
                'the same primary key; allowed users are always users of schema "public"'
            ),
            (
                'evaluate for f"{connection.schema_name}:{user.pk}", use no allowed users, and '
                "silence this with SILENCED_SYSTEM_CHECKS; or put the app into SHARED_APPS only"
            ),
        )


@pytest.mark.usefixtures("tenants")
def test_shared_flags_and_users_have_no_messages() -> None:
    with override_settings(SHARED_APPS=[AUTH, "flagstaff"], TENANT_APPS=["shop"]):
        assert messages() == []


def test_settings_of_tenants_without_tenants_have_no_messages() -> None:
    with override_settings(SHARED_APPS=[AUTH], TENANT_APPS=["flagstaff"]):
        assert messages() == []
