"""The settings of OFREP. Error messages do not contain keys."""

from types import MappingProxyType
from typing import Any

import pytest
from django.test import override_settings

from flagstaff.contrib.ofrep.settings import CLIENT_ATTRIBUTES, KEYS, LIMIT
from flagstaff.exceptions import ConfigurationError

HASH = "0123456789abcdef" * 4
NO_HASH = (
    "['billing'] is not a SHA-256 of 64 hexadecimal digits; "
    'run "manage.py flags ofrep-key", and copy the SHA-256, not the key'
)
NO_DICT = ' is a list; expected a dict such as {"billing": "5e884898…"}'
NAMES = (
    "expected a list of names of attributes, without groups, is_authenticated, is_staff, "
    "is_superuser, visitor"
)


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        (KEYS, ["s3cr3t"], NO_DICT),
        *((KEYS, {"billing": key}, NO_HASH) for key in ("s3cr3t", HASH[1:], HASH.upper(), 7)),
        *(
            (CLIENT_ATTRIBUTES, names, f" is {names!r}; {NAMES}")
            for names in ("theme", [1], ["theme", "groups"], ["is_staff"], ["visitor"])
        ),
    ],
)
def test_invalid_setting_is_rejected_without_showing_a_key(
    setting: Any, value: object, problem: str
) -> None:
    settings = override_settings(FLAGSTAFF={setting.name: value})
    with settings, pytest.raises(ConfigurationError) as error:
        setting.current()
    assert str(error.value) == f'FLAGSTAFF["{setting.name}"]{problem}'
    assert "s3cr3t" not in str(error.value)


def test_settings_have_defaults_and_take_other_mappings() -> None:
    assert (KEYS.current(), CLIENT_ATTRIBUTES.current(), LIMIT.current()) == ({}, (), None)
    with override_settings(FLAGSTAFF={"OFREP_KEYS": MappingProxyType({"billing": HASH})}):
        assert KEYS.current() == {"billing": HASH}
