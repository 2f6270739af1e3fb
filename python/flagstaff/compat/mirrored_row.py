"""Writes what has changed in one row of waffle to its flag."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.models.functions import Now

from flagstaff import changes
from flagstaff._extensions import optional_apps
from flagstaff._tables.optional_fields import OptionalFields, flag_model
from flagstaff._tables.rows import Fields, Row, all_rows
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.lists import some
from flagstaff._words.message import Template
from flagstaff._words.message import marked as _
from flagstaff.changes.allowed_users import ALLOWED, allowed_pks
from flagstaff.compat.converting import convert
from flagstaff.compat.differences import forget_missing_flags
from flagstaff.compat.merging import merged_users
from flagstaff.compat.models import SOURCE, WaffleRow
from flagstaff.compat.rows import SourceRow
from flagstaff.compat.settings import WaffleKind
from flagstaff.exceptions import FlagstaffError, InvalidChangeError, NoHistoryError
from flagstaff.history.kinds import Kind
from flagstaff.history.missing_entries import missing_entries
from flagstaff.history.versions import entries, require_history, require_triggers
from flagstaff.serialization.document import Item
from flagstaff.serialization.fields import exported_fields, serialize
from flagstaff.serialization.problems import Problems
from flagstaff.serialization.validation import parsed_fields

_ENABLED, _ROLLOUT = "enabled", "rollout_percent"
# Fields that decide about no result: a project's model of flags may lack them.
_DESCRIBING = {"description", "kind", "client_side"}

_OTHER_FLAG = Template(
    "waffle_other_flag",
    _(
        "flag %(key)s exists already, and does not come from this %(kind)s; import it, or set "
        'another key in FLAGSTAFF["WAFFLE"]["KEYS"]'
    ),
)
_DELETED_HERE = Template("waffle_deleted_here", _("flag %(key)s was deleted in flagstaff"))
_DELETED_THERE = Template(
    "waffle_deleted_there",
    _(
        "deleted in waffle, but flag %(key)s was changed in flagstaff, too, so it was only turned "
        "off; delete it when your code no longer uses it"
    ),
)
_RENAMED_THERE = Template(
    "waffle_renamed_there",
    _("renamed in waffle; flag %(key)s stays, and is off, until you delete it in flagstaff"),
)
_MISSING_USERS = Template(
    "waffle_missing_users", _("no user in the database of the flags has the primary key %(keys)s")
)


@dataclass
class Pair:
    """A row of waffle, and the flag that it becomes, as they are now."""

    kind: WaffleKind
    name: str
    key: str
    #: None if waffle has no such row.
    source: SourceRow | None
    #: None if there is no flag of the key. It is locked.
    flag: Any
    #: What was written last.
    written: WaffleRow | None

    @property
    def is_from_row(self) -> bool:
        """Whether this row of waffle has been written to the flag."""
        return self.written is not None and self.written.has_written(self.key)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields as they were written last."""
        return self.written.fields if self.written is not None and self.is_from_row else {}

    @property
    def users(self) -> list[str]:
        """The primary keys of the allowed users that were written last."""
        return self.written.users if self.written is not None and self.is_from_row else []

    def store(self, **values: Any) -> None:
        """Remembers what was written, and the problem if there is one."""
        all_rows(WaffleRow).update_or_create(
            kind=self.kind, name=self.name, defaults={"key": self.key, "at": Now(), **values}
        )


def mirror_row(pair: Pair, origin: Pair | None, *, is_deciding: bool, is_renamed: bool) -> None:
    """Creates, changes or deletes the flag of a row of waffle.

    `origin` is the row of the earlier name, of which a new flag is a copy. `is_deciding` says that
    a save has written the column that turns the row off, and `is_renamed` that the row has another
    name now. Raises InvalidChangeError if the flag does not come from this row.
    """
    if pair.source is None:
        _remove(pair, is_renamed=is_renamed)
        return
    converted = convert(pair.source)
    item = converted.item
    if item is None:
        _refuse(pair, pair.source, "; ".join(converted.notes))
        return
    if origin is not None and origin.written is not None and origin.key == pair.key:
        _rename(pair, origin.written)
        origin.written = None
    if pair.flag is None and pair.is_from_row:
        pair.store(problem=_DELETED_HERE(key=repr(pair.key)))
    elif pair.flag is None:
        _create(pair, origin, item)
    elif pair.is_from_row:
        try:
            _update(pair, origin, item, is_deciding=is_deciding)
        except FlagstaffError as error:
            # Such as too many languages: they must not keep the row from being turned off.
            _refuse(pair, pair.source, error.message)
    else:
        raise InvalidChangeError(_OTHER_FLAG(key=repr(pair.key), kind=pair.kind))


def _refuse(pair: Pair, source: SourceRow, problem: str) -> None:
    """Turns the flag of a row off that cannot be a flag any more, if the row is off.

    Raises InvalidChangeError for other rows, except those that waffle goes on evaluating.
    """
    if source.overridden:
        return
    is_off = source.everyone is False if source.kind == "flag" else not source.active
    if source.kind == "sample" or not is_off or pair.flag is None or not pair.is_from_row:
        raise InvalidChangeError(problem)
    changes.disable(pair.key)
    pair.store(fields={**pair.fields, _ENABLED: False}, problem=problem)


def _rename(pair: Pair, written: WaffleRow) -> None:
    """Gives what was written last the new name of a row whose key stays."""
    if pair.written is not None:
        pair.written.delete()
    pair.written, written.name = written, pair.name
    written.save(update_fields=["name"])


def _create(pair: Pair, origin: Pair | None, item: Item) -> None:
    wanted, problem = _users(item, ())
    fields, users = dict(item.fields), frozenset(wanted)
    if origin is not None and origin.flag is not None and origin.is_from_row:
        # What was changed here, such as that it is off, stays.
        fields = {**_exported(origin.flag), **_differing(fields, origin.fields)}
        present = frozenset(map(str, allowed_pks(origin.flag)))
        users = merged_users(users, frozenset(origin.users), present)
    fields = _parsed(pair.key, fields) | {ALLOWED: sorted(users)}
    changes.create(pair.key, **fields)
    forget_missing_flags([(pair.kind, pair.name)])
    pair.store(fields=dict(item.fields), users=wanted, problem=problem)


def _update(pair: Pair, origin: Pair | None, item: Item, *, is_deciding: bool) -> None:
    fields, is_off = _differing(item.fields, pair.fields), not item.fields[_ENABLED]
    if (is_off and is_deciding) or (origin is not None and _is_off_here_only(origin, item)):
        # A kill is written even if it is no change in waffle: somebody may have turned it on here.
        fields[_ENABLED] = False
    if is_deciding and pair.kind == "sample" and not item.fields[_ROLLOUT]:
        # A sample is always on, so 0 % is its kill.
        fields[_ROLLOUT] = 0
    users, problem = _users(item, pair.users)
    new = _parsed(pair.key, fields) | ({} if {*users} == {*pair.users} else {ALLOWED: users})
    if new:
        changes.update(pair.key, new, expect={ALLOWED: pair.users})
    elif pair.written is not None and pair.written.problem == problem:
        return
    pair.store(fields=dict(item.fields), users=users, problem=problem)


def _remove(pair: Pair, *, is_renamed: bool) -> None:
    if pair.written is None:
        return
    if pair.flag is None or not pair.is_from_row:
        pair.written.delete()
        return
    # A caller of the earlier name may have True as its default.
    is_kept = is_renamed and not pair.flag.enabled
    if not is_kept and _is_only_from_waffle(pair.flag):
        changes.delete(pair.key)
        pair.written.delete()
        return
    changes.disable(pair.key)
    template = _RENAMED_THERE if is_renamed else _DELETED_THERE
    pair.store(fields={**pair.fields, _ENABLED: False}, problem=template(key=repr(pair.key)))


def _is_off_here_only(origin: Pair, item: Item) -> bool:
    """Whether the flag of the earlier name was turned off here, and not on again in waffle."""
    is_off = origin.flag is not None and origin.is_from_row and not origin.flag.enabled
    return is_off and origin.fields[_ENABLED] == item.fields[_ENABLED]


def _is_only_from_waffle(flag: Row) -> bool:
    """Whether the history proves that nothing but waffle has changed a flag since its creation."""
    try:
        require_history()
        require_triggers(Kind.FLAG)
    except NoHistoryError:
        return False
    known = entries(Kind.FLAG, flag.pk)
    is_planned = any(str(flag.pk) in app.planned_flags() for app in optional_apps())
    return (
        not is_planned
        # Old entries may have been deleted, and new ones may be missing.
        and known.filter(action="insert", relation=Kind.FLAG.row_relation).exists()
        and not known.exclude(source=SOURCE).exists()
        and not missing_entries().count
    )


def _differing(new: Fields, old: Fields) -> dict[str, Any]:
    return {name: value for name, value in new.items() if name not in old or old[name] != value}


def _users(item: Item, known: Collection[str]) -> tuple[list[str], str]:
    """Returns the allowed users that exist, and the problem if some do not. Queries new ones."""
    wanted, table = [str(ref.pk) for ref in item.users or ()], allowed_user_table()
    parsed = {pk: table.parse(pk) for pk in wanted if pk not in known}
    existing = table.existing(pk for pk in parsed.values() if pk is not None)
    missing = [pk for pk, value in parsed.items() if value not in existing]
    problem = _MISSING_USERS(keys=some(missing)) if missing else ""
    return sorted(pk for pk in wanted if pk not in missing), problem


def _exported(flag: Row) -> dict[str, Any]:
    """Returns the fields of a flag that its copy can have, as an export has them."""
    fields = exported_fields(Kind.FLAG).items()
    return {name: serialize(field, flag) for name, field in fields if not field.unique}


def _parsed(key: str, fields: Fields) -> dict[str, Any]:
    """Returns fields of an export as values of the model, which may lack some of them."""
    known, present = exported_fields(Kind.FLAG), dict(fields)
    for name in fields.keys() - known.keys():
        value = present.pop(name)
        if name not in _DESCRIBING and value != getattr(OptionalFields(), name):
            flag_model().require(name)
    return parsed_fields(Item(Kind.FLAG, key, present), None, Problems())
