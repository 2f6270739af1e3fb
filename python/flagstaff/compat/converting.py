"""Converts rows of waffle to flags, with notes on what is different. Queries nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from typing import Any

from flagstaff._tables.bucket_units import BUCKET_BY, USER
from flagstaff._tables.optional_fields import RULES, flag_model
from flagstaff.compat.names import key_of
from flagstaff.compat.rows import SourceRow
from flagstaff.compat.settings import waffle_settings
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import Item, UserRef

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
    PARTLY = "partly"
    #: There is no flag for it; a note says why, and what to do.
    REFUSED = "refused"
    #: It was written earlier, and has not changed since then.
    UNCHANGED = "unchanged"


_ORDER = list(Status)


@dataclass(frozen=True)
class Converted:
    """A row of waffle, and the flag that it becomes."""

    row: SourceRow
    key: str
    status: Status
    #: What is different, lost or refused, and remarks, as sentences.
    notes: tuple[str, ...] = ()
    #: None if the row is refused.
    item: Item | None = None


@dataclass
class _Findings:
    """The worst status so far, and the notes."""

    status: Status = Status.EXACT
    notes: list[str] = field(default_factory=list)

    def add(self, note: str, status: Status = Status.EXACT) -> None:
        self.notes.append(note)
        self.status = max(self.status, status, key=_ORDER.index)


def convert(row: SourceRow, *, client_side: bool | None = None) -> Converted:
    """Returns the flag that a row becomes. `client_side` is written if it is not None.

    convert(SourceRow("switch", "search", active=True)).item.fields["enabled"]  # True
    """
    key, findings = key_of(row.kind, row.name), _Findings()
    if row.overridden:
        methods = ", ".join(f"{method}()" for method in row.overridden)
        note = f"its model overrides {methods}, so waffle goes on evaluating it"
        return Converted(row, key, Status.REFUSED, (note,))
    if key != row.name:
        findings.add(f"its key is {key}")
    _note_columns(row, findings)
    fields = {"flag": _of_flag, "switch": _of_switch, "sample": _of_sample}[row.kind](row, findings)
    fields["description"] = "\n\n".join(filter(None, (row.note, fields.get("description"))))
    if client_side is not None:
        fields["client_side"] = client_side
    fields = _fitting(fields, findings)
    users = tuple(_user(pk) for pk in row.users) if row.kind == "flag" else None
    item = Item(Kind.FLAG, key, fields, users) if findings.status is not Status.REFUSED else None
    return Converted(row, key, findings.status, tuple(findings.notes), item)


def _fitting(fields: dict[str, Any], findings: _Findings) -> dict[str, Any]:
    """Returns the fields that FLAG_MODEL has. Refuses a flag that needs one of the others."""
    model = flag_model()
    needed = {
        RULES: bool(fields[RULES]),
        BUCKET_BY: fields.get(BUCKET_BY, USER) != USER and 0 < fields["rollout_percent"] < _ALL,
    }
    for name in (name for name, is_needed in needed.items() if is_needed and not model.has(name)):
        findings.add(
            f"it needs the field {name}, which the flag model of this project does not have; add "
            "it, and run makemigrations and migrate",
            Status.REFUSED,
        )
    if fields["description"] and not model.has("description"):
        findings.add(
            "its note is lost, because the flag model of this project has no field description",
            Status.PARTLY,
        )
    required = {"enabled", "rollout_percent"}
    return {name: value for name, value in fields.items() if name in required or model.has(name)}


def _user(pk: object) -> UserRef:
    return UserRef(pk=pk if isinstance(pk, int) else str(pk))


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
    rules = [*_rules(row)]
    if row.everyone:
        hidden = _hidden(row)
        text = f"In waffle, hidden by Everyone = Yes: {hidden}." if hidden else ""
        if hidden:
            findings.add(f"Everyone = Yes hides {hidden}; the description has this as text")
        fields = {"enabled": True, "rollout_percent": _ALL, "rules": [], "bucket_by": unit}
        return {**fields, "kind": "release", "description": text}
    rollout = _whole(row.percent, high=_ALL - 1) if row.percent else 0
    fields = {"enabled": row.everyone is None, "rollout_percent": rollout, "rules": rules}
    if row.everyone is None:
        _note_results(row, rollout, unit, findings)
    elif row.users or row.groups:
        findings.add(
            "it is off for everyone, also in is_active_for_user(), which returns True for its "
            "users and groups in waffle",
        )
    return {**fields, "bucket_by": unit, "kind": "release"}


def _note_results(row: SourceRow, rollout: int, unit: str, findings: _Findings) -> None:
    """Adds what is different in the results of a flag that is not on or off for everyone."""
    if row.percent:
        rounded = "" if rollout == row.percent else f"{row.percent:f} % becomes {rollout} %; "
        findings.add(
            f"{rounded}the bucket of the {unit} decides in place of a random number in a cookie",
            Status.DIFFERS,
        )
        if unit == USER:
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
                Status.PARTLY,
            )
        else:
            findings.add(f"the column {column} is lost; evaluate it in your code", Status.PARTLY)


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


def _rules(row: SourceRow) -> Iterator[dict[str, Any]]:
    """Yields the rules. Only the second one can turn the flag off, so it is before the others."""
    if row.testing:
        yield _rule("waffle test on", TEST_ATTRIBUTE, ["1"])
        yield {**_rule("waffle test off", TEST_ATTRIBUTE, ["0"]), "rollout_percent": 0}
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


_SWITCHES = {
    "authenticated": "is_authenticated",
    "staff": "is_staff",
    "superusers": "is_superuser",
}


def _rule(name: str, attribute: str, values: list[Any]) -> dict[str, Any]:
    condition = {"attribute": attribute, "operator": "in", "values": values}
    return {"name": name, "conditions": [condition], "rollout_percent": _ALL}


def _json(value: object) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)
