"""Keys that are not valid: refused everywhere, while flags that have one already keep working."""

import json
import re
from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from flagstaff import changes, flag_enabled, get_value
from flagstaff.exceptions import DocumentError, InvalidChangeError
from flagstaff.history import flag_version
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.validators import validate_flag_key
from tests.support.admin_pages import FLAGS, VALUES, act, errors_of, messages_of
from tests.support.documents import import_text
from tests.support.terminals import flags

ODD = pytest.mark.parametrize(
    "key", ["--help", "-rf", "<b>x</b>", "a/b?c#d", "🚩flag", "a:b", "a b"]
)


def import_row(group: str, key: str, **fields: object) -> None:
    import_text(json.dumps({"flagstaff": 1, group: {key: fields}}))


def reason(key: str) -> str:
    """Returns why a key is refused: the same words everywhere."""
    with pytest.raises(ValidationError) as caught:
        validate_flag_key(key)
    return caught.value.messages[0]


@ODD
def test_odd_key_is_refused_by_changes_and_imports(key: str) -> None:
    changes.flags.create("banner")
    changes.values.create("page_size", 20)
    writes: list[Callable[[], object]] = [
        lambda: changes.flags.create(key),
        lambda: changes.flags.update("banner", {"key": key}),
        lambda: changes.values.create(key, 1),
        lambda: changes.values.update("page_size", {"key": key}),
    ]
    for write in writes:
        with pytest.raises(InvalidChangeError, match=re.escape(f"key: {reason(key)}")):
            write()
    writes = [
        lambda: import_row("flags", key, enabled=True),
        lambda: import_row("values", key, value=1),
    ]
    for write in writes:
        with pytest.raises(DocumentError, match=re.escape(reason(key))):
            write()
    assert FeatureFlag.objects.get().key == "banner"
    assert KeyValueStore.objects.get().key == "page_size"


@ODD
@pytest.mark.one_in(4)
def test_odd_key_is_refused_in_a_terminal_and_the_admin(key: str, admin_client: Client) -> None:
    for ran in (flags("create", "--", key), flags("value", "create", "--", key, "1")):
        assert (ran.status, ran.err) == (4, f"CommandError: refused: key: {reason(key)}\n")
    for url in (FLAGS, VALUES):
        assert errors_of(act(admin_client, f"{url}add/", key=key, value="1")) == [reason(key)]


def test_new_key_that_differs_in_case_is_reported_in_the_admin(admin_client: Client) -> None:
    changes.flags.create("new_checkout")
    changes.values.create("gateway", 1)
    data = {"kind": "release", "rollout_percent": "0", "bucket_by": "user", "value": "2"}
    for url, key, new in ((FLAGS, "new_checkout", "NEW_Checkout"), (VALUES, "gateway", "Gateway")):
        messages = messages_of(admin_client.post(f"{url}add/", data | {"key": new}, follow=True))
        text = f"Keys are case-sensitive: “{new}” differs only in case from “{key}”."
        assert text in messages


@ODD
@pytest.mark.one_in(4)
def test_flag_with_an_odd_key_is_evaluated_and_changed(key: str, admin_client: Client) -> None:
    FeatureFlag.objects.create(key=key, rollout_percent=100)
    changes.flags.enable(key)
    version = flag_version(key)
    assert flag_enabled(key, 1)
    changes.flags.disable(key)
    assert not flag_enabled(key, 1)
    changes.flags.set_rollout(key, 50)
    import_row("flags", key, rollout_percent=60)
    assert FeatureFlag.objects.get().rollout_percent == 60
    assert flags("off", "--", key).status == 0
    changes.flags.delete(key)
    assert version is not None
    assert changes.flags.restore(key, to=version).written
    # The admin saves it, and does not rename it.
    flag = FeatureFlag.objects.get(enabled=True)
    act(admin_client, f"{FLAGS}{flag.pk}/details/", key="a:c", description="Odd")
    flag.refresh_from_db()
    assert (flag.key, flag.description) == (key, "Odd")
    assert flags("delete", "--yes", "--", key).status == 0
    assert not FeatureFlag.objects.exists()


@ODD
@pytest.mark.one_in(4)
def test_value_with_an_odd_key_is_read_and_changed(key: str, admin_client: Client) -> None:
    row = KeyValueStore.objects.create(key=key, value=1)
    changes.values.set(key, 2)
    import_row("values", key, value=3)
    assert flags("value", "set", "--", key, "4").status == 0
    act(admin_client, f"{VALUES}{row.pk}/set/", value="5")
    assert get_value(key) == 5
    changes.values.delete(key)
    changes.values.undo(key)
    assert get_value(key) == 5
