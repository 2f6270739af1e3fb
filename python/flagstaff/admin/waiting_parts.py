"""The parts of other pages about actions that wait.

What they say of those that wait, to users who may see all rows of an action; and as the last part
of the page of an action: when it is done if not now, and by whose approval.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.admin import AdminSite
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from flagstaff._attribution import current_actor
from flagstaff._tables.database import db, value_or_default
from flagstaff._tables.rows import Kind, uncached
from flagstaff._text import MASK, Sentence, is_whole_number, joined, local_list, localized, say
from flagstaff._text.times import aware, future_time, local_time, local_time_text, time_text
from flagstaff.actions import Action
from flagstaff.actions.table import Look, Written
from flagstaff.admin.links import page_url
from flagstaff.admin.parts import PAGES, Level, Note, OverviewLine
from flagstaff.admin.rights import admin_of, hidden_rows, hides_rows, may, shows_new
from flagstaff.admin.words import badge, link
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.describe import may_see_users
from flagstaff.models import WaitingAction
from flagstaff.waiting.outlook import (
    ended_numbers,
    foresee,
    foresee_if_possible,
    open_actions,
    would_end,
)
from flagstaff.waiting.standing import CREATE, USERS
from flagstaff.waiting.stored import (
    OPEN,
    PROBLEMS,
    State,
    action_text,
    names_of,
    state_text,
    without_secrets,
)

#: The parameter with the number of the action that a page asks for again.
AGAIN = "again"
# The overview shows no more lines, and a row has few.
_MAX_LINES = 50


def shown_actions(
    site: AdminSite, request: HttpRequest, rows: QuerySet[WaitingAction]
) -> QuerySet[WaitingAction]:
    """Returns the actions of which the user may see all rows."""
    models = viewable_models(site, request)
    actions = uncached(rows.filter(row_kind__in=models))
    for kind, model in models.items():
        if hidden := [*hidden_rows(site, request, model).values()]:
            actions = actions.exclude(row_kind=kind, keys__has_any_keys=hidden)
    # A row that does not exist yet is among no rows that are hidden.
    kinds = [kind for kind, model in models.items() if hides_rows(site, model)]
    creations = actions.filter(kind__in=kinds, action=CREATE).exclude(asked_by=current_actor())
    unseen = [
        row.pk
        for row in (creations if kinds else ())
        if not shows_new(site, request, models[row.kind], {"key": row.keys[0], **row.arguments})
    ]
    return actions.exclude(pk__in=unseen) if unseen else actions


def viewable_models(site: AdminSite, request: HttpRequest) -> dict[str, type[Model]]:
    """Returns the models of which the user may see rows, by the kind of row."""
    models = {kind.value: kind.model for kind in Kind} | {
        pages.name: pages.model for pages in PAGES
    }
    return {kind: model for kind, model in models.items() if may(site, request, "view", model)}


def asked_before(
    site: AdminSite, request: HttpRequest, action: Action | None
) -> WaitingAction | None:
    """Returns the action that a link asks for again; None if it has none, or if it is of others.

    Without what the user may not see, or what may not be stored any more.
    """
    number = request.GET.get(AGAIN, "")
    if action is None or not is_whole_number(number):
        return None
    rows = WaitingAction.objects.using(db.alias).filter(pk=int(number))
    of_action = rows.filter(kind=action.noun, action=action.name)
    for waiting in without_secrets(shown_actions(site, request, of_action)):
        if not may_see_users(request.user):
            waiting.arguments.pop(USERS, None)
        return None if MASK in waiting.arguments.values() else waiting
    return None


def state_badge(waiting: WaitingAction) -> SafeString:
    """Returns the state as a coloured label."""
    return badge(*waiting.shown_state)


def waiting_line(site: AdminSite, waiting: WaitingAction) -> SafeString:
    """Returns what an action does, with a link to its page, what it waits for, and who asked."""
    action = link(_page_of(site, waiting), action_text(waiting))
    return format_html("{}: {}", action, _sentence(waiting))


def to_show(actions: Iterable[WaitingAction]) -> list[WaitingAction]:
    """Returns actions of which each says whether it will run, and the name of who asked.

    Without what a value is that is secret now. Makes a constant number of queries.
    """
    rows = without_secrets(foresee_if_possible(actions))
    # Those who asked for what waits were read with their rights.
    unnamed = [waiting for waiting in rows if not waiting.asker]
    names = names_of(unnamed) if unnamed else {}
    for waiting in unnamed:
        waiting.asker = names[waiting.asked_by]
    return rows


def _sentence(waiting: WaitingAction) -> Sentence:
    # A reason in the state may be a sentence with a person of its own.
    return joined([problem_text(waiting), say("asked by {name}", name=waiting.asker)], "; ")


def problem_text(waiting: WaitingAction) -> Sentence:
    """Returns the state; of an action that does not run also for when it was planned."""
    state = state_text(waiting)
    if waiting.run_at is None or not (waiting.state in PROBLEMS or waiting.obstacle):
        return state
    planned = say("was to run at {time}", time=local_time_text(waiting.run_at))
    return joined([state, planned], "; ")


def row_notes(
    site: AdminSite, request: HttpRequest, kind: str, key: str, states: Sequence[str] = OPEN
) -> list[Note]:
    """Returns a line for each action of a row in these states. A constant number of queries."""

    def read() -> list[Note]:
        actions = WaitingAction.objects.using(db.alias).of_rows(kind, [key])
        shown = shown_actions(site, request, actions.filter(state__in=states))
        return [
            Note(waiting_line(site, waiting), _level(waiting))
            for waiting in to_show(shown.order_by("run_at", "id")[:_MAX_LINES])
        ]

    return value_or_default("the page of a row cannot read the actions that wait", read, [])


def waiting_notes(flags: Sequence[Any]) -> dict[str, list[Note]]:
    """Returns what waits for flags or did not run, by the text of the primary key, for their list.

    Not what is about other flags, too, which the user may not see.
    """
    actions = WaitingAction.objects.using(db.alias).filter(
        state__in=(*OPEN, *PROBLEMS), row_kind=Kind.FLAG.value
    )
    notes: dict[str, list[Note]] = defaultdict(list)
    pks = {flag.key: str(flag.pk) for flag in flags}

    def read() -> list[WaitingAction]:
        rows = uncached(actions.order_by("run_at", "id"))
        return foresee(row for row in rows if pks.keys() >= {*row.keys})

    none: list[WaitingAction] = []
    for waiting in value_or_default("the list cannot read the actions that wait", read, none):
        # The cell of the list is a link to the flag.
        note = Note(_list_text(waiting), _level(waiting))
        for key in waiting.keys:
            notes[pks[key]].append(note)
    return notes


def _list_text(waiting: WaitingAction) -> str:
    """Returns what an action does and waits for. The list cuts long lines: the time is first."""
    action = action_text(waiting)
    if waiting.needs_attention or waiting.is_due or waiting.run_at is None:
        return joined([action, state_text(waiting)], ": ")
    text = f"{local_time_text(waiting.run_at)}: {action}"
    return text if waiting.state == State.WAITING else f"{text}: {waiting.get_state_display()}"


def ended_actions(
    site: AdminSite,
    request: HttpRequest,
    look: Look,
    at: datetime | None = None,
    written: Written = (),
) -> list[WaitingAction]:
    """Returns the actions that do not run after what a look shows, ready for `waiting_line`.

    It is done now or at a time; or it has been done, and was `written`.
    """

    def read() -> list[WaitingAction]:
        return to_show(shown_actions(site, request, would_end(look, at, written)))

    return value_or_default("the page of an action cannot read what waits", read, [])


def ended_since(
    site: AdminSite, request: HttpRequest, rows: Iterable[tuple[Kind, str]], time: datetime
) -> tuple[list[WaitingAction], int]:
    """Returns the actions of rows that have ended since a time and were not done, newest first.

    They are ready for `waiting_line`. Returns also how many more there are. Without those that were
    asked for again. Makes a constant number of queries.
    """
    keys = defaultdict[Kind, list[str]](list)
    for kind, key in rows:
        keys[kind].append(key)
    actions = WaitingAction.objects.using(db.alias)
    same = {name: OuterRef(name) for name in ("kind", "action", "keys", "arguments")}
    ended = actions.filter(
        ~Exists(actions.filter(**same, pk__gt=OuterRef("pk"))),
        state__in=(*PROBLEMS, State.CANCELLED),
        ended_at__gte=time,
    )

    def read() -> tuple[list[WaitingAction], int]:
        of_rows = {
            pk
            for kind, of_kind in keys.items()
            for pk in ended.of_rows(kind.value, of_kind).values_list("pk", flat=True)
        }
        shown = shown_actions(site, request, ended.filter(pk__in=of_rows))
        newest = [*shown.order_by("-ended_at", "-id")[:_MAX_LINES]]
        more = shown.count() - _MAX_LINES if len(newest) == _MAX_LINES else 0
        return to_show(newest), more

    none: tuple[list[WaitingAction], int] = [], 0
    return value_or_default("the page of an undo cannot read what has ended", read, none)


class Concerned(NamedTuple):
    """The actions that wait and that a change concerns, ready for `waiting_line`."""

    #: Those that do not run after it.
    ended: Sequence[WaitingAction] = ()
    #: The others of its rows.
    staying: Sequence[WaitingAction] = ()


def concerned_actions(
    site: AdminSite,
    request: HttpRequest,
    rows: Iterable[Any],
    look: Look | None,
    at: datetime | None,
) -> Concerned:
    """Returns the actions that do not run after what a look shows, and the others of these rows.

    It is done now or at a time. Without a look, nothing ends. Queries once if none of them waits.
    """
    kinds = ((Kind.of_model(type(row)), row) for row in rows)
    places = {(kind.value, row.key) for kind, row in kinds if kind is not None}
    if look is None and not places:
        return Concerned()

    def read() -> Concerned:
        actions = [*open_actions()]
        ends = set[int]() if look is None else ended_numbers(actions, look, at)
        of_rows = {
            action.pk
            for action in actions
            if not places.isdisjoint((action.row_kind, key) for key in action.keys)
        }
        if not (ends or of_rows):
            return Concerned()
        concerned = WaitingAction.objects.using(db.alias).filter(pk__in=ends | of_rows)
        shown = to_show(shown_actions(site, request, concerned.order_by("run_at", "id")))
        if look is not None:
            # The change neither ends what never runs, nor does this wait afterwards.
            shown = [action for action in shown if not action.never_runs]
        ended = [action for action in shown if action.pk in ends]
        return Concerned(ended, [action for action in shown if action not in ended])

    return value_or_default("the page of an action cannot read what waits", read, Concerned())


def overview_lines(site: AdminSite, request: HttpRequest) -> list[OverviewLine]:
    """Returns what waits, and what did not run and why. Makes a constant number of queries."""
    actions = WaitingAction.objects.using(db.alias).filter(state__in=(*OPEN, *PROBLEMS))
    shown = shown_actions(site, request, actions).order_by("run_at", "id")
    return [
        OverviewLine(
            action_text(waiting),
            _sentence(waiting),
            _level(waiting),
            _page_of(site, waiting),
            state_badge(waiting),
            str(WaitingAction._meta.verbose_name),
        )
        for waiting in to_show(shown[:_MAX_LINES])
    ]


def _page_of(site: AdminSite, waiting: WaitingAction) -> str:
    """Returns the URL of the page of an action; "" if the site has none."""
    if admin_of(site, WaitingAction) is None:
        return ""
    return page_url(site, WaitingAction, "change", waiting.pk)


def _level(waiting: WaitingAction) -> Level:
    if waiting.needs_attention:
        return Level.PROBLEM
    return Level.NOTICE if waiting.state == State.APPROVAL else Level.RUNNING


# When an action is done if not now.

#: The names of the fields with the times and their zone, and of the button that asks a colleague. A
#: link may fill in the times.
AT, UNTIL, ZONE, REQUEST = "_at", "_until", "_zone", "_request"
#: The parameter of a link to a page that asks for a time, and does nothing at once. A link that
#: fills in a time leads to such a page, too.
LATER = "_later"
_MAX_NAMES = 5


def _typed(request: HttpRequest) -> QueryDict:
    return request.POST if request.method == "POST" else request.GET


def _needs_time(request: HttpRequest) -> bool:
    return LATER in request.POST or not request.GET.keys().isdisjoint((LATER, AT, UNTIL))


def wants_later(request: HttpRequest) -> bool:
    """Whether a time was typed or has to be, or the button pressed that asks a colleague."""
    texts = (_typed(request).get(name, "").strip() for name in (AT, UNTIL))
    return _needs_time(request) or REQUEST in request.POST or any(texts)


def times_query(at: datetime | None, until: datetime | None = None) -> dict[str, str]:
    """Returns what fills in the times of a page, if they are to come."""
    if at is None or aware(at) <= aware(timezone.now()):
        return {}
    times = {AT: at, **({} if until is None else {UNTIL: until})}
    texts = {name: f"{local_time(time):%Y-%m-%dT%H:%M}" for name, time in times.items()}
    return {**texts, ZONE: timezone.get_current_timezone_name()}


class Later:
    """What was typed about the time and the approval of an action."""

    def __init__(
        self, request: HttpRequest, *, is_possible: bool, can_end: bool, is_final: bool
    ) -> None:
        """`can_end` is whether it begins something that another action ends.

        `is_final` is whether the button was pressed.
        """
        typed, local_zone = _typed(request), timezone.get_current_timezone_name()
        self.is_possible, self.can_end = is_possible, can_end
        self.text = typed.get(AT, "").strip() if is_possible else ""
        self.until_text = typed.get(UNTIL, "").strip() if is_possible and can_end else ""
        self.is_request = is_possible and REQUEST in request.POST
        #: Whether the action must not be done at once.
        self.is_required = _needs_time(request)
        self.is_open = bool(self.text or self.until_text) or self.is_required
        #: Whether the browser may fill in its own time zone.
        self.is_zone_open = ZONE not in typed
        self.zone = typed.get(ZONE, "").strip() or local_zone
        #: The times in their zone, or what is wrong with them.
        self.at: datetime | None = None
        self.until: datetime | None = None
        self.problem = ""
        zone = "" if self.zone == local_zone else f" {self.zone}"
        try:
            self.at = future_time(f"{self.text}{zone}") if self.text else None
            self.until = future_time(f"{self.until_text}{zone}") if self.until_text else None
        except FlagstaffError as error:
            self.problem = f"{localized(error.message)}."
        if self.until and not (self.at and self.at < self.until):
            self.problem = self.problem or say("A period begins at a time, and ends later.").local
        if is_possible and self.is_required and is_final and not self.text:
            self.problem = self.problem or say("Enter when it runs. Nothing was changed.").local

    @property
    def times(self) -> tuple[datetime | None, datetime | None]:
        """The times that a person confirms."""
        return self.at, self.until

    def button(self, text: str) -> str:
        """Returns the text of the button, with the time of the action if it has one."""
        if self.at is None:
            return say("Schedule").local if self.is_required else text
        if self.until is None:
            return say("{what} on {time}", what=text, time=time_text(self.at)).local
        begin, end = time_text(self.at), time_text(self.until)
        return say("{what} from {begin} until {end}", what=text, begin=begin, end=end).local

    def request_button(self) -> str:
        """Returns the text of the button that asks a colleague, also with the time."""
        if self.at is None:
            return say("Request approval").local
        return say("Request approval for {time}", time=time_text(self.at)).local


def colleagues_text(names: Sequence[str]) -> str:
    """Returns who can approve an action."""
    if not names:
        return say("Another user with the permission for it has to approve it.").local
    who = local_list(names, _MAX_NAMES)
    text = say("{names} can approve it.", "One of these has to approve it: {names}.")
    return say(text, count=len(names), names=who).local
