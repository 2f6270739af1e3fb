"""The lists of connection parameters agree with the extension."""

from __future__ import annotations

import json

from flagstaff._connection.options import (
    FILE_PARAMETERS,
    IGNORED,
    SUPPORTED,
    UNSUPPORTED,
    unsupported_parameters,
)
from tests.conftest import RunIsolated

# Without names of tables the engine does not start, but it checks the parameters before.
START = """
import json, sys
import django
django.setup()
from flagstaff import _core
from flagstaff._engine import lifecycle
from flagstaff.exceptions import ConfigurationError

for parameters in json.loads(sys.argv[1]):
    times = (5.0, 1, 0.0, 300.0, 0.0, 5.0, 9)
    engine = lifecycle.EngineOptions(parameters, {}, False, *times, "web")
    lifecycle._engine_options = lambda: engine
    try:
        _core.start(in_memory=True, wait=False)
    except ConfigurationError as error:
        print(json.dumps("no name was given" not in str(error)))
"""
SAMPLES = {"hostaddr": "127.0.0.1", "port": "5432", "host": "one,two"}

Parameters = dict[str, str]


def accepted() -> list[Parameters]:
    return [
        {name: word} | ({"sslmode": "require"} if word == "direct" else {})
        for name, words in SUPPORTED.items()
        for word in words or (SAMPLES.get(name, "5"),)
    ]


def refused() -> list[Parameters]:
    words = [{name: "other"} for name, words in SUPPORTED.items() if words and name != "gssencmode"]
    unknown = [{name: "x"} for name in (*UNSUPPORTED, "not_an_option")]
    # Pairs of which one requires more than the other gives.
    modes = [mode for mode in SUPPORTED["sslmode"] if mode != "verify-full"]
    system = [{"sslrootcert": "system", "sslmode": mode} for mode in modes]
    direct = [{"sslnegotiation": "direct", "sslmode": mode} for mode in modes[:3]]
    return [*words, *unknown, *system, *direct, {"sslnegotiation": "direct"}]


def test_supported_and_unsupported_parameters_agree_with_the_extension(
    run_isolated: RunIsolated,
) -> None:
    cases = accepted() + refused()
    in_rust = run_isolated(START, json.dumps(cases)).split()
    in_python = [json.dumps(bool([*unsupported_parameters(case)])) for case in cases]
    assert dict(zip(map(str, cases), in_rust, strict=True)) == dict(
        zip(map(str, cases), in_python, strict=True)
    )
    assert in_python == ["false"] * len(accepted()) + ["true"] * len(refused())


def test_file_parameters_and_required_gss_encryption_are_refused_by_the_extension(
    run_isolated: RunIsolated,
) -> None:
    cases = [{"gssencmode": "require"}, *({name: "x"} for name in sorted(FILE_PARAMETERS))]
    assert run_isolated(START, json.dumps(cases)).split() == ["true"] * len(cases)


def test_value_of_an_unsupported_parameter_is_not_shown() -> None:
    [found] = unsupported_parameters({"sslpassword": "open sesame"})
    assert "sesame" not in repr(found)


def test_ignored_parameters_are_not_reported() -> None:
    assert [*unsupported_parameters(dict.fromkeys(IGNORED | FILE_PARAMETERS, "x"))] == []


def test_each_parameter_is_in_one_list() -> None:
    lists = (SUPPORTED.keys(), IGNORED, UNSUPPORTED, FILE_PARAMETERS)
    assert len(set().union(*lists)) == sum(map(len, lists))
