"""The fields that flags got later: owner, tags, review date and bucketing unit."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from django.test import Client, override_settings
from django.utils.html import strip_tags

from flagstaff import changes
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    column,
    confirmed,
    errors,
    flag_url,
    form_data,
    listed_keys,
    messages_of,
    page,
    post_confirmed,
    preview_of,
    restore_url,
    save_flag,
    state,
    toggle_url,
    turn_on,
    undo,
)
from tests.support.sql import rows as execute

pytestmark = pytest.mark.django_db

ADD = f"{FLAGS}add/"
OWNED: dict[str, Any] = {
    "owner": "payments",
    "tags": ["checkout", "mobile"],
    "review_on": date(2027, 3, 1),
    "bucket_by": "visitor",
}
TYPED = {"owner": "payments", "tags": "checkout, mobile", "review_on": "2027-03-01"}
REASSIGNS = "A change of the unit reassigns every user at once."
COUNTED = "users with the flag"
NOT_OWNED: dict[str, Any] = {"owner": "", "tags": [], "review_on": None, "bucket_by": "user"}


@pytest.fixture
def owned() -> FeatureFlag:
    """A disabled flag with all these fields."""
    return FeatureFlag.objects.create(key="new_checkout", rollout_percent=25, **OWNED)


def stored() -> dict[str, Any]:
    return dict(FeatureFlag.objects.values(*OWNED).get())


def opened(client: Client, owned: FeatureFlag) -> dict[str, Any]:
    return form_data(client.get(flag_url(owned)))


def post(client: Client, owned: FeatureFlag, **fields: Any) -> Any:
    response = client.post(flag_url(owned), opened(client, owned) | fields, follow=True)
    assert response.redirect_chain
    return response


def fieldsets(html: str) -> list[str]:
    return re.findall(r"<fieldset.*?</fieldset>", html, re.DOTALL)


# The pages that add and change a flag.


def test_fields_stand_in_the_details_before_the_reason(
    operator: Client, viewer: Client, owned: FeatureFlag
) -> None:
    for url in (ADD, flag_url(owned)):
        first, *_others, details, reason = fieldsets(page(operator, url))
        assert "Details" in details
        names = re.findall(r'<input[^>]* name="(\w+)"', details)
        owner = [] if url == ADD else ["owner"]
        assert names == ["client_side", *owner, "tags", "review_on"]
        assert ('name="owner"' in first) is (url == ADD)
        assert "Separate them with commas." in details
        assert 'name="_reason"' in reason
    # The last page shows the stored fields.
    for name, value in TYPED.items():
        [text_input] = re.findall(rf'<input[^>]* name="{name}"[^>]*>', details)
        assert f'value="{value}"' in text_input
    shown = strip_tags(page(viewer, flag_url(owned)))
    for text in ("payments", "checkout", "mobile", "March 1, 2027", "visitor"):
        assert text in shown


@pytest.mark.parametrize(
    ("typed", "expected"),
    [({}, NOT_OWNED), (TYPED | {"tags": "checkout,  mobile,", "bucket_by": "visitor"}, OWNED)],
    ids=["without", "with"],
)
def test_flag_is_created_with_and_without_the_later_fields(
    typed: dict[str, str], expected: dict[str, Any], operator: Client
) -> None:
    data = form_data(operator.get(ADD)) | {"key": "a", "rollout_percent": 100, **typed}
    assert operator.post(ADD, data).status_code == 302
    assert stored() == expected


def test_later_fields_are_saved_and_cleared(operator: Client, owned: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    post(operator, owned)
    assert flag_version("new_checkout") == version
    post(operator, owned, owner="search", tags='["q3", "on call"]', review_on="2027-01-01")
    tags = ["q3", "on call"]
    assert stored() == {**OWNED, "owner": "search", "tags": tags, "review_on": date(2027, 1, 1)}
    post(operator, owned, owner="", tags="", review_on="", bucket_by="user")
    assert stored() == NOT_OWNED


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tags", "a, b, a", 'the tag "a" is given twice'),
        ("owner", "x" * 101, "Ensure this value has at most 100 characters"),
        ("review_on", "soon", "Enter a valid date."),
        ("bucket_by", "groups", '"groups" cannot be the bucketing unit'),
    ],
)
def test_unusable_field_is_an_error_and_keeps_its_text(
    operator: Client, owned: FeatureFlag, name: str, text: str, message: str
) -> None:
    data = opened(operator, owned) | {name: text}
    found = errors(operator, flag_url(owned), data)
    assert list(found) == [name]
    [error] = found[name]
    assert message in error
    html = operator.post(flag_url(owned), data).content.decode()
    assert f'value="{text}"' in html
    [ownership] = [one for one in fieldsets(html) if 'name="owner"' in one]
    assert "<details" not in ownership


@pytest.mark.parametrize("json", ['{"a": 1}', '"text"', "[1]", "null"])
def test_unusable_tags_written_by_sql_stop_neither_the_list_nor_other_changes(
    operator: Client, owned: FeatureFlag, json: str
) -> None:
    execute("UPDATE flagstaff_featureflag SET tags = %s::jsonb", json)
    assert listed_keys(page(operator)) == ["new_checkout"]
    assert 'name="tags"' not in page(operator, flag_url(owned))
    post(operator, owned, rollout_percent=5)
    query = "SELECT rollout_percent, tags = %s::jsonb FROM flagstaff_featureflag"
    assert execute(query, json) == [(5, True)]


@pytest.mark.parametrize("percent", ["5", "101"])
def test_submitted_page_of_an_older_version_keeps_the_later_fields(
    operator: Client, owned: FeatureFlag, percent: str
) -> None:
    data = opened(operator, owned) | {"rollout_percent": percent}
    for name in OWNED:
        del data[name]
    response = operator.post(flag_url(owned), data)
    assert response.status_code == (302 if percent == "5" else 200)
    assert stored() == OWNED


# The list.


def test_list_is_searched_and_filtered_by_owner_and_tag(
    operator: Client, owned: FeatureFlag
) -> None:
    FeatureFlag.objects.create(key="banner")
    FeatureFlag.objects.create(key="header", owner="search", tags=["mobile"])
    for query, keys in {
        "q=paym": ["new_checkout"],
        "owner=payments": ["new_checkout"],
        "owner=": ["banner"],
        "owner=nobody": [],
        "tag=mobile": ["header", "new_checkout"],
        "tag=mobile&owner=search": ["header"],
        "tag=mob": [],
    }.items():
        assert listed_keys(page(operator, f"{FLAGS}?{query}")) == keys


def test_filters_offer_owners_and_tags_of_all_flags(operator: Client) -> None:
    FeatureFlag.objects.create(key="new_checkout")
    assert not re.search("[?](owner|tag)=", page(operator))
    FeatureFlag.objects.create(key="banner", owner="<b>", tags=["checkout", "q3"])
    FeatureFlag.objects.create(key="header", owner="payments", tags=["checkout", "mobile"])
    html = page(operator)
    found = re.findall(r'<a href="\?((?:owner|tag)=[^"]*)">(.*?)</a>', html, re.DOTALL)
    assert {strip_tags(one): link for link, one in found} == {
        "owned by me": "owner=%40me",
        "&lt;b&gt;": "owner=%3Cb%3E",
        "payments": "owner=payments",
        "without an owner": "owner=",
        "checkout": "tag=checkout",
        "mobile": "tag=mobile",
        "q3": "tag=q3",
    }


# The history.


# The bucketing unit.


def set_unit(unit: str, **fields: object) -> None:
    FeatureFlag.objects.update(bucket_by=unit, **fields)


def stored_unit() -> str:
    return FeatureFlag.objects.values_list("bucket_by", flat=True).get()


@override_settings(FLAGSTAFF={"ATTRIBUTES": ["last_name", "user", "shop.flags.attributes"]})
def test_unit_stands_last_in_the_targeting_with_suggestions_and_help(
    operator: Client, flag: FeatureFlag
) -> None:
    html = page(operator, flag_url(flag))
    [suggestions] = re.findall(r'<datalist id="bucket_by_units">(.*?)</datalist>', html, re.DOTALL)
    assert re.findall(r'value="(\w+)"', suggestions) == ["user", "visitor", "last_name"]
    [text_input] = re.findall(r'<input[^>]*name="bucket_by"[^>]*>', html)
    assert 'list="bucket_by_units"' in text_input
    assert 'value="user"' in text_input
    [targeting] = [one for one in html.split("<fieldset") if ">Targeting<" in one]
    assert "field-rules" in targeting.partition("field-bucket_by")[0]
    assert "field-" not in targeting.partition("field-bucket_by")[2]
    assert REASSIGNS in targeting
    assert REASSIGNS in page(operator, ADD)


@pytest.mark.parametrize(("unit", "warns"), [("organization", True), ("user", False)])
def test_saved_new_unit_has_reassigned_users(
    operator: Client, flag: FeatureFlag, unit: str, warns: bool
) -> None:
    data = form_data(operator.get(flag_url(flag))) | {"bucket_by": unit, "rollout_percent": 5}
    found = messages_of(post_confirmed(operator, flag_url(flag), data, follow=True))
    assert any("The new unit reassigned every user." in one for one in found) is warns
    assert stored_unit() == unit


def test_unusable_unit_written_by_sql_does_not_stop_other_changes(
    operator: Client, flag: FeatureFlag
) -> None:
    for unit in ("", "groups", " visitor"):
        set_unit(unit, rollout_percent=25)
        response = save_flag(operator, flag, rollout_percent=5)
        operator.post(flag_url(flag), confirmed(response))
        assert state(flag) == (True, 5)
        assert stored_unit() == unit


# The list.


def test_list_says_what_the_rollout_counts_beside_the_state(
    operator: Client, flag: FeatureFlag
) -> None:
    for unit, rollout in {
        "user": "25 %",
        "visitor": "25 % of visitors",
        "organization": "25 % by organization",
        "x" * 100: f"25 % by {'x' * 23}…",
    }.items():
        for enabled, label in ((True, "rollout 25 %"), (False, "off")):
            set_unit(unit, enabled=enabled)
            html = page(operator)
            assert column(html, "flag") == [f"new_checkout {label}"]
            assert column(html, "rollout") == [rollout]


# Turning a flag on.


def preview(client: Client, flag: FeatureFlag) -> dict[str, list[str]]:
    """Returns the rows of the page that asks for a confirmation."""
    FeatureFlag.objects.update(enabled=False)
    return preview_of(client.get(toggle_url(flag, "turn-on")))


def test_confirmation_and_message_say_by_what_flag_is_bucketed(
    operator: Client, flag: FeatureFlag
) -> None:
    assert "bucketing unit" not in preview(operator, flag)
    set_unit("visitor")
    rows = preview(operator, flag)
    assert rows["bucketing unit"] == ["visitor", "visitor"]
    assert rows["state"] == ["off", "25 % of visitors"]
    assert rows["who has the flag"] == ["Off for all users.", "On for 25 % of visitors."]
    assert rows[COUNTED][1].endswith("; rules on visitor are not counted")
    set_unit("organization")
    response = turn_on(operator, flag)
    assert "On for 25 % (by organization)." in response.content.decode()


# The history.


@pytest.mark.django_db(transaction=True)
def test_history_restore_and_undo_say_that_users_are_reassigned(
    operator: Client, flag: FeatureFlag
) -> None:
    version, url = flag_version("new_checkout"), flag_url(flag, "history")
    changes.flags.update("new_checkout", {"bucket_by": "visitor"})
    assert "bucketing unit <strong>user → visitor</strong>" in page(operator, url)
    response = operator.get(restore_url(version))
    assert preview_of(response) == {"bucketing unit": ["visitor", "user"]}
    assert "This reassigns every user at once." in response.content.decode()
    for warns in (True, False):
        response = undo(operator, flag_version("new_checkout"))
        undone, *others = messages_of(response)
        assert "was undone" in undone
        assert any("The new unit reassigned every user." in one for one in others) is warns
        changes.flags.update("new_checkout", {"rollout_percent": 5})
