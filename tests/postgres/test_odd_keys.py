"""Keys that are not valid: refused everywhere, while flags that have one already keep working."""

from __future__ import annotations

import json
import re

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from flagstaff import flag_enabled
from flagstaff.changes import create, delete, disable, enable, restore, set_rollout, update
from flagstaff.exceptions import DocumentError, InvalidChangeError
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag
from flagstaff.validators import validate_flag_key
from tests.admin_pages import FLAGS, errors
from tests.documents import import_text
from tests.terminals import flags

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
