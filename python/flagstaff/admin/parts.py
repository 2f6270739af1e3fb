"""The parts of pages: sections, heads, notes, lines; and what an optional app adds to pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from django.contrib.admin import AdminSite
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.safestring import SafeString

from flagstaff.actions.table import Line
from flagstaff.extensions import Hook


class Level(Enum):
    """What a line of the overview asks of people. The first level is shown first."""

    #: Something is wrong, and a person must act.
    PROBLEM = "problem"
    #: A person should look or decide.
    NOTICE = "notice"
    #: Something runs as planned.
    RUNNING = "running"
    #: Something can be tidied up. Nothing is urgent about it.
    STALE = "stale"
    #: Something is not known yet; a sentence without a link.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class OverviewLine:
    """A line of the overview: one thing, and why it is there."""

    #: The key of a plan or an experiment, or the name of a page.
    title: str
    text: str
    level: Level
    url: str = ""
    #: The state as a coloured label, such as `admin.words.badge` returns.
    label: SafeString | str = ""
    #: What has the key, such as "rollout plan".
    kind: str = ""


@dataclass(frozen=True)
class Note:
    """What is to be known of a row, such as a flag: in a list in a few words, which may be HTML."""

    text: SafeString | str
    #: A page shows a problem in red, a notice in amber, and what runs as planned in green.
    level: Level = Level.RUNNING
    #: The URL of the page that it is about, and what the link says; empty if there is none.
    link: tuple[str, str] | tuple[()] = ()

    @property
    def is_alarm(self) -> bool:
        """Whether somebody should look at it. Then the list of flags shows it in red."""
        return self.level in {Level.PROBLEM, Level.NOTICE}


@dataclass(frozen=True)
class Section:
    """A heading of the page of a row, and what is below it."""

    title: str | Promise
    html: SafeString | str
    #: The names of the actions that stand beside the heading, because they change what it shows.
    actions: Sequence[str] = ()
    #: Whether it stands beside the others, where the window has room for it.
    is_aside: bool = False


@dataclass(frozen=True)
class Head:
    """What the page of a row begins with, and the actions that belong there."""

    #: The class of the state's colour, and its label.
    state: tuple[str, str] = ("", "")
    #: Who has it, and further lines.
    lines: Sequence[SafeString | str] = ()
    #: The name of the action that has the one filled button.
    main: str = ""
    #: The names of the actions in the line of the key, in their order; by default only `main`.
    beside: Sequence[str] = ()
    #: What opens beside them; nothing without HTML.
    menu: Section = Section("", "")
    #: The name of an action, and what its links say and fill in.
    steps: tuple[str, Sequence[tuple[str, str]]] = ("", ())
    #: The step that the row has now.
    step: str = ""
    #: The names of the other actions of the head.
    others: Sequence[str] = ()
    #: The links to pages of apps beside them: each a URL, and what it says.
    links: Sequence[tuple[str, str]] = ()
    #: What somebody must look at, and what is good to know.
    notes: Sequence[Note] = ()


class OnFlag(NamedTuple):
    """What an app adds to the page of a flag."""

    note: Note | None = None
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class AppPages:
    """The rows of an app on the overview, in the search, in recent changes and on flags."""

    #: The model of the rows, which have a key. The search finds them as their list does.
    model: type[Model]
    #: The model of what happened to them, whose field of this name is the row.
    events: type[Model]
    name: str
    #: Returns the state of each row, which may be HTML, and a text about it, for the search.
    describe: Callable[[Sequence[Any]], Iterable[tuple[str, str]]]
    #: Returns what the overview shows to a user who may view the rows, on PostgreSQL. Makes few
    #: queries, whose number depends on nothing; a job computes what takes longer.
    overview_lines: Callable[[AdminSite, HttpRequest], Sequence[OverviewLine]]
    #: Returns the deleted rows whose events the user may see.
    deleted_rows: Callable[[AdminSite, HttpRequest], QuerySet[Any]]
    #: Returns what the app says of some flags, by the text of the primary key. Makes a number of
    #: queries that does not depend on the number of flags.
    flag_notes: Callable[[HttpRequest, Sequence[Any]], Mapping[str, Note]] | None = None
    #: Returns what a change of who has a flag does to the rows of the app, as `flag_notes` does.
    flag_preview: Callable[[HttpRequest, Sequence[Any]], Mapping[str, Line]] | None = None
    #: Returns what the page of a flag says of the app, in a sentence, and its links beside the
    #: actions: each a URL and what it says.
    on_flag: Callable[[AdminSite, HttpRequest, Any], OnFlag] | None = None

    @property
    def label(self) -> str:
        """What the rows are, such as "rollout plan"."""
        return str(self.model._meta.verbose_name)


PAGES: Hook[AppPages] = Hook("pages")
