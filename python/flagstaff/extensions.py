"""What an optional app adds to flagstaff.

Its AppConfig has a table: `flagstaff_hooks = {"jobs": "shop.jobs.ORDERS"}` names the path of an
object for each hook that it uses. A path is imported where the hook is used. `cli.main` and
`admin.parts` have the hooks for verbs and for pages of the admin.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from threading import Event
from typing import Any, Generic, TypeVar

from django.apps import apps
from django.core.checks import CheckMessage
from django.db.models import Model
from django.http import HttpRequest
from django.utils.module_loading import import_string

from flagstaff._text import times

T = TypeVar("T")
Column = times.Column
Record = times.Record


@dataclass(frozen=True)
class Hook(Generic[T]):
    """The objects that the apps in INSTALLED_APPS have for one hook, in the order of the apps."""

    name: str

    def __iter__(self) -> Iterator[T]:
        for app in apps.get_app_configs():
            if path := getattr(app, "flagstaff_hooks", {}).get(self.name):
                yield import_string(path)


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
class JobReport:
    """What one run of a job did to one thing, such as a plan."""

    @property
    def is_news(self) -> bool:
        """Whether something happened. `run-jobs --loop` prints only such reports."""
        return True

    @property
    def has_given_up(self) -> bool:
        """Whether the run ended something as expired or failed, which the exit status says."""
        return False

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as a dict for JSON. Its member `error` is None, or fails the run."""
        return asdict(self)


@dataclass(frozen=True)
class Job:
    """A job that `run-jobs` runs."""

    #: The name of the job in JSON and in messages, such as "plans".
    name: str
    #: Runs all that is due. The event ends the run earlier, between two reports.
    run: Callable[[Event], Sequence[JobReport]]
    #: The columns of the reports in a table.
    columns: Sequence[Column]
    #: Whether a run without reports is not printed.
    is_quiet: bool = False
    #: Whether it runs after the other jobs, because it may wait for other systems.
    is_slow: bool = False
    #: What to do about reports with an error.
    advice: str = "the next run tries again"
    #: Returns how much it has to do or has given up, by state, for a metric. Makes one query.
    backlog: Callable[[], Mapping[str, int]] | None = None


@dataclass(frozen=True)
class OtherRules:
    """Rules that are not those of a flag, such as the rules of an experiment."""

    #: The model and the primary key of the row that has the rules.
    model: type[Model]
    pk: Any
    key: str
    rules: object
    bucket_by: str
    #: Whether the rules decide about results now, and whether they never will again.
    is_active: bool
    is_over: bool = False


#: The actions that the app adds: each one a `flagstaff.actions.Action`.
ACTIONS: Hook[Sequence[Any]] = Hook("actions")
#: The settings that the app adds to FLAGSTAFF: each one a `flagstaff.conf.Setting`.
SETTINGS: Hook[Sequence[Any]] = Hook("settings")
JOBS: Hook[Job] = Hook("jobs")
RETENTIONS: Hook[Callable[[], Retention]] = Hook("retention")
#: The models whose tables the engine uses, by placeholder. They are in the database of the flags.
TABLES: Hook[Mapping[str, type[Model]]] = Hook("tables")
#: The model whose deleted rows keep their events as long as the history: see `history.deleted`.
DELETED_ROWS: Hook[type[Model]] = Hook("deleted_rows")
#: Removes a deleted user, given by the text of the primary key, as an actor from the tables.
FORGET_USER: Hook[Callable[[str], None]] = Hook("forget_user")
#: Returns the keys that no flag and no value may have, by what they are of, such as "experiment".
KEYS: Hook[Callable[[], Mapping[str, Collection[str]]]] = Hook("keys")
#: A `Reading` of all rows with rules that may name segments: returns their `OtherRules`, by key.
RULES: Hook[Callable[[], Generator[Any, Any, Sequence[OtherRules]]]] = Hook("rules")
#: Returns the primary keys, as text, of flags that the app is about to change by itself.
PLANNED_FLAGS: Hook[Callable[[], Collection[str]]] = Hook("planned_flags")
#: Returns the code of the project that decides who has a flag unless the flag is off, such as
#: "is_active() of shop.Flag", by key, of the flags with these keys. Queries; with `is_limited`, it
#: does not wait for long, and may return code that perhaps decides.
DECIDING_CODE: Hook[Callable[..., Mapping[str, str]]] = Hook("deciding_code")
#: Return the messages of system checks: those that connect to no database, and those that query the
#: database of the flags.
CHECKS: Hook[Callable[[], Iterable[CheckMessage]]] = Hook("checks")
DATABASE_CHECKS: Hook[Callable[[], Iterable[CheckMessage]]] = Hook("database_checks")
#: Called when a waiting action was asked, approved, refused, done or failed, in its transaction.
WAITING_EVENTS: Hook[Callable[[Any, str], None]] = Hook("waiting_events")

#: Returns what says whether a request is of a crawler; None if no setting names a function.
CRAWLERS: Hook[Callable[[], Callable[[object], bool] | None]] = Hook("crawlers")
#: Returns the hash of the network of a request, and when the id of its visitor was drawn. Called at
#: the end of a request that has evaluated a watched flag, with `request.flags`.
ORIGINS: Hook[Callable[[Any], tuple[bytes | None, int | None]]] = Hook("origin")
#: Called by the middleware before the view, with the request and what observes its evaluations.
OBSERVERS: Hook[Callable[[HttpRequest, Any], None]] = Hook("observer")


def deciding_code(keys: Collection[str], *, is_limited: bool = True) -> dict[str, str]:
    """Returns the code of the project that decides who has flags unless they are off, by key."""
    codes_by_key = [find(keys, is_limited=is_limited) for find in DECIDING_CODE] if keys else []
    return {key: code for codes in codes_by_key for key, code in codes.items()}


def model_of(placeholder: str) -> type[Model] | None:
    """Returns the model of an installed app whose table has this placeholder; None without one."""
    return next((models[placeholder] for models in TABLES if placeholder in models), None)
