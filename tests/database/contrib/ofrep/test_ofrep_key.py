"""`manage.py flags ofrep-key`."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from pytest_django import Settings

from tests.support.ofrep import URL, post
from tests.support.terminals import document, run

pytestmark = pytest.mark.django_db


def test_key_is_random_and_shown_with_its_hash() -> None:
    ran = run("ofrep-key")
    [key, digest] = re.fullmatch(r"key\t(\S+)\nsha256\t(\S+)\n", ran.out).groups()  # type: ignore[union-attr]
    # 32 random bytes.
    assert re.fullmatch(r"ofrep_[\w-]{43}", key)
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert "the only time that it is shown" in ran.err
    assert key not in ran.err
    assert run("ofrep-key").out != ran.out


def test_key_is_known_to_the_endpoints(client: Client, settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.support.ofrep"
    made = document("ofrep-key")
    settings.FLAGSTAFF = {"OFREP_KEYS": {"billing": made["sha256"]}}
    for key, status in ((made["key"], 200), (made["sha256"], 401)):
        assert post(client, URL, **{"X-API-Key": key}).status_code == status
