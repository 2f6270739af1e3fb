"""The lists of connection options say what the extension does."""

from __future__ import annotations

import json

from flagstaff._connection.options import HARMLESS, HONOURED, REFUSED, RESOLVED, refusals
from tests.conftest import RunIsolated

# Without a name for any table the engine does not start, but judges the settings before.
ASK = """
import json, sys
from flagstaff import _core
from flagstaff.exceptions import ConfigurationError

rest = dict(opaque_values=False, listen=False, poll_interval=5, pool_size=1, usage_interval=0)
rest |= dict(max_staleness=300, host="web")
for settings in json.loads(sys.argv[1]):
    try:
        _core.start(settings, {}, **rest)
    except ConfigurationError as error:
        print(json.dumps("no name was given" not in str(error)))
"""
SAMPLES = {"hostaddr": "127.0.0.1", "port": "5432", "host": "one,two"}

Settings = dict[str, str]


def accepted() -> list[Settings]:
    return [
        {name: word} | ({"sslmode": "require"} if word == "direct" else {})
        for name, words in HONOURED.items()
        for word in words or (SAMPLES.get(name, "5"),)
    ]


def refused() -> list[Settings]:
    others = [{name: "other"} for name, words in HONOURED.items() if words and name != "gssencmode"]
    unknown = [{name: "x"} for name in (*REFUSED, "not_an_option")]
    return [*others, *unknown, *weak()]


def weak() -> list[Settings]:
    """Pairs that contradict each other."""
    modes = [mode for mode in HONOURED["sslmode"] if mode != "verify-full"]
    system = [{"sslrootcert": "system", "sslmode": mode} for mode in modes]
    direct = [{"sslnegotiation": "direct", "sslmode": mode} for mode in modes[:3]]
    return [*system, *direct, {"sslnegotiation": "direct"}]


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


def test_files_with_settings_in_them_are_not_for_the_extension(run_isolated: RunIsolated) -> None:
    settings = [{name: "x"} for name in sorted(RESOLVED)]
    assert run_isolated(ASK, json.dumps(settings)).split() == ["true"] * len(RESOLVED)


def test_protection_that_cannot_be_given_is_refused() -> None:
    [refusal] = refusals({"gssencmode": "require"})
    assert (refusal.shown, refusal.expected) == ("gssencmode=require", ("disable", "prefer"))


def test_protection_that_is_less_than_another_option_needs_is_refused() -> None:
    [refusal] = refusals({"sslrootcert": "system", "sslmode": "require"})
    assert (refusal.shown, refusal.expected) == ("sslmode=require", ("verify-full",))


def test_what_is_left_aside_is_no_refusal() -> None:
    assert [*refusals(dict.fromkeys(HARMLESS | RESOLVED, "x"))] == []


def test_each_option_is_in_one_list() -> None:
    lists = (HONOURED.keys(), HARMLESS, REFUSED, RESOLVED)
    assert len(set().union(*lists)) == sum(map(len, lists))


def test_secret_is_not_shown() -> None:
    [refusal] = refusals({"sslpassword": "open sesame"})
    assert "sesame" not in repr(refusal)
