"""The comparison of an uploaded file with the database, and the import of what is selected."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from flagstaff import changes, serialization
from flagstaff.admin.flag.admin import FeatureFlagAdmin
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.admin_pages import FLAGS
from tests.support.screen import Screen
from tests.support.shop import GERMANY, Shop

pytestmark = pytest.mark.usefixtures("open_shop")

COMPARE = f"{FLAGS}compare/"
VIEWER = ("view_featureflag", "view_keyvaluestore", "view_segment")
RULES, ROLLOUT = "flag rules new_checkout", "flag rollout_percent new_checkout"
SIZE = "value value page_size"


def upload(client: Client, document: object) -> Screen:
    """Returns the page after the upload of a document, or of a text."""
    text = document if isinstance(document, str) else json.dumps(document)
    file = SimpleUploadedFile("staging.json", text.encode())
    return Screen(client.post(COMPARE, {"file": file}, follow=True))


def select(client: Client, *places: str) -> Screen:
    """Returns the page after the button of the selection."""
    return Screen(client.post(COMPARE, {ACTION_CHECKBOX_NAME: [*places]}))


def confirm(client: Client, page: Screen, **answer: str) -> Screen:
    """Returns the page after the button of a page that asks."""
    posted = {**page.posted("_"), **{name: [text] for name, text in answer.items()}}
    return Screen(client.post(COMPARE, posted, follow=True))


@pytest.fixture
def staging() -> dict[str, Any]:
    """The shop, with other rules, another rollout and users of a flag, a value, and a new flag."""
    document = serialization.export()
    document["flags"]["new_checkout"].update(
        rules=[GERMANY], rollout_percent=5, allowed_users=["bob"]
    )
    document["values"]["page_size"]["value"] = 50
    document["flags"]["fresh"] = {"description": "New"}
    return document


@pytest.fixture
def client(shop: Shop, staging: dict[str, Any]) -> Client:
    """A browser of a superuser who has uploaded the file."""
    client = shop.client()
    upload(client, staging)
    return client


def test_page_without_a_file_asks_for_one(shop: Shop) -> None:
    page = Screen(shop.client().get(COMPARE))
    assert "Upload a file of “flags export”" in page.text
    assert "Import selected…" not in page.buttons


def test_each_difference_is_a_line_that_leads_to_its_action(
    shop: Shop, staging: dict[str, Any]
) -> None:
    page = upload(shop.client(), staging)
    assert "“There” is staging.json, “here” is this database." in page.text
    lines = [" ".join(row) for row in page.rows]
    assert any("fresh" in line and "only there: off, description" in line for line in lines)
    assert any("5 % there, 25 % here" in line for line in lines)
    assert any("only there: bob; only here: alice" in line for line in lines)
    flag = FeatureFlag.objects.get(key="new_checkout")
    link = page.link("Roll out…")
    assert link == f"{FLAGS}{flag.pk}/rollout/?percent=5&back={quote(COMPARE, safe='')}"
    assert page.link("Add…") == f"{FLAGS}add/?key=fresh"
    rollout = Screen(shop.client().get(link))
    assert "25 → 5 %" in rollout.text
    assert rollout.link("Back") == COMPARE
    rules = Screen(shop.client().get(page.link("Rules…")))
    assert "DE" in rules.text


def test_file_is_kept_in_the_session_until_it_is_forgotten(client: Client, shop: Shop) -> None:
    assert "5 % there" in Screen(client.get(COMPARE)).text
    assert "5 % there" not in Screen(shop.client("ben").get(COMPARE)).text
    client.post(COMPARE, {"forget": "1"})
    assert "5 % there" not in Screen(client.get(COMPARE)).text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "invalid JSON"),
        ('{"flags": {}}', "not an export of flagstaff"),
        ('{"flagstaff": 1, "flags": []}', "flags: must be a mapping"),
        ('{"flagstaff": 1, "x": "' + "x" * 2**20 + '"}', "larger than 1 MB"),
    ],
    ids=["json", "header", "section", "size"],
)
def test_file_that_is_no_export_is_refused(shop: Shop, text: str, problem: str) -> None:
    shown = upload(shop.client(), text).text
    assert problem in shown
    assert "Upload a file" in shown


def test_file_is_not_kept_in_a_cookie(shop: Shop, staging: dict[str, Any], settings: Any) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    client = Client()
    client.force_login(shop.user("ana"))
    assert "which cannot hold a file" in upload(client, staging).text


@pytest.mark.django_db(transaction=True)
def test_selection_is_one_transaction_that_is_confirmed_and_undone(client: Client) -> None:
    before = serialization.export()
    page = select(client, RULES, SIZE)
    assert serialization.export() == before
    assert "new_checkout" in page.text
    done = confirm(client, page, _reason="tried in staging")
    assert "Imported:" in done.text
    flag = FeatureFlag.objects.get(key="new_checkout")
    assert (flag.rules, flag.rollout_percent) == ([GERMANY], 25)
    assert KeyValueStore.objects.get(key="page_size").value == 50
    entries = Change.objects.filter(reason="tried in staging")
    assert len({entry.transaction_id for entry in entries}) == 1
    undo = Screen(client.get(done.link("Undo")))
    assert "Undo 2 changes" in undo.text


def test_selection_of_nothing_that_differs_writes_nothing(client: Client) -> None:
    page = select(client, "flag owner new_checkout", "garbage", "value secret page_size")
    assert "Select differences that you may import." in page.text


def test_button_without_a_selection_says_what_to_do(client: Client) -> None:
    page = Screen(client.post(COMPARE, {}, follow=True))
    assert "Select differences that you may import." in page.text
    assert "5 % there, 25 % here" in page.text


def test_selection_from_a_session_that_is_gone_asks_for_the_file(shop: Shop) -> None:
    page = Screen(shop.client().post(COMPARE, {ACTION_CHECKBOX_NAME: [SIZE]}, follow=True))
    assert "Upload a file of “flags export”" in page.text


def test_another_file_is_another_question(client: Client, staging: dict[str, Any]) -> None:
    page = select(client, SIZE)
    staging["values"]["page_size"]["value"] = 99
    upload(client, staging)
    confirm(client, page)
    assert KeyValueStore.objects.get(key="page_size").value == 20


def test_change_meanwhile_is_another_question(client: Client) -> None:
    page = select(client, SIZE)
    changes.values.set("page_size", 30)
    confirm(client, page)
    assert KeyValueStore.objects.get(key="page_size").value == 30


# Attacks: what a person may not see or do.


@pytest.mark.parametrize("guess", ["hunter2", "hunter3"])
def test_secret_cannot_be_guessed_and_not_be_made_public(shop: Shop, guess: str) -> None:
    client = shop.client()
    document = serialization.export()
    document["values"]["mail_password"].update(value=guess, choices=[guess], secret=False)
    page = upload(client, document)
    assert "mail_password: secret, so not compared: value, choices, rules" in page.text
    places = [f"value {name} mail_password" for name in ("value", "secret", "choices")]
    assert not {*places} & {*_values(page)}
    assert "Select differences" in select(client, *places).text
    assert KeyValueStore.objects.get(key="mail_password").secret


def test_allowed_users_are_not_compared_without_the_right_to_see_users(
    shop: Shop, staging: dict[str, Any]
) -> None:
    staging["flags"]["new_checkout"]["allowed_users"] = ["alice", "nobody_has_this_name"]
    text = upload(shop.client("viewer", *VIEWER), staging).text
    assert "5 % there" in text
    for name in ("alice", "nobody_has_this_name", "allowed users"):
        assert name not in text


def test_kinds_that_a_person_may_not_view_are_not_compared(
    shop: Shop, staging: dict[str, Any]
) -> None:
    text = upload(shop.client("viewer", "view_featureflag"), staging).text
    assert "new_checkout" in text
    assert "page_size" not in text
    assert "mail_password" not in text


def test_rows_that_are_hidden_are_not_compared(
    shop: Shop, staging: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = FeatureFlag.objects.exclude(key__in=["new_checkout", "dark_mode"])
    monkeypatch.setattr(FeatureFlagAdmin, "get_queryset", lambda _admin, _request: shown.all())
    del staging["flags"]["dark_mode"]
    text = upload(shop.client(), staging).text
    assert "page_size" in text
    assert "new_checkout" not in text
    assert "dark_mode" not in text


def test_viewer_sees_no_boxes_and_may_not_import(shop: Shop, staging: dict[str, Any]) -> None:
    client = shop.client("viewer", *VIEWER)
    page = upload(client, staging)
    assert _values(page) == []
    response = client.post(COMPARE, {ACTION_CHECKBOX_NAME: [SIZE]})
    assert response.status_code == 403


def test_person_who_may_toggle_imports_the_rollout_only(
    shop: Shop, staging: dict[str, Any]
) -> None:
    client = shop.client("toggler", *VIEWER, "toggle_featureflag")
    page = upload(client, staging)
    assert _values(page) == [ROLLOUT]
    confirm(client, select(client, ROLLOUT))
    assert FeatureFlag.objects.get(key="new_checkout").rollout_percent == 5
    response = client.post(COMPARE, {ACTION_CHECKBOX_NAME: [ROLLOUT, RULES]})
    assert response.status_code in (200, 403)
    assert FeatureFlag.objects.get(key="new_checkout").rules == []


def test_read_only_pages_import_nothing(shop: Shop, staging: dict[str, Any], settings: Any) -> None:
    settings.FLAGSTAFF = {"READ_ONLY": True}
    client = shop.client()
    assert _values(upload(client, staging)) == []
    assert client.post(COMPARE, {ACTION_CHECKBOX_NAME: [SIZE]}).status_code == 403


def test_selection_that_needs_an_approval_is_refused(client: Client, settings: Any) -> None:
    settings.FLAGSTAFF = {"APPROVAL": "always"}
    page = select(client, SIZE)
    assert "This needs an approval: use the links of the single lines." in page.text
    confirm(client, page)
    assert KeyValueStore.objects.get(key="page_size").value == 20


def test_readonly_field_of_the_project_is_neither_offered_nor_imported(
    shop: Shop, staging: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeatureFlagAdmin, "readonly_fields", ("rules",))
    client = shop.client()
    page = upload(client, staging)
    assert RULES not in _values(page)
    assert ROLLOUT in _values(page)
    assert "This site has made the field read-only." in page.text
    assert client.post(COMPARE, {ACTION_CHECKBOX_NAME: [RULES]}).status_code == 403


def test_upload_needs_the_csrf_token(shop: Shop, staging: dict[str, Any]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(shop.user("ana"))
    file = SimpleUploadedFile("staging.json", json.dumps(staging).encode())
    assert client.post(COMPARE, {"file": file}).status_code == 403


def _values(page: Screen) -> list[str]:
    return page.attributes(f"input[name={ACTION_CHECKBOX_NAME}]", "value")
