"""The parameters of a service are read as libpq reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.db import connections

from flagstaff._connection import servicefile
from flagstaff._connection.parameters import connection_parameters
from flagstaff._connection.servicefile import service_parameters
from flagstaff.exceptions import ConfigurationError
from tests.support.tracebacks import local_variables

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
password=hunter2
host
[shop]
user=ignored
"""


@pytest.fixture
def service_file(tmp_path: Path) -> str:
    path = tmp_path / "services"
    path.write_text(SERVICES)
    return str(path)


def test_parameters_of_a_service_are_read(service_file: str) -> None:
    assert service_parameters("shop", service_file) == {
        "host": "db.example",
        "port": "5433",
        "options": "-c search_path=shop",
        "sslmode": "verify-full",
    }


def test_service_of_the_user_precedes_that_of_the_system(
    service_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSERVICEFILE", raising=False)
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path))
    (tmp_path / ".pg_service.conf").write_text("[shop]\nhost=of-the-user\n")
    (tmp_path / "pg_service.conf").write_text("[shop]\nhost=no\n[bakery]\nhost=of-the-system\n")
    assert service_parameters("shop", "") == {"host": "of-the-user"}
    assert service_parameters("bakery", "") == {"host": "of-the-system"}


def test_invalid_line_is_an_error(service_file: str) -> None:
    invalid = 'connection service "broken" has an invalid line'
    with pytest.raises(ConfigurationError, match=invalid) as caught:
        service_parameters("broken", service_file)
    assert "hunter2" not in local_variables(caught.value, servicefile)


def test_missing_service_is_an_error(service_file: str) -> None:
    message = f'connection service "missing" is not found in {re.escape(service_file)}; '
    with pytest.raises(ConfigurationError, match=message):
        service_parameters("missing", service_file)


def test_service_is_used_after_the_settings_and_before_the_environment(
    service_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connections["default"]
    monkeypatch.setenv("PGSERVICEFILE", service_file)
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setitem(connection.settings_dict, "HOST", "given")
    monkeypatch.setitem(connection.settings_dict, "PORT", "")
    for given in ({"service": "shop"}, {}):
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", given)
        if not given:
            monkeypatch.setenv("PGSERVICE", "shop")
        found = connection_parameters(connection)
        assert (found["host"], found["port"]) == ("given", "5433")
        assert found["sslmode"] == "verify-full"
        assert "service" not in found


def test_security_parameters_of_the_environment_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGREQUIREAUTH", "scram-sha-256")
    monkeypatch.setenv("PGREQUIRESSL", "1")
    found = connection_parameters(connections["default"])
    assert (found["require_auth"], found["sslmode"]) == ("scram-sha-256", "require")
