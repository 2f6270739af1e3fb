"""`manage.py flags value`."""

from __future__ import annotations

import json
import re
import shlex
from io import StringIO

import pytest

from flagstaff import changes
from flagstaff.models import KeyValueStore
from tests.support.terminals import asked, document, flags, run, undo_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop")]


@pytest.mark.parametrize(
    "text", ['"stripe"', "50", "-1.5", "true", "[]", '{"a": null}', '"Grüße 🥐"', '""', "1" * 40]
)
def test_value_get_returns_what_value_set_has_set(text: str) -> None:
    assert flags("value", "set", "page_size", text).status == 0
    assert flags("value", "get", "page_size").out == f"{text}\n"
    assert document("value", "get", "page_size")["value"] == json.loads(text)
    assert KeyValueStore.objects.get(key="page_size").value == json.loads(text)


def test_value_set_refuses_a_bare_word_and_prints_the_right_command() -> None:
    status, out, err = flags("value", "set", "payment_gateway", "it's")
    assert (status, out) == (2, "")
    [retyped] = re.findall(r"to pass a string: manage\.py flags (.+)", err)
    assert flags(*shlex.split(retyped)).status == 0
    assert KeyValueStore.objects.get(key="payment_gateway").value == "it's"


@pytest.mark.parametrize("verb", ["set page_size", "create limit"])
def test_json_with_a_name_twice_is_refused(verb: str) -> None:
    ran = flags("value", *verb.split(), '{"rate": {"EUR": 1, "EUR": 2}}')
    message = 'CommandError: an object has the name "EUR" twice; remove one\n'
    assert ran == (2, "", message)
    assert document("value", "get", "page_size")["value"] == 20
    # The name may be a part of a secret.
    ran = flags("value", "set", "mail_password", '{"hunter": 1, "hunter": 2}')
    assert ran.err == "CommandError: an object has a name twice; remove one\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *[('{"a": 1', ""), ("[1, 2", ""), ('"stripe', "")],
        ("9" * 5_000, "it has a number of more than 4,300 digits"),
        ("[" * 100_000, "it is nested deeper than 500 levels"),
    ],
)
def test_json_with_a_mistake_is_refused_without_advice_about_strings(
    text: str, problem: str
) -> None:
    ran = flags("value", "set", "page_size", text)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"CommandError: not valid JSON: {problem}")
    assert "to pass a string" not in ran.err


@pytest.mark.parametrize("text", ["null", "NaN", "1e400", r'"\u0000"'])
def test_value_set_refuses_json_that_the_database_cannot_store(text: str) -> None:
    status, _, err = flags("value", "set", "page_size", text)
    assert status == 4
    assert err.startswith("CommandError: refused: ")
    assert KeyValueStore.objects.get(key="page_size").value == 20


def test_value_set_reads_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO('{"open": 9}\n'))
    flags("value", "set", "page_size", "-")
    assert KeyValueStore.objects.get(key="page_size").value == {"open": 9}


def test_secret_value_is_shown_by_value_get_with_show_secret_only() -> None:
    listed = flags("value", "list").out + flags("value", "list", "--json").out
    ran = flags("value", "set", "mail_password", '"hunter3"', "--json")
    for shown in (listed, ran.out, ran.err):
        assert "hunter" not in shown
    assert ran.err == "mail_password: value •••••• → ••••••\n"
    advice = "the value 'mail_password' is secret: pass --show-secret to print it\n"
    assert flags("value", "get", "mail_password") == (0, "••••••\n", advice)
    assert flags("value", "get", "mail_password", "--show-secret").out == '"hunter3"\n'
    for options, value in ([], None), (["--show-secret"], "hunter3"):
        shown = document("value", "get", "mail_password", *options)
        assert (shown["value"], shown["secret"]) == (value, True)


@pytest.mark.parametrize("text", ["0", "false", '""', "5"])
def test_value_create_prints_the_value(text: str) -> None:
    printed = flags("value", "create", "PAGE_SIZE", text).err.splitlines()
    assert printed[0] == f"PAGE_SIZE: created, value {text}"
    assert printed[-1] == (
        "keys are case-sensitive: 'PAGE_SIZE' differs from 'page_size' only in case"
    )


@pytest.mark.django_db(transaction=True)
def test_secret_value_is_masked_in_every_output() -> None:
    outputs = [
        run("value create token '\"hunter2\"' --secret"),
        run("value set token '\"hunter3\"' --json"),
        run("history token --value"),
        run("history token --value --json"),
        run("history token --value --csv"),
        run("value undo token"),
        run("value delete token --yes --json"),
    ]
    assert [ran.status for ran in outputs] == [0, 0, 0, 0, 0, 4, 0]
    for ran in outputs:
        assert not re.search("hunter|sha256", ran.out + ran.err)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("verb", ["value restore token {}", "value undo token {}"])
def test_value_that_became_secret_is_masked_in_every_output(verb: str) -> None:
    run("value create token '\"hunter2\"'")
    change = changes.values.set("token", "hunter3").version
    changes.values.update("token", {"secret": True})
    changes.values.update("token", {"secret": False})
    ran = [run(verb.format(change)), run(verb.format(change - 1 if change else 0))]
    for one in ran:
        assert "hunter" not in one.out + one.err


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("old", ["-5", "-0.5", "-1e-05", '"it\'s"', '{"a": [1, "b c"]}'])
def test_undo_command_of_any_value_can_be_run(old: str) -> None:
    changes.values.create("limit", json.loads(old))
    assert run(undo_of(run("value set limit 5").err)).status == 0
    assert KeyValueStore.objects.get(key="limit").value == json.loads(old)


def test_question_before_a_secret_value_is_deleted_says_that_it_cannot_be_brought_back() -> None:
    changes.values.create("token", "hunter2", secret=True)
    ran = asked("value delete token", "n")
    assert (
        "token: The value is secret, so no undo can bring it back.\nDelete token? [y/N]" in ran.err
    )
    assert KeyValueStore.objects.filter(key="token").exists()


def test_set_compares_types_of_values_and_not_of_what_an_object_contains() -> None:
    changes.values.create("hours", {"value": 1, "rules": [{"conditions": []}]})
    ran = run("""value set hours '{"value": "x", "rules": []}'""")
    assert (ran.status, "warning" in ran.err) == (0, False)
    assert (
        "the type of hours has changed from object to string" in run("value set hours '\"x\"'").err
    )
