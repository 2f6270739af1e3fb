"""`manage.py flags declare`: the file that declares what a database or django-constance has."""

import datetime as dt
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from flagstaff import Flag, Value
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.shop import Shop
from tests.support.terminals import document, flags, refused, run


def printed(*arguments: str) -> tuple[str, dict[str, Any]]:
    """What the command prints, and the names of this file once it is imported."""
    code = flags("declare", *arguments).out
    names: dict[str, Any] = {}
    exec(compile(code, "shop/flags.py", "exec"), names)
    return code, {name: value for name, value in names.items() if name.isupper()}


def test_flags_and_values_of_the_database_are_printed_as_a_file(shop: Shop) -> None:
    shop.flag("new_checkout", owner="payments", tags=["checkout"], review_on=date(2027, 3, 1))
    shop.flag("search_v2")
    shop.flag("visitor_banner", client_side=True)
    shop.value("page_size", description="Products on a page")
    shop.value("parcel_service")
    code, _names = printed()
    assert (
        code
        == '''"""The flags and values that the code declares."""

from flagstaff import Flag, Value

NEW_CHECKOUT = Flag(
    "new_checkout",
    "One page instead of three",
    owner="payments",
    tags=["checkout"],
    review_on="2027-03-01",
)
SEARCH_V2 = Flag("search_v2", kind="ops")
VISITOR_BANNER = Flag("visitor_banner", bucket_by="visitor", client_side=True)
PAGE_SIZE = Value("page_size", 20, "Products on a page")
PARCEL_SERVICE = Value("parcel_service", "DHL", choices=["DHL", "UPS"])
'''
    )


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("", 'it\'s "new"\n'),
        ("", True),
        ("", 2.5),
        ("", {"free": [1, None], "pro": {}}),
        ("array", []),
        ("string", ""),
    ],
)
def test_default_is_the_present_value(shop: Shop, type_: str, value: Any) -> None:
    shop.value("x", value=value, type=type_)
    assert printed()[1]["X"].default == value


def test_integer_of_the_type_number_is_a_float(shop: Shop) -> None:
    shop.value("x", value=4, type="number", choices=[4, 5])
    assert printed()[0].endswith('X = Value("x", 4.0, choices=[4.0, 5.0])\n')


def test_secret_value_is_not_printed(shop: Shop) -> None:
    shop.value("mail_password", choices=["hunter2", "hunter3"])
    code, names = printed()
    assert "hunter" not in code
    assert (names["MAIL_PASSWORD"].default, names["MAIL_PASSWORD"].secret) == ("", True)


def test_keys_that_no_name_can_have_get_another_one(shop: Shop) -> None:
    for key in ("a-b", "a.b", "2026"):
        shop.flag(key, description=".")
    assert printed()[1] == {"KEY_2026": "2026", "A_B": "a-b", "A_B_2": "a.b"}


def test_declared_keys_are_left_out_and_given_keys_are_printed_alone(shop: Shop) -> None:
    shop.flag("new_checkout")
    shop.flag("search_v2")
    shop.value("page_size")
    assert [*printed("search_v2", "page_size")[1]] == ["SEARCH_V2", "PAGE_SIZE"]
    assert "declared already: search_v2, page_size" in run("declare").err
    assert refused("declare nope", 5, "there is no flag, value or segment 'nope'")
    assert document("declare")["code"] == flags("declare").out


def test_rows_of_declared_keys_are_written_in_one_transaction(shop: Shop) -> None:
    shop.value("page_size")
    Flag("new_checkout", "One page instead of three", owner="payments")
    Value("page_size", 50, "Products on a page")
    ran = run('declare --write-rows --reason "release 42"')
    assert (ran.status, ran.out) == (0, "")
    assert 'page_size: description "Products on a page"' in ran.err
    flag, value = FeatureFlag.objects.get(), KeyValueStore.objects.get()
    assert (flag.enabled, flag.owner) == (False, "payments")
    assert (value.value, value.description) == (20, "Products on a page")
    assert {change.reason for change in Change.objects.filter(reason="release 42")}
    assert "every declared key has its row" in run("declare --write-rows").err
    assert document("declare", "--write-rows")["written"] == []


def test_reason_is_required_to_write_rows_only(settings: Any) -> None:
    settings.FLAGSTAFF = {"REQUIRE_REASON": True}
    assert run("declare").status == 0
    refused("declare --write-rows", 2, "a reason is required")


class Money:
    """A class that JSON does not know."""

    def __str__(self) -> str:
        return "9 EUR"


FIELD = "django.forms.ChoiceField"
CONFIG = {
    "PAGE_SIZE": (20, "Products on a page", int),
    "FEE": (Decimal("4.90"), "Euro"),
    "RATE": (0.19, ""),
    "OPENS": (dt.date(2026, 3, 1), ""),
    "OPENED": (dt.datetime(2026, 3, 1, 12, tzinfo=dt.timezone.utc), ""),
    "DELAY": (dt.timedelta(days=1), "", dt.timedelta),
    "CLOSES": (dt.time(18, 30), ""),
    "PAIRS": ([("dhl", "DHL")], ""),
    "NOTICE": (None, "Shown if there is one", str),
    "UNTIL": (None, "", dt.date),
    "THEME": ("light", "", "theme"),
    "MATCH": (None, "", "theme"),
    "LIMIT": (Money(), ""),
}
FIELDS = {"theme": [FIELD, {"choices": ((None, "—"), ("Groups", [("light", "L"), ("dark", "D")]))}]}


def test_settings_of_constance_keep_defaults_types_help_choices_and_fieldsets(
    settings: Any,
) -> None:
    settings.CONSTANCE_CONFIG = CONFIG
    settings.CONSTANCE_ADDITIONAL_FIELDS = FIELDS
    settings.CONSTANCE_CONFIG_FIELDSETS = {
        "Catalogue": {"fields": ["PAGE_SIZE"], "collapse": True},
        "Money": ("FEE", "RATE"),
    }
    code, names = printed("--constance")
    assert code.startswith(
        '"""The flags and values that the code declares."""\n\n'
        "import datetime\nfrom decimal import Decimal\n\nfrom flagstaff import Value\n\n"
    )
    assert [*names] == [*CONFIG]
    for name, (default, description, *_type) in CONFIG.items():
        if name not in {"CLOSES", "PAIRS", "LIMIT"}:
            assert (names[name].default, names[name].description) == (default, description)
    assert (names["CLOSES"].default, names["PAIRS"].default) == ("18:30:00", [["dhl", "DHL"]])
    assert names["UNTIL"].python_type is dt.date
    assert names["THEME"].choices == names["MATCH"].choices == ("light", "dark")
    assert names["LIMIT"].default == "9 EUR"
    assert [names[name].group for name in ("PAGE_SIZE", "FEE", "OPENS")] == [
        "Catalogue",
        "Money",
        "",
    ]
    assert isinstance(names["PAGE_SIZE"], Value)
    assert not isinstance(names["FEE"], Flag)


def test_settings_of_constance_keep_their_names(settings: Any) -> None:
    settings.CONSTANCE_CONFIG = {"orgName": ("ICIJ", "Name"), "PAGE_SIZE": (20, "Rows")}
    assert {
        'orgName = Value("orgName", "ICIJ", "Name")',
        'PAGE_SIZE = Value("page_size", 20, "Rows")',
    } <= {*printed("--constance")[0].splitlines()}


def test_project_without_constance_is_refused() -> None:
    assert refused("declare --constance", 2, "the settings have no CONSTANCE_CONFIG")
