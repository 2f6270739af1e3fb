"""Converts rows of waffle to flags, and says what becomes different. Queries nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from typing import Any

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
    """What becomes of a row of waffle."""

    #: The same results for every request.
    EXACT = "exact"
    #: Some results differ; a note says how.
    DIFFERS = "differs"
    #: A part of the row has no place in a flag; a note says what is lost.
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
    #: What is different, lost or refused, or merely worth knowing, as sentences.
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
    fields = {"flag": _of_flag, "switch": _of_switch, "sample": _of_sample}[row.kind](row, findings)
    fields["description"] = "\n\n".join(filter(None, (row.note, fields.get("description"))))
    if client_side is not None:
        fields["client_side"] = client_side
    users = tuple(_user(pk) for pk in row.users) if row.kind == "flag" else None
    item = Item(Kind.FLAG, key, fields, users)
    return Converted(row, key, findings.status, tuple(findings.notes), item)


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
    _note_columns(row, findings)
    if row.everyone:
        hidden = _hidden(row)
        text = f"In waffle, hidden by Everyone = Yes: {hidden}." if hidden else ""
        if hidden:
            findings.add(f"Everyone = Yes hides {hidden}; only the description has it")
        fields = {"enabled": True, "rollout_percent": _ALL, "rules": [], "bucket_by": unit}
        return {**fields, "kind": "release", "description": text}
    rollout = _whole(row.percent, high=_ALL - 1) if row.percent else 0
    fields = {"enabled": row.everyone is None, "rollout_percent": rollout, "rules": rules}
    if row.everyone is None:
        _note_results(row, rollout, unit, findings)
    elif row.users or row.groups:
        findings.add(
            "it is off for everyone; is_active_for_user() of waffle returned True for its users "
            "nevertheless",
        )
    return {**fields, "bucket_by": unit, "kind": "release"}


def _note_results(row: SourceRow, rollout: int, unit: str, findings: _Findings) -> None:
    """Adds what is different in the results of a flag that is not on or off for everyone."""
    if row.percent:
        rounded = "" if rollout == row.percent else f"{row.percent:f} % becomes {rollout} %; "
        findings.add(
            f"{rounded}the bucket of the {unit} decides in place of a random number and its cookie",
            Status.DIFFERS,
        )
    if row.rollout:
        findings.add("rollout mode is not needed: a bucket never loses the flag as it grows")
    if row.testing and row.users:
        findings.add("its users keep the flag with dwft_…=0", Status.DIFFERS)


def _note_columns(row: SourceRow, findings: _Findings) -> None:
    named = waffle_settings().fields
    for column in row.extra:
        if column not in named:
            findings.add(
                f'the column {column} is lost; name it in FLAGSTAFF["WAFFLE"]["FIELDS"], or check '
                "it in your code",
                Status.PARTLY,
            )


def _whole(percent: Decimal | None, *, high: int) -> int:
    """Returns a whole percentage, which is never 0 or 100 unless it was before."""
    if not percent:
        return 0
    return min(max(int(percent.to_integral_value(ROUND_HALF_UP)), 1), high)


def _hidden(row: SourceRow) -> str:
    """Returns the settings of a flag that "Everyone = Yes" makes ineffective, in words."""
    switches = ("testing", "authenticated", "staff", "rollout")
    parts = [name for name in switches if getattr(row, name)]
    parts += [f"{row.percent:f} %"] if row.percent else []
    parts += [f"languages {', '.join(row.languages)}"] if row.languages else []
    parts += [f"groups {', '.join(row.groups)}"] if row.groups else []
    return ", ".join(parts)


def _rules(row: SourceRow) -> Iterator[dict[str, Any]]:
    """Yields the rules in an order in which only the first two can take the flag away."""
    if row.testing:
        yield _rule("waffle test on", TEST_ATTRIBUTE, ["1"])
        yield {**_rule("waffle test off", TEST_ATTRIBUTE, ["0"]), "rollout_percent": 0}
    named = waffle_settings().fields
    for column, values in row.extra.items():
        if column in named:
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
