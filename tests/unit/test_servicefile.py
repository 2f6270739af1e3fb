"""A service's settings are read as libpq reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connections

from flagstaff._connection.parameters import connection_settings
from flagstaff._connection.servicefile import settings_of_service
from flagstaff.exceptions import ConfigurationError

SERVICES = """
# the databases of the shop
[replica]
host=elsewhere
[shop]
  host=db.example
port=5433
options=-c search_path=shop
host=second
sslmode=verify-full

[broken]
host
[shop]
user=nobody
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "services"
    path.write_text(SERVICES)
    return str(path)


def test_settings_of_a_service(file: str) -> None:
    assert settings_of_service("shop", file) == {
        "host": "db.example",
        "port": "5433",
        "options": "-c search_path=shop",
        "sslmode": "verify-full",
    }


def test_service_of_the_user_comes_before_the_systems(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSERVICEFILE", raising=False)
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path))
    (tmp_path / ".pg_service.conf").write_text("[shop]\nhost=of the user\n")
    (tmp_path / "pg_service.conf").write_text("[shop]\nhost=no\n[bakery]\nhost=of the system\n")
    assert settings_of_service("shop", "") == {"host": "of the user"}
    assert settings_of_service("bakery", "") == {"host": "of the system"}


def test_line_that_is_not_understood(file: str) -> None:
    with pytest.raises(ConfigurationError, match='"broken" of the connection has a line'):
        settings_of_service("broken", file)


def test_service_that_is_not_there(file: str) -> None:
    with pytest.raises(ConfigurationError, match='"nothing" of the connection is not found'):
        settings_of_service("nothing", file)


def test_service_fills_what_the_settings_leave_open_and_comes_before_the_environment(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connections["default"]
    monkeypatch.setenv("PGSERVICEFILE", file)
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setitem(connection.settings_dict, "HOST", "given")
    monkeypatch.setitem(connection.settings_dict, "PORT", "")
    for given in ({"service": "shop"}, {}):
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", given)
        if not given:
            monkeypatch.setenv("PGSERVICE", "shop")
        found = connection_settings(connection)
        assert (found["host"], found["port"]) == ("given", "5433")
        assert found["sslmode"] == "verify-full"
        assert "service" not in found


def test_protection_that_the_environment_asks_for_is_not_overlooked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGREQUIREAUTH", "scram-sha-256")
    monkeypatch.setenv("PGREQUIRESSL", "1")
    found = connection_settings(connections["default"])
    assert (found["require_auth"], found["sslmode"]) == ("scram-sha-256", "require")
