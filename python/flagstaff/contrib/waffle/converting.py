"""Converts rows of waffle to flags, with notes on what is different. Queries nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from typing import Any

from flagstaff.contrib.waffle.names import key_of
from flagstaff.contrib.waffle.rows import SourceRow
from flagstaff.contrib.waffle.settings import waffle_settings

#: The attribute of the rules for waffle's test parameter: "1" or "0".
TEST_ATTRIBUTE = "waffle_test"
#: The attribute of the rule for languages.
LANGUAGE_ATTRIBUTE = "language"
#: The bucketing unit of samples: a new random number for each evaluation.
SAMPLE_UNIT = "waffle_sample"

_ALL = 100


class Status(Enum):
    """How well a flag can replace a row of waffle."""

    #: The same results for every request.
    EXACT = "exact"
    #: Some results differ; a note says how.
    DIFFERS = "differs"
    #: A part of the row is lost; a note says which.
    LOST = "lost"
    #: There is no flag for it; a note says why, and what to do.
    REFUSED = "refused"


_ORDER = list(Status)


@dataclass(frozen=True)
class Converted:
    """A row of waffle, and the flag that it becomes."""

    row: SourceRow
    key: str
    status: Status
    #: What is different, lost or refused, and remarks, as sentences.
    notes: tuple[str, ...] = ()
    #: The fields of the flag, as `flagstaff.changes.create` takes them, without allowed users.
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Findings:
    """The worst status so far, and the notes."""

    status: Status = Status.EXACT
    notes: list[str] = field(default_factory=list)

    def add(self, note: str, status: Status = Status.EXACT) -> None:
        self.notes.append(note)
        self.status = max(self.status, status, key=_ORDER.index)


def convert(row: SourceRow) -> Converted:
    """Returns the flag that a row becomes. Its allowed users are the users of the row.

    convert(SourceRow("switch", "search", active=True)).fields["enabled"]  # True
    """
    key, findings = key_of(row.kind, row.name), _Findings()
    if row.overridden:
        methods = ", ".join(f"{method}()" for method in row.overridden)
        note = f"its model overrides {methods}, so its own code goes on evaluating it"
        return Converted(row, key, Status.REFUSED, (note,))
    if key != row.name:
        findings.add(f"its key is {key}")
    _note_columns(row, findings)
    fields = {"flag": _of_flag, "switch": _of_switch, "sample": _of_sample}[row.kind](row, findings)
    fields["description"] = "\n\n".join(filter(None, (row.note, fields.get("description"))))
    return Converted(row, key, findings.status, tuple(findings.notes), fields)


def changed_fields(
    row: SourceRow, changed: Collection[str], present_rules: object
) -> dict[str, Any]:
    """Returns the fields of our flag that follow from a change of some columns of a row.

    `row` is the row after the change, and `changed` are the names of its changed columns and
    relations. The rules that other columns have made, and other rules, stay as they are in
    `present_rules`. A column that "everyone" hides changes nothing but rules. Without "users", a
    caller leaves the allowed users as they are.
    """
    whole = convert(row).fields
    fields: dict[str, Any] = {"description": row.note} if "note" in changed else {}
    if row.kind == "switch":
        return {**fields, "enabled": row.active} if "active" in changed else fields
    if "everyone" in changed:
        names = ["enabled"] if row.everyone is False else ["enabled", "rollout_percent", "rules"]
        return {**fields, **{name: whole[name] for name in names}}
    if row.everyone:
        return fields
    if "percent" in changed:
        fields["rollout_percent"] = whole["rollout_percent"]
    replaced = {name for column in changed for name in _rule_names(column)}
    if row.kind == "flag" and replaced:
        fields["rules"] = _with_rules(present_rules, replaced, whole["rules"])
    return fields


def _with_rules(
    present: object, replaced: Collection[str], new: Sequence[dict[str, Any]]
) -> list[Any]:
    """Returns the present rules with the new ones of these names in place of the old ones."""
    kept = [rule for rule in _rules_in(present) if rule.get("name") not in replaced]
    added = [rule for rule in new if rule["name"] in replaced]
    tests = [rule for rule in added if rule["name"] in _TEST_RULES]
    # Only the test can turn the flag off, so it is before the others.
    return [*tests, *kept, *(rule for rule in added if rule not in tests)]


def _rules_in(present: object) -> list[dict[str, Any]]:
    rules = present if isinstance(present, list) else []
    return [rule for rule in rules if isinstance(rule, dict)]


def _of_switch(row: SourceRow, _findings: _Findings) -> dict[str, Any]:
    return {"enabled": row.active, "rollout_percent": _ALL, "rules": [], "kind": "ops"}


def _of_sample(row: SourceRow, findings: _Findings) -> dict[str, Any]:
    percent = row.percent or Decimal(0)
    rollout = _whole(percent, high=_ALL - 1 if percent < _ALL else _ALL)
    if rollout != percent:
        findings.add(f"{percent:f} % becomes {rollout} %", Status.DIFFERS)
    fields = {"enabled": True, "rollout_percent": rollout, "rules": []}
    return {**fields, "bucket_by": SAMPLE_UNIT, "kind": "ops"}


def _of_flag(row: SourceRow, findings: _Findings) -> dict[str, Any]:
    unit = waffle_settings().unit_of(row.name)
    if row.everyone:
        hidden = _hidden(row)
        text = f"In waffle, hidden by Everyone = Yes: {hidden}." if hidden else ""
        if hidden:
            findings.add(f"Everyone = Yes hides {hidden}; the description has this as text")
        fields = {"enabled": True, "rollout_percent": _ALL, "rules": [], "bucket_by": unit}
        return {**fields, "kind": "release", "description": text}
    rollout = _whole(row.percent, high=_ALL - 1)
    if row.everyone is None:
        _note_results(row, rollout, unit, findings)
    elif row.users or row.groups:
        findings.add(
            "it is off for everyone, also in is_active_for_user(), which returns True for its "
            "users and groups in waffle",
        )
    fields = {"enabled": row.everyone is None, "rollout_percent": rollout, "rules": [*_rules(row)]}
    return {**fields, "bucket_by": unit, "kind": "release"}


def _note_results(row: SourceRow, rollout: int, unit: str, findings: _Findings) -> None:
    """Adds what is different in the results of a flag that is not on or off for everyone."""
    if row.percent:
        rounded = "" if rollout == row.percent else f"{row.percent:f} % becomes {rollout} %; "
        findings.add(
            f"{rounded}the bucket of the {unit} decides in place of a random number in a cookie",
            Status.DIFFERS,
        )
        if unit == "user":
            text = "users who are not logged in do not have it, unless a cookie says so"
            findings.add(text, Status.DIFFERS)
    if row.rollout:
        text = f"no {unit} loses the flag when the percentage grows"
        findings.add(f"rollout mode is not needed: {text}")
    if row.testing and row.users:
        findings.add("its users keep the flag with dwft_…=0", Status.DIFFERS)


def _note_columns(row: SourceRow, findings: _Findings) -> None:
    for column in row.extra:
        if column in _read_columns(row):
            if row.everyone is None:
                # Waffle's is_active() reads no such column.
                text = f"the rule {column} turns it on for users for whom it is off in waffle"
                findings.add(text, Status.DIFFERS)
        elif row.kind == "flag":
            findings.add(
                f'the column {column} is lost; add it to FLAGSTAFF["WAFFLE"]["FIELDS"], or '
                "evaluate it in your code",
                Status.LOST,
            )
        else:
            findings.add(f"the column {column} is lost; evaluate it in your code", Status.LOST)


def _read_columns(row: SourceRow) -> dict[str, tuple[Any, ...]]:
    """Returns the columns of a project's flag model that become rules."""
    named = waffle_settings().fields
    return {
        column: values
        for column, values in row.extra.items()
        if row.kind == "flag" and column in named
    }


def _whole(percent: Decimal | None, *, high: int) -> int:
    """Returns a whole percentage; 1 to `high` for a percentage above 0."""
    if not percent:
        return 0
    return min(max(int(percent.to_integral_value(ROUND_HALF_UP)), 1), high)


def _hidden(row: SourceRow) -> str:
    """Returns the settings of a flag that "Everyone = Yes" makes ineffective, in words."""
    switches, hidden = ("testing", "authenticated", "staff", "rollout"), _read_columns(row)
    parts = [name for name in switches if getattr(row, name)]
    parts += [f"{row.percent:f} %"] if row.percent else []
    parts += [f"languages {', '.join(row.languages)}"] if row.languages else []
    parts += [f"groups {', '.join(row.groups)}"] if row.groups else []
    parts += [f"{column} {', '.join(map(str, values))}" for column, values in hidden.items()]
    return ", ".join(parts)


_TEST_RULES = ("waffle test on", "waffle test off")
_SWITCHES = {
    "authenticated": "is_authenticated",
    "staff": "is_staff",
    "superusers": "is_superuser",
}


def _rule_names(column: str) -> tuple[str, ...]:
    """Returns the names of the rules that a column becomes; none if it becomes no rule."""
    if column == "testing":
        return _TEST_RULES
    named = {*_SWITCHES, "languages", "groups", *waffle_settings().fields}
    return (column,) if column in named else ()


def _rules(row: SourceRow) -> Iterator[dict[str, Any]]:
    """Yields the rules. Only the second one can turn the flag off, so it is before the others."""
    if row.testing:
        on, off = _TEST_RULES
        yield _rule(on, TEST_ATTRIBUTE, ["1"])
        yield {**_rule(off, TEST_ATTRIBUTE, ["0"]), "rollout_percent": 0}
    named = waffle_settings().fields
    for column, values in _read_columns(row).items():
        yield _rule(column, named[column], [_json(value) for value in values])
    if row.languages:
        yield _rule("languages", LANGUAGE_ATTRIBUTE, list(row.languages))
    for name, attribute in _SWITCHES.items():
        if getattr(row, name):
            yield _rule(name, attribute, [True])
    if row.groups:
        yield _rule("groups", "groups", list(row.groups))


def _rule(name: str, attribute: str, values: list[Any]) -> dict[str, Any]:
    condition = {"attribute": attribute, "operator": "in", "values": values}
    return {"name": name, "conditions": [condition], "rollout_percent": _ALL}


def _json(value: object) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
