"""Will it run? Asked whenever an action that waits is shown, and by the job before it writes.

All actions that wait are played in memory, in the order in which they run, on the rows as they are
now. So each one is compared with the rows that those before it would leave. No users are counted.
"""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from datetime import timezone as fixed_timezone
from functools import partial
from typing import Any, TypeAlias

from django.db import DatabaseError
from django.utils import timezone
from django.utils.translation import override

from flagstaff._tables.database import db, value_or_default
from flagstaff._tables.rows import Kind, key_is_taken
from flagstaff._tables.user_lookup import actor_table
from flagstaff._text import Sentence, say, some
from flagstaff._text.times import TimeValue, aware
from flagstaff.actions.commit import look_at
from flagstaff.actions.table import Look, Present, Run, Written
from flagstaff.changes import Changed
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.impact import reached, sides_of
from flagstaff.changes.locking import (
    digests,
)
from flagstaff.changes.row_states import ExpectedRows, Impact, RowState, previewed
from flagstaff.changes.rule_use import InUseError
from flagstaff.conf import conf
from flagstaff.exceptions import (
    FlagstaffError,
)
from flagstaff.history.describe import HasPermissions, field_label
from flagstaff.history.log import Event
from flagstaff.models import WaitingAction
from flagstaff.waiting.rights import is_approval_needed, is_of_secret, require_right
from flagstaff.waiting.standing import (
    RowPlace,
    connected,
    first_change,
    footprint_of_stored,
    is_own,
    named_in,
    only_takes,
    places_of,
    read_situation,
    read_waiting,
    touched,
    was_written,
)
from flagstaff.waiting.stored import (
    KIND,
    OPEN,
    State,
    action_text,
    readings_of_apps,
    stored_run,
)

logger = logging.getLogger("flagstaff")

#: An action that gives something does not run if its time has passed by more than this.
MAX_DELAY = timedelta(hours=1)
_FIRST = datetime.min.replace(tzinfo=fixed_timezone.utc)


#: A field, by the kind and the key of its row.
Place: TypeAlias = "tuple[str, str, str]"


class EndedError(FlagstaffError):
    """An action that waits will never run again, whatever happens to its rows."""


def foresee(actions: Iterable[WaitingAction]) -> list[WaitingAction]:
    """Returns the same actions, with `obstacle` set for those that will not run.

    `is_over` is set, too, if nothing can change that, and `asker` of what waits. The texts, the
    labels and the colours of an action follow `obstacle`, so call this before an action is shown.
    Makes a constant number of queries, and counts no users; what users do meanwhile is compared
    when it runs.
    """
    actions = [*actions]
    if any(action.state in OPEN for action in actions):
        scene = _Scene(actions)
        scene.play()
        scene.name_askers()
    return actions


def foresee_if_possible(actions: Iterable[WaitingAction]) -> list[WaitingAction]:
    """Returns the same as `foresee`. If that fails, as without the history, each action says so.

    Nothing runs then, but people can see what waits, and cancel it.
    """
    actions = [*actions]
    problem = "flagstaff: cannot check whether actions that wait will run"
    if value_or_default(problem, lambda: foresee(actions), None) is None:
        for action in actions:
            if action.state in OPEN:
                action.obstacle = say("this cannot be checked now")
    return actions


def numbers_to_look_at() -> dict[str, str]:
    """Returns which actions that wait will not run, or are overdue, by number.

    Names no rows and no users. Queries as `foresee`; without the table, there are none.
    """
    if not db.is_postgresql:
        return {}
    try:
        with db.atomic():
            rows = WaitingAction.objects.using(db.alias).filter(state__in=OPEN)
            waiting = foresee(rows.order_by("pk"))
    except DatabaseError:
        return {}
    with override(None):
        return {row.key: row.shown_state[1] for row in waiting if row.needs_attention}


def expected_at(
    row_kind: str, run: Run, at: datetime | None, number: int = 0
) -> tuple[ExpectedRows | None, list[int]]:
    """Returns the rows as the actions before a time will leave them, and which ones these are.

    The nearest one is the last. Without any, the rows are None. `number` is that of an action which
    is stored: of the same time, only lower ones are before it. Makes a constant number of queries.
    """
    if at is None:
        return None, []
    own = [(row_kind, key) for key in run.keys]
    scene = _Scene([], [*own, *named_in(run.arguments)])
    scene.play(until=(aware(at), number or sys.maxsize))
    in_front = scene.in_front(row_kind, run.keys)
    numbers = [action.pk for action in in_front if not action.obstacle]
    return (scene.expected if numbers else None), numbers


def would_end(look: Look, at: datetime | None = None, written: Written = ()) -> Any:
    """Returns the actions that do not run after what a look shows, done at a time or now. A query.

    Also those that it has cancelled. `written` is what was done, maybe without that look.
    """
    rows = WaitingAction.objects.using(db.alias)
    numbers = ended_numbers(open_actions(), look, at, written)
    return rows.filter(pk__in=numbers) if numbers else rows.none()


def open_actions() -> Any:
    """Returns the actions that wait, in the order in which they were asked for. A query."""
    rows = WaitingAction.objects.using(db.alias)
    return rows.filter(state__in=OPEN).order_by("pk") if db.is_postgresql else rows.none()


def ended_numbers(
    actions: Iterable[WaitingAction], look: Look, at: datetime | None = None, written: Written = ()
) -> set[int]:
    """Returns which actions that wait do not run after what a look shows: see `would_end`."""
    changed, numbers = [*look.changed], {*look.cancels}
    for done in written:
        changed += [done] if isinstance(done, Changed) else done.changed
        numbers.update(done.cancelled)
    if at is None:
        numbers.update(*(change.cancelled for change in changed))
    # What people decide about an action that waits is said already.
    said = {*numbers} if look.app_row and look.app_row[0] == KIND else set[int]()
    places = {*_changed_places(replace(look, changed=changed))}
    for row in actions if places or numbers or look.app_row else ():
        if row.takes_away or not (at is None or (row.run_at and aware(row.run_at) > aware(at))):
            continue
        ends = places & footprint_of_stored(row.stands_on).keys() or numbers & {*row.rests_on[-1:]}
        if ends or look.app_row == (row.kind, row.keys[0]):
            numbers.add(row.pk)
    return numbers - said


def _changed_places(look: Look) -> Iterator[Place]:
    """Yields the fields that a look changes; of a plan, those of its flag."""
    for change in look.changed:
        for name in (change.new or change.old or ()) if change.written else ():
            yield change.kind.value, change.key, name
    # An approval, whose look has no rows, changes nothing yet.
    is_of_app = look.rows and not look.changed
    for effects in filter(None, (look.impact, look.at_once) if is_of_app else ()):
        for key in effects.before.keys() & effects.after.keys():
            before, after = ({*_digests(side[key])} for side in effects.sides)
            yield from (place for place, _digest in before ^ after)


class _Scene:
    """The actions that wait, the rows that they would change, and who asked for them."""

    def __init__(
        self,
        shown: Sequence[WaitingAction],
        more: Collection[RowPlace] = (),
    ) -> None:
        stored = read_waiting()
        self.now = aware(stored[0].now) if stored else aware(timezone.now())
        waiting = {row.pk: row for row in stored if row.state in OPEN}
        # What is shown may have ended meanwhile: then it is none that waits.
        waiting |= {row.pk: row for row in shown if row.pk in waiting}
        places = {place for row in shown for place in places_of(row)} | {*more}
        self.waiting = sorted(connected(waiting.values(), places), key=_order)
        #: By number, also what was to run before them and has ended.
        self.before = {row.pk: row for row in stored} | {row.pk: row for row in self.waiting}
        #: Those on which others rest.
        self.awaited = {pk for row in self.waiting for pk in row.rests_on}
        #: The actions that touch a field.
        self.touched: dict[Place, set[int]] = defaultdict(set)
        self.played: list[WaitingAction] = []
        if self.waiting:
            of_apps = readings_of_apps(self.waiting)
            self.situation = read_situation(self.waiting, more, of_apps)
            #: The rows as the actions that were played leave them.
            self.expected = self.situation.expected

    def play(self, until: tuple[datetime, int] | None = None) -> None:
        """Judges all actions in their order, or those that run before a time and a number."""
        for action in self.waiting:
            if until is not None and (action.run_at is None or _order(action) >= until):
                continue
            action.obstacle, action.is_over, action.waits_for = "", False, None
            try:
                # Neither those without a time nor those that will not run change anything.
                changes = self._changes_of(action)
                # Before its approval, one counts for those that rest on it, or will.
                is_awaited = until is not None or action.pk in self.awaited
                if action.run_at is not None and (is_awaited or action.state == State.WAITING):
                    self._apply(action, changes)
            except EndedError as error:
                action.obstacle, action.is_over = error.message, True
            except FlagstaffError as error:
                action.obstacle = error.message
            except DatabaseError:
                raise
            except Exception as error:
                # Of code of the project, whose message may contain data. The others go on.
                logger.exception("flagstaff: waiting action %s cannot be previewed", action.pk)
                action.obstacle = type(error).__name__
            self.played += [action] if action.run_at is not None else []

    def name_askers(self) -> None:
        """Sets the names of those who asked, who were read with their rights. Does not query."""
        for action in self.waiting:
            user = self.situation.users.get(action.asked_by)
            action.asker = "" if user is None else actor_table().name_of(user)

    def in_front(self, kind: str, keys: Collection[str]) -> list[WaitingAction]:
        """Returns the actions of these rows that were played, the nearest last."""
        of_kind = (action for action in self.played if action.row_kind == kind)
        return [action for action in of_kind if {*keys} & {*action.keys}]

    # One action.

    def _changes_of(self, action: WaitingAction) -> list[Changed]:
        """Returns what an action changes at its time. Raises FlagstaffError if it will not run."""
        rows = self._rows_of(action)
        run = stored_run(action, rows)
        if conf.read_only:
            raise FlagstaffError("READ_ONLY is set here")
        if is_of_secret(run):
            raise EndedError("the value has become secret")
        self._require_order(action)
        self._require_same_rows(action)
        if not (rows or run.action.creates):
            raise EndedError("{keys} no longer exists", keys=some(action.keys))
        if action.takes_away:
            run = replace(run, keys=[row.key for row in rows], rows=rows)
        changes = self._previewed(action, run)
        self._require_rights(action, run, rows, changes)
        return changes

    def _require_rights(
        self, action: WaitingAction, run: Run, rows: Sequence[Any], changes: Sequence[Changed]
    ) -> None:
        """Raises FlagstaffError without the approval or a right that an action needs."""
        with previewed(self.expected):
            after = reached(*sides_of(changes))
        if action.takes_away:
            # Whoever may turn off a flag may do it, whatever depends on the flag.
            after = Impact([], [])
        self._require_uses(action, after)
        is_needed = is_approval_needed(run, rows, Consequence(action.consequence))
        if is_needed and not action.needs_approval:
            raise FlagstaffError(
                "it needs an approval now, because of the setting APPROVAL; ask for it again"
            )
        kind: Any = run.action.kind
        look = Look(rows=rows or [kind.model], impact=after)
        for pk in (action.asked_by, *filter(None, [action.approved_by])):
            require_right(run, look, pk, users=self.situation.users)

    def _rows_of(self, action: WaitingAction) -> list[Any]:
        """Returns the rows whose rights decide, as they would be then."""
        kind = Kind.of_noun(action.row_kind)
        if kind is None:
            return [*self._of_app(action).rows]
        states = (self.expected.rows.get((kind, key)) for key in action.keys)
        return [state.row for state in states if state is not None]

    def _require_order(self, action: WaitingAction) -> None:
        """Raises FlagstaffError if its time is over, or what it rests on will not run."""
        if action.takes_away or action.run_at is None:
            return
        if self.now - aware(action.run_at) > MAX_DELAY:
            raise EndedError("its time has passed by more than an hour")
        for before in self.in_front(action.row_kind, action.keys):
            # Nobody waits for an approval of what does not belong to the series.
            if before.state == State.WAITING or before.pk in action.rests_on:
                action.waits_for = before.pk
        for number in action.rests_on[-1:]:
            nearest = self.before.get(number)
            if nearest is None or nearest.state not in (*OPEN, State.DONE):
                state = say("was deleted") if nearest is None else say(nearest.state)
                raise EndedError(
                    "{number} was to run before it: {state}", number=str(number), state=state
                )
            if nearest.obstacle:
                error = EndedError if nearest.is_over else FlagstaffError
                raise error("{number}, which runs before it, will not run", number=str(number))

    def _require_same_rows(self, action: WaitingAction) -> None:
        """Raises FlagstaffError if a row that decides is another one, or not as expected."""
        if not action.takes_away:
            self._require_no_change(action)
        gone = list[str]()
        for row in action.stands_on:
            kind = Kind.of_noun(row["kind"])
            if kind is None:
                continue
            state = self.expected.rows.get((kind, row["key"]))
            # What code declares need not have a row.
            if state is None or ("" if state.row.pk is None else str(state.row.pk)) != row["pk"]:
                gone.append(row["key"] if _is_named(action, row) else str(_OTHER))
            elif not action.takes_away:
                self._require_same_fields(action, row, state)
        if gone and (not action.takes_away or len(gone) == len(action.keys)):
            raise EndedError("{keys} is gone, or another one", keys=some(gone))

    def _require_no_change(self, action: WaitingAction) -> None:
        """Raises EndedError after a change that ends an action."""
        for row in action.stands_on:
            kind: Any = Kind.of_noun(row["kind"])
            if event := first_change(action, row, self.situation.events.get((kind, row["pk"]), ())):
                raise EndedError(self._change_text(event, action, row))

    def _require_same_fields(
        self, action: WaitingAction, row: Mapping[str, Any], state: RowState
    ) -> None:
        allowed = {*action.rests_on, action.pk}
        for name in row["fields"]:
            numbers = self.touched[row["kind"], row["key"], name] - allowed
            if numbers:
                action.waits_for = min(numbers)
                raise FlagstaffError(
                    "{number} runs before it, and changes what it stands on",
                    number=str(min(numbers)),
                )
        present = {name: digest for (_kind, _key, name), digest in _digests(state)}
        stored = row["fields"].items()
        changed = [name for name, digest in stored if present.get(name, digest) != digest]
        if changed:
            fields = some(map(field_label, changed))
            raise FlagstaffError(
                say("{fields} of {key} is not as expected", fields=fields, key=row["key"])
                if _is_named(action, row)
                else _OTHER
            )

    def _change_text(self, event: Event, action: WaitingAction, row: Mapping[str, Any]) -> Sentence:
        """Returns who has changed what, and when; of rows that not everybody may see, only when."""
        time = TimeValue(event.at)
        if not _is_named(action, row):
            text = say("what depends on it, or what it depends on, was changed at {time}")
            return say(text, time=time)
        user = self.situation.users.get(event.actor or "")
        name = event.actor or say("{user} (database user)", user=event.session_user)
        values = {
            "name": actor_table().name_of(user) if user is not None else name,
            "key": event.key,
            "time": time,
        }
        if event.action == "delete":
            return say("{name} deleted {key} at {time}", **values)
        if event.action == "create":
            return say("{name} created {key} again at {time}", **values)
        names = touched(event, row)
        if "enabled" in names:
            enabled = next(each.new for each in event.differences if each.field == "enabled")
            text = say("{name} turned {key} on at {time}")
            return say(text if enabled else say("{name} turned {key} off at {time}"), **values)
        fields = some(map(field_label, names))
        return say("{name} changed {fields} of {key} at {time}", fields=fields, **values)

    def _require_uses(self, action: WaitingAction, after: Impact) -> None:
        """Raises FlagstaffError if another flag, value or experiment depends on it now."""
        nouns = {(use.kind.value if use.kind else "experiment", use.key) for use in after.uses}
        stored = {(row["kind"], row["key"]) for row in action.stands_on}
        if not nouns <= stored:
            raise FlagstaffError(_OTHER)

    def _previewed(self, action: WaitingAction, run: Run) -> list[Changed]:
        if run.action.look is not None:
            self._require_expected(action, run)
            return []
        if run.action.creates:
            [key] = run.keys
            if owner := self.situation.owners.get((action.kind, key)):
                raise FlagstaffError(key_is_taken(key, owner))
            if run.rows:
                raise EndedError("{key} exists already", key=key)
            if was_written(action, self.situation.entries):
                raise EndedError("{key} was created and deleted meanwhile", key=key)
            return []
        try:
            with previewed(self.expected):
                changes = run.preview()
        except InUseError as error:
            raise unnamed(error) from error
        if not action.takes_away:
            return changes
        changes = [*takings(changes)]
        if any(change.written for change in changes):
            self._require_no_change(action)
        return changes

    def _require_expected(self, action: WaitingAction, run: Run) -> None:
        """Raises EndedError if a row of an app, such as a plan, is not the one it was."""
        present = run.action.expected(self._of_app(action))
        if any(action.expected.get(name, value) != value for name, value in present.items()):
            raise EndedError(
                "{kind} {key} has been changed meanwhile", kind=run.action.noun, key=run.keys[0]
            )

    def _of_app(self, action: WaitingAction) -> Present:
        """Returns the row of an app that an action changes; nothing if it is gone."""
        return self.situation.of_apps.get(action.kind, {}).get(action.keys[0], Present())

    def _with_users(self, after: RowState) -> RowState:
        """Returns a state with the list of users as those before have left it."""
        before = self.expected.rows.get((after.kind, after.row.key))
        if after.allowed_users is not None or before is None:
            return after
        return replace(after, allowed_users=before.allowed_users)

    def _apply(self, action: WaitingAction, changes: Sequence[Changed]) -> None:
        """Lets later actions see what this one would leave."""
        for change in changes:
            at = change.kind, change.key
            if change.after is None or change.after.row is None:
                self.expected.rows.pop(at, None)
            else:
                self.expected.rows[at] = self._with_users(change.after)
            for name in change.new or change.old or () if change.written else ():
                self.touched[change.kind.value, change.key, name].add(action.pk)
        kind = Kind.of_noun(action.kind)
        if kind is not None and not changes and not action.takes_away:
            # A creation.
            rows = {(kind, key): RowState(kind, kind.model(key=key)) for key in action.keys}
            self.expected.rows |= rows
        elif not changes:
            # Of a plan, which changes its flag.
            for row in action.stands_on:
                for name in row["fields"] if is_own(action, row) else ():
                    self.touched[row["kind"], row["key"], name].add(action.pk)


def _is_named(action: WaitingAction, row: Mapping[str, Any]) -> bool:
    """Whether texts name a row; not everybody may see what else uses a segment that changes."""
    is_named_by_it = row["kind"] == Kind.SEGMENT.value and row["kind"] != action.row_kind
    return is_named_by_it or is_own(action, row)


_OTHER = say("what depends on it, or what it depends on, has changed")


def unnamed(error: InUseError) -> InUseError:
    """Returns the error without the keys of what uses a row: not everybody may see them."""
    return InUseError(error.name, say("flags, values and experiments"))


def takings(changes: Iterable[Changed]) -> Iterator[Changed]:
    """Yields the changes by which nobody gains, of an action that takes away.

    A lower rollout leaves out a row whose rollout is lower already. Raises FlagstaffError if users
    would gain by another change.
    """
    for change in changes:
        if only_takes(change):
            yield change
        elif {*(change.new or ())} != {"rollout_percent"}:
            raise FlagstaffError("users would gain {key} by it now", key=change.key)


def _order(action: WaitingAction) -> tuple[datetime, int]:
    """By time and number. One without a time is before all others, and changes nothing."""
    at = action.run_at
    return (aware(at) if at is not None else _FIRST), action.pk


def _digests(state: RowState) -> Iterable[tuple[Place, str]]:
    return digests(state.kind, state.row, state.allowed_users)


def look_ahead(
    run: Run, at: datetime | None, *, viewer: HasPermissions | None = None, timeout: float = 1.0
) -> Look:
    """Returns what an action would do at a time, to the rows as those before it will leave them.

    Without a viewer, its notes say which others would then not run. Raises FlagstaffError as
    `look_at`.
    """
    counted = partial(look_at, run, viewer=viewer, timeout=timeout)
    if at is None:
        return counted()
    # Before the rows are read: then newer changes are a conflict. Only the look of an app knows
    # whose rights decide, and its versions.
    look = None if run.action.look is None else counted()
    expected = run.versions() if look is None else look.expected
    rows, _before = expected_at(row_kind(look.rows if look else [], run), run, at)
    if look is None or rows is not None:
        with previewed(rows):
            look = replace(counted(), expected=expected)
    # Not everybody may see the rows of the others: a page asks for those of its viewer.
    if viewer is None and (ends := some(map(action_text, would_end(look, at)))):
        text = say("it runs before these, which then will not run: {actions}", actions=ends)
        look = replace(look, notes=[*look.notes, text])
    return look


def row_kind(rows: Sequence[Any], run: Run) -> str:
    """Returns the kind of the rows whose rights decide."""
    kinds = {Kind.of_model(row if isinstance(row, type) else type(row)) for row in rows}
    return next((kind.value for kind in kinds if kind is not None), run.action.noun)
