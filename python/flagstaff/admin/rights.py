"""What the user of a request may do to a row, and which rows the pages hide from the user.

The ModelAdmin of the project decides; its base class has the answer of `actions.table.user_may`.
What is read for it is read once for a request, as is which tables can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.exceptions import NotRegistered
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from flagstaff._declared import DECLARED
from flagstaff._tables.attributes import ObjectReader
from flagstaff._tables.catalog import find_tables
from flagstaff._tables.database import db, user_field
from flagstaff._tables.rows import Kind, all_rows, declared_rows, stored_fields
from flagstaff._text import Sentence, local_list, localized, quoted, say
from flagstaff.actions.table import (
    HIDING,
    Right,
    has_permission,
    lacking,
    overrides,
    permission_name,
    user_may,
)
from flagstaff.changes.row_states import Impact
from flagstaff.changes.rule_use import InUseError, uses_by_name
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.history.log import Change

_Value = TypeVar("_Value")

_TABLES = ("change_table", "usage_table")


def once(request: HttpRequest, name: str, read: Callable[[], _Value]) -> _Value:
    """Returns what `read` returns for this name. Calls it once for a request."""
    cached: dict[str, Any] = vars(request).setdefault("flagstaff_read", {})
    if name not in cached:
        cached[name] = read()
    value: _Value = cached[name]
    return value


def can_read(request: HttpRequest, table: str | Kind) -> bool:
    """Whether all rows of a table can be read, such as "usage_table", or those of a kind.

    Queries for the first part of a page only.
    """
    return table in once(request, "readable tables", _readable)


def _readable() -> Collection[str | Kind]:
    if not db.is_postgresql:
        return ()
    names = db.tables
    kinds = {kind: db.table(kind.model) for kind in Kind}
    by_name = find_tables(db.connection, *(names[table] for table in _TABLES), *kinds.values())
    tables = {table: by_name.get(names[table]) for table in _TABLES}
    return {
        *(
            name
            for name, table in tables.items()
            if table and table.may_read and not table.hides_rows
        ),
        *(kind for kind, name in kinds.items() if name not in by_name or by_name[name].may_read),
    }


_DELETIONS = (Change.Action.DELETE, Change.Action.TRUNCATE)


def admin_of(site: AdminSite, model: type[Model]) -> ModelAdmin[Any] | None:
    """Returns the admin of a model, or None if this site has none."""
    try:
        return site.get_model_admin(model)
    except NotRegistered:
        return None


def may_view(site: AdminSite, request: HttpRequest, model: type[Model]) -> bool:
    """Whether the user of the request may open the pages of a model's rows."""
    admin = admin_of(site, model)
    return admin is not None and admin.has_view_permission(request)


def may(site: AdminSite, request: HttpRequest, right: Right, row: Any) -> bool:
    """Returns whether the user of the request may do this to a row, or to the rows of a model.

    READ_ONLY counts whatever the methods of a project return, and no right includes hidden rows.
    """
    model, obj = (row, None) if isinstance(row, type) else (type(row), row)
    model_admin = admin_of(site, model)
    if model_admin is None:
        return user_may(request.user, right, row)
    if right != "view" and conf.read_only:
        return False
    if obj is None:
        return _has_permission(model_admin, request, right)
    return (
        _has_permission(model_admin, request, right, obj)
        and _has_permission(model_admin, request, "view", obj)
        and str(obj.pk) not in hidden_rows(site, request, model)
    )


def may_preview(site: AdminSite, request: HttpRequest, flag: Any) -> bool:
    """Returns whether the user of the request may preview a flag: who may toggle it.

    With READ_ONLY, who might: a preview writes nothing. The methods of a project, which READ_ONLY
    changes, are a no then.
    """
    if not conf.read_only:
        return may(site, request, "toggle", flag)
    model_admin = admin_of(site, type(flag))
    deciding = ("has_toggle_permission", "has_change_permission")
    return (
        not overrides(model_admin, *deciding)
        and may(site, request, "view", flag)
        and has_permission(request.user, "toggle", flag)
    )


def may_see(site: AdminSite, request: HttpRequest, model: type[Model], pk: object) -> bool:
    """Returns whether the pages may name a row, which may be a deleted one."""
    shows = may(site, request, "view", model)
    return shows and str(pk) not in hidden_rows(site, request, model)


def object_reader(site: AdminSite, request: HttpRequest) -> ObjectReader:
    """Returns the names of objects that the user of the request may see, as Django's autocomplete.

    The ModelAdmin of the project decides: its right to view, and its rows.
    """

    def visible(model: type[Model]) -> QuerySet[Any] | None:
        model_admin = admin_of(site, model)
        if model_admin is None or not model_admin.has_view_permission(request):
            return None
        return model_admin.get_queryset(request)

    return ObjectReader(visible)


def _has_permission(
    model_admin: ModelAdmin[Any], request: HttpRequest, right: Right, obj: Any = None
) -> bool:
    if right == "add":
        return model_admin.has_add_permission(request)
    if right == "toggle" and not hasattr(model_admin, "has_toggle_permission"):
        return has_toggle_permission(model_admin, request, obj)
    if getattr(model_admin, f"has_{right}_permission")(request, obj):
        return True
    # Django's own method knows nothing of the permission to toggle.
    is_djangos = type(model_admin).has_view_permission is ModelAdmin.has_view_permission
    row = _row_or_model(model_admin, obj)
    return right == "view" and is_djangos and user_may(request.user, right, row)


def has_toggle_permission(
    model_admin: ModelAdmin[Any], request: HttpRequest, obj: Any = None
) -> bool:
    """Returns whether the user may turn flags on and off, or this one.

    A class that refuses to change this flag, although the user may change others, refuses it.
    """
    if model_admin.has_change_permission(request, obj):
        return True
    if not user_may(request.user, "toggle", _row_or_model(model_admin, obj)):
        return False
    return obj is None or not model_admin.has_change_permission(request)


def _row_or_model(model_admin: ModelAdmin[Any], obj: Any) -> Any:
    return model_admin.model if obj is None else obj


# Hidden rows.


def refused_rows(model_admin: ModelAdmin[Any], request: HttpRequest) -> list[Any]:
    """Returns the primary keys of the rows that the user may not see, in one query for a request.

    Makes no query unless the class of a project overrides `has_view_permission`.
    """
    if not overrides(model_admin, "has_view_permission"):
        return []
    model, may_view = model_admin.model, partial(model_admin.has_view_permission, request)

    def read() -> list[Any]:
        return [row.pk for row in all_rows(model) if not may_view(row)]

    return once(request, f"refused {model._meta.label}", read)


def hides_rows(site: AdminSite, model: type[Model]) -> bool:
    """Returns whether the class of a project may hide rows of a model."""
    model_admin = admin_of(site, model)
    return model_admin is not None and overrides(model_admin, *HIDING)


def hidden_rows(site: AdminSite, request: HttpRequest, model: type[Model]) -> Mapping[str, str]:
    """Returns the keys of the rows that the lists hide, by the text of their primary key.

    Deleted rows are among them. Makes up to four queries for a request, and none unless the class
    of a project may hide rows.
    """
    model_admin = admin_of(site, model)
    if model_admin is None or not hides_rows(site, model):
        return {}
    read = partial(_hidden_of, model_admin, request)
    return once(request, f"hidden {site.name} {model._meta.label}", lambda: dict(read()))


def keys_not_shown(site: AdminSite, request: HttpRequest, model: type[Model]) -> Collection[str]:
    """Returns the keys that no message and no offer may name: all for who may view none."""
    if may(site, request, "view", model):
        hidden = hidden_rows(site, request, model).values()
        return [*hidden, *_declared_not_shown(site, request, model)]
    stored = all_rows(model).values_list("key", flat=True)
    name = f"not shown {site.name} {model._meta.label}"
    return once(request, name, lambda: [*stored, *DECLARED])


def _declared_not_shown(
    site: AdminSite, request: HttpRequest, model: type[Model]
) -> Collection[str]:
    """Returns the declared keys without a row that the class of a project hides."""
    if not hides_rows(site, model):
        return ()

    def read() -> list[str]:
        rows = declared_rows(model)
        return [row.key for row in rows if not may(site, request, "view", row)]

    return once(request, f"declared {site.name} {model._meta.label}", read)


def _hidden_of(model_admin: ModelAdmin[Any], request: HttpRequest) -> Iterator[tuple[str, str]]:
    model, shown = model_admin.model, model_admin.get_queryset(request).order_by()
    # The query set of a project need not be that of its base class.
    visible = {*shown.values_list("pk", flat=True)}.difference(refused_rows(model_admin, request))
    keys = dict(all_rows(model).values_list("pk", "key"))
    yield from ((str(pk), key) for pk, key in keys.items() if pk not in visible)
    kind = Kind.of_model(model)
    if kind is None or not can_read(request, "change_table"):
        return
    # A query set cannot say whether it would show a deleted row.
    decides, present = overrides(model_admin, "has_view_permission"), {*map(str, keys)}
    deletions = Change.objects.filter(relation=kind.row_relation, action__in=_DELETIONS)
    # Of each row, the newest one only, and what it held only for a class that is asked.
    newest_deletions = deletions.order_by("object_pk", "-id").distinct("object_pk")
    newest = {
        deletion.object_pk: deletion
        for deletion in (newest_deletions if decides else newest_deletions.defer("old", "new"))
    }
    for pk in newest.keys() - present:
        if not (decides and _shows_deleted(model_admin, request, newest[pk])):
            yield pk, newest[pk].key


def _shows_deleted(model_admin: ModelAdmin[Any], request: HttpRequest, deletion: Change) -> bool:
    """Returns whether the user may see a deleted row, as it was."""
    columns = {field.column for field in stored_fields(model_admin.model)}
    # The model has changed since.
    if not columns - {*(deletion.hidden or ())} <= (deletion.old or {}).keys():
        return False
    return _shows(model_admin, request, deletion.old)


def shows_new(
    site: AdminSite, request: HttpRequest, model: type[Model], fields: Mapping[str, Any]
) -> bool:
    """Returns whether the user may see a row with these fields, which does not exist yet.

    Without a method of the project that is asked about a row, a query set cannot say it.
    """
    model_admin = admin_of(site, model)
    if model_admin is None or not hides_rows(site, model):
        return True
    names = {field.name: str(field.column) for field in stored_fields(model)}
    columns = {names[name]: value for name, value in fields.items() if name in names}
    decides = overrides(model_admin, "has_view_permission")
    return decides and _shows(model_admin, request, columns)


def _shows(model_admin: ModelAdmin[Any], request: HttpRequest, columns: Mapping[str, Any]) -> bool:
    """Returns whether the user may see a row with these columns."""
    row = model_admin.model()
    try:
        for field in stored_fields(model_admin.model):
            if (column := str(field.column)) in columns:
                setattr(row, field.attname, field.to_python(columns[column]))
        return model_admin.has_view_permission(request, row)
    # What the row refers to was deleted, or a value no longer fits.
    except (KeyError, TypeError, ValidationError, ObjectDoesNotExist):
        return False


# What uses a row.


def require_reach(site: AdminSite, request: HttpRequest, reached: Impact) -> None:
    """Refuses a change, or its preview, without the right for all flags that it reaches.

    Raises PermissionDenied, or InvalidChangeError with what uses a row that changes.
    """
    missing = lacking(partial(may, site, request), reached)
    if not missing:
        return
    own = [state for state in missing if (state.kind, state.row.key) in reached.rows]
    if own:
        raise denied(request, "toggle" if own[0].kind is Kind.FLAG else "change", own[0].row)
    rows = [state.row for state in missing]
    names = [quoted(row.key) for row in rows if may_see(site, request, type(row), row.pk)]
    if hidden := len(rows) - len(names):
        text = say("{count} key that you may not see", "{count} keys that you may not see")
        names.append(say(text, count=hidden).local)
    keys = [quoted(key) for kind, key in reached.rows if kind is not Kind.VALUE]
    text = say(
        "you need the permission to change or toggle {flags}, whose rules depend on {keys}",
        flags=local_list(names),
        keys=local_list(keys),
    )
    raise InvalidChangeError(text.local)


def visible_refusal(site: AdminSite, request: HttpRequest, error: FlagstaffError) -> str:
    """Returns a message in the user's language, without flags and experiments the user may not see.

    Queries the experiments if it says what uses a segment.
    """
    if isinstance(error, InUseError):
        uses = uses_by_name()[error.name]
        if not uses or not all(may_see(site, request, use.model, use.row.pk) for use in uses):
            hidden = say("flags, values and experiments that you may not see").local
            error = InUseError(error.name, hidden)
    return localized(error.message)


# What the pages say.


READ_ONLY = say("These pages are read-only: the setting READ_ONLY is True.")
_NEEDED = say("To do this, you need the permission “{permission}”.")


def why_denied(
    request: HttpRequest, right: Right, row: Any, *, writes: bool = True, needed: Sentence = _NEEDED
) -> str:
    """Returns the sentence for a user who may not do this to a row, or to the rows of a model.

    `writes` is False for what READ_ONLY allows although it needs more than the right to view.
    `needed` is the sentence that names a permission which the user lacks.
    """
    if conf.read_only and writes and right != "view":
        return READ_ONLY.local
    if has_permission(request.user, right, row):
        # The class of a project refuses it, and says nowhere why.
        return say("You may not do this.").local
    return say(needed, permission=permission_name(right, row)).local


def denied(
    request: HttpRequest, right: Right, row: Any, *, writes: bool = True
) -> PermissionDenied:
    """Returns the error for such a user. Its text is the sentence of the page."""
    return PermissionDenied(why_denied(request, right, row, writes=writes))


def needs_view_user_text() -> str:
    """Returns the sentence that names the permission to see users."""
    name = permission_name("view", user_field(conf.flag_model).model)
    return say("To see users, you need the permission “{name}”.", name=name).local
