"""A long value: people read its beginning, programs get the whole."""

import json
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.test import Client

from flagstaff._text import ExactDecoder
from flagstaff.contrib.webhooks.message import as_slack, create_message
from flagstaff.models import Change, KeyValueStore
from tests.support.admin_pages import RECENT, VALUES, page
from tests.support.history import value_history
from tests.support.terminals import run, typed
from tools.limits import seconds

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

OLD, NEW = "a" * 100_000, "b" * 100_000
# How much of both values people see, with the rest of the line.
SHORT = 1_000


@pytest.fixture(autouse=True)
def long_value() -> None:
    """A value that was changed from one long text to another."""
    Change.objects.all().delete()
    KeyValueStore.objects.create(key="terms", value=OLD)
    KeyValueStore.objects.update(value=NEW)


def assert_shortened(text: str, *, limit: int = SHORT) -> None:
    """Checks that both values are shown, and neither is whole."""
    assert len(text) < limit
    old, new = text.split(" → ")
    assert '"aaaa' in old
    assert '"bbbb' in new
    assert "more characters)" in text


def test_history_shows_the_beginning_of_a_long_value_except_as_json_and_csv() -> None:
    [_header, newest, _oldest] = run("history terms --value").out.splitlines()
    assert_shortened(newest)
    # On a terminal, the change of each event stands below its row.
    assert len(typed("flags history terms --value")) < 3 * SHORT
    assert json.dumps(NEW) in run("history terms --value --json").out
    assert NEW in run("history terms --value --csv").out


def test_history_page_reads_only_the_beginning_of_a_long_value(admin_client: Client) -> None:
    pk = KeyValueStore.objects.get().pk
    read: list[int] = []

    decode = ExactDecoder.decode

    def measured(self: ExactDecoder, text: str) -> object:
        read.append(len(text))
        return decode(self, text)

    with patch.object(ExactDecoder, "decode", measured):
        html = page(admin_client, f"{VALUES}{pk}/history/")
    assert max(read) < SHORT
    assert html.count("(99,702 more characters)") == 3
    table: Any = admin_client.get(f"{RECENT}?format=csv")
    assert OLD in table.getvalue().decode()


def test_value_list_on_a_terminal_shows_the_beginning_of_a_long_value() -> None:
    assert f'"{NEW}"' in run("value list").out
    KeyValueStore.objects.update(value="é" * 500_000)
    start = time.monotonic()
    [_header, row] = typed("flags value list").splitlines()
    assert len(row) < SHORT
    # The layout took minutes.
    assert time.monotonic() - start < seconds(5)


def test_value_set_shows_the_beginning_and_undoes_by_version() -> None:
    ran = run("value set terms 1")
    message, undo, _users = ran.err.splitlines()
    assert len(message) < SHORT
    assert message.endswith(" → 1")
    assert undo.startswith("undo: python manage.py flags value undo terms ")
    assert run(undo.partition("flags ")[2]).status == 0
    assert KeyValueStore.objects.get().value == NEW
    assert json.loads(run("value set terms 1 --json").out)["old"] == {"value": NEW}


def test_dry_run_shows_the_beginning_of_a_long_value(tmp_path: Path) -> None:
    file = tmp_path / "flags.json"
    file.write_text(json.dumps({"flagstaff": 1, "values": {"terms": {"value": OLD}}}))
    assert len(run(f"import {file} --dry-run").out) < SHORT
    assert len(typed(f"flags import {file} --dry-run")) < SHORT
    plan = json.loads(run(f"import {file} --dry-run --json").out)
    [difference] = plan["changes"][0]["differences"]
    assert (difference["field"], difference["old"], difference["new"]) == ("value", NEW, OLD)
    assert NEW in plan["changes"][0]["summary"]


def test_webhook_has_a_short_summary_and_the_whole_value_and_slack_the_beginning() -> None:
    message = create_message(value_history("terms")[0])
    assert_shortened(message.summary)
    body = json.dumps(message.as_dict("team"))
    assert OLD in body
    assert NEW in body
    slack = as_slack(message)
    assert_shortened(slack["text"], limit=300)
    assert_shortened(slack["blocks"][0]["text"]["text"], limit=300)
