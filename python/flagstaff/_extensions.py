"""What optional apps add: tables, periodic jobs, verbs, and parts and events of admin pages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

from django.apps import apps

from flagstaff._words.message import Message

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.db.models import Model
    from django.http import HttpRequest

    from flagstaff._words.cells import Column
    from flagstaff.admin.flag.parts.app_panels import AppPart
    from flagstaff.cli.support.verb import Verb


@dataclass(frozen=True)
class Retention:
    """Rows that `run-jobs` deletes from a certain age on."""

    #: What is deleted, such as "history".
    name: str
    #: The age in days; None deletes nothing.
    days: int | None
    #: Deletes the rows from before a time, and yields the number of each batch, which is committed.
    prune: Callable[[datetime], Iterator[int]]
    #: Whether a setting limits the age. If not, runs that delete nothing are not reported.
    by_setting: bool = True


@dataclass(frozen=True)
class OtherEvent:
    """Something that happened to a row of an optional app, such as a rollout plan."""

    at: datetime
    #: The key of the row, and its page in the admin.
    key: str
    url: str
    #: What happened, as a sentence.
    text: str
    #: As the history stores it; empty if it is not known.
    actor: str = ""
    reason: str = ""
    is_creation: bool = False


@dataclass(frozen=True)
class EventQuery:
    """The conditions of the events that a page shows. None allows all."""

    key: str | None = None
    #: A part of the key, ignoring case.
    key_part: str | None = None
    #: A part of the key, or one of these actors.
    text: str = ""
    text_actors: Collection[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    actors: Collection[str] | None = None
    limit: int = 50


class Level(Enum):
    """What a line of the overview asks of people. The first level is shown first."""

    #: Something is wrong, and a person must act.
    PROBLEM = "problem"
    #: A person should look or decide.
    NOTICE = "notice"
    #: Something runs as planned.
    RUNNING = "running"
    #: Something is not known yet; a sentence without a link.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class OverviewLine:
    """A line of the overview in the admin: one thing, and why it is there."""

    #: The key of a plan or an experiment, or the name of a page.
    title: str
    text: str
    level: Level
    url: str = ""
    #: The state in a few words.
    label: str = ""
    #: What has the key, such as "rollout plan".
    kind: str = ""


def _nothing(_rows: Sequence[Any]) -> None:
    """Prepares nothing."""


@dataclass(frozen=True)
class SearchedModel:
    """A model whose rows, which have a key, the search of the admin finds as their list does."""

    model: type[Model]
    #: Returns the state of a row, which may be HTML, and a text about it.
    describe: Callable[[Any], tuple[str, str]]
    #: Reads what is missing for `describe`.
    prepare: Callable[[Sequence[Any]], None] = _nothing


class JobReport(Protocol):
    """What one run of a job did to one thing, such as a plan."""

    @property
    def is_news(self) -> bool:
        """Whether something happened. `run-jobs --loop` prints only such reports."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The report as one line: its fields, which tabs separate."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as a dict for JSON."""


@dataclass(frozen=True)
class Job:
    """A job that `run-jobs` runs before the deliveries of webhooks."""

    #: The name of the job in JSON and in messages, such as "plans".
    name: str
    #: Runs all that is due. The event ends the run earlier, between two reports.
    run: Callable[[Event], Sequence[JobReport]]
    #: The columns of the reports in a table.
    columns: Sequence[Column]
    #: Whether a run without reports is not printed.
    is_quiet: bool = False


@dataclass(frozen=True)
class OtherRules:
    """Rules that are not those of a flag, such as the rules of an experiment."""

    #: The model and the primary key of the row that has the rules.
    model: type[Model]
    pk: Any
    key: str
    rules: object
    #: Whether the rules decide about results now.
    is_active: bool


class OptionalApp:
    """The base of the AppConfig of an optional app. Each method adds something to flagstaff."""

    #: The label of the app, as in AppConfig.
    label: str

    def jobs(self) -> Sequence[Job]:
        """Returns the jobs that `run-jobs` runs."""
        return ()

    def retentions(self) -> Sequence[Retention]:
        """Returns the old rows that `run-jobs` deletes."""
        return ()

    def flag_part(self) -> type[AppPart] | None:
        """Returns the part that the app adds to the admin of flags, or None."""
        return None

    def event_kind(self) -> tuple[str, str] | None:
        """Returns a name for URLs and a label of what `recent_events` is about, or None."""
        return None

    def recent_events(
        self, site: AdminSite, request: HttpRequest, query: EventQuery
    ) -> Sequence[OtherEvent]:
        """Returns the newest events of the app that the user may see, newest first. Few queries."""
        return ()

    def overview_lines(self, site: AdminSite, request: HttpRequest) -> Sequence[OverviewLine]:
        """Returns what the overview in the admin shows to the user of the request.

        Few queries, whose number depends on nothing. What takes longer is computed by a job.
        """
        return ()

    def searched_models(self) -> Sequence[SearchedModel]:
        """Returns the models whose rows the search of the admin finds."""
        return ()

    def operator_models(self) -> Sequence[type[Model]]:
        """Returns the models whose rows operators see by the "view" permission of the model."""
        return ()

    def planned_flags(self) -> Collection[str]:
        """Returns the primary keys, as text, of flags that the app is about to change by itself."""
        return ()

    def plan_problem(self, key: str) -> Message | None:
        """Returns why no rollout plan may raise the percentage of a flag, or None. Few queries."""
        return None

    def verbs(self) -> Sequence[Verb]:
        """Returns the verbs that `manage.py flags` has besides its own."""
        return ()

    def forget_user(self, pk: str) -> None:
        """Removes a deleted user as an actor from the tables of the app."""

    def keys(self) -> Mapping[str, Collection[str]]:
        """Returns the keys that the app has, by what they are of, such as "experiment".

        No flag and no value may have them. Makes a query for each kind.
        """
        return {}

    def other_rules(self, *, ended: bool = False) -> Sequence[OtherRules]:
        """Returns the rules of the app that may name segments, by key. Makes few queries.

        With `ended`, also rules that never decide again, which may name a missing segment.
        """
        return ()

    def rename_segments(self, rules: Sequence[OtherRules], keys: Mapping[str, str]) -> None:
        """Writes rules that differ only in the keys of segments. To be called in a transaction.

        `keys` are the new keys by the old ones. No result of an evaluation changes.
        """

    def table_names(self) -> Mapping[str, str]:
        """Returns the unquoted names of tables by their placeholders, such as "plan_table".

        The tables are in the database of the flags.
        """
        return {}


def optional_apps() -> tuple[OptionalApp, ...]:
    """Returns the optional apps in INSTALLED_APPS, in their order."""
    return tuple(app for app in apps.get_app_configs() if isinstance(app, OptionalApp))


def keys_of_apps(keys: Iterable[str]) -> dict[str, str]:
    """Returns what of the apps has each of these keys, such as "experiment". Few queries."""
    candidates = set(keys)
    return {
        key: kind
        for app in optional_apps()
        for kind, taken in app.keys().items()
        for key in candidates.intersection(taken)
    }
