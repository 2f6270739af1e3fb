"""The allowed users of a flag: read, compared, added and removed, from one to many thousands."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias, cast

from django.db.models import ForeignKey, ManyToManyField, Model, OuterRef, QuerySet, Subquery

from flagstaff._tables.database import db
from flagstaff._tables.model_fields import through_model
from flagstaff._tables.rows import FlagRow, PrimaryKey, Row, all_rows, is_stored, uncached
from flagstaff._tables.together import Reading
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff.changes.preview import expectation, is_preview
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind

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
