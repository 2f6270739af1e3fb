"""`make demo` on a machine without npm."""

import shutil
from pathlib import Path

import pytest

from tools import demo, front_end


def test_demo_without_npm_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(front_end, "ROOT", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert demo.built_front_end() == (
        "has no script: npm is needed to download the SDK of OpenFeature: install Node.js"
    )
