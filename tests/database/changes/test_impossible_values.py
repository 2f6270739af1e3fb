"""Values of conditions that never match are refused by all that writes them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flagstaff import changes, experiments
from flagstaff.exceptions import DocumentError, FlagstaffError
from flagstaff.history import flag_version
from tests.support.conditions import condition
from tests.support.documents import import_text
from tests.support.shop import GERMAN, Shop
from tests.support.terminals import run

WEEK = condition("date_joined", "lt", "7d", negate=True)
RULES = [{"conditions": [WEEK]}]
VALUE_RULES = [{"conditions": [WEEK], "value": 2}]
DOCUMENT = {"flagstaff": 1, "partial": True}
FLAG, VALUE, SEGMENT, EXPERIMENT = "new_checkout", "page_size", "enterprise", "checkout_button"
WRITERS: dict[str, Callable[[], object]] = {
    "new flag": lambda: changes.flags.create("new", rules=RULES),
    "flag": lambda: changes.flags.update(FLAG, {"rules": RULES}),
    "new value": lambda: changes.values.create("new", 1, rules=VALUE_RULES),
    "value": lambda: changes.values.update(VALUE, {"rules": VALUE_RULES}),
    "new segment": lambda: changes.segments.create("new", [WEEK]),
    "segment": lambda: changes.segments.update(SEGMENT, {"conditions": [WEEK]}),
    "new experiment": lambda: experiments.create("new", rules=RULES),
    "experiment": lambda: experiments.edit(EXPERIMENT, rules=RULES),
    "import": lambda: import_text(json.dumps({**DOCUMENT, "flags": {FLAG: {"rules": RULES}}})),
    "import of a new flag": lambda: import_text(
        json.dumps({**DOCUMENT, "flags": {"new": {"rules": RULES}}})
    ),
}


@pytest.fixture(autouse=True)
def _columns(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["date_joined"]}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_value_that_never_matches_is_refused_by_each_writer(
    write: Callable[[], object], open_shop: Shop
) -> None:
    open_shop.experiment(state="draft")
    with pytest.raises(
        (FlagstaffError, DocumentError), match='value 1 never matches "date_joined": it is a date'
    ):
        write()


def test_stored_value_that_never_matches_stops_no_other_change(shop: Shop) -> None:
    shop.flag(FLAG, rules=RULES)
    new = [*RULES, {"conditions": [GERMAN]}]
    assert changes.flags.update(FLAG, {"rules": new, "description": "new"}).written


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "undo",
    [changes.flags.undo, lambda key: changes.flags.restore(key, to=(flag_version(key) or 0) - 1)],
    ids=["undo", "restore"],
)
def test_past_value_that_never_matches_stops_no_undo(undo: Any, shop: Shop) -> None:
    shop.flag(FLAG, enabled=False, rules=RULES)
    changes.flags.update(FLAG, {"rules": [], "enabled": True, "rollout_percent": 100})
    undo(FLAG)
    assert (shop.flag(FLAG).enabled, shop.flag(FLAG).rules) == (False, RULES)


DOUBT = 'value 1 never matches "now": if it is a number or a date, write one, such as 42 or'


@pytest.mark.parametrize(
    ("command", "content"),
    [
        (f"rules {FLAG}", lambda conditions: [{"conditions": conditions, "rollout_percent": 5}]),
        (f"value rules {VALUE}", lambda conditions: [{"conditions": conditions, "value": 50}]),
        (f"segment conditions {SEGMENT}", lambda conditions: conditions),
    ],
    ids=["flag", "value", "segment"],
)
@pytest.mark.usefixtures("open_shop")
def test_terminal_says_that_a_new_value_may_never_match(
    command: str, content: Callable[[Any], object], tmp_path: Path
) -> None:
    conditions = [condition("now", "gte", "-7d")]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(content(conditions)))
    ran = run(f"{command} {file} --yes")
    assert (ran.status, DOUBT in ran.err) == (0, True)
    # What is stored already is no news.
    file.write_text(json.dumps(content([*conditions, GERMAN])))
    ran = run(f"{command} {file} --yes")
    assert (ran.status, DOUBT in ran.err) == (0, False)
