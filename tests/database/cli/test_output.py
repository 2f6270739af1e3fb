"""`manage.py flags`: tables and control characters on a terminal."""

from __future__ import annotations

import re

import pytest

from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.terminals import flags, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_terminal")]


@pytest.mark.parametrize(("columns", "truncated"), [("90", True), ("300", False)])
def test_table_fits_the_width_of_the_terminal(
    columns: str, truncated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    FeatureFlag.objects.create(key="new_checkout", description="many words " * 10)
    shown = typed("flags list").splitlines()
    assert max(map(len, shown)) == int(columns) if truncated else max(map(len, shown)) > 100
    assert shown[1].endswith("…") is truncated


def test_table_never_truncates_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    key = "k" * 200
    FeatureFlag.objects.create(key=key, description="many words " * 10)
    assert key in typed("flags list")


def test_table_aligns_wide_and_combining_characters() -> None:
    for key in ("a", "新しい", "e\u0301te\u0301", "🚩"):
        FeatureFlag.objects.create(key=key)
    rows = typed("flags list").splitlines()[1:]
    # The number of terminal cells of each key.
    widths = dict(zip(["a", "e\u0301te\u0301", "新しい", "🚩"], [1, 3, 6, 2], strict=True))
    for row in rows:
        key, spaces = re.split(r"(?= )", row, maxsplit=1)
        assert widths[key] + len(spaces) - len(spaces.lstrip()) == 6 + 2


def test_control_characters_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    FeatureFlag.objects.create(key="new_checkout", description="a\n\tb \x1b[31mred\x9b1m")
    KeyValueStore.objects.create(key="motd", value="\x9b31m \x1b")
    for shown in (flags("list").out, typed("flags show new_checkout"), typed("flags list")):
        assert "a b �[31mred�1m" in shown
    for line in ("flags value list", "flags value get motd"):
        assert "\x9b" not in typed(line)
        assert "\x1b" not in typed(line)


def test_history_has_the_change_below_the_key_on_a_narrow_terminal_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags("create", "k" * 60)
    flags("value", "create", "gateway", '{"name": "stripe", "hosts": ["a.example", "b.example"]}')
    flags("value", "set", "gateway", '"paypal"', "--as-name", "deploy", "--reason", "orders fail")
    header, first, *more = typed("flags history --limit 3").splitlines()
    assert header.split() == ["VERSION", "WHEN", "KIND", "KEY"]
    assert first.endswith("value  gateway")
    assert [line.strip() for line in more[:2]] == [
        'value {"name": "stripe", "hosts": ["a.example", "b.example"]} → "paypal" ·',
        "deploy · command · orders fail",
    ]
    assert all(len(line) <= 80 for line in more if "kkk" not in line)
    monkeypatch.setenv("COLUMNS", "300")
    header, first, *_ = typed("flags history --limit 3").splitlines()
    assert header.split()[-4:] == ["CHANGE", "ACTOR", "SOURCE", "REASON"]
    assert first.endswith("deploy                    command  orders fail")
