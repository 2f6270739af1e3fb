"""The check of a project's own models that evaluate their rows themselves."""

from __future__ import annotations

import pytest

from flagstaff.contrib.waffle.checks import check_models
from tests.support.waffle_rows import use_flag_model

pytestmark = pytest.mark.django_db


def test_model_that_evaluates_itself_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = use_flag_model(monkeypatch, "OwnFlag", is_active_for_user=lambda *_: True)
    [message] = check_models()
    assert (message.id, message.obj) == ("flagstaff.W057", model)
    assert "overrides is_active_for_user()" in message.msg


def test_model_with_other_methods_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    use_flag_model(monkeypatch, "NamedFlag", get_flush_keys=lambda self: [])
    assert check_models() == []
