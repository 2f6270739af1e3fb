"""The bucketing unit in the admin: its input, the list, confirmations and the history."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin import AdminSite
from django.contrib.auth.models import User
from django.db.models import BooleanField, CharField, Model, TextField
from django.forms import modelform_factory
from django.test import Client, RequestFactory, override_settings

from flagstaff import changes
from flagstaff.admin import FeatureFlagAdmin
from flagstaff.admin.flag_rules import FlagForm
from flagstaff.conf import Conf
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    column,
    errors,
    form_data,
    messages_of,
    page,
    post_confirmed,
    staff,
    toggle_url,
    turn_on,
)
from tests.support.models_of_others import flag_fields, model_of

pytestmark = pytest.mark.django_db

ADD = f"{FLAGS}add/"
COUNTED = "users with the flag"
REASSIGNS = "A change of the unit reassigns every user at once."


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


def url_of(flag: FeatureFlag, view: str = "change") -> str:
    return f"{FLAGS}{flag.pk}/{view}/"


def set_unit(unit: str, **fields: object) -> None:
    FeatureFlag.objects.update(bucket_by=unit, **fields)


def stored_unit() -> str:
    return FeatureFlag.objects.values_list("bucket_by", flat=True).get()


def post(client: Client, flag: FeatureFlag, **fields: Any) -> None:
    data = form_data(client.get(url_of(flag))) | fields
    assert post_confirmed(client, url_of(flag), data).status_code == 302


# The page of a flag.


@override_settings(FLAGSTAFF={"ATTRIBUTES": ["last_name", "user", "shop.flags.attributes"]})
def test_input_suggests_user_visitor_and_columns(admin_client: Client, flag: FeatureFlag) -> None:
    html = page(admin_client, url_of(flag))
    [suggestions] = re.findall(r'<datalist id="bucket_by_units">(.*?)</datalist>', html, re.DOTALL)
    assert re.findall(r'value="(\w+)"', suggestions) == ["user", "visitor", "last_name"]
    [text_input] = re.findall(r'<input[^>]*name="bucket_by"[^>]*>', html)
    assert 'list="bucket_by_units"' in text_input
    assert 'value="user"' in text_input


def test_unit_stands_last_in_the_targeting(admin_client: Client, flag: FeatureFlag) -> None:
    html = page(admin_client, url_of(flag))
    [targeting] = [one for one in html.split("<fieldset") if ">Targeting<" in one]
    assert "field-rules" in targeting.partition("field-bucket_by")[0]
    assert "field-" not in targeting.partition("field-bucket_by")[2]


@pytest.mark.parametrize("url", [ADD, "change"])
def test_page_says_that_a_change_of_the_unit_reassigns_users(
    admin_client: Client, flag: FeatureFlag, url: str
) -> None:
    assert REASSIGNS in page(admin_client, ADD if url == ADD else url_of(flag))


def test_unit_is_saved(admin_client: Client, flag: FeatureFlag) -> None:
    post(admin_client, flag, bucket_by="organization")
    assert stored_unit() == "organization"


@pytest.mark.parametrize(("unit", "warns"), [("organization", True), ("user", False)])
def test_message_says_that_a_new_unit_has_reassigned_users(
    admin_client: Client, flag: FeatureFlag, unit: str, warns: bool
) -> None:
    data = form_data(admin_client.get(url_of(flag))) | {"bucket_by": unit, "rollout_percent": 5}
    found = messages_of(post_confirmed(admin_client, url_of(flag), data, follow=True))
    assert any("The new unit reassigned every user." in one for one in found) is warns


def test_flag_is_created_with_a_unit(admin_client: Client) -> None:
    data = form_data(admin_client.get(ADD)) | {
        "key": "a",
        "rollout_percent": 0,
        "bucket_by": "visitor",
    }
    assert admin_client.post(ADD, data).status_code == 302
    assert stored_unit() == "visitor"


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ("", "the bucketing unit is empty"),
        ("groups", '"groups" cannot be the bucketing unit'),
        ("x" * 101, "Ensure this value has at most 100 characters"),
    ],
)
def test_unusable_unit_is_an_error_of_its_field(
    admin_client: Client, flag: FeatureFlag, unit: str, message: str
) -> None:
    data = form_data(admin_client.get(url_of(flag))) | {"bucket_by": unit}
    found = errors(admin_client, url_of(flag), data)
    assert list(found) == ["bucket_by"]
    [text] = found["bucket_by"]
    assert message in text


@pytest.mark.parametrize("unit", ["", "groups", " visitor"])
def test_unusable_unit_written_by_sql_does_not_stop_other_changes(
    admin_client: Client, flag: FeatureFlag, unit: str
) -> None:
    set_unit(unit)
    post(admin_client, flag, rollout_percent=5)
    assert FeatureFlag.objects.values_list("bucket_by", "rollout_percent").get() == (unit, 5)


@pytest.mark.parametrize("percent", ["5", "101"])
def test_submitted_page_of_an_older_version_keeps_the_unit(
    admin_client: Client, flag: FeatureFlag, percent: str
) -> None:
    set_unit("visitor")
    data = form_data(admin_client.get(url_of(flag))) | {"rollout_percent": percent}
    del data["bucket_by"]
    response = admin_client.post(url_of(flag), data)
    assert response.status_code == (302 if percent == "5" else 200)
    assert stored_unit() == "visitor"


def test_unit_that_somebody_else_changed_is_a_conflict(
    admin_client: Client, flag: FeatureFlag
) -> None:
    data = form_data(admin_client.get(url_of(flag))) | {"bucket_by": "organization"}
    changes.update("new_checkout", {"bucket_by": "visitor"})
    [error] = errors(admin_client, url_of(flag), data)["bucket_by"]
    assert error.startswith("Yours: organization. Now in the database: visitor")


def test_viewer_sees_the_unit(flag: FeatureFlag) -> None:
    set_unit("organization")
    html = page(staff("view_featureflag"), url_of(flag))
    assert "organization" in html
    assert "<datalist" not in html


# A project's own model.


def unit_field_of(model: type[Model]) -> Any:
    request = RequestFactory().get("/")
    field: Any = model._meta.get_field("bucket_by")
    return FeatureFlagAdmin(model, AdminSite()).formfield_for_dbfield(field, request)  # type: ignore[arg-type]


@pytest.mark.parametrize("field", [CharField(max_length=9), TextField()], ids=type)
def test_text_field_of_a_project_has_the_input_and_the_help(field: Any) -> None:
    form_field = unit_field_of(model_of("Switch", flag_fields(bucket_by=field)))
    assert "<datalist" in form_field.widget.render("bucket_by", "user", {"id": "id_bucket_by"})
    assert REASSIGNS in form_field.help_text


def test_field_of_a_project_with_choices_stays_a_select() -> None:
    choices = [("user", "user"), ("plan", "plan")]
    field = CharField(max_length=9, choices=choices, default="user")
    form_field = unit_field_of(model_of("Switch", flag_fields(bucket_by=field)))
    assert "<select" in form_field.widget.render("bucket_by", "user")


def test_checkbox_of_a_project_with_this_name_can_be_unchecked() -> None:
    field = BooleanField(default=False)
    model = model_of("Switch", flag_fields(bucket_by=field))
    form_class = modelform_factory(model, FlagForm, fields=["key", "bucket_by"])
    form = form_class({"key": "a"}, instance=model(key="a", bucket_by=True))
    assert not form.fields["bucket_by"].disabled


def test_model_without_the_field_has_no_unit_on_its_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of("Switch", flag_fields())
    monkeypatch.setattr(Conf, "flag_model", model)
    fieldsets = FeatureFlagAdmin(model, AdminSite()).fieldsets
    assert not any("bucket_by" in options["fields"] for _title, options in fieldsets)


# The list.


@pytest.mark.parametrize(
    ("unit", "rollout"),
    [
        ("user", "25 %"),
        ("visitor", "25 % of visitors"),
        ("organization", "25 % by organization"),
        ("x" * 100, f"25 % by {'x' * 23}…"),
    ],
)
def test_list_says_what_the_rollout_counts(
    admin_client: Client, flag: FeatureFlag, unit: str, rollout: str
) -> None:
    set_unit(unit)
    assert column(page(admin_client), "rollout") == [rollout]


@pytest.mark.parametrize("unit", ["user", "visitor", "organization"])
def test_state_in_the_list_is_as_wide_with_every_unit(
    admin_client: Client, flag: FeatureFlag, unit: str
) -> None:
    set_unit(unit)
    assert column(page(admin_client), "state") == ["rollout 25 %"]


def test_list_shows_the_unit_of_a_disabled_flag(admin_client: Client, flag: FeatureFlag) -> None:
    set_unit("visitor", enabled=False)
    html = page(admin_client)
    assert column(html, "state") == ["off"]
    assert column(html, "rollout") == ["25 % of visitors"]


# Turning a flag on.


def preview(client: Client, flag: FeatureFlag) -> dict[str, tuple[str, str]]:
    """Returns the rows of the page that asks for a confirmation."""
    FeatureFlag.objects.update(enabled=False)
    response = client.get(toggle_url(flag, "turn-on"))
    return {row.field: (row.now, row.after) for row in response.context["flagstaff_rows"]}


def test_confirmation_says_by_what_the_flag_is_bucketed(
    admin_client: Client, flag: FeatureFlag
) -> None:
    set_unit("visitor")
    rows = preview(admin_client, flag)
    assert rows["bucketed by"] == ("visitor", "visitor")
    assert rows["state"] == ("off", "25 % of visitors")
    assert rows["who has the flag"] == ("Off for all users.", "On for 25 % of visitors.")


def test_confirmation_of_a_flag_that_is_bucketed_by_user_has_no_unit(
    admin_client: Client, flag: FeatureFlag
) -> None:
    assert "bucketed by" not in preview(admin_client, flag)


@pytest.mark.parametrize("unit", ["visitor", "organization"])
def test_confirmation_has_no_count_of_what_is_not_in_the_database(
    admin_client: Client, flag: FeatureFlag, unit: str
) -> None:
    set_unit(unit)
    assert "users" not in preview(admin_client, flag)


@override_settings(FLAGSTAFF={"ATTRIBUTES": ["last_name"]})
def test_confirmation_counts_users_by_a_column(admin_client: Client, flag: FeatureFlag) -> None:
    User.objects.bulk_create(User(username=str(n), last_name="Bell") for n in range(9))
    set_unit("last_name")
    # The administrator has no last name, and the others have the same.
    assert preview(admin_client, flag)[COUNTED] in [("0 of 10", "0 of 10"), ("0 of 10", "9 of 10")]


def test_confirmation_counts_users_by_rules_that_read_columns(
    admin_client: Client, flag: FeatureFlag
) -> None:
    User.objects.bulk_create(User(username=str(n), is_staff=n < 4) for n in range(9))
    condition = {"attribute": "is_staff", "operator": "in", "values": [True]}
    FeatureFlag.objects.update(rules=[{"conditions": [condition]}], rollout_percent=0)
    # The administrator is the fifth.
    assert preview(admin_client, flag)[COUNTED] == ("0 of 10", "5 of 10")


def test_message_about_a_flag_that_was_turned_on_says_what_its_rollout_counts(
    admin_client: Client, flag: FeatureFlag
) -> None:
    set_unit("organization", enabled=False)
    response = turn_on(admin_client, flag)
    assert "On for 25 % (by organization)." in response.content.decode()


# The history.


@pytest.mark.django_db(transaction=True)
def test_history_says_by_what_the_flag_is_bucketed(admin_client: Client, flag: FeatureFlag) -> None:
    changes.update("new_checkout", {"bucket_by": "visitor"})
    assert "bucketed by user → visitor" in page(admin_client, url_of(flag, "history"))


@pytest.mark.django_db(transaction=True)
def test_confirmation_of_a_restore_says_that_users_are_reassigned(
    admin_client: Client, flag: FeatureFlag
) -> None:
    version = flag_version("new_checkout")
    changes.update("new_checkout", {"bucket_by": "visitor"})
    response = admin_client.post(url_of(flag, "history"), {"_restore": str(version)})
    rows = {row.field: (row.now, row.after) for row in response.context["flagstaff_rows"]}
    assert rows == {"bucketed by": ("visitor", "user")}
    assert "This reassigns every user at once." in response.content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("fields", "warns"), [({"bucket_by": "visitor"}, True), ({"rollout_percent": 5}, False)]
)
def test_message_says_that_an_undone_unit_has_reassigned_users(
    admin_client: Client, flag: FeatureFlag, fields: dict[str, object], warns: bool
) -> None:
    changes.update("new_checkout", fields)
    data = {"_undo": str(flag_version("new_checkout"))}
    response = post_confirmed(admin_client, url_of(flag, "history"), data, follow=True)
    undone, *others = messages_of(response)
    assert "was undone" in undone
    assert any("The new unit reassigned every user." in one for one in others) is warns
