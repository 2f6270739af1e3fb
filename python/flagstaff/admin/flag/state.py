"""The state of flags in the admin: labels, alarms, and how many users have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from django.contrib.admin import AdminSite
from django.db.models import Count, ManyToManyField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from flagstaff._engine import forced_off, forced_on
from flagstaff._tables.database import value_or_default
from flagstaff._tables.rows import Kind, through_model
from flagstaff._tables.states import ALL_USERS, FlagState, ReleaseState, state_label, state_of
from flagstaff._text import localized, say
from flagstaff.actions.flag_notes import partial_rule_notices
from flagstaff.actions.look import Line, users_line
from flagstaff.admin.parts import PAGES, Level, Note, OnFlag
from flagstaff.changes.consequence import code_text, flag_text
from flagstaff.changes.fields import ALLOWED, count_allowed_users
from flagstaff.changes.row_states import Impact, Key
from flagstaff.conf import conf
from flagstaff.extensions import deciding_code

_Said = TypeVar("_Said")

#: The label of the line with the number of users.
USERS_WITH_FLAG = say("users with the flag")
# The attribute of a flag with the number of its allowed users.
_COUNT = "flagstaff_allowed"


def allowed_count(flag: Any) -> int:
    """Returns the number of allowed users of a flag. Queries for the first time."""
    if not hasattr(flag, _COUNT):
        setattr(flag, _COUNT, count_allowed_users(flag))
    count: int = getattr(flag, _COUNT)
    return count


def with_counts(flags: QuerySet[Any]) -> QuerySet[Any]:
    """Returns the flags, each with the number of its allowed users. No other query counts them."""
    field = cast("ManyToManyField[Model, Model]", conf.flag_model._meta.get_field(ALLOWED))
    links, name = through_model(field)._base_manager, field.m2m_field_name()
    of_flag = links.filter(**{name: OuterRef("pk")}).order_by().values(name)
    count = Subquery(of_flag.values(count=Count("pk")))
    counted: QuerySet[Any] = flags.annotate(**{_COUNT: Coalesce(count, 0)})
    return counted


def state_and_label(flag: Any) -> tuple[ReleaseState, str]:
    """Returns the state of a flag and its label. Queries if it depends on the allowed users."""
    fields = FlagState.of(flag)
    state = state_of(fields, 0)
    if state is ReleaseState.NO_USERS:
        state = state_of(fields, allowed_count(flag))
    return state, state_label(state, fields)


def _users_with_flag(impact: Impact, key: Key, *, is_one: bool) -> list[Line]:
    """Returns how many users have a flag before and after a change; of one flag, also which."""
    counted = users_line(say(USERS_WITH_FLAG).local, impact[key])
    if not is_one:
        return [counted]
    states = [side.get(key) for side in impact.sides]
    # Those that are stored are the same on both sides.
    stored = next((state.row for state in states if state and state.allowed_users is None), None)
    count = 0 if stored is None else count_allowed_users(stored)
    texts = [
        flag_text(state.row, count if state.allowed_users is None else len(state.allowed_users))
        if state
        else ""
        for state in states
    ]
    return [Line(say("who has the flag").local, *texts), counted]


def lines_of_flags(
    request: HttpRequest, flags: Sequence[Any], impact: Impact
) -> Mapping[str, list[Line]]:
    """Returns who has flags before and after a change, and what changes in the apps.

    By the text of the primary key.
    """
    hooks = ((pages.name, pages.flag_preview) for pages in PAGES)
    of_apps = _from_apps(hooks, request, flags) if impact else {}
    return {
        str(flag.pk): [
            *_users_with_flag(impact, (Kind.FLAG, flag.key), is_one=len(impact.rows) == 1),
            *of_apps.get(str(flag.pk), ()),
        ]
        for flag in flags
        if (Kind.FLAG, flag.key) in impact
    }


def summary_of(flag: Any) -> str:
    """Returns the sentence that says which users have a flag. Queries."""
    return flag_text(flag, count_allowed_users(flag))


# What somebody must look at, and what is good to know.


def alarms_of(key: str, state: FlagState) -> Iterator[Note]:
    """Yields why this process does not use a flag, and which rules keep users out of it."""
    if key in forced_off.keys:
        text = say("Forced off in this process by {variable}.", variable=forced_off.VARIABLE).local
        yield Note(text, Level.PROBLEM)
    elif key in forced_on.keys:
        text = say("Forced on in this process by {variable}.", variable=forced_on.VARIABLE).local
        yield Note(text, Level.PROBLEM)
    # Most flags have no rules.
    for text in partial_rule_notices(state) if state.has_rules else ():
        yield Note(text, Level.PROBLEM)


def holds_users_back(flag: Any) -> bool:
    """Whether an enabled flag has a rollout or a rule below 100 %."""
    state = FlagState.of(flag)
    return state.enabled and (state.rollout_percent < ALL_USERS or bool(state.partial_rules))


# What the optional apps say of flags. The pages must work without the tables of an app.


def notes_of_apps(request: HttpRequest, flags: Sequence[Any]) -> dict[str, list[Note]]:
    """Returns what the apps say of flags, and what decides about them, by primary key.

    Calls each app once for all flags.
    """
    of_apps = _from_apps(((pages.name, pages.flag_notes) for pages in PAGES), request, flags)
    of_code = notes_of_code(flags)
    return {pk: [*of_code.get(pk, ()), *of_apps.get(pk, ())] for pk in {*of_code, *of_apps}}


def notes_of_code(flags: Sequence[Any]) -> dict[str, list[Note]]:
    """Returns which code of the project decides about flags, by primary key."""
    codes = deciding_code([flag.key for flag in flags if flag.enabled])
    return {
        str(flag.pk): [Note(localized(code_text(codes[flag.key])))]
        for flag in flags
        if flag.key in codes
    }


def apps_on_flag(site: AdminSite, request: HttpRequest, flag: Any) -> Iterator[OnFlag]:
    """Yields what each app adds to the page of a flag."""
    for pages in PAGES:
        if pages.on_flag:
            problem = f"what the app of each {pages.name} says of a flag cannot be read"
            read = partial(pages.on_flag, site, request, flag)
            yield value_or_default(problem, read, OnFlag())


def _from_apps(
    hooks: Iterable[tuple[str, Callable[[HttpRequest, Sequence[Any]], Mapping[str, _Said]] | None]],
    request: HttpRequest,
    flags: Sequence[Any],
) -> Mapping[str, list[_Said]]:
    by_pk: dict[str, list[_Said]] = {}
    for name, hook in hooks:
        if hook is None:
            continue
        problem = f"what the app of each {name} says of flags cannot be read"
        of_app: Mapping[str, _Said] = value_or_default(problem, partial(hook, request, flags), {})
        for pk, item in of_app.items():
            by_pk.setdefault(pk, []).append(item)
    return by_pk
