"""The lists of connection options say what the extension does."""

from __future__ import annotations

import json

import pytest

from flagstaff.connection_options import HARMLESS, HONOURED, REFUSED, refusals
from tests.conftest import RunIsolated

# Without a name for any table the engine does not start, but judges the settings before.
ASK = """
import json, sys
from flagstaff import _core
from flagstaff.exceptions import ConfigurationError

rest = dict(opaque_values=False, listen=False, poll_interval=5, pool_size=1)
for settings in json.loads(sys.argv[1]):
    try:
        _core.start(settings, {}, **rest)
    except ConfigurationError as error:
        print(json.dumps("no name was given" not in str(error)))
"""
SAMPLES = {"hostaddr": "127.0.0.1", "port": "5432,5433", "host": "one,two"}
PROTECTION = {"sslmode": ("require", "verify-ca", "verify-full"), "gssencmode": ("require",)}

Settings = dict[str, str]


def accepted() -> list[Settings]:
    return [
        {name: word}
        for name, words in HONOURED.items()
        for word in words or (SAMPLES.get(name, "5"),)
    ]


def refused() -> list[Settings]:
    others = [{name: "other"} for name, words in HONOURED.items() if words and name != "gssencmode"]
    unknown = [{name: "x"} for name in (*REFUSED, "not_an_option")]
    standby = {"target_session_attrs": "prefer-standby"}
    return [*others, *unknown, standby, *({"sslmode": mode} for mode in PROTECTION["sslmode"])]


def test_what_is_honoured_and_what_is_refused_is_what_the_extension_does(
    run_isolated: RunIsolated,
) -> None:
    settings = accepted() + refused()
    answers = run_isolated(ASK, json.dumps(settings)).split()
    ours = [json.dumps(bool([*refusals(given)])) for given in settings]
    assert dict(zip(map(str, settings), answers, strict=True)) == dict(
        zip(map(str, settings), ours, strict=True)
    )
    assert ours == ["false"] * len(accepted()) + ["true"] * len(refused())


def test_encryption_by_gss_is_refused_by_the_extension(run_isolated: RunIsolated) -> None:
    assert run_isolated(ASK, json.dumps([{"gssencmode": "require"}])).split() == ["true"]


@pytest.mark.parametrize("name", PROTECTION)
def test_protection_that_cannot_be_given_is_refused(name: str) -> None:
    for word in PROTECTION[name]:
        [refusal] = refusals({name: word})
        assert (refusal.shown, refusal.expected) == (f"{name}={word}", HONOURED[name])


def test_what_is_left_aside_is_no_refusal() -> None:
    assert [*refusals(dict.fromkeys(HARMLESS, "x"))] == []


def test_each_option_is_in_one_list() -> None:
    assert len(HONOURED.keys() | HARMLESS | REFUSED) == len(HONOURED) + len(HARMLESS) + len(REFUSED)


def test_secret_is_not_shown() -> None:
    [refusal] = refusals({"sslpassword": "open sesame"})
    assert "sesame" not in repr(refusal)
