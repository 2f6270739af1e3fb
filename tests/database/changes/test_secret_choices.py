"""The choices of a secret value, one of which it is, are masked wherever the value is."""

from __future__ import annotations

import json
from traceback import format_exception

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from flagstaff import changes, serialization
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.history import value_version
from flagstaff.models import Change, KeyValueStore
from tests.support.admin_pages import VALUES, messages_of, page, undo
from tests.support.sql import rows
from tests.support.terminals import flags

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

CHOICES = ["hunter2", "swordfish"]


@pytest.fixture(autouse=True)
def _secret() -> None:
    Change.objects.all().delete()
    changes.values.create("password", "hunter2", secret=True, choices=CHOICES)


def change_choices() -> int:
    version = changes.values.update("password", {"choices": [*CHOICES, "opensesame"]}).version
    assert version
    return version


def stored() -> list[str]:
    return list(KeyValueStore.objects.get(key="password").choices)


def test_message_of_choices_that_do_not_fit_has_none_of_them() -> None:
    exported = serialization.export()
    exported["values"]["password"]["type"] = "integer"
    document = serialization.read(json.dumps(exported))
    for refused in (
        lambda: changes.values.update("password", {"type": "integer"}),
        lambda: changes.values.update("password", {"choices": ["opensesame", "opensesame"]}),
        lambda: serialization.apply(document),
    ):
        with pytest.raises(FlagstaffError, match=r"choice \d") as caught:
            refused()
        assert not any(word in str(caught.value) for word in (*CHOICES, "opensesame"))


def test_terminal_prints_none_of_them() -> None:
    given = json.dumps([*CHOICES, "opensesame"])
    printed = [
        flags("value", "details", "password", "--choices", given, *more)
        for more in (["--dry-run"], ["--json"])
    ]
    printed.append(flags("value", "delete", "password", "--yes"))
    assert not any(word in str(printed) for word in (*CHOICES, "opensesame"))


def test_admin_shows_none_of_them_in_pages_messages_and_its_log(admin_client: Client) -> None:
    pk = KeyValueStore.objects.get().pk
    change_choices()
    changes.values.update("password", {"choices": CHOICES, "description": "The mail server"})
    changes.values.update("password", {"description": ""})
    url = f"{VALUES}{pk}/history/"
    response = undo(admin_client, value_version("password"))
    shown = [page(admin_client, url), str(messages_of(response))]
    shown += LogEntry.objects.values_list("change_message", flat=True)
    assert not any(word in str(shown) for word in (*CHOICES, "opensesame"))
    # Those of the two changes of choices have no button, and neither has the one that is undone.
    assert page(admin_client, url).count("?undo=") == 1


def test_database_that_refuses_to_make_it_public_leaves_it_in_no_traceback() -> None:
    rows("ALTER TABLE flagstaff_keyvaluestore ADD CONSTRAINT stays_secret CHECK (secret)")
    try:
        with pytest.raises(InvalidChangeError, match="stays_secret") as caught:
            changes.values.update("password", {"secret": False})
    finally:
        rows("ALTER TABLE flagstaff_keyvaluestore DROP CONSTRAINT stays_secret")
    assert "hunter2" not in "".join(format_exception(caught.value))
