"""The status log of an engine that was closed and started again."""

from __future__ import annotations

import pytest
from django.db import connection
from pytest_django import Settings

from flagstaff import refresh, status
from flagstaff._engine import lifecycle
from flagstaff.testing import live_engine
from tools.ports import free_port


@pytest.mark.django_db
def test_start_after_a_close_is_not_logged_as_a_recovery(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FLAGSTAFF = {"STARTUP_TIMEOUT": 1}
    with monkeypatch.context() as unreachable:
        unreachable.setitem(connection.settings_dict, "PORT", str(free_port()))
        with live_engine():
            with pytest.raises(Exception, match="refused"):
                refresh(0.5)
            lifecycle._process.status_log.note_late_start(lifecycle._report())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    caplog.clear()
    with live_engine():
        refresh()
        lifecycle.run_maintenance()
        assert status().mode != "down"
    assert caplog.messages == []
