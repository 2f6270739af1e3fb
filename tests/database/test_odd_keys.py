"""Keys that are not valid: refused everywhere, while flags that have one already keep working."""

from __future__ import annotations

import json
import re

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from flagstaff import flag_enabled, get_value
from flagstaff.changes import (
    create,
    create_value,
    delete,
    delete_value,
    disable,
    enable,
    restore,
    set_rollout,
    set_value,
    undo_value,
    update,
    update_value,
)
from flagstaff.exceptions import DocumentError, InvalidChangeError
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.validators import validate_flag_key
from tests.support.admin_pages import FLAGS, VALUES, errors, form_data, messages_of
from tests.support.documents import import_text
from tests.support.terminals import flags

pytestmark = pytest.mark.django_db

ODD = pytest.mark.parametrize(
    "key", ["--help", "-rf", "<b>x</b>", "a/b?c#d", "🚩flag", "a:b", "a b"]
)


def reason(key: str) -> str:
    """Returns why a key is refused: the same words everywhere."""
    with pytest.raises(ValidationError) as caught:
        validate_flag_key(key)
    return caught.value.messages[0]


def import_flag(key: str, **fields: object) -> None:
    import_text(json.dumps({"flagstaff": 1, "flags": {key: fields}}), "json")


@ODD
def test_odd_key_is_refused_by_changes(key: str) -> None:
    with pytest.raises(InvalidChangeError, match=re.escape(f"key: {reason(key)}")):
        create(key)
    create("banner")
    with pytest.raises(InvalidChangeError, match=re.escape(f"key: {reason(key)}")):
        update("banner", {"key": key})
    assert FeatureFlag.objects.get().key == "banner"


@ODD
def test_odd_key_is_refused_by_an_import(key: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(reason(key))):
        import_flag(key, enabled=True)
    assert not FeatureFlag.objects.exists()


@ODD
def test_odd_key_is_refused_in_a_terminal(key: str) -> None:
    ran = flags("create", "--", key)
    assert (ran.status, ran.err) == (4, f"CommandError: refused: key: {reason(key)}\n")


@ODD
def test_odd_key_is_refused_in_the_admin(key: str, admin_client: Client) -> None:
    data = {"key": key, "rollout_percent": "0", "kind": "release"}
    assert errors(admin_client, f"{FLAGS}add/", data) == {"key": [reason(key)]}


def test_new_key_that_differs_in_case_is_reported_in_the_admin(admin_client: Client) -> None:
    create("new_checkout")
    data = {"key": "NEW_Checkout", "kind": "release", "rollout_percent": "0", "bucket_by": "user"}
    messages = messages_of(admin_client.post(f"{FLAGS}add/", data, follow=True))
    text = "Keys are case-sensitive: “NEW_Checkout” differs only in case from “new_checkout”."
    assert text in messages
    create_value("gateway", 1)
    data = {"key": "Gateway", "value": "2"}
    messages = messages_of(admin_client.post(f"{VALUES}add/", data, follow=True))
    assert any("“Gateway” differs only in case from “gateway”." in one for one in messages)


@ODD
def test_flag_with_an_odd_key_is_evaluated_and_changed(key: str) -> None:
    FeatureFlag.objects.create(key=key, rollout_percent=100)
    enable(key)
    assert flag_enabled(key, 1)
    disable(key)
    assert not flag_enabled(key, 1)
    set_rollout(key, 50)
    import_flag(key, rollout_percent=60)
    assert flags("off", "--", key).status == 0
    assert FeatureFlag.objects.get().rollout_percent == 60


@ODD
def test_flag_with_an_odd_key_is_deleted_and_restored(key: str) -> None:
    FeatureFlag.objects.create(key=key, enabled=True)
    version = flag_version(key)
    delete(key)
    assert version is not None
    assert restore(key, to=version).written
    assert flags("delete", "--yes", "--", key).status == 0
    assert not FeatureFlag.objects.exists()


@ODD
def test_flag_with_an_odd_key_is_saved_in_the_admin(key: str, admin_client: Client) -> None:
    flag = FeatureFlag.objects.create(key=key, enabled=True)
    data = {"key": key, "rollout_percent": "70", "kind": "release"}
    assert admin_client.post(f"{FLAGS}{flag.pk}/change/", data).status_code == 302
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (False, 70)


def test_flag_with_an_odd_key_is_saved_and_not_renamed_in_the_admin(admin_client: Client) -> None:
    flag = FeatureFlag.objects.create(key="a:b")
    data = {"key": "a:c", "rollout_percent": "5", "kind": "release"}
    assert admin_client.post(f"{FLAGS}{flag.pk}/change/", data).status_code == 302
    flag.refresh_from_db()
    assert (flag.key, flag.rollout_percent) == ("a:b", 5)


# Values follow the same rule.


def import_value(key: str, value: object) -> None:
    import_text(json.dumps({"flagstaff": 1, "values": {key: {"value": value}}}), "json")


@ODD
def test_odd_key_of_a_value_is_refused_by_changes(key: str) -> None:
    with pytest.raises(InvalidChangeError, match=re.escape(f"key: {reason(key)}")):
        create_value(key, 1)
    create_value("page_size", 20)
    with pytest.raises(InvalidChangeError, match=re.escape(f"key: {reason(key)}")):
        update_value("page_size", {"key": key})
    assert KeyValueStore.objects.get().key == "page_size"


@ODD
def test_odd_key_of_a_value_is_refused_by_an_import(key: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(reason(key))):
        import_value(key, 1)
    assert not KeyValueStore.objects.exists()


@ODD
def test_odd_key_of_a_value_is_refused_in_a_terminal(key: str) -> None:
    ran = flags("value", "create", "--", key, "1")
    assert (ran.status, ran.err) == (4, f"CommandError: refused: key: {reason(key)}\n")


@ODD
def test_odd_key_of_a_value_is_refused_in_the_admin(key: str, admin_client: Client) -> None:
    assert errors(admin_client, f"{VALUES}add/", {"key": key, "value": "1"}) == {
        "key": [reason(key)]
    }


@ODD
def test_value_with_an_odd_key_is_read_and_changed(key: str, admin_client: Client) -> None:
    row = KeyValueStore.objects.create(key=key, value=1)
    set_value(key, 2)
    import_value(key, 3)
    assert flags("value", "set", "--", key, "4").status == 0
    url = f"{VALUES}{row.pk}/change/"
    data = {**form_data(admin_client.get(url)), "value": "5"}
    assert admin_client.post(url, data).status_code == 302
    assert get_value(key) == 5
    delete_value(key)
    undo_value(key)
    assert get_value(key) == 5
