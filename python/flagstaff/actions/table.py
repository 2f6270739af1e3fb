"""An action: how it is declared, who may do it, and what it would do.

On a page, the project's ModelAdmin decides who may: its methods get the answer of `user_may` from
their base class, and may refuse single rows or allow more. Without a request, such a method cannot
be asked: a made-up request lacks what middleware adds, and "no team" may mean every team to it. So
it counts as a no.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeAlias,
    cast,
    get_args,
    get_type_hints,
)

from django.contrib.auth import get_permission_codename
from django.db.models import Model
from django.utils.functional import Promise
from django.utils.text import capfirst

from flagstaff._core import is_storable
from flagstaff._declared import Flag
from flagstaff._tables.database import Reading, read_together
from flagstaff._tables.rows import (
    Kind,
    Row,
    all_rows,
    declaration,
    declared_row,
    model_of,
    unknown_row,
)
from flagstaff._tables.states import AS_DECLARED, FlagState
from flagstaff._text import (
    MAX_VALUE,
    Sentence,
    described,
    joined,
    local_list,
    localized,
    quoted,
    say,
)
from flagstaff.actions.arguments import Argument, Parsed, Several
from flagstaff.changes import Changed
from flagstaff.changes.consequence import Consequence, impact_text, users_texts
from flagstaff.changes.fields import Undo, count_allowed_users
from flagstaff.changes.locking import block_of_change, read_rows, require_versions
from flagstaff.changes.row_changes import write_fields
from flagstaff.changes.row_states import (
    Effect,
    ExpectedRows,
    Impact,
    RowState,
    is_preview,
    previewed,
    rules_of,
)
from flagstaff.changes.undo import restore_row, undo_event
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError, NoHistoryError
from flagstaff.history.describe import describe_value
from flagstaff.history.log import Event, deleted_pk, versions_of
from flagstaff.validators import is_secret

#: "toggle" turns flags on and off, sets their rollout, and uses their plans.
Right: TypeAlias = Literal["view", "toggle", "change", "add", "delete"]
#: Whether somebody has a right for a row, or for the rows of a model.
Ask: TypeAlias = "Callable[[Right, Any], bool]"

# The fields that the right to toggle writes.
_TOGGLE_FIELDS = frozenset({"enabled", "rollout_percent"})

INCLUDED_IN: dict[Right, tuple[Right, ...]] = {
    "view": ("view", "toggle", "change"),
    "toggle": ("toggle", "change"),
}
#: The methods of a ModelAdmin that hide rows.
HIDING = ("get_queryset", "has_view_permission")


def user_may(user: Any, right: Right, row: Any) -> bool:
    """Returns whether a user may do this to a row, or to the rows of a model.

    It is the answer of READ_ONLY and of Django's permissions, also those for single rows. Whoever
    may toggle or change a row may view it.
    """
    return (right == "view" or not conf.read_only) and has_permission(user, right, row)


def has_permission(user: Any, right: Right, row: Any) -> bool:
    """Returns the answer of Django's permissions alone."""
    rows = [None] if isinstance(row, type) else [None, row]
    names = [permission(sufficient, row) for sufficient in INCLUDED_IN.get(right, (right,))]
    return any(user.has_perm(name, target) for target in rows for name in names)


def overrides(model_admin: Any, *names: str) -> bool:
    """Returns whether a ModelAdmin has one of these methods from the code of a project."""
    methods = (getattr(model_admin, name, None) for name in names)
    modules = (getattr(method, "__module__", "") for method in methods if method is not None)
    return any(module.partition(".")[0] not in {"django", "flagstaff"} for module in modules)


def right_of(change: Changed | Event) -> Right:
    """Returns the right that a change needs."""
    if change.action != "change":
        return "add" if change.action == "create" else "delete"
    is_of_users = bool(change.added.count or change.removed.count)
    fields = {difference.field for difference in change.differences}
    toggles = is_toggle(Kind(change.kind), fields) and not is_of_users
    return "toggle" if toggles else "change"


def is_toggle(kind: Kind, fields: Collection[str]) -> bool:
    """Whether a change of these fields only turns a flag on or off, or rolls it out."""
    return kind is Kind.FLAG and _TOGGLE_FIELDS.issuperset(fields)


def right_to_undo(event: Event) -> Right:
    """Returns the right that the undo of an event needs."""
    inverse: dict[Right, Right] = {"add": "delete", "delete": "add"}
    right = right_of(event)
    return inverse.get(right, right)


def lacking(ask: Ask, reached: Impact) -> list[RowState]:
    """Returns the flags and values that a change reaches, without the right for them.

    These are flags that come or go with their users, and what uses a segment or a flag that
    changes, but for what never waits. The right to change the row includes experiments.
    `reached` need not be counted.
    """
    sides = [(reached.before.get(key), reached.after.get(key)) for key in reached.rows]
    states = [old or new for old, new in sides if not (old and new)]
    affected = [state for state in states if state is not None and reaches_users(state)]
    affected += [RowState(use.kind, use.row) for use in reached.given if use.kind and use.is_active]
    rights: dict[Kind, Right] = {Kind.FLAG: "toggle", Kind.VALUE: "change"}
    return [state for state in affected if not ask(rights[state.kind], state.row)]


def reaches_users(state: RowState) -> bool:
    """Returns whether it is a flag that users have. Counts its allowed users, if that decides."""
    users = state.allowed_users
    return state.kind is Kind.FLAG and FlagState.of(state.row).reaches_users(
        lambda: count_allowed_users(state.row) if users is None else len(users)
    )


def permission(right: Right, row: Any) -> str:
    """Returns the name of Django's permission for a row or a model."""
    meta = row._meta
    return f"{meta.app_label}.{get_permission_codename(right, meta)}"


def permission_name(right: Right, row: Any) -> str:
    """Returns what Django calls this permission, such as "Can change flag"."""
    meta = row._meta
    own_names = dict(meta.permissions)
    name = own_names.get(get_permission_codename(right, meta))
    return str(name or f"Can {right} {meta.verbose_name_raw}")


@dataclass(frozen=True)
class Done:
    """What a verb, or an action of an app, has done: what a terminal prints, and a page says."""

    key: str
    #: Sentences: what happened and, if no action takes it back, what to do instead.
    messages: Sequence[str]
    #: For programs, such as the row.
    record: Mapping[str, Any]
    #: The action that takes it back.
    undo: Undo | None = None
    #: False if the row was like this already, so that nothing was written.
    written: bool = True
    #: What a page calls the row, if its key is a number.
    title: str = ""
    #: What that action does, if it does not bring everything back as it was.
    instead: str = ""
    #: What a terminal and a page say besides, before the messages or after them.
    notes: Sequence[str] = ()
    #: The error at the end, if a part was refused.
    problem: Exception | None = None
    #: What it has changed of rows with a history, if its look does not say so.
    changed: Sequence[Changed] = ()
    #: The numbers of the actions that waited, and that it has ended.
    cancelled: Sequence[int] = ()


#: What an action has done to its rows.
Written: TypeAlias = "Sequence[Changed | Done]"


@dataclass(frozen=True)
class Line:
    """What differs, now and after an action."""

    field: str
    now: str
    after: str
    #: Of one of several flags, what its state is and becomes. The sides are users then.
    state: str = ""


def users_line(label: str, effect: Effect) -> Line:
    """Returns how many users have a flag now and after an action, or why they are not counted."""
    return Line(label, *users_texts(effect))


def after_deletion(row: Row) -> str:
    """Returns what a row is once it is deleted: what code declares, or else "deleted"."""
    declared = declaration(model_of(row), row.key)
    if declared is None:
        return say("deleted").local
    if isinstance(declared, Flag):
        state = str(AS_DECLARED)
        return say("{state}, without its rules", state=state).local if rules_of(row) else state
    default = declared.to_json(declared.default)
    value = describe_value(default, secret=is_secret(row), limit=MAX_VALUE)
    return say("{value}, as declared", value=value).local


def own_default_notes(rows: Iterable[Row]) -> list[str]:
    """Returns the sentence about the deleted rows that code does not declare, if there are any."""
    keys = [row.key for row in rows if declaration(model_of(row), row.key) is None]
    text = say("After the deletion, the code uses its own default for {keys}.")
    return [say(text, keys=local_list(map(quoted, keys))).local] if keys else []


def reaches_nothing(_written: Written) -> Impact:
    """Returns what a row of an app reaches beside itself."""
    return Impact([], [])


@dataclass(frozen=True)
class Look:
    """What an action would do with its arguments. Made without a lock and without a write."""

    #: Writes it; set by `look_at`. Gets `expected`, by which it is refused.
    write: Callable[[Mapping[Any, Any]], Written] = lambda _expected: ()
    expected: Mapping[Any, Any] = field(default_factory=dict)
    #: The changes of rows with a history, in the order of the rows.
    changed: Sequence[Changed] = ()
    #: What changes of a row of an app.
    lines: Sequence[Line] = ()
    #: The kind and the key of this row: what waits for it expects that nothing happens to it.
    app_row: tuple[str, str] | None = None
    #: The numbers of the actions that wait, and that it cancels or refuses.
    cancels: Sequence[int] = ()
    #: Who gains and who loses by it, counted or with the reason why not.
    impact: Impact = field(default_factory=lambda: Impact([], []))
    #: Who gains at once, if `impact` is what may follow without another question.
    at_once: Impact | None = None
    #: The share of all units, in a sentence, where users are not counted.
    share: Sentence | None = None
    consequence: Consequence = Consequence.NONE
    #: What else a person should know, in sentences.
    notes: Sequence[str] = ()
    #: The keys of flags whose rules keep users out who have it after a release.
    held_back: Sequence[str] = ()
    #: Whether a person confirms it, and whether a script does so, too, with --yes.
    asks: bool = False
    asks_always: bool = False
    #: What the terminal asks.
    question: str = "Go on?"
    #: What is typed to confirm it; empty for nothing.
    typed: str = ""
    #: The rows whose rights decide, such as the flag of a plan; the model of a new row.
    rows: Sequence[Any] = ()
    #: The right for these rows, if the arguments need another one than the action.
    right: Right | None = None
    #: Further models whose pages decide about rights, such as that of plans.
    models: Sequence[type[Model]] = ()
    #: Returns what was written reaches; nothing of rows of apps, which `expected` compares.
    reached_by: Callable[[Written], Impact] = reaches_nothing
    #: Of an action of an app, what else it reaches: what depends on its flag. Queries.
    reaches: Callable[[], Impact] | None = None
    #: The rules of rows of apps, whose segments and flags count, too.
    rules: Sequence[object] = ()
    #: What it stands on: compared again as the last thing before the commit.
    footprint: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    @property
    def is_counted(self) -> bool:
        """Whether the users were counted."""
        return all(effect.users is not None for effect in self.impact.values())

    @property
    def largest_consequence(self) -> Consequence:
        """The consequence, or the largest one if the users were not counted.

        The fields do not say how many already have a flag, such as by another rule.
        """
        return self.consequence if self.is_counted else Consequence.MOST

    def expecting(self, expected: Mapping[str, Mapping[str, Any]]) -> Look:
        """Returns a look whose write of each row is refused by these arguments, too."""
        merged = {key: {**self.expected.get(key, {}), **more} for key, more in expected.items()}
        return replace(self, expected={**self.expected, **merged})

    def users_text(self, *, percents: bool = True) -> str:
        """Returns the sentences about the users, in the active language."""
        if self.share is not None:
            return localized(self.share)
        impact = self.impact if self.at_once is None else self.at_once
        return impact_text(impact, percents=percents)


#: Writes one row: gets its key and the arguments of the action by name.
Write: TypeAlias = "Callable[..., Changed | Done]"

#: The button of an action without one of its own.
SAVE: Final = say("Save {key}")
#: The argument that a row must have this version.
EXPECT_VERSION: Final = "expect_version"
#: The arguments by which the write of a row is refused, by its key.
Expected: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Present:
    """What an action of an app finds, without a look."""

    #: The rows whose rights decide, besides flags.
    rows: Sequence[Any] = ()
    #: What the row stands at, by name. An action is refused later if what it stands on differs.
    expected: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """One thing that an operator does to a row."""

    #: What the row is. An app that has rows without a history names them, such as "plan".
    kind: Kind | str
    #: As in the terminal, such as "set-for-everyone".
    name: str
    help: str
    #: What else to know, in sentences.
    notes: str
    write: Write
    #: Command lines, without "manage.py flags".
    examples: tuple[str, ...]
    #: The link to its page, and the heading of the page.
    label: str | Promise
    #: The button of the page, with the key and the arguments.
    button: Sentence = SAVE
    #: What a user needs on a page for it. The terminal and code are trusted.
    right: Right = "change"
    #: Whether it takes several keys.
    many: bool = False
    #: Whether it needs no row with the key.
    creates: bool = False
    #: Whether it asks always, and also takes the key of a row that was deleted already.
    deletes: bool = False
    #: Whether it takes changes back: the question shows them, and the row may be deleted.
    undoes: bool = False
    #: Whether the terminal waits for the workers unless told otherwise.
    waits_for_workers: bool = False
    #: Whether nothing may delay it, for any arguments or for these: no question, no reason, no
    #: approval.
    always_runs: bool | Callable[..., bool] = False
    #: Whether it can be asked for to run later.
    can_wait: bool = True
    #: Whether the reason is kept: not if the events are deleted with their row.
    keeps_reason: bool = True
    #: The least consequence that is asked about.
    asks_from: Consequence = Consequence.FEWER
    #: What it would do to the row of an app. Gets the key, the arguments, and who looks as
    #: `viewer`. None for rows with a history, whose write is previewed. Queries.
    look: Callable[..., Look] | None = None
    #: Adds to the look at rows with a history what a person should know. Queries.
    about: Callable[[Run, Look], Look] | None = None
    #: Reads a `Present` of each row of an app, by key: all of what actions of the app stand on, and
    #: the names of what this one stands on.
    present: Callable[[Collection[str]], Reading] | None = None
    stands_on: tuple[str, ...] = ()
    #: The action that ends what it begins.
    ended_by: str = ""
    #: The fields that it sets, which depend on the project's model.
    fields: Callable[[], Mapping[str, Argument]] | None = None

    @property
    def noun(self) -> str:
        """The kind of row as a word, such as "flag"."""
        return noun_of(self.kind)

    def arguments(self) -> Mapping[str, tuple[Argument, bool]]:
        """Returns the arguments by name, and whether each is required."""
        hints = get_type_hints(self.write, include_extras=True)
        declared = {
            name: (argument, parameter.default is parameter.empty)
            for name, parameter in inspect.signature(self.write).parameters.items()
            for argument in _arguments_in(hints.get(name))
        }
        fields = {} if self.fields is None else self.fields()
        return declared | {name: (argument, False) for name, argument in fields.items()}

    @property
    def takes_version(self) -> bool:
        """Whether it can be refused because of the version of the row."""
        return EXPECT_VERSION in inspect.signature(self.write).parameters

    def is_asked_about(self, arguments: Mapping[str, object]) -> bool:
        """Whether a person may have to confirm it with these arguments."""
        return not (self.runs_always(arguments) or self.creates or self.deletes)

    def expected(self, present: Present) -> dict[str, Any]:
        """Returns what it stands on, of the row of an app; nothing of a row that is gone."""
        return {name: value for name, value in present.expected.items() if name in self.stands_on}

    def runs_always(self, arguments: Mapping[str, object]) -> bool:
        """Whether nothing may delay it with these arguments."""
        runs = self.always_runs
        return runs(**arguments) if callable(runs) else runs


@dataclass(frozen=True)
class Run:
    """An action with its arguments, for the rows of some keys."""

    action: Action
    keys: Sequence[str]
    #: Those that exist; of an app, they need not be known.
    rows: Sequence[Row]
    arguments: Mapping[str, Any]

    @property
    def app_row(self) -> tuple[str, str] | None:
        """The kind and the key of the row of an app; None for rows with a history."""
        return None if self.action.look is None else (self.action.noun, self.keys[0])

    def expected(self) -> dict[str, Any]:
        """Returns what an action of an app stands on now. Queries."""
        if self.action.present is None:
            return {}
        [presents] = read_together(self.action.present(self.keys))
        return self.action.expected(presents.get(self.keys[0], Present()))

    def versions(self) -> Expected:
        """Returns the versions to expect. Read before a preview: newer changes are a conflict.

        With a kill, nothing is.
        """
        kind = cast("Kind", self.action.kind)
        with suppress(NoHistoryError):
            if self.action.takes_version and self.action.always_runs is not True:
                require_versions(kind)
                pks = {row.key: str(row.pk) for row in self.rows}
                # Those of the others, if they were deleted.
                deleted = ((key, deleted_pk(kind, key)) for key in self.keys if key not in pks)
                pks |= {key: pk for key, pk in deleted if pk}
                versions = versions_of(kind, pks.values())
                return {key: {EXPECT_VERSION: versions.get(pk, 0)} for key, pk in pks.items()}
        # A system check reports what is missing.
        return {}

    def preview(self) -> list[Changed]:
        """Returns what `write` would do to rows with a history. Neither locks nor writes."""
        with previewed():
            return cast("list[Changed]", self.write({}))

    def write(self, expected: Expected) -> list[Changed | Done]:
        """Writes all rows, or none."""

        def write(key: str) -> Changed | Done:
            return self.action.write(key, **self.arguments, **expected.get(key, {}))

        if len(self.keys) == 1 or is_preview():
            return [*map(write, self.keys)]
        with block_of_change():
            # In the order of an import and an undo, so that no two can deadlock.
            kind = cast("Kind", self.action.kind)
            locked = read_rows(((kind, str(row.pk)) for row in self.rows), lock=True)
            # A row may have got another key meanwhile.
            present = [row for row in locked.values() if row.key in self.keys]
            written = self._write_together(present, expected)
            return [written.get(key) or write(key) for key in self.keys]

    def _write_together(self, locked: Sequence[Row], expected: Expected) -> dict[str, Changed]:
        """Writes those of which only fields change, in few statements: a kill waits for all."""
        if self.action.deletes:
            return {}
        kind = cast("Kind", self.action.kind)
        versions = {row.pk: expected.get(row.key, {}).get(EXPECT_VERSION) for row in locked}
        if any(version is not None for version in versions.values()):
            require_versions(kind)
            present = versions_of(kind, versions)
            # A write by itself raises the error about another version.
            locked = [
                row for row in locked if versions[row.pk] in {None, present.get(str(row.pk), 0)}
            ]
        expected_rows = {(kind, row.key): RowState(kind, row) for row in locked}
        planned = list[Changed]()
        with previewed(ExpectedRows(expected_rows)):
            for row in locked:
                # A write by itself raises it, or finds what new rules name.
                with suppress(FlagstaffError):
                    planned.append(cast("Changed", self.action.write(row.key, **self.arguments)))
        return write_fields(kind, planned)


def present_rows(action: Action, keys: Sequence[str], *, also_deleted: bool = False) -> list[Row]:
    """Returns the rows of an action, in the order of the keys.

    An action that creates a row has none, and neither has one of an app. `also_deleted` leaves out
    the keys of rows that were deleted. Raises one error that names all unknown keys.
    """
    kind = action.kind
    if action.creates or not isinstance(kind, Kind):
        return []
    rows = all_rows(kind.model).filter(key__in=filter(is_storable, keys))
    by_key: dict[str, Row] = {row.key: row for row in rows}
    for key in keys:
        if key not in by_key and (declared := declared_row(kind.model, key)):
            by_key[key] = declared
    missing = (key for key in keys if key not in by_key)
    unknown = [key for key in missing if not (also_deleted and deleted_pk(kind, key))]
    if errors := [unknown_row(kind.model, key) for key in unknown]:
        raise type(errors[0])(joined(map(str, errors), "\n"))
    return [by_key[key] for key in keys if key in by_key]


def noun_of(kind: Kind | str) -> str:
    """Returns the kind of a row as a word, such as "flag"."""
    return kind.value if isinstance(kind, Kind) else kind


def _arguments_in(hint: object) -> Iterator[Argument]:
    """Yields the argument of an annotated type, also if None may stand in its place."""
    yield from (
        annotation
        for annotation in getattr(hint, "__metadata__", ())
        if isinstance(annotation, Argument)
    )
    for part in () if hasattr(hint, "__metadata__") else get_args(hint):
        yield from _arguments_in(part)


def action(kind: Kind | str, *examples: str, **options: Any) -> Callable[[Write], Action]:
    """Declares a function as the action of its name. `options` are those of `Action`.

    The function gets the key, then its arguments, whose types are those of `actions.arguments`; one
    without a default is required. Its docstring is the help, and what else to know.

        @action(Kind.FLAG, "archive search_v2", many=True)
        def archive(key: str, owner: Text, *, expect_version: int | None = None) -> Changed:
            \"\"\"Give flags to an owner of archived flags.\"\"\"
            return changes.flags.update(key, {"owner": owner}, expect_version=expect_version)
    """

    def declare(write: Write) -> Action:
        name, text, notes = described(write)
        label = options.pop("label", capfirst(name.replace("-", " ")))
        return Action(kind, name, text, notes, write, examples, label, **options)

    return declare


_Without = Annotated[Sequence[str], Several("a column whose old value no longer fits", "FIELD")]
_Version = Annotated[int, Parsed("a version that `history` shows", "VERSION", int, is_word=True)]


def undo_actions(kind: Kind, key: str) -> tuple[Action, Action]:
    """Returns `undo` and `restore` of a kind of row. `key` is that of the examples."""
    verb = "" if kind is Kind.FLAG else f"{kind.value} "

    @action(kind, f"{verb}undo {key}", f"{verb}undo {key} 17", undoes=True, can_wait=False)
    def undo(
        key: str,
        version: _Version | None = None,
        *,
        without: _Without = (),
        expect_version: int | None = None,
    ) -> Changed:
        """Undo one change, by default the newest.

        Without a version, it is refused if the newest change is an undo itself. Newer changes of
        other fields stay. If the same field has been changed again since then, the undo is refused:
        the message says what is in the field now. Also takes the key of a row that was deleted.
        """
        return undo_event(kind, key, version, without=without, expect_version=expect_version)

    @action(
        kind,
        f"{verb}restore {key} 17",
        f"{verb}restore {key} 17 --dry-run",
        undoes=True,
        can_wait=False,
    )
    def restore(
        key: str, version: _Version, *, without: _Without = (), expect_version: int | None = None
    ) -> Changed:
        """Restore the state after a change, by undoing all newer changes.

        Also takes the key of a row that was deleted. Users who no longer exist are skipped and
        listed.
        """
        return restore_row(kind, key, to=version, without=without, expect_version=expect_version)

    return undo, restore
