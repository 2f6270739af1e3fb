"""Tables on a terminal: widths, control characters, and columns below the key."""

import re

import pytest

from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.terminals import flags, run, typed

pytestmark = pytest.mark.usefixtures("plain_terminal")


@pytest.mark.parametrize(("columns", "width"), [("20", 211), ("90", 90), ("300", 217)])
def test_table_fits_the_width_of_the_terminal_but_never_truncates_keys(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    key = "k" * (200 if columns == "20" else 12)
    FeatureFlag.objects.create(key=key, description="many words " * 10)
    _header, row = typed("flags list").splitlines()
    assert row.startswith(key)
    assert row.endswith("…") is (columns != "300")
    assert len(row) == width or columns != "90"


def test_table_aligns_wide_and_combining_characters() -> None:
    # The number of terminal cells of each key.
    widths = {"a": 1, "e\u0301te\u0301": 3, "新しい": 6, "🚩": 2}
    for key in widths:
        FeatureFlag.objects.create(key=key)
    for row in typed("flags list").splitlines()[1:]:
        key, spaces = re.split(r"(?= )", row, maxsplit=1)
        assert widths[key] + len(spaces) - len(spaces.lstrip()) == 6 + 2


def test_control_characters_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    FeatureFlag.objects.create(key="new_checkout", description="a\n\tb \x1b[31mred\x9b1m")
    KeyValueStore.objects.create(key="motd", value="\x9b31m \x1b")
    for shown in (flags("list").out, typed("flags show new_checkout"), typed("flags list")):
        assert "a b �[31mred�1m" in shown
    for line in ("flags value list", "flags value show motd"):
        assert not re.search("[\x9b\x1b]", typed(line))


def test_history_has_the_change_below_the_key() -> None:
    run(f"create {'k' * 60}")
    run("""value create gateway '{"name": "stripe", "hosts": ["a.example", "b.example"]}'""")
    run("""value set gateway '"paypal"' --as-name deploy --reason 'orders fail'""")
    header, first, *more = typed("flags history --limit 3").splitlines()
    assert header.split() == ["VERSION", "WHEN", "KIND", "KEY"]
    assert first.endswith("value  gateway")
    assert [line.strip() for line in more[:2]] == [
        'value {"name": "stripe", "hosts": ["a.example", "b.example"]} → "paypal" ·',
        "deploy · command · orders fail",
    ]
    assert all(len(line) <= 80 for line in more if "kkk" not in line)
