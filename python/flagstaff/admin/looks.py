"""What pages say of rows: the state of flags, and a look, for whom a person may see it.

A look has tables of what is now and afterwards. The pages work without the tables of an app.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

from django.contrib.admin import AdminSite
from django.db.models import Count, ManyToManyField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest
from django.utils.text import capfirst

from flagstaff._engine import forced_off, forced_on
from flagstaff._tables.database import value_or_default
from flagstaff._tables.rows import Kind, Row, declaration, through_model
from flagstaff._tables.states import ALL_USERS, FlagState, ReleaseState, state_label, state_of
from flagstaff._text import is_whole_number, local_list, local_number, localized, quoted, say
from flagstaff._text.rules import RuleChange, naming
from flagstaff.actions.flag_notes import partial_rule_notices
from flagstaff.actions.table import Line, Look, users_line
from flagstaff.admin.parts import PAGES, Level, Note, OnFlag
from flagstaff.admin.rights import may_see
from flagstaff.admin.words import actor_text
from flagstaff.changes.consequence import code_text, flag_text, use_texts
from flagstaff.changes.fields import ALLOWED, Changed, allowed_pks, count_allowed_users
from flagstaff.changes.row_states import Impact, Key, RowState
from flagstaff.conf import conf
from flagstaff.extensions import deciding_code
from flagstaff.history.describe import (
    MAX_SHORT_VALUE,
    Names,
    describe_change,
    describe_rules,
    describe_sides,
    field_label,
    may_see_users,
    names_of_actors,
    names_of_users,
)
from flagstaff.history.log import Change, Difference, Event, events

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
    # Below 100 %, a rule that gives less is a choice. Most flags have no rules.
    is_whole = state.has_rules and state.rollout_percent >= ALL_USERS
    for text in partial_rule_notices(state) if is_whole else ():
        yield Note(text, Level.PROBLEM)


def holds_users_back(flag: Any) -> bool:
    """Whether the rules of an enabled flag keep users out who would have it at 100 %."""
    whole = replace(FlagState.of(flag), rollout_percent=ALL_USERS)
    return whole.enabled and not whole.is_for_everybody


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


#: The length of each value on the pages of the history.
MAX_TEXT = 300
# The flags and experiments that use what changes, on one page.
_MAX_USES = 50
# The newer changes that a message lists.
_MAX_NEWER = 5
# The digits of the largest version.
_MAX_DIGITS = 19


def describe_events(request: HttpRequest, events: Sequence[Event]) -> list[str]:
    """Returns by whom and how rows were changed, as the history says it. Makes two queries."""
    actors = names_of_actors(events)
    users = names_of_users(events) if may_see_users(request.user) else None
    return [f"{actor_text(event, actors)}: {describe_change(event, users)}" for event in events]


def newer_texts(
    request: HttpRequest, rows: Sequence[Any], shown: Sequence[str], versions: Sequence[str] | None
) -> Iterator[str]:
    """Yields which rows have another version than a page showed, and who changed what since."""
    if versions is None or len(shown) != len(rows):
        yield say("Some of what you selected no longer exists.").local
        return
    for row, old, new in zip(rows, shown, versions, strict=True):
        if old == new:
            continue
        yield say(
            "“{key}” has changed since the page was shown. Press the button again.", key=row.key
        ).local
        if kind := Kind.of_model(type(row)):
            newer = Change.objects.of_row(kind, row.pk).filter(id__gt=parse_version(old))
            yield from describe_events(request, [*events(newer.short().newest()[:_MAX_NEWER])])


def parse_version(text: str | None) -> int:
    """Returns the number of a version. Raises Http404 for anything else."""
    if text is None or not is_whole_number(text, _MAX_DIGITS):
        raise Http404
    return int(text)


def tables_of(
    site: AdminSite, request: HttpRequest, look: Look, heading: object
) -> list[tuple[Sequence[Line], object]]:
    """Returns what is now and afterwards, with the headings: of the rows, and of what uses them."""
    uses = use_rows(site, request, look.impact)
    return [(_lines(request, look), heading), (uses, capfirst(say("used by").local))]


def _lines(request: HttpRequest, look: Look) -> Sequence[Line]:
    """Returns a line for each field of one row, or for each of several rows."""
    # What is created has no fields before.
    changed = [change for change in look.changed if change.before and change.before.row]
    if look.lines or not changed:
        return look.lines
    flags = [change.before.row for change in changed if change.before and change.kind is Kind.FLAG]
    of_flags = lines_of_flags(request, flags, look.impact)
    lines = {change.key: lines_of_change(request, change) for change in changed}
    for flag in flags:
        lines[flag.key] += of_flags.get(str(flag.pk), ())
    if len(lines) == 1:
        return next(iter(lines.values()))
    rows = [(change.key, change.before, change.after, lines[change.key]) for change in changed]
    return lines_of_rows(rows, look.impact)


def lines_of_rows(
    rows: Sequence[tuple[str, RowState | None, RowState | None, Sequence[Line]]], impact: Impact
) -> list[Line]:
    """Returns a line for each of several rows: the key, before and after, and what differs.

    If all are flags, it has the state and the users.
    """
    is_counted = any(kind is Kind.FLAG for kind, _key in impact)
    flags = [
        _flag_line(before, after, lines, impact)
        for _key, before, after, lines in rows
        if is_counted and before and after and before.kind is Kind.FLAG and before.row and after.row
    ]
    if len(flags) == len(rows):
        return flags
    return [_joined_line(key, lines) for key, _before, _after, lines in rows]


def _flag_line(before: RowState, after: RowState, lines: Sequence[Line], impact: Impact) -> Line:
    key = before.row.key
    old, new = (state_and_label(side.row)[1] for side in (before, after))
    # The state and the users say it already.
    said = {field_label("enabled"), field_label("rollout_percent"), say(USERS_WITH_FLAG).local}
    others = [
        # What is said of the flag as a whole does not repeat its key.
        line.after if line.field == key else f"{line.field}: {line.now} → {line.after}"
        for line in lines
        if line.now != line.after and line.field not in said
    ]
    effect = impact.get((Kind.FLAG, key))
    users = users_line(key, effect) if effect else Line(key, "\N{EN DASH}", "\N{EN DASH}")
    state = old if old == new else f"{old} → {new}"
    return replace(users, state="; ".join([state, *others]))


def _joined_line(key: str, lines: Sequence[Line]) -> Line:
    """Returns what differs of one row in one line."""
    if all(line.now == line.after for line in lines):
        return Line(key, no_change := say("no change").local, no_change)
    sides = {}
    for side in ("now", "after"):
        texts = [(line.field, getattr(line, side)) for line in lines if line.now != line.after]
        named = (text if field == key else f"{field}: {text}" for field, text in texts if text)
        sides[side] = "; ".join(named)
    return Line(key, **sides)


def lines_of_change(request: HttpRequest, planned: Changed) -> list[Line]:
    """Returns a line for each field that a planned change would write. Secret values are masked.

    Of rules there is a line for each one that differs.
    """
    lines = []
    for difference in planned.differences:
        sides = Line(field_label(difference.field), *describe_sides(difference, MAX_TEXT))
        lines += _rule_lines(difference) or [sides]
    if planned.before and (planned.added.count or planned.removed.count):
        lines.append(_users(request, planned.before.row, planned))
    return lines


def rule_lines(planned: Changed) -> list[Line]:
    """Returns a line for each rule that a planned creation or deletion would add or remove."""
    both = (
        replace(difference, old=difference.old or [], new=difference.new or [])
        for difference in planned.differences
    )
    return [line for difference in both for line in _rule_lines(difference)]


def _rule_lines(difference: Difference) -> list[Line]:
    none, rules = say("no rule").local, describe_rules(difference, MAX_TEXT) or ()
    return [Line(_rule_label(rule), rule.old or none, rule.new or none) for rule in rules]


def _rule_label(rule: RuleChange) -> str:
    """Returns what happens to a rule: its line is one of several, and is read alone."""
    if not (rule.old and rule.new):
        return say("removed rule").local if rule.old else say("added rule").local
    # Of one that has another place, the new text is a sentence about it.
    return say("moved rule").local if rule.text == rule.new else say("changed rule").local


def use_rows(site: AdminSite, request: HttpRequest, impact: Impact) -> list[Line]:
    """Returns a line for what uses a row: how many users have it now, and afterwards.

    Those that the user may not see are a number. Empty if nothing uses what changes.
    """
    sees = partial(may_see, site, request)
    visible = [use for use in impact.uses if sees(use.model, use.row.pk)]
    numbers = {
        say("more flags, values and experiments").local: len(visible) - _MAX_USES,
        say("flags, values and experiments that you may not see").local: len(impact.uses)
        - len(visible),
    }
    rows = [Line(use.label(), *use_texts(impact, use)) for use in visible[:_MAX_USES]]
    counts = ((label, local_number(count)) for label, count in numbers.items() if count > 0)
    return [*rows, *(Line(label, count, count) for label, count in counts)]


def describe_changed(request: HttpRequest, changed: Changed, limit: int = MAX_SHORT_VALUE) -> str:
    """Describes the fields that a change has written, as the history does.

    `limit` is the length of each value.
    """
    return describe_change(changed, _names(request, changed), limit=limit)


def deleted_texts(kind: Kind, keys: Sequence[str]) -> list[str]:
    """Returns the sentences for deleted rows. What code declares is as declared, and stays."""
    declared = [key for key in keys if declaration(kind.model, key) is not None]
    others = [key for key in keys if key not in declared]
    as_declared = (
        say(
            "What was stored for {keys} was deleted: it is off, as declared.",
            "What was stored for {keys} was deleted: they are off, as declared.",
        )
        if kind is Kind.FLAG
        else say("{keys} is back at the default.", "{keys} are back at their defaults.")
    )
    texts = {
        say("{keys} was deleted.", "{keys} were deleted."): others,
        as_declared: declared,
    }
    return [
        say(text, count=len(of_text), keys=local_list(map(quoted, of_text))).local
        for text, of_text in texts.items()
        if of_text
    ]


def text_for_log(request: HttpRequest, changed: Changed) -> str:
    """Describes a change for Django's log, where a value that becomes secret would stay."""
    if changed.kind is not Kind.VALUE:
        with naming():
            return describe_changed(request, changed)
    fields = [field_label(difference.field) for difference in changed.differences]
    return say("set: {fields}", fields=local_list(fields)).local


def _users(request: HttpRequest, row: Row, planned: Changed) -> Line:
    old, new = ({ALLOWED: (side or {}).get(ALLOWED, ())} for side in (planned.old, planned.new))
    users = replace(planned, old=old, new=new)
    now = len(allowed_pks(row))
    after = count_of_users(now + users.added.count - users.removed.count)
    text = f"{after}: {describe_change(users, _names(request, users))}"
    return Line(field_label(ALLOWED), count_of_users(now), text)


def _names(request: HttpRequest, changed: Changed) -> Names | None:
    return names_of_users([changed]) if may_see_users(request.user) else None


def count_of_users(count: int) -> str:
    """Returns the number of users, such as "1 user"."""
    return say("{count} user", "{count} users", count=count).local


# The receipt.
