"""A look: what an action would do, and what it has done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from django.db.models import Model

from flagstaff._text import Sentence, localized
from flagstaff.actions.rights import Right
from flagstaff.changes.consequence import Consequence, impact_text, users_texts
from flagstaff.changes.fields import Changed, Undo
from flagstaff.changes.row_states import Effect, Impact


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
    #: Who gains and who loses by it, counted or with the reason why not.
    impact: Impact = field(default_factory=lambda: Impact([], []))
    #: Who gains at once, if `impact` is what may follow without another question.
    at_once: Impact | None = None
    #: The share of all units, in a sentence, where users are not counted.
    share: Sentence | None = None
    consequence: Consequence = Consequence.NONE
    #: What else a person should know, in sentences.
    notes: Sequence[str] = ()
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


def look_at_nothing(_key: str, *, viewer: object = None) -> Look:
    """Returns the look at an action of an app that changes nothing about users."""
    return Look()
