"""The owner, the tags and the review date of a flag in the admin: form, list and history."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils.html import strip_tags

from flagstaff import changes
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, errors, form_data, listed_keys, messages_of, page, staff

pytestmark = pytest.mark.django_db

ADD = f"{FLAGS}add/"
OWNED: dict[str, Any] = {
    "owner": "payments",
    "tags": ["checkout", "mobile"],
    "review_on": date(2027, 3, 1),
}
NOT_OWNED: dict[str, Any] = {"owner": "", "tags": [], "review_on": None}


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", rollout_percent=25, **OWNED)


def url_of(flag: FeatureFlag, view: str = "change") -> str:
    return f"{FLAGS}{flag.pk}/{view}/"


def stored() -> dict[str, Any]:
    return dict(FeatureFlag.objects.values(*OWNED).get())


def opened(client: Client, flag: FeatureFlag) -> dict[str, Any]:
    return form_data(client.get(url_of(flag)))


def post(client: Client, flag: FeatureFlag, **fields: Any) -> Any:
    response = client.post(url_of(flag), opened(client, flag) | fields, follow=True)
    assert response.redirect_chain
    return response


def fieldsets(html: str) -> list[str]:
    return re.findall(r"<fieldset.*?</fieldset>", html, re.DOTALL)


def write_tags(json: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flagstaff_featureflag SET tags = %s::jsonb", [json])


# The pages that add and change a flag.


@pytest.mark.parametrize("url", [ADD, "change"])
def test_fields_stand_in_the_details_before_the_reason(
    admin_client: Client, flag: FeatureFlag, url: str
) -> None:
    *_others, details, reason = fieldsets(page(admin_client, ADD if url == ADD else url_of(flag)))
    assert ">Details<" in details
    names = re.findall(r'<input[^>]* name="(\w+)"', details)
    assert names == ["client_side", "owner", "tags", "review_on"]
    assert 'name="_reason"' in reason


def test_form_shows_the_stored_fields(admin_client: Client, flag: FeatureFlag) -> None:
    html = page(admin_client, url_of(flag))
    for name, value in [
        ("owner", "payments"),
        ("tags", "checkout, mobile"),
        ("review_on", "2027-03-01"),
    ]:
        [text_input] = re.findall(rf'<input[^>]* name="{name}"[^>]*>', html)
        assert f'value="{value}"' in text_input
    assert "Separate them with commas." in html


def test_flag_is_created_with_the_three_fields(admin_client: Client) -> None:
    data = form_data(admin_client.get(ADD)) | {
        "key": "a",
        "rollout_percent": 0,
        "owner": "payments",
        "tags": "checkout,  mobile,",
        "review_on": "2027-03-01",
    }
    assert admin_client.post(ADD, data).status_code == 302
    assert stored() == OWNED


def test_flag_is_created_without_the_three_fields(admin_client: Client) -> None:
    data = form_data(admin_client.get(ADD)) | {"key": "a", "rollout_percent": 0}
    assert admin_client.post(ADD, data).status_code == 302
    assert stored() == NOT_OWNED


def test_three_fields_are_saved(admin_client: Client, flag: FeatureFlag) -> None:
    post(admin_client, flag, owner="search", tags="q3", review_on="2027-01-01")
    assert stored() == {"owner": "search", "tags": ["q3"], "review_on": date(2027, 1, 1)}


def test_tags_may_be_written_as_a_json_list(admin_client: Client, flag: FeatureFlag) -> None:
    post(admin_client, flag, tags='["q3", "on call"]')
    assert stored()["tags"] == ["q3", "on call"]


def test_three_fields_are_cleared(admin_client: Client, flag: FeatureFlag) -> None:
    post(admin_client, flag, owner="", tags="", review_on="")
    assert stored() == NOT_OWNED


@pytest.mark.django_db(transaction=True)
def test_save_without_an_edit_writes_nothing(admin_client: Client, flag: FeatureFlag) -> None:
    version = flag_version("new_checkout")
    post(admin_client, flag)
    assert flag_version("new_checkout") == version


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tags", "a, b, a", 'the tag "a" is there twice'),
        ("tags", "x" * 51, "tag 1 has 51 characters; use at most 50"),
        ("tags", ", ".join(map(str, range(21))), "there are 21 tags; use at most 20"),
        ("owner", "x" * 101, "Ensure this value has at most 100 characters"),
        ("review_on", "soon", "Enter a valid date."),
    ],
)
def test_unusable_field_is_an_error_and_keeps_its_text(
    admin_client: Client, flag: FeatureFlag, name: str, text: str, message: str
) -> None:
    data = opened(admin_client, flag) | {name: text}
    found = errors(admin_client, url_of(flag), data)
    assert list(found) == [name]
    [error] = found[name]
    assert message in error
    html = admin_client.post(url_of(flag), data).content.decode()
    assert f'value="{text}"' in html
    [ownership] = [one for one in fieldsets(html) if 'name="owner"' in one]
    assert "<details" not in ownership


@pytest.mark.parametrize("json", ['{"a": 1}', '"text"', "[1]", "null", f"[{'9' * 5000}]"])
def test_unusable_tags_written_by_sql_do_not_stop_other_changes(
    admin_client: Client, flag: FeatureFlag, json: str
) -> None:
    write_tags(json)
    assert ('name="tags"' in page(admin_client, url_of(flag))) is (json == "null")
    post(admin_client, flag, rollout_percent=5)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rollout_percent, tags = %s::jsonb FROM flagstaff_featureflag", [json]
        )
        assert cursor.fetchone() == (5, True)


@pytest.mark.parametrize("percent", ["5", "101"])
def test_submitted_page_of_an_older_version_keeps_the_three_fields(
    admin_client: Client, flag: FeatureFlag, percent: str
) -> None:
    data = opened(admin_client, flag) | {"rollout_percent": percent}
    for name in OWNED:
        del data[name]
    response = admin_client.post(url_of(flag), data)
    assert response.status_code == (302 if percent == "5" else 200)
    assert stored() == OWNED


# Changes of others.


@pytest.mark.parametrize(
    ("name", "edits", "message"),
    [
        ("owner", ("search", "mobile"), 'Yours: "search". Now in the database: "mobile"'),
        ("tags", ("q3", ["q4"]), 'Yours: ["q3"]. Now in the database: ["q4"]'),
        (
            "review_on",
            ("2027-01-01", date(2027, 2, 1)),
            'Yours: "2027-01-01". Now in the database: "2027-02-01"',
        ),
    ],
)
def test_field_that_somebody_else_changed_is_a_conflict(
    admin_client: Client, flag: FeatureFlag, name: str, edits: tuple[str, Any], message: str
) -> None:
    mine, theirs = edits
    data = opened(admin_client, flag) | {name: mine}
    changes.update("new_checkout", {name: theirs})
    [error] = errors(admin_client, url_of(flag), data)[name]
    assert error.startswith(message)


@pytest.mark.parametrize(
    ("name", "theirs"), [("owner", "mobile"), ("tags", ["q4"]), ("review_on", date(2027, 2, 1))]
)
def test_field_that_somebody_else_changed_is_merged(
    admin_client: Client, flag: FeatureFlag, name: str, theirs: object
) -> None:
    data = opened(admin_client, flag) | {"rollout_percent": 5}
    changes.update("new_checkout", {name: theirs})
    assert admin_client.post(url_of(flag), data).status_code == 302
    assert stored() == {**OWNED, name: theirs}


def test_page_with_errors_shows_the_newer_tags(admin_client: Client, flag: FeatureFlag) -> None:
    data = opened(admin_client, flag) | {"rollout_percent": 101}
    changes.update("new_checkout", {"tags": ["q4", "q5"]})
    html = admin_client.post(url_of(flag), data).content.decode()
    assert 'value="q4, q5"' in html


# The list.


def test_search_finds_the_owner(admin_client: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.create(key="banner", owner="search")
    assert listed_keys(page(admin_client, f"{FLAGS}?q=paym")) == ["new_checkout"]


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("owner=payments", ["new_checkout"]),
        ("owner=", ["banner"]),
        ("owner=nobody", []),
        ("tag=mobile", ["header", "new_checkout"]),
        ("tag=mobile&owner=search", ["header"]),
        ("tag=mob", []),
    ],
)
def test_list_filters_by_owner_and_tag(
    admin_client: Client, flag: FeatureFlag, query: str, keys: list[str]
) -> None:
    FeatureFlag.objects.create(key="banner")
    FeatureFlag.objects.create(key="header", owner="search", tags=["mobile"])
    assert listed_keys(page(admin_client, f"{FLAGS}?{query}")) == keys


def test_filters_offer_the_owners_and_tags_of_all_flags(
    admin_client: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.create(key="banner", owner="<b>", tags=["checkout", "q3"])
    FeatureFlag.objects.create(key="header", owner="payments")
    html = page(admin_client)
    found = {
        strip_tags(one): link
        for link, one in re.findall(r'<a href="\?((?:owner|tag)=[^"]*)">(.*?)</a>', html, re.DOTALL)
    }
    assert found == {
        "&lt;b&gt;": "owner=%3Cb%3E",
        "payments": "owner=payments",
        "without an owner": "owner=",
        "checkout": "tag=checkout",
        "mobile": "tag=mobile",
        "q3": "tag=q3",
    }


def test_filters_are_hidden_while_no_flag_has_an_owner_or_a_tag(admin_client: Client) -> None:
    FeatureFlag.objects.create(key="banner")
    html = page(admin_client)
    assert "?owner=" not in html
    assert "?tag=" not in html


@pytest.mark.parametrize("json", ['{"a": 1}', '"text"', "[1]", "null", f"[{'9' * 5000}]"])
def test_list_survives_unusable_tags(admin_client: Client, flag: FeatureFlag, json: str) -> None:
    write_tags(json)
    assert listed_keys(page(admin_client)) == ["new_checkout"]


# Viewers, and the history.


def test_viewer_sees_the_three_fields(flag: FeatureFlag) -> None:
    shown = strip_tags(page(staff("view_featureflag"), url_of(flag)))
    for text in ("payments", "checkout", "mobile", "March 1, 2027"):
        assert text in shown


@pytest.mark.django_db(transaction=True)
def test_history_page_describes_and_undoes_the_three_fields(
    admin_client: Client, flag: FeatureFlag
) -> None:
    changes.update("new_checkout", NOT_OWNED)
    html = strip_tags(page(admin_client, url_of(flag, "history")))
    assert "owner &quot;payments&quot; → &quot;&quot;" in html
    data = {"_undo": str(flag_version("new_checkout"))}
    response = admin_client.post(url_of(flag, "history"), data, follow=True)
    assert any("was undone" in text for text in messages_of(response))
    assert stored() == OWNED
