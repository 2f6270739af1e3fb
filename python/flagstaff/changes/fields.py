"""Compares, validates and writes the fields of one row, and the allowed users of a flag.

And the result of a change: what differs, in the shape of its event, and the command that undoes it.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, TypeAlias, cast

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import DataError, IntegrityError
from django.db.models import (
    Field,
    ForeignKey,
    IntegerField,
    JSONField,
    ManyToManyField,
    Model,
    OuterRef,
    QuerySet,
    Subquery,
)
from django.db.models.signals import post_save, pre_save

from flagstaff._declared import value_problems
from flagstaff._tables.attributes import impossible_problem
from flagstaff._tables.database import Reading, db, error_text
from flagstaff._tables.rows import (
    CONDITIONS,
    RULES,
    AnyField,
    Fields,
    FlagRow,
    Kind,
    PrimaryKey,
    Row,
    all_rows,
    auto_now_fields,
    declaration,
    is_stored,
    model_of,
    segment_model,
    through_model,
    uncached,
)
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text import Sentence, is_same_json, joined, say, text_of
from flagstaff.changes.row_states import RowState, assign, expectation, is_preview
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.describe import MAX_SHORT_VALUE, describe_change
from flagstaff.history.log import Action, Difference, Users
from flagstaff.validators import SECRET_FIELDS, VALUE, is_secret

# Rows to write, by their model, the names of the fields, and whether errors may show them.
_Together: TypeAlias = defaultdict[tuple[type[Model], tuple[str, ...], bool], list[Row]]
_together: ContextVar[_Together | None] = ContextVar("flagstaff_together", default=None)


def differing(row: Row, fields: Fields) -> dict[str, object]:
    """Returns the fields that have another value in the row."""
    return {name: new for name, new in fields.items() if not _has(row, name, new)}


def cleaned(row: Row, fields: Fields, *, is_past: bool = False) -> dict[str, Any]:
    """Returns these fields, for a row that exists or a new one, as its model's fields clean them.

    The other fields are not validated, so that disabling a flag never fails because of them. With
    `is_past` they are those of the history, so values that never match are no reason against them.
    Whether what rules name exists is not checked.

    Raises InvalidChangeError with all problems, by the names of the fields.
    """
    values: dict[str, Any] = {}
    problems: dict[str, Sentence] = {}
    for name, new in fields.items():
        field = _field(row, name)
        try:
            values[name] = _cleaned_value(row, field, new)
        except ValidationError as error:
            problems[name] = text_of(error.error_list)
        # Django's fields let some values through to Python, such as an int to that of a date.
        except (TypeError, ValueError, OverflowError):
            problems[name] = say("the value has a wrong type")
    if problems := problems or _problems_of_row(row, values, is_past=is_past):
        raise refusal(problems)
    return values


def refusal(problems: Mapping[str, Sentence]) -> InvalidChangeError:
    """Returns the error for fields that are refused, by their names."""
    texts = (say("{field}: {problem}", field=name, problem=why) for name, why in problems.items())
    error = InvalidChangeError(joined(texts, "; "))
    error.fields = tuple(problems)
    return error


def _cleaned_value(row: Row, field: AnyField, new: object) -> Any:
    # Django would cut decimals, and take True for 1.
    if isinstance(field, IntegerField) and isinstance(new, bool | float):
        raise ValidationError(field.error_messages["invalid"], params={"value": new})
    # Of a foreign key, the history has the value of the column.
    return field.clean(getattr(new, "pk", new), cast("Model", row))


def _problems_of_row(row: Row, values: Fields, *, is_past: bool) -> dict[str, Sentence]:
    """Returns why valid fields are refused because of others, or of what was stored before."""
    is_new, problems = row._state.adding, dict[str, Sentence]()
    if isinstance(row, segment_model()) and "key" in values and not is_new:
        problems["key"] = say(
            "the key of a segment cannot be changed, because rules name it; create another segment"
        )
    # What is stored and wrong already, such as by SQL, must not stop another change.
    for name in () if is_past else values.keys() & {RULES, CONDITIONS}:
        stored = None if is_new else getattr(row, name)
        if problem := impossible_problem(values[name], stored):
            problems[name] = problem
    if isinstance(row, conf.value_model):
        after = copy(row)
        assign(after, values)
        secret = is_secret(row) or is_secret(after)
        before = {} if is_new else value_problems(row, secret=secret)
        for name, problem in value_problems(after, secret=secret).items():
            if name in values or problem != before.get(name):
                problems[name] = problem
    return problems


def write(row: Row, fields: Fields) -> None:
    """Writes these cleaned fields of a row, and its auto_now fields.

    Raises InvalidChangeError if the database refuses them. The caller then rolls back the whole
    change.
    """
    # A secret that cannot be made public stays a secret.
    secret = is_secret(row)
    assign(row, fields)
    secret = secret or is_secret(row)
    declared = declaration(model_of(row), row.key)
    # The row that was read shows them already.
    of_code = () if declared is None else declared.owned
    names = (*fields, *of_code, *(field.name for field in auto_now_fields(model_of(row))))
    together = None if is_preview() else _together.get()
    if together is None or not _can_wait(row, names):
        _save(row, secret=secret, update_fields=names)
    else:
        together[model_of(row), names, secret].append(row)


def insert(row: Row) -> None:
    """Writes a new row. Raises InvalidChangeError as `write` does."""
    _save(row, secret=is_secret(row), force_insert=True)


def _save(row: Row, *, secret: bool, **options: Any) -> None:
    if not is_preview():
        with rejections(secret=secret):
            row.save(using=db.alias, **options)


@contextmanager
def written_together() -> Iterator[None]:
    """Writes the fields of the rows that change in the block at its end, in few statements.

    They must be locked: a kill of one of them waits until all are written. Raises as `write`.
    """
    rows_by_names: _Together = defaultdict(list)
    token = _together.set(rows_by_names)
    try:
        yield
    finally:
        _together.reset(token)
    for (model, names, secret), rows in rows_by_names.items():
        signal = {"using": db.alias, "raw": False, "update_fields": frozenset(names)}
        with rejections(secret=secret):
            for row in rows:
                pre_save.send(model, instance=row, **signal)
            db.update(model, names, rows)
            for row in rows:
                post_save.send(model, instance=row, created=False, **signal)


def _can_wait(row: Row, names: Collection[str]) -> bool:
    """Whether fields of a row can be written together with those of others.

    Not where a row may free the key that another one gets, nor past what a project's model does.
    """
    model = model_of(row)
    is_plain = model.save is Model.save and not model._meta.parents
    return is_plain and db.is_postgresql and "key" not in names


@contextmanager
def rejections(*, secret: bool) -> Iterator[None]:
    """Raises InvalidChangeError if the database rejects a row. The caller then rolls back."""
    try:
        # So that Django, too, knows that the transaction has failed.
        with db.atomic(savepoint=False):
            yield
    # psycopg cannot encode half of a surrogate pair.
    except (IntegrityError, DataError, UnicodeEncodeError) as error:
        # The database's error contains the whole row, and no log may contain a secret.
        cause = None if secret else error
        raise InvalidChangeError(
            "the database rejected the change: {reason}", reason=error_text(error)
        ) from cause


def _has(row: Row, name: str, new: object) -> bool:
    """Whether the row has this value already."""
    field = _field(row, name)
    old = getattr(row, field.attname)
    if isinstance(field, JSONField):
        return is_same_json(old, new)
    return bool(old == getattr(new, "pk", new))


def _field(row: Row, name: str) -> AnyField:
    try:
        field = row._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if not isinstance(field, Field) or not field.concrete or field.primary_key:
        text = say(
            "a {model} has no field {name} to change",
            model=str(row._meta.verbose_name),
            name=repr(name),
        )
        raise InvalidChangeError(text)
    return field


# The allowed users of a flag, from one to many thousands.

ALLOWED = "allowed_users"
# In one statement. More users would take too much memory.
_MAX_USERS = 1_000_000
_ToModel: TypeAlias = "ForeignKey[Model, Model]"


@dataclass(frozen=True)
class AllowedUsersChange:
    """Users to add to the allowed users of a flag, and users to remove, by primary key."""

    added: tuple[PrimaryKey, ...] = ()
    removed: tuple[PrimaryKey, ...] = ()
    #: Users to add that no longer exist. They are left out.
    missing: tuple[PrimaryKey, ...] = ()
    #: All allowed users before the change.
    present: frozenset[PrimaryKey] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    @property
    def after(self) -> frozenset[PrimaryKey]:
        """All allowed users after the change."""
        return self.present.difference(self.removed).union(self.added)


def users_to_change(
    present: Iterable[PrimaryKey], target: Iterable[PrimaryKey], *, skip_unknown: bool = False
) -> AllowedUsersChange:
    """Returns the change that leads from the present allowed users to those of `target`.

    Queries the users. Raises InvalidChangeError if a user to add does not exist, unless
    `skip_unknown`.
    """
    present, target = frozenset(present), dict.fromkeys(target)
    new, table = [pk for pk in target if pk not in present], allowed_user_table()
    if (expected := expectation()) is not None and expected.users >= {*new}:
        existing = {*new}
    else:
        existing = table.existing(new) if skip_unknown else table.require(new)
    return AllowedUsersChange(
        added=tuple(pk for pk in new if pk in existing),
        removed=in_order(present - target.keys()),
        missing=tuple(pk for pk in new if pk not in existing),
        present=present,
    )


def change_allowed_users(flag: Row, change: AllowedUsersChange) -> None:
    """Writes the change of a locked flag, in two statements if possible: each one is an entry."""
    if is_preview() or not change:
        return
    allowed = cast("FlagRow", flag).allowed_users
    for pks in db.batches(change.removed, _MAX_USERS):
        allowed.remove(*pks)
    for pks in db.batches(change.added, _MAX_USERS):
        allowed.add(*pks)


def allowed_users_of(flag: Row) -> QuerySet[Model]:
    """Returns the allowed users, from the flags' database."""
    if not is_stored(flag):
        return cast(
            "type[Model]", conf.flag_model._meta.get_field(ALLOWED).related_model
        )._default_manager.none()
    return uncached(cast("FlagRow", flag).allowed_users.using(db.alias))


def count_allowed_users(flag: Row) -> int:
    """Returns the number of the allowed users, from the flags' database."""
    links, _to_user = links_of(flag)
    return links.count()


def links_of(flag: Row) -> tuple[QuerySet[Model], _ToModel]:
    """Returns the rows between the flag and its allowed users, and their key of the user.

    Does not query. The rows are in the flags' database.
    """
    through, to_flag, to_user = _links()
    flag_id = getattr(flag, to_flag.target_field.attname)
    return all_rows(through).filter(**{to_flag.attname: flag_id}), to_user


def allowed_pks(flag: Row) -> set[PrimaryKey]:
    """Returns the primary keys of the allowed users, from the flags' database."""
    return allowed_pks_of([flag])[flag.pk]


def allowed_pks_of(flags: Collection[Row]) -> dict[PrimaryKey, set[PrimaryKey]]:
    """Returns the same for several flags, by the primary key of the flag."""
    through, to_flag, to_user = _links()
    pks_by_flag: dict[PrimaryKey, set[PrimaryKey]] = {flag.pk: set() for flag in flags}
    expected = {} if (previewed := expectation()) is None else previewed.rows
    flag_ids = {}
    for flag in flags:
        state = expected.get((Kind.FLAG, flag.key))
        if state is None or state.allowed_users is None:
            flag_ids[getattr(flag, to_flag.target_field.attname)] = flag.pk
        else:
            pks_by_flag[flag.pk] = cast("set[PrimaryKey]", {*state.allowed_users})
    for batch in db.batches(flag_ids):
        rows = all_rows(through).filter(**{f"{to_flag.attname}__in": batch})
        for flag_id, user_id in rows.values_list(to_flag.attname, to_user.attname):
            pks_by_flag[flag_ids[flag_id]].add(user_id)
    return pks_by_flag


def read_allowed_pks(flags: Collection[Row]) -> Reading:
    """Reads the same, whatever a preview expects."""
    through, to_flag, to_user = _links()
    of_flag = all_rows(through).filter(**{to_flag.attname: OuterRef(to_flag.target_field.attname)})
    # One row for each flag, which may have many users.
    users = Subquery(of_flag.values(to_user.attname), template="ARRAY(%(subquery)s)")
    rows = all_rows(conf.flag_model).filter(pk__in=[flag.pk for flag in flags]).only("pk")
    read = yield rows.annotate(flagstaff_users=users)
    to_pk = to_user.target_field.to_python
    return {row.pk: frozenset(map(to_pk, row.flagstaff_users)) for row in read}


def _links() -> tuple[type[Model], _ToModel, _ToModel]:
    """The model of the table between flags and users, its key of the flag, and that of the user."""
    field = cast("ManyToManyField[Model, Model]", conf.flag_model._meta.get_field(ALLOWED))
    through = through_model(field)
    to_flag, to_user = (
        cast("_ToModel", through._meta.get_field(name))
        for name in (field.m2m_field_name(), field.m2m_reverse_field_name())
    )
    return through, to_flag, to_user


def in_order(pks: Iterable[PrimaryKey]) -> tuple[PrimaryKey, ...]:
    """Returns primary keys in a fixed order, whatever their type."""
    return tuple(sorted(pks, key=str))


#: The option of a command that takes the key of a flag or, with it, of a value or a segment.
KIND_OPTIONS = {Kind.FLAG: (), Kind.VALUE: ("--value",), Kind.SEGMENT: ("--segment",)}
# More users than a text names.
_MAX_NAMED_USERS = 20


@dataclass(frozen=True)
class Undo:
    """The command that undoes a change."""

    #: The arguments after "manage.py flags".
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """The whole line for a terminal."""
        return command_line(*self.arguments)


@dataclass(frozen=True)
class Changed:
    """What a change of a flag, a value or a segment did."""

    kind: Kind
    key: str
    #: The fields that differ, as they were; None for a created row. Of allowed users, the removed.
    old: Mapping[str, Any] | None
    #: The same fields as they are now; None for a deleted row. Of allowed users, the added.
    new: Mapping[str, Any] | None
    #: False if the row was like this already: then `old` and `new` are equal.
    written: bool
    #: The version after the change, or None without a history.
    version: int | None = dataclass_field(default=None, compare=False)
    #: Primary keys that were left out, because no user has them.
    missing: tuple[PrimaryKey, ...] = dataclass_field(default=(), compare=False)
    #: Columns of the history that an undo left out: the table lacks them, or the caller named them.
    left_out: tuple[str, ...] = dataclass_field(default=(), compare=False)
    #: Of an undo, the entries that it takes back.
    undoes: tuple[int, ...] = dataclass_field(default=(), compare=False)
    #: Which rules give users another value than the new one; None without such rules.
    kept_by_rules: Sentence | None = dataclass_field(default=None, compare=False)
    #: The numbers of actions that waited for the row, and that it has cancelled or would cancel.
    cancelled: tuple[int, ...] = dataclass_field(default=(), compare=False)
    #: The row before and after, for its impact and to know a secret value; None if unknown.
    before: RowState | None = dataclass_field(default=None, compare=False, repr=False)
    after: RowState | None = dataclass_field(default=None, compare=False, repr=False)

    @property
    def messages(self) -> tuple[Sentence]:
        """What it did, in a sentence with the key; of long values the beginning."""
        change = describe_change(self, limit=MAX_SHORT_VALUE)
        return (say("{key}: {change}", key=self.key, change=change),)

    @property
    def secret(self) -> bool:
        """Whether `old` or `new` holds a secret value, or its choices, which no text may show."""
        return any(is_secret(state.row) for state in (self.before, self.after) if state)

    @property
    def undo(self) -> Undo | None:
        """The command that undoes it; None if nothing was written, or without a history.

        Also None for a secret value: the history does not have what it was.
        """
        is_lost = any(map(self.hides, self.old or ()))
        if not self.written or not self.version or is_lost:
            return None
        return Undo(command_words(self.kind, "undo", self.key, str(self.version)))

    def hides(self, name: str) -> bool:
        """Whether this field must be masked."""
        return self.secret and name in SECRET_FIELDS

    # As of an event of the history, so that both are described alike.

    @property
    def action(self) -> Action:
        """Whether it created, changed or deleted the row."""
        if self.old is None:
            return "create"
        return "delete" if self.new is None else "change"

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The changed fields but the allowed users. Secret values are left out."""
        old, new = self.old or {}, self.new or {}
        return tuple(
            # Choices and rules that are empty and stay so hide nothing.
            Difference(name, None, None, secret=True)
            if self.hides(name) and (name == VALUE or old.get(name) or new.get(name))
            else Difference(name, old.get(name), new.get(name))
            for name in new or old
            if name != ALLOWED
        )

    @property
    def added(self) -> Users:
        """The users that were added; of many the first ones."""
        return _users(self.new)

    @property
    def removed(self) -> Users:
        """The users that were removed; of many the first ones."""
        return _users(self.old)


def _users(side: Mapping[str, Any] | None) -> Users:
    pks = (side or {}).get(ALLOWED, ())
    return Users(len(pks), tuple(pks[:_MAX_NAMED_USERS]))


def combined_undo(changed: Iterable[Changed]) -> Undo | None:
    """Returns the command that undoes several changes of one transaction.

    It also undoes everything else that the transaction did to flags and values. Returns None if
    nothing was written, or if one of the changes cannot be undone, such as that of a secret value.
    """
    written = [change for change in changed if change.written]
    if not written or any(change.undo is None for change in written):
        return None
    return Undo(("undo-transaction", str(max(change.version or 0 for change in written))))


def command_line(*arguments: str) -> str:
    """Returns the command with these arguments, as a line for a terminal."""
    return f"python manage.py flags {_joined(arguments)}"


def quoted_command(*arguments: str) -> str:
    """Returns the command with these arguments, in quotes for a message."""
    return f'"manage.py flags {_joined(arguments)}"'


def _joined(arguments: Sequence[str]) -> str:
    # A declared key is no plain text, which `shlex` needs.
    return shlex.join(map(str, arguments))


def command_words(kind: Kind, *words: str) -> tuple[str, ...]:
    """Returns the arguments of an action of a kind of row, its name first."""
    return words if kind is Kind.FLAG else (kind.value, *words)
