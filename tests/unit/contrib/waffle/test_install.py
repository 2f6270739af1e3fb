"""The finder that serves the package waffle from the stand-in."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from flagstaff.contrib.waffle import install


@pytest.fixture(autouse=True)
def _without_waffle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not imported waffle, with finders of its own."""
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in [*sys.modules]:
        if name.partition(".")[0] == "waffle":
            monkeypatch.delitem(sys.modules, name)


def test_waffle_is_found_in_stand_in_after_install_and_a_second_one_does_nothing() -> None:
    install()
    spec = find_spec("waffle")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).parent.parent.name == "stand_in"
    finders = [*sys.meta_path]
    install()
    assert sys.meta_path == finders


def test_install_is_refused_if_waffle_was_imported_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "waffle", sys)
    with pytest.raises(ImproperlyConfigured, match="has been imported already"):
        install()


def test_install_works_where_the_import_of_waffle_is_blocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "waffle", None)
    install()
    assert sys.meta_path[0].__module__ == "flagstaff.contrib.waffle"
