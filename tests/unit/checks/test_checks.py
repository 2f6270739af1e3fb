"""The system checks that do not connect: settings, connection parameters and models."""

import re
import sys
from collections.abc import Callable
from json import JSONDecoder
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.validators import MaxValueValidator
from django.db import OperationalError, connections, models
from django.test import override_settings

import flagstaff
from flagstaff.checks import database_messages
from flagstaff.conf import Conf
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag
from tests.support.check_messages import check_messages, only_message
from tests.support.models_of_others import flag_model_of, model_of, value_model_of

TESTED = Path(__file__).resolve().parent.parent.parent
PACKAGE = Path(flagstaff.__path__[0])
# The checks of the core, and those of optional apps.
CODE = [
    *sorted(PACKAGE.glob("checks/*.py")),
    *sorted(PACKAGE.glob("**/checks.py")),
    *sorted(PACKAGE.glob("*/hooks.py")),
    PACKAGE / "admin" / "row_page.py",
    PACKAGE / "contrib" / "waffle" / "rows.py",
    PACKAGE / "experiments" / "requirements.py",
]
#: The ids of all messages in the code, in its order.
USED = re.findall(r'"(flagstaff\.[EWI]\d+)"', "".join(file.read_text() for file in CODE))
TESTS = [*TESTED.glob("unit/**/test_*.py"), *TESTED.glob("database/**/test_*.py")]
PAGE = TESTED.parent / "docs" / "reference" / "checks.md"


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
        ("OFREP_LIMIT", "shop.missing", NO_MODULE, CORRECT),
        ("CLIENT_ADDRESS", "asyncio.sleep", NO_FUNCTION, RETURNS_ADDRESS),
    ],
)
def test_setting_that_names_what_cannot_be_used_is_reported(
    setting: str, name: str, problem: str, hint: str
) -> None:
    names = ["email", name] if setting == "ATTRIBUTES" else name
    with override_settings(FLAGSTAFF={setting: names}):
        message = f'FLAGSTAFF["{setting}"] names {name!r}, {problem}'
        assert only_message(check_messages("flagstaff")) == ("flagstaff.E001", message, hint)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"model": "shop.Shop"}, "the model 'shop.Shop', which is not installed"),
        (
            {"model": "auth.Group", "label": "title"},
            """the "label" 'title', not a field of auth.Group""",
        ),
        *(
            (
                {"model": "auth.Group", "path": path},
                f"""the "path" {path!r}, which does not lead from the user model to auth.Group""",
            )
            for path in ("username", "teams", "user_permissions", "groups__name")
        ),
    ],
)
def test_attribute_of_objects_that_cannot_be_read_is_reported(
    source: dict[str, str], problem: str
) -> None:
    with override_settings(FLAGSTAFF={"ATTRIBUTES": [{"name": "organizations", **source}]}):
        message = f"FLAGSTAFF[\"ATTRIBUTES\"] names for 'organizations' {problem}"
        hint = "correct it, or install the app of the model"
        assert only_message(check_messages("flagstaff")) == ("flagstaff.E001", message, hint)


def test_function_of_an_extra_that_is_not_installed_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("crawleruseragents", "flagstaff.experiments.crawlers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "crawleruseragents", None)
    with override_settings(FLAGSTAFF={"IS_CRAWLER": "flagstaff.experiments.crawlers.is_crawler"}):
        check, message, hint = only_message(check_messages("flagstaff"))
    assert check == "flagstaff.E001"
    assert message.endswith('run: pip install "django-flagstaff[crawlers]"')
    assert hint == "correct the path, or install what it needs"


@pytest.mark.parametrize(
    "own_settings",
    [
        *({"ATTRIBUTES": value} for value in (["email", "is_active"], "operator.and_", ())),
        {"ATTRIBUTES": [{"name": "teams", "model": "auth.Group", "path": "groups"}]},
        *({"VISITOR_COOKIE": value} for value in (True, False, "operator.truth")),
        *({"CLIENT_ADDRESS": value} for value in (None, "operator.itemgetter")),
    ],
    ids=str,
)
def test_setting_that_names_what_exists_is_accepted(own_settings: dict[str, Any]) -> None:
    with override_settings(FLAGSTAFF=own_settings):
        assert check_messages("flagstaff") == []


class OwnMiddleware(FlagstaffMiddleware):
    """A project may extend the middleware."""


OURS, OWN = "flagstaff.middleware.FlagstaffMiddleware", f"{__name__}.OwnMiddleware"
DJANGOS = "django.contrib.auth.middleware.AuthenticationMiddleware"
FUNCTION, SILENCE = "operator.truth", "or silence this with SILENCED_SYSTEM_CHECKS"
# What needs the middleware: an app, or a setting.
NEEDS: list[tuple[list[str], dict[str, Any], str]] = [
    (["flagstaff.rollouts"], {}, "the app flagstaff.rollouts"),
    *(
        (
            ["flagstaff.experiments"],
            {name: FUNCTION},
            f'the function {FUNCTION} in FLAGSTAFF["{name}"]',
        )
        for name in ("ATTRIBUTES", "VISITOR_COOKIE", "IS_CRAWLER")
    ),
]


@pytest.fixture
def reports_middleware(settings: Any) -> Any:
    """Leaves out the apps that need the middleware, and silences no check."""
    settings.SILENCED_SYSTEM_CHECKS = []
    apps = [app for app in settings.INSTALLED_APPS if app != "flagstaff.rollouts"]
    settings.INSTALLED_APPS = apps
    return settings


@pytest.mark.parametrize(("apps", "own_settings", "need"), NEEDS, ids=[need for *_, need in NEEDS])
def test_missing_middleware_is_reported_with_what_needs_it(
    apps: list[str], own_settings: dict[str, Any], need: str, reports_middleware: Any
) -> None:
    reports_middleware.INSTALLED_APPS = [
        *dict.fromkeys([*reports_middleware.INSTALLED_APPS, *apps])
    ]
    reports_middleware.FLAGSTAFF = own_settings
    assert only_message(check_messages("flagstaff")) == (
        "flagstaff.W007",
        f"FlagstaffMiddleware is not in MIDDLEWARE, but needed by {need}",
        f'add "{OURS}" after AuthenticationMiddleware, {SILENCE} if no request evaluates a flag',
    )
    for path in (OURS, OWN):
        reports_middleware.MIDDLEWARE = [DJANGOS, "shop.missing", path]
        assert check_messages("flagstaff") == []


def test_project_that_needs_no_middleware_is_accepted_without_it(reports_middleware: Any) -> None:
    reports_middleware.FLAGSTAFF = {"ATTRIBUTES": ["email"], "VISITOR_COOKIE": False}
    assert check_messages("flagstaff") == []


@pytest.mark.parametrize("path", [OURS, OWN])
def test_middleware_before_that_of_users_is_reported(path: str, reports_middleware: Any) -> None:
    reports_middleware.MIDDLEWARE = [path, DJANGOS]
    assert only_message(check_messages("flagstaff"))[:2] == (
        "flagstaff.W008",
        (
            "FlagstaffMiddleware is before AuthenticationMiddleware in MIDDLEWARE, so what runs "
            "between them evaluates request.flags for an anonymous user"
        ),
    )
    reports_middleware.MIDDLEWARE = [path]
    assert check_messages("flagstaff") == []


def test_invalid_settings_skip_all_other_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Conf, "flag_model", flag_model_of(enabled=None))
    with override_settings(FLAGSTAFF={"POOL_SIZE": 0}):
        assert [message.id for message in check_messages("flagstaff")] == ["flagstaff.E001"]
        assert [*database_messages(["default"])] == []


@pytest.fixture
def set_options(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    settings = connections["default"].settings_dict
    return lambda options: monkeypatch.setitem(settings, "OPTIONS", options)


REFUSED = 'database "default": connect: the connection parameters cannot be used: '


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"gssencmode": "require"}, "gssencmode is not supported"),
        (
            {"sslmode": "require", "sslrootcert": "system"},
            "sslrootcert=system needs sslmode=verify-full",
        ),
        ({"requirepeer": "a secret"}, "requirepeer is not supported"),
        ({"no_such_option": "a secret"}, "no_such_option is not supported"),
    ],
)
def test_connection_parameter_that_the_engine_refuses_is_reported(
    options: dict[str, Any], problem: str, set_options: Any
) -> None:
    set_options(options)
    assert only_message(check_messages("flagstaff"))[:2] == ("flagstaff.E003", REFUSED + problem)


def test_unsupported_environment_variable_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGREQUIREPEER", "postgres")
    assert only_message(check_messages("flagstaff"))[1] == REFUSED + "requirepeer is not supported"


def test_missing_service_is_reported(monkeypatch: pytest.MonkeyPatch, set_options: Any) -> None:
    monkeypatch.setenv("PGSERVICEFILE", "/nowhere")
    set_options({"service": "shop"})
    check, message, hint = only_message(check_messages("flagstaff"))
    assert check == "flagstaff.E003"
    assert message.startswith('database "default": the connection service "shop" is not found')
    assert hint.startswith("correct it in OPTIONS, in the environment or in the service")


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
    assert check_messages("flagstaff") == []


def test_custom_backend_is_not_called_for_its_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connections["default"]), "get_connection_params", pytest.fail)
    assert check_messages("flagstaff") == []


def test_database_without_a_name_is_left_to_django(
    monkeypatch: pytest.MonkeyPatch, set_options: Any
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", "")
    set_options({})
    assert check_messages("flagstaff") == []


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
        assert only_message(check_messages("flagstaff")) == (
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
        assert only_message(check_messages("flagstaff"))[1] == (
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
        assert check_messages("flagstaff") == []


def test_database_that_is_not_supported_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("vendor", "mysql"), ("display_name", "MySQL")):
        monkeypatch.setattr(connections["default"], name, value)
    assert only_message(check_messages("flagstaff")) == (
        "flagstaff.E049",
        'database "default" is MySQL, which flagstaff does not support',
        (
            'use PostgreSQL, or SQLite for development and tests; or set "DATABASE" in FLAGSTAFF '
            "to an alias of such a database"
        ),
    )
    assert [*database_messages(["default"])] == []


# The models of the article's project.
OWN_FLAG = {
    "key": models.CharField(max_length=100, unique=True),
    "enabled": models.BooleanField(default=False),
    "rollout_percent": models.PositiveIntegerField(default=0),
    "allowed_users": models.ManyToManyField(User, related_name="+"),
}
OWN_VALUE = {"key": models.CharField(max_length=255, unique=True), "value": models.JSONField()}


@pytest.mark.parametrize(
    ("setting", "fields", "base", "hint"),
    [
        (
            "flag_model",
            OWN_FLAG,
            "AbstractFeatureFlag",
            "remove key, enabled, rollout_percent, allowed_users from the class",
        ),
        ("value_model", OWN_VALUE, "AbstractKeyValueStore", "remove key, value from the class"),
    ],
)
def test_model_that_does_not_inherit_is_reported_with_the_line_to_write(
    setting: str, fields: Any, base: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, setting, model_of("Shop", copied(fields)))
    assert only_message(check_messages("flagstaff")) == (
        "flagstaff.E005",
        f"common.Shop: the model does not inherit from {base}",
        (
            f'write "class Shop({base}):", imported from flagstaff.base_models; {hint}; '
            "run makemigrations and migrate"
        ),
    )


def test_own_fields_with_names_of_ours_are_to_be_renamed_before_the_model_inherits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = {
        **copied(OWN_FLAG),
        "owner": models.ForeignKey(User, models.CASCADE, related_name="+"),
        "rules": models.TextField(),
        "description": models.TextField(),
    }
    monkeypatch.setattr(Conf, "flag_model", model_of("Shop", fields))
    hint = only_message(check_messages("flagstaff"))[2]
    assert hint.startswith(
        "rename rules, owner and run makemigrations and migrate with --skip-checks; write"
    )
    assert "remove key, enabled, rollout_percent, description, allowed_users from" in hint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"key": models.CharField(max_length=100, unique=True)}, "key is CharField(max_length=100"),
        ({"key": models.CharField(max_length=255)}, "expected CharField(max_length=255, unique"),
        ({"enabled": models.BooleanField(null=True)}, "enabled is BooleanField(null=True)"),
        ({"rollout_percent": models.FloatField()}, "rollout_percent is FloatField()"),
        (
            {"allowed_users": models.ManyToManyField(Group, related_name="+")},
            "ManyToManyField(to='auth.group'), expected ManyToManyField(to='auth.user')",
        ),
        ({"rules": models.JSONField(decoder=JSONDecoder)}, "rules is JSONField(decoder="),
        ({"owner": models.CharField(max_length=9)}, "owner is CharField(max_length=9)"),
        ({"tags": models.JSONField(db_column="words")}, "tags is JSONField(db_column='words')"),
        ({"rules": None}, "rules is removed, but flagstaff reads it"),
    ],
)
def test_inherited_field_that_is_replaced_or_removed_is_reported(
    fields: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conf, "flag_model", flag_model_of(**copied(fields)))
    check, text, hint = only_message(check_messages("flagstaff"))
    assert check == "flagstaff.E005"
    assert message in text
    assert hint.startswith(f"remove {next(iter(fields))} from the class, and run makemigrations")


def test_field_in_the_table_of_a_parent_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = value_model_of("Parent")
    monkeypatch.setattr(Conf, "value_model", model_of("Setting", {}, parent))
    texts = {str(message.msg) for message in check_messages("flagstaff")}
    assert "rules is stored in the table of common.Parent, expected one table for all" in texts


def test_model_whose_meta_does_not_inherit_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    model = flag_model_of()
    monkeypatch.setattr(model._meta, "constraints", [])
    monkeypatch.setattr(Conf, "flag_model", model)
    assert only_message(check_messages("flagstaff"))[1:] == (
        "common.Switch: its Meta lacks the constraints of AbstractFeatureFlag",
        'write "class Meta(AbstractFeatureFlag.Meta):", and run makemigrations and migrate',
    )


def test_model_with_more_fields_defaults_and_validators_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    percent = models.PositiveSmallIntegerField(default=5, validators=[MaxValueValidator(50)])
    flags = flag_model_of(team=models.TextField(), rollout_percent=percent)
    monkeypatch.setattr(Conf, "flag_model", flags)
    monkeypatch.setattr(Conf, "value_model", value_model_of(team=models.TextField()))
    assert check_messages("flagstaff") == []


class Rows(models.Manager[Any]):
    """A project's manager whose rows `of` has made."""

    def __init__(self, of: Callable[[Any], Any]) -> None:
        super().__init__()
        self._of = of

    def get_queryset(self) -> Any:
        return self._of(super().get_queryset())


class Connecting(models.Func):
    """An expression whose SQL depends on the server."""

    def as_sql(self, *arguments: Any, **options: Any) -> Any:
        raise OperationalError("no server")


LESS_ROWS: dict[str, Callable[[Any], Any]] = {
    "soft deletion": lambda rows: rows.filter(team=""),
    "a condition on another table": lambda rows: rows.filter(allowed_users__is_active=True),
    "a condition on an aggregate": lambda rows: rows.alias(n=models.Count("pk")).filter(n__gt=0),
    "extra": lambda rows: rows.extra(where=["team = ''"]),
    "a part": lambda rows: rows[:10],
    "one of each": lambda rows: rows.order_by("team").distinct("team"),
    "a union": lambda rows: rows.filter(team="a").union(rows.filter(team="b")),
    "nothing": lambda rows: rows.none(),
}
ALL_ROWS: dict[str, Callable[[Any], Any]] = {
    "another class": lambda rows: rows,
    "an order": lambda rows: rows.order_by("-team"),
    "annotations": lambda rows: rows.annotate(users=models.Count("allowed_users")),
    "fewer columns": lambda rows: rows.defer("team"),
    "relations": lambda rows: rows.prefetch_related("allowed_users").distinct(),
    "an empty condition": lambda rows: rows.exclude(pk__in=[]).filter(models.Q()),
    # Nobody knows what they return.
    "an error": lambda rows: rows.filter(missing=1),
    "a query": lambda rows: rows.filter(pk__in=list(rows)),
    "a query for its SQL": lambda rows: rows.filter(team=Connecting(models.Value("a"))),
}


@pytest.mark.parametrize(
    ("of", "hides"),
    [*((of, True) for of in LESS_ROWS.values()), *((of, False) for of in ALL_ROWS.values())],
    ids=[*LESS_ROWS, *ALL_ROWS],
)
def test_manager_is_reported_if_it_hides_rows(
    of: Callable[[Any], Any], hides: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = flag_model_of(team=models.TextField(), objects=Rows(of))
    monkeypatch.setattr(Conf, "flag_model", model)
    reported = [
        (message.id, message.msg.partition(",")[0]) for message in check_messages("flagstaff")
    ]
    expected = ("flagstaff.W006", "its manager objects hides rows")
    assert reported == ([expected] if hides else [])


def test_each_manager_that_pages_and_code_use_by_default_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    less, every = LESS_ROWS["soft deletion"], ALL_ROWS["another class"]
    # The first one is the default.
    for managers, name in (
        ({"visible": less, "objects": every}, "visible"),
        ({"everything": every, "objects": less}, "objects"),
        ({"objects": every, "visible": less}, None),
    ):
        own: dict[str, Any] = {attribute: Rows(of) for attribute, of in managers.items()}
        monkeypatch.setattr(Conf, "flag_model", flag_model_of(team=models.TextField(), **own))
        assert [message.msg.split()[2] for message in check_messages("flagstaff")] == [name] * bool(
            name
        )


def copied(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields for another model."""
    return {name: field and field.clone() for name, field in fields.items()}


def test_default_settings_have_no_messages_and_checks_without_a_database_do_not_connect() -> None:
    assert check_messages("flagstaff") == []
    # The test runner forbids the database here.
    assert check_messages() == []
    assert [*database_messages(["another"]), *database_messages(None)] == []


def test_every_id_is_tested() -> None:
    tested = "".join(file.read_text() for file in TESTS)
    assert [check for check in USED if f'"{check}"' not in tested] == []


def test_each_id_stands_for_one_problem_and_has_a_heading_in_the_docs_in_their_order() -> None:
    headings = re.findall(r"^### (flagstaff\.\w+)", PAGE.read_text(), re.MULTILINE)
    assert headings == sorted(USED, key=lambda check: check[-3:])
    numbers = [check[-3:] for check in headings]
    assert len(numbers) == len({*numbers})
