"""The setting OFREP. Error messages do not contain keys."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from django.test import override_settings

from flagstaff.contrib.ofrep.settings import OFREP, OfrepSettings
from flagstaff.exceptions import ConfigurationError


def with_settings(**settings: object) -> override_settings:
    return override_settings(FLAGSTAFF=settings)


EXPECTED = (
    'expected a dict such as {"KEYS": {"billing": "5e884898…"}, "CLIENT_ATTRIBUTES": ["theme"], '
    '"LIMIT": "shop.limits.seconds"}'
)
HASH = "0123456789abcdef" * 4
COPY_HASH = 'run "manage.py flags ofrep-key", and copy the SHA-256, not the key'
NO_HASH = """["KEYS"]['billing'] is not a SHA-256 of 64 hexadecimal digits"""
NAMES_EXPECTED = "expected a list of names of attributes"
OF_REQUEST = "remove it; the request has the user and the visitor"
LIMIT = 'expected a function (request), its path, such as "shop.limits.seconds", or None'


@pytest.mark.parametrize(
    ("value", "problem", "hint"),
    [
        ([], " is a list", EXPECTED),
        ({"KEY": "x"}, " has no entry 'KEY'", EXPECTED),
        ({"KEYS": ["s3cr3t"]}, '["KEYS"] is not a dict of hashes by name', EXPECTED),
        ({"KEYS": {1: HASH}}, '["KEYS"] is not a dict of hashes by name', EXPECTED),
        *(({"KEYS": {"billing": one}}, NO_HASH, COPY_HASH) for one in ("ofrep_s3cr3t", HASH[1:])),
        ({"KEYS": {"billing": HASH.upper()}}, NO_HASH, COPY_HASH),
        ({"CLIENT_ATTRIBUTES": "theme"}, "[\"CLIENT_ATTRIBUTES\"] is 'theme'", NAMES_EXPECTED),
        ({"CLIENT_ATTRIBUTES": [1]}, '["CLIENT_ATTRIBUTES"] is [1]', NAMES_EXPECTED),
        *(
            (
                {"CLIENT_ATTRIBUTES": ["theme", one]},
                f'["CLIENT_ATTRIBUTES"] names {one!r}, which no browser may set',
                OF_REQUEST,
            )
            for one in ("is_authenticated", "is_staff", "is_superuser", "groups", "visitor")
        ),
        ({"LIMIT": 60}, '["LIMIT"] is 60', LIMIT),
        ({"LIMIT": "seconds"}, "[\"LIMIT\"] is 'seconds'", LIMIT),
    ],
)
def test_invalid_ofrep_is_rejected_with_the_problem_and_without_keys(
    value: object, problem: str, hint: str
) -> None:
    with with_settings(OFREP=value), pytest.raises(ConfigurationError) as error:
        OFREP.current()
    assert str(error.value) == f'FLAGSTAFF["OFREP"]{problem}; {hint}'
    assert "s3cr3t" not in str(error.value)


def test_ofrep_has_keys_attributes_and_a_limit() -> None:
    assert OFREP.current() == OfrepSettings({}, (), None)
    given = {"KEYS": {"billing": HASH}, "CLIENT_ATTRIBUTES": ["theme"], "LIMIT": abs}
    with with_settings(OFREP=MappingProxyType(given)):
        assert OFREP.current() == OfrepSettings({"billing": HASH}, ("theme",), abs)
