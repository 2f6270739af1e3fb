"""Converts rows of waffle to flags, with notes on what is different. Queries nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from flagstaff.contrib.waffle.rows import Row, code_text, has_own_code, waffle_model
from flagstaff.contrib.waffle.settings import WaffleKind, waffle_settings

#: How well a flag can replace a row: the same results for every request; some results differ; a
#: part is lost; there is no flag for it. Notes say how, which and why.
STATUSES = EXACT, DIFFERS, LOST, REFUSED = "exact", "differs", "lost", "refused"

#: The attribute of the rules for waffle's test parameter: "1" or "0".
TEST_ATTRIBUTE = "waffle_test"
#: The attribute of the rule for languages.
LANGUAGE_ATTRIBUTE = "language"
#: The bucketing unit of samples: a new random number for each evaluation.
SAMPLE_UNIT = "waffle_sample"
#: The names of the rules of a flag that may be set for a test.
TEST_RULES = ("waffle test on", "waffle test off")

_ALL = 100
_SWITCHES = {"authenticated": "is_authenticated", "staff": "is_staff", "superusers": "is_superuser"}
#: The columns of waffle that decide, by kind.
_COLUMNS: Mapping[WaffleKind, tuple[str, ...]] = {
    "flag": ("everyone", "percent", "testing", "languages", *_SWITCHES),
    "switch": ("active",),
    "sample": ("percent",),
}


@dataclass(frozen=True)
class Converted:
    """A row of waffle, and the flag that it becomes."""

    row: Row
    #: One of STATUSES, and what is different, lost or refused, as sentences.
    status: str
    notes: tuple[str, ...]
    #: The fields of the flag, as `changes.flags.create` takes them, without allowed users.
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: Its allowed users; None leaves those that it has.
    allowed_users: Collection[Any] | None = None


def convert(row: Row) -> Converted:
    """Returns the flag that a row becomes.

    convert(Row("switch", {"name": "search", "active": True})).fields["enabled"]  # True
    """
    if missing := [name for name in _COLUMNS[row.kind] if name not in row.columns]:
        columns = f"the columns {', '.join(missing)}" if missing[1:] else f"the column {missing[0]}"
        return Converted(row, REFUSED, (f"its table lacks {columns} of django-waffle 5",))
    fields, notes = fields_of(row), [(EXACT, f"its key is {row.key}")] * (row.key != row.name)
    if code := code_text(waffle_model(row.kind)):
        texts = (*(text for _status, text in notes), f"{code} decides, unless the flag is off here")
        return Converted(row, DIFFERS, texts, fields)
    notes += [(LOST, f"the column {name} is lost; evaluate it in your code") for name in row.own]
    percent, rollout = row["percent"], fields["rollout_percent"]
    if percent and row["everyone"] is None:
        if rollout != percent:
            notes.append((DIFFERS, f"{percent:f} % becomes {rollout} %"))
        if row.kind == "flag":
            unit = f"the bucket of the {waffle_settings().unit} decides"
            notes.append((DIFFERS, f"{unit} in place of a random number in a cookie"))
    if row["testing"] and row.users and row["everyone"] is None:
        notes.append((DIFFERS, "its users keep the flag with dwft_…=0"))
    status = max((status for status, _ in notes), key=STATUSES.index, default=EXACT)
    users = row.users if row.kind == "flag" else None
    return Converted(row, status, tuple(note for _, note in notes), fields, users)


def fields_of(row: Row) -> dict[str, Any]:
    """Returns the fields of the flag that a row becomes, without allowed users.

    Of a row with own code, the flag only turns it off, and no field of it says so.
    """
    if has_own_code(waffle_model(row.kind)):
        return {"description": row["note"] or "", "kind": "ops"}
    fields: dict[str, Any] = {
        "description": row["note"] or "",
        "enabled": True,
        "rules": [],
        "kind": "ops",
    }
    if row.kind == "switch":
        return {**fields, "enabled": bool(row["active"]), "rollout_percent": _ALL}
    if row.kind == "sample":
        rollout = whole(row["percent"], most=_ALL)
        return {**fields, "rollout_percent": rollout, "bucket_by": SAMPLE_UNIT}
    everyone = row["everyone"]
    return {
        **fields,
        "enabled": everyone is not False,
        "rollout_percent": _ALL if everyone else whole(row["percent"], most=_ALL - 1),
        "rules": _rules(row),
        "bucket_by": waffle_settings().unit,
        "kind": "release",
    }


def whole(percent: Any, *, most: int) -> int:
    """Returns a percentage of waffle in whole percent: at least 1 above 0, below 100 at most 99."""
    exact = Decimal(str(percent or 0))
    if exact in {0, most}:
        return int(exact)
    return min(max(int(exact.to_integral_value(ROUND_HALF_UP)), 1), _ALL - 1)


def _rules(row: Row) -> list[dict[str, Any]]:
    """Returns the rules. Each stands for one column, whose name it has."""
    rules = []
    # "Everyone = Yes" precedes a test; no other column can turn the flag off.
    if row["testing"] and not row["everyone"]:
        on, off = TEST_RULES
        rules = [_rule(on, TEST_ATTRIBUTE, ["1"]), _rule(off, TEST_ATTRIBUTE, ["0"], rollout=0)]
    if row.languages:
        rules.append(_rule("languages", LANGUAGE_ATTRIBUTE, row.languages))
    rules += [_rule(name, user, [True]) for name, user in _SWITCHES.items() if row[name]]
    if row.groups:
        rules.append(_rule("groups", "groups", [*row.groups]))
    return rules


def _rule(name: str, attribute: str, values: list[Any], rollout: int = _ALL) -> dict[str, Any]:
    condition = {"attribute": attribute, "operator": "in", "values": values}
    return {"name": name, "conditions": [condition], "rollout_percent": rollout}
