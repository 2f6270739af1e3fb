"""The actions of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from flagstaff import changes
from flagstaff._declared import Value, declared_value
from flagstaff._tables.rows import BUCKET_BY, RULES, Kind
from flagstaff._text import MAX_VALUE, say
from flagstaff.actions.arguments import Json, JsonField, Rules, Unit, fields_of, text_of_file
from flagstaff.actions.table import (
    Action,
    Line,
    Run,
    action,
    own_default_notes,
    undo_actions,
)
from flagstaff.base_models import AbstractKeyValueStore
from flagstaff.changes import Changed
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.describe import describe_value
from flagstaff.validators import TYPE_LABELS, VALUE, is_secret, type_of

if TYPE_CHECKING:
    from flagstaff.actions.table import Look


@dataclass(frozen=True)
class _ValueJson(Json):
    """JSON as a word; of a declared value also the value itself, such as 4.90 or stripe."""

    def read(
        self, name: str, options: Mapping[str, Any], report: Callable[[str], None]
    ) -> dict[str, Any]:
        declared, typed = declared_value(options["key"]), options[name]
        if declared is None or typed is None:
            return super().read(name, options, report)
        text = text_of_file("-").rstrip("\r\n") if typed == "-" else typed
        if typed == "-" and not text:
            # A command before the pipe may have failed. "" in quotes is the empty text.
            raise JsonField().error("required")
        return {name: read_declared(declared, text)}


def read_declared(declared: Value[Any], text: str) -> Any:
    """Returns what JSON stores for a text that a person has typed. Raises ValidationError."""
    try:
        return declared.read(text)
    except ValueError:
        # It says where the JSON is wrong.
        return JsonField().clean(text)


_Json = Annotated[
    Any,
    _ValueJson("""such as 50, true, '"stripe"' or '["a", "b"]'; "-" is the standard input"""),
]
# The value that details leave as it is. None is one.
_KEPT: Any = object()


def _about_value(run: Run, look: Look) -> Look:
    """Says that the value becomes one of another type."""
    notes, new = [*look.notes], run.arguments.get(VALUE)
    present: Any = run.rows[0]
    if new is not None and not (present.type or present.choices):
        old_type, new_type = (TYPE_LABELS[type_of(value)] for value in (present.value, new))
        if old_type != new_type:
            notes.append(
                say(
                    "The value was {old} and becomes {new}: code that reads it may fail.",
                    old=old_type,
                    new=new_type,
                ).local
            )
    return replace(look, notes=notes)


def _about_deletion(run: Run, look: Look) -> Look:
    """Shows each value, and what code gets without it."""
    lost = say("A secret value cannot be brought back: the history does not store what it was.")
    notes = [*look.notes, *([lost.local] if any(map(is_secret, run.rows)) else [])]
    lines = list[Line]()
    row: Any
    for row, line in zip(run.rows, look.lines, strict=True):
        now = describe_value(row.value, secret=is_secret(row), limit=MAX_VALUE)
        lines.append(replace(line, now=now))
    return replace(look, notes=[*notes, *own_default_notes(run.rows)], lines=lines)


@action(
    Kind.VALUE,
    "value set page_size 50",
    "value set payment_gateway '\"stripe\"'",
    "value set page_size - < size.json",
    label=say("Set").lazy,
    button=say("Set {key}"),
    about=_about_value,
)
def set_(key: str, value: _Json, *, expect_version: int | None = None) -> Changed:
    """Set a value; users for whom a rule decides keep that of the rule.

    Write strings with quotes: 1 and "1" are different values. A message lists the rules that
    keep another value. Of a secret value neither the old nor the new one is printed.
    """
    return changes.values.set(key, value, expect_version=expect_version)


@action(
    Kind.VALUE,
    "value set-for-everyone page_size 10",
    "value set-for-everyone page_size 10 --dry-run",
    label=say("Set for everyone").lazy,
    button=say("Set {key} for everyone"),
    about=_about_value,
)
def set_for_everyone(key: str, value: _Json, *, expect_version: int | None = None) -> Changed:
    """Set a value and remove its rules, so that all users get the value.

    One undo brings back both.
    """
    return changes.values.set(key, value, everyone=True, expect_version=expect_version)


@action(
    Kind.VALUE,
    "value rules page_size sizes.json --bucket-by organization",
    "value rules page_size []",
    label=say("Rules").lazy,
    button=say("Save the rules"),
)
def rules(
    key: str,
    rules: Rules,
    bucket_by: Unit | None = None,
    *,
    expect_version: int | None = None,
) -> Changed:
    """Replace the rules of a value, and optionally what their percentages count.

    Each rule has a `value` besides its conditions. The last one may have no conditions.
    """
    fields = {RULES: rules} if bucket_by is None else {RULES: rules, BUCKET_BY: bucket_by}
    return changes.values.update(key, fields, expect_version=expect_version)


@action(
    Kind.VALUE,
    "value details page_size --type integer",
    'value details payment_gateway --choices \'["stripe", "paypal"]\' --value \'"stripe"\'',
    label=say("Details").lazy,
    button=say("Save the details"),
    fields=fields_of(
        lambda: conf.value_model, AbstractKeyValueStore, without=(VALUE, RULES, BUCKET_BY)
    ),
    about=_about_value,
)
def details(
    key: str, value: _Json = _KEPT, *, expect_version: int | None = None, **fields: Any
) -> Changed:
    """Change the description, secrecy, type or choices of a value.

    `--type ""` and `--choices []` allow every value. `--value` also sets the value, if the
    present one breaks the new type.
    """
    if value is not _KEPT:
        fields[VALUE] = value
    return changes.values.update(key, fields, expect_version=expect_version)


@action(
    Kind.VALUE,
    "value create max_items 20",
    "value create sms_password - --secret < password.json",
    'value create currency \'"EUR"\' --choices \'["EUR", "CHF"]\'',
    "value create max_results 10 --rules sizes.json",
    label=say("Add value").lazy,
    button=say("Add value"),
    right="add",
    creates=True,
    fields=fields_of(lambda: conf.value_model, AbstractKeyValueStore, without=(VALUE,)),
)
def create(key: str, value: _Json, **fields: Any) -> Changed:
    """Create a value.

    A secret value is masked, and the history does not store it.
    """
    return changes.values.create(key, value, **fields)


@action(
    Kind.VALUE,
    "value delete payment_gateway --yes",
    "value delete payment_gateway --dry-run",
    label=say("Delete").lazy,
    button=say("Delete {key}"),
    deletes=True,
    about=_about_deletion,
    right="delete",
)
def delete(key: str, *, expect_version: int | None = None) -> Changed:
    """Delete a value, so that code gets its default.

    The undo restores it, unless it is secret.
    """
    return changes.values.delete(key, expect_version=expect_version)


@action(
    Kind.VALUE,
    "value default page_size --yes",
    "value default page_size --dry-run",
    label=say("Back to the default").lazy,
    button=say("Set {key} back to its default"),
    deletes=True,
    about=_about_deletion,
    right="change",
)
def default(key: str, *, expect_version: int | None = None) -> Changed:
    """Set a declared value back to the default in the code, without rules.

    Its row is deleted, so a later default of the code applies, too. The undo restores the row,
    unless the value is secret.
    """
    if declared_value(key) is None:
        Kind.VALUE.row(key)  # Raises if there is none.
        raise InvalidChangeError(
            "{key} is not declared in code, so it has no default; delete it", key=repr(key)
        )
    return changes.values.delete(key, expect_version=expect_version)


#: In the order of the help.
VALUE_ACTIONS: tuple[Action, ...] = (
    set_,
    set_for_everyone,
    rules,
    details,
    create,
    delete,
    default,
    *undo_actions(Kind.VALUE, "page_size"),
)
