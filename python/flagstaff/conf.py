"""The settings dict FLAGSTAFF: one table of its keys, from which their reference page is made.

`conf` reads them from Django's settings at each use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from itertools import chain
from typing import Any, Generic, Literal, TypeGuard, TypeVar
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.db import connections, router
from django.db.models import Model

from flagstaff._connection import is_same_database
from flagstaff._core import is_storable
from flagstaff._text import most_similar
from flagstaff.exceptions import ConfigurationError
from flagstaff.extensions import SETTINGS as OF_APPS

T = TypeVar("T")
UnknownKey = Literal["ignore", "warn", "raise"]

#: The attributes of a user that every project has.
BUILT_IN = ("is_authenticated", "is_staff", "is_superuser", "groups")
MAX_STALE_DAYS = 3650

_HOUR, _DAY = 3600, 86_400
_COLORS = ("grey", "green", "blue", "purple", "orange", "red")
_MAX_NAME, _MAX_RELEASE = 40, 200
_other_database: ContextVar[str | None] = ContextVar("flagstaff_other_database", default=None)
# Those that Sentry, Jenkins, Heroku, Render and Cloud Run know.
_RELEASE_VARIABLES = (
    "SENTRY_RELEASE",
    "GIT_COMMIT",
    "HEROKU_SLUG_COMMIT",
    "RENDER_GIT_COMMIT",
    "K_REVISION",
)


class SettingError(ConfigurationError):
    """One problem of the settings, and how to fix it."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(f"{problem}; {hint}")
        self.problem = problem
        self.hint = hint


@dataclass(frozen=True)
class Environment:
    """A deployment of the project, as the pages of the admin name it."""

    name: str
    #: One of the colours for which the stylesheet has a class.
    color: str = "grey"
    #: Whether changes of most users need the key to be typed.
    production: bool = False


@dataclass(frozen=True)
class ObjectSource:
    """The model of the objects whose primary keys an attribute holds."""

    model: str
    #: The field with the name of an object.
    label: str = "name"
    #: The fields from the user model to the objects, by which users are counted.
    path: str | None = None


@dataclass(frozen=True)
class AttributeSources:
    """What ATTRIBUTES names: concrete fields of the user model, and the path of a callable.

    Also the attributes that hold primary keys, by name.
    """

    columns: tuple[str, ...]
    callable: str | None
    objects: Mapping[str, ObjectSource]


@dataclass(eq=False)
class Setting(Generic[T]):
    """A key of FLAGSTAFF. As an attribute of `conf` it is the value, or raises SettingError.

    An optional app names its settings in the hook "settings", and reads them by `current`.
    """

    doc: str
    default: object
    #: What is accepted, in words.
    expected: str
    is_valid: Callable[[Any], bool] = lambda _value: True
    #: Returns what `conf` has for a valid value, or raises SettingError.
    convert: Callable[[Any], T] = lambda value: value
    #: Of a setting that names a function of the request, what the function returns, in words.
    returns: str | None = None
    #: Whether the engine reads it at its start, so that it cannot change while the engine runs.
    #: All others are read at each use, or again when Django signals a change of the settings.
    fixed: bool = False
    name: str = ""

    def __set_name__(self, _owner: type, name: str) -> None:
        self.name = name.strip("_").upper()

    def __get__(self, _conf: object, _owner: type | None = None) -> T:
        return self.read(_project_settings())

    def current(self) -> T:
        """Returns the value now. Raises SettingError."""
        return self.read(_project_settings())

    def read(self, values: Mapping[str, object]) -> T:
        """Returns the value in the settings. Raises SettingError if it is not valid."""
        value = values.get(self.name, self.default)
        if value is not self.default and not self.is_valid(value):
            problem = f'FLAGSTAFF["{self.name}"] is {value!r}'
            raise SettingError(problem, f"expected {self.expected}")
        return self.convert(value)

    def problems(self, values: Mapping[str, object]) -> list[SettingError]:
        """Returns the problem of the value, if there is one."""
        try:
            self.read(values)
        except SettingError as error:
            return [error]
        return []


def is_path(value: object) -> bool:
    """Whether the value is the dotted path of a function in a module."""
    if not isinstance(value, str):
        return False
    return "." in value and all(part.isidentifier() for part in value.split("."))


def is_url(value: object) -> TypeGuard[str]:
    """Whether it is an http(s) URL without user or password that a header can hold."""
    # Of printable ASCII: a line break would end the header that holds the URL.
    if not isinstance(value, str) or not re.fullmatch(r"(?i)https?://[!-~]+", value):
        return False
    try:
        url = urlsplit(value)
        return bool(url.hostname) and "@" not in url.netloc and url.port != 0
    except ValueError:
        return False


def is_number(value: object, low: float, high: float) -> bool:
    """Whether it is a number from `low` to `high`. Neither True nor NaN is one."""
    return isinstance(value, int | float) and type(value) is not bool and low <= value <= high


def _optional(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_valid(value)


def _is_whole(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _seconds(
    doc: str, default: float, *, low: float, high: float, fixed: bool = True
) -> Setting[float]:
    def is_valid(value: object) -> bool:
        return is_number(value, low, high)

    expected = f"a number of seconds from {low} to {high:,}"
    return Setting(doc, default, expected, is_valid, float, fixed=fixed)


def _whole(
    doc: str, default: int, *, high: int, unit: str = "", fixed: bool = False
) -> Setting[int]:
    expected = f"a whole number{unit} from 1 to {high:,}"
    return Setting(doc, default, expected, lambda value: _is_whole(value, 1, high), fixed=fixed)


def _switch(doc: str, *, default: bool = False, fixed: bool = False) -> Setting[bool]:
    return Setting(doc, default, "True or False", lambda value: type(value) is bool, fixed=fixed)


def _days(doc: str) -> Setting[int | None]:
    expected = "a whole number of days from 1 to 36500, or None to delete nothing"
    return Setting(doc, None, expected, _optional(lambda value: _is_whole(value, 1, 36_500)))


def request_function(doc: str, example: str, returns: str, name: str = "") -> Setting[str | None]:
    """Returns a setting that names a function of the request, or None."""
    expected = f'the path of a function (request), such as "{example}", or None'
    return Setting(doc, None, expected, _optional(is_path), returns=returns, name=name)


def _paths(doc: str, expected: str) -> Setting[Mapping[str, str]]:
    def is_valid(value: Any) -> bool:
        return isinstance(value, dict) and all(
            isinstance(key, str) and is_path(path) for key, path in value.items()
        )

    return Setting(doc, {}, f"a dict of dotted paths by {expected}", is_valid)


def _site(
    doc: str, expected: str, packaged: Callable[[], str | None] = lambda: None
) -> Setting[str | None]:
    is_valid = _optional(lambda value: is_url(value) and not set("?#@") & set(value))
    return Setting(
        doc,
        None,
        f"the URL of {expected}, or None",
        is_valid,
        lambda value: packaged() if value is None else value,
    )


@cache
def packaged_documentation() -> str | None:
    """Returns the URL of this version's documentation, or None while it is a placeholder."""
    try:
        urls = metadata("django-flagstaff").get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    labelled = dict(url.split(", ", 1) for url in urls)
    url = labelled.get("Documentation", "")
    return url if is_url(url) and ".invalid/" not in url else None


def _model(doc: str, default: str, example: str) -> Setting[type[Model]]:
    expected = f'the label of an installed model, such as "{example}"'
    return Setting(doc, default, expected, _is_model, _installed_model, fixed=True)


def _installed_model(label: str) -> type[Model]:
    try:
        return apps.get_model(label)
    except LookupError:
        _require_installed()
        raise


def _require_installed() -> None:
    """Raises SettingError if the app is missing, so that its models and checks are, too."""
    if apps.ready and not apps.is_installed("flagstaff"):
        raise SettingError('"flagstaff" is not in INSTALLED_APPS', "add it")


def _is_model(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(_installed_model(value))
    except (LookupError, ValueError):
        return False


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _are_attributes(value: Any) -> bool:
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list | tuple):
        return False
    objects = [entry for entry in entries if isinstance(entry, dict)]
    names = [entry for entry in entries if not isinstance(entry, dict)]
    return (
        # With a part before it, a column has the form of a path.
        all(isinstance(name, str) and is_path(f"user.{name}") for name in names)
        and sum("." in name for name in names) <= 1
        and all(map(_is_object_source, objects))
        and {"visitor", *BUILT_IN}.isdisjoint([*names, *(entry["name"] for entry in objects)])
    )


def _is_object_source(entry: dict[Any, Any]) -> bool:
    names = [text for member, text in entry.items() if member != "model"]
    return (
        {"name", "model"} <= entry.keys() <= {"name", "model", "label", "path"}
        and is_path(entry["model"])
        and all(isinstance(name, str) and name.isidentifier() for name in names)
    )


def _attributes(value: str | Sequence[str | Mapping[str, str]]) -> AttributeSources:
    entries = (value,) if isinstance(value, str) else value
    names = [entry for entry in entries if isinstance(entry, str)]
    sources = [dict(entry) for entry in entries if not isinstance(entry, str)]
    path = next((name for name in names if "." in name), None)
    columns = tuple(name for name in names if name != path)
    objects = {source.pop("name"): ObjectSource(**source) for source in sources}
    return AttributeSources(columns, path, objects)


def _is_release(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_RELEASE and is_storable(value)


def _release(value: str | None) -> str:
    """Returns the release in the settings, or the first one of the environment."""
    if value is not None:
        return value
    releases = (os.environ.get(name, "") for name in _RELEASE_VARIABLES)
    return next((release for release in releases if release and _is_release(release)), "")


def _is_environment(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value.keys() <= {"name", "color", "production"}:
        return False
    name, color = value.get("name"), value.get("color", "grey")
    is_shown = isinstance(name, str) and name.isprintable() and 0 < len(name.strip()) <= _MAX_NAME
    return is_shown and color in _COLORS and type(value.get("production", False)) is bool


#: The rules of APPROVAL, and from which `Consequence` on they ask.
APPROVAL_RULES = {"always": "NONE", "more": "MORE", "most": "MOST"}


class Conf:
    """The current settings, in the order of their reference page."""

    _database: Setting[str | None] = Setting(
        "The database of the flags; None for the one to which the router writes the flag model",
        None,
        "an alias in DATABASES, or None",
        lambda value: value in [None, *connections],
        fixed=True,
    )
    _report_database: Setting[str | None] = Setting(
        "The database of the primary, to which workers behind replication report; None for the one "
        "to which the router writes the flag model",
        None,
        "an alias in DATABASES, or None",
        lambda value: value in [None, *connections],
        fixed=True,
    )
    region: Setting[str] = Setting(
        "The region of the workers with these settings, if they are behind replication",
        "",
        f"a text of up to {_MAX_NAME} characters",
        lambda value: isinstance(value, str) and len(value) <= _MAX_NAME and is_storable(value),
        fixed=True,
    )
    regions: Setting[Sequence[str]] = Setting(
        "The regions without whose report a wait is not complete",
        (),
        'a list of regions, such as ["eu", "us"]',
        lambda value: (
            isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
        ),
    )
    flag_model = _model("The model of the flags", "flagstaff.FeatureFlag", "shop.Flag")
    value_model = _model("The model of the values", "flagstaff.KeyValueStore", "shop.Value")
    listen = _switch("Whether workers LISTEN for changes between polls", default=True, fixed=True)
    poll_interval = _seconds("Time between two polls of the tokens", 5.0, low=0.1, high=_HOUR)
    max_staleness = _seconds(
        "Time without a successful poll after which a worker is stale", 300.0, low=1, high=7 * _DAY
    )
    startup_timeout = _seconds(
        "Time that the first evaluation waits for the snapshot", 1.0, low=0, high=60, fixed=False
    )
    pool_size = _whole("Number of short connections of a process", 2, high=16, fixed=True)
    pool_idle = _seconds("Time until an idle short connection closes", 0.0, low=0, high=_HOUR)
    # Each flush writes to the database, so a worker has at most one in a second.
    usage_interval: Setting[float] = Setting(
        "Time between two flushes of usage; 0 turns usage off",
        60.0,
        f"0, or a number of seconds from 1 to {_HOUR:,}",
        lambda value: is_number(value, 0, 0) or is_number(value, 1, _HOUR),
        float,
        fixed=True,
    )
    measure_interval = _seconds(
        "Time between two flushes of what plans and experiments measure", 5.0, low=0.1, high=60
    )
    release: Setting[str] = Setting(
        "The build of the project that a worker runs, such as a commit: rollout plans start a step "
        "again for a new one. By default the first of the environment variables "
        + ", ".join(_RELEASE_VARIABLES),
        None,
        "a text of up to 200 characters",
        lambda value: value is None or _is_release(value),
        _release,
        fixed=True,
    )
    stale_days = _whole(
        "Time after which an unused flag is stale", 30, high=MAX_STALE_DAYS, unit=" of days"
    )
    history_days = _days("Age from which `run-jobs` deletes entries of the history")
    usage_days = _days("Age from which `run-jobs` deletes usage")
    exposure_days = _days("Time after an experiment when `run-jobs` deletes its exposures")
    metrics = _paths(
        "The metrics of experiments", 'name, such as {"orders": "shop.metrics.orders"}'
    )
    excluded_units = _paths(
        "Units that no report counts", 'unit, such as {"visitor": "shop.metrics.bots"}'
    )
    new_visitors_per_hour = _whole(
        "Number of new visitors that a worker records per hour for experiments",
        50_000,
        high=1_000_000_000,
        fixed=True,
    )
    unknown_key: Setting[UnknownKey] = Setting(
        "What an evaluation of an unknown key does, besides returning its default",
        "ignore",
        '"ignore", "warn" or "raise"',
        lambda value: value in ("ignore", "warn", "raise"),
    )
    allowed_keys: Setting[Collection[str]] = Setting(
        "Keys that code may use although it declares none of them: `check` does not report them",
        (),
        'a list of keys, such as ["new_checkout"]',
        lambda value: (
            isinstance(value, list | tuple | set) and all(isinstance(key, str) for key in value)
        ),
        frozenset,
    )
    attributes: Setting[AttributeSources] = Setting(
        "The attributes of users that rules can read",
        (),
        'a list of columns of the user model, such as ["country", "plan"], the path of one '
        'function (user, request), such as "shop.flags.attributes", and dicts such as '
        '{"name": "organizations", "model": "shop.Organization"}; '
        f"built in are {', '.join(BUILT_IN)} and visitor",
        _are_attributes,
        _attributes,
    )
    visitor_cookie: Setting[bool | str] = Setting(
        "Whether browsers may get the cookie of visitors",
        True,  # noqa: FBT003 (as in the other rows)
        'True, False, or the path of a function (request), such as "shop.consent.given"',
        lambda value: isinstance(value, bool) or is_path(value),
        returns="True or False",
    )
    visitor_cookie_name: Setting[str] = Setting(
        "The name of the cookie of visitors",
        "flagstaff_visitor",
        "the name of a cookie: letters, digits, and signs such as - and _",
        _matches(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"),
    )
    # Browsers keep no cookie for more than 400 days.
    visitor_cookie_age = _seconds(
        "Time for which the id of a visitor is valid",
        365 * _DAY,
        low=60,
        high=400 * _DAY,
        fixed=False,
    )
    visitor_cookie_domain: Setting[str | None] = Setting(
        "The domain of the cookie of visitors; None for the host of the response",
        None,
        'the domain of a cookie, such as ".shop.example", or None',
        _optional(_matches(r"[A-Za-z0-9.-]+")),
    )
    site_url = _site("For links in messages", "your site, such as https://shop.example")
    docs_url = _site(
        "For links in the admin; None for the documentation of the installed version",
        "a site with the documentation",
        packaged_documentation,
    )
    environment: Setting[Environment | None] = Setting(
        "The deployment that the admin names on its pages",
        None,
        'None, or a dict such as {"name": "Production", "color": "red", "production": True}; '
        f"colors: {', '.join(_COLORS)}; a name has at most {_MAX_NAME} characters",
        _optional(_is_environment),
        lambda value: value and Environment(**value),
    )
    require_reason = _switch("Whether changes in the admin and the terminal need a reason")
    require_actor = _switch("Whether changes in the terminal need `--as` or `--as-name`")
    approval: Setting[str | None] = Setting(
        "Which actions in the admin, and which with a time, need the approval of a second user",
        None,
        'None, "always", "more" (if users gain something), "most" (if afterwards more than half of '
        "the users have it), or the path of a function (action, rows, consequence), such as "
        '"shop.flags.needs_approval"',
        _optional(lambda value: value in APPROVAL_RULES or is_path(value)),
    )
    allow_force_on = _switch(
        "Whether FLAGSTAFF_FORCE_ON works without DEBUG, such as on a machine for reviews"
    )
    read_only = _switch("Whether the pages of the admin are read-only")

    @property
    def database(self) -> str:
        """The alias to write flags with, and to evaluate from without a snapshot.

        It is the alias to which the router writes the flag model. Where DATABASE is another alias
        of the same data (with a read-only role, or to a replica), the router's alias is returned.
        """
        if (other := _other_database.get()) is not None:
            return other
        named, written = self._database, router.db_for_write(self.flag_model)
        return written if named is None or is_same_database(written, named) else named

    @property
    def engine_database(self) -> str:
        """The alias that the engine connects with: DATABASE, or the router's alias for writes."""
        return self._database or router.db_for_write(self.flag_model)

    @property
    def report_database(self) -> str:
        """The alias of the primary: REPORT_DATABASE, or the router's alias for writes."""
        return self._report_database or router.db_for_write(self.flag_model)

    @property
    def names_report_database(self) -> bool:
        """Whether the settings name REPORT_DATABASE."""
        return self._report_database is not None

    def problems(self) -> list[SettingError]:
        """Returns all problems of the settings, for the system checks."""
        try:
            values = _project_settings()
        except SettingError as error:
            return [error]
        of_values = (setting.problems(values) for setting in all_settings().values())
        return [*_unknown_names(values), *chain.from_iterable(of_values)]

    def fixed(self) -> dict[str, object]:
        """Returns the settings that cannot change while the engine runs.

        Raises SettingError, also for an unknown name in FLAGSTAFF.
        """
        values = _project_settings()
        for problem in _unknown_names(values):
            raise problem
        return {name: setting.read(values) for name, setting in SETTINGS.items() if setting.fixed}


@contextmanager
def reading_from(alias: str) -> Iterator[None]:
    """Reads flags and their users from another database in the block, as to compare both."""
    token = _other_database.set(alias)
    try:
        yield
    finally:
        _other_database.reset(token)


#: The settings of flagstaff itself by their keys.
SETTINGS: dict[str, Setting[Any]] = {
    setting.name: setting for setting in vars(Conf).values() if isinstance(setting, Setting)
}


def all_settings() -> dict[str, Setting[Any]]:
    """Returns the settings by their keys, also those of the installed apps."""
    return SETTINGS | {setting.name: setting for of_app in OF_APPS for setting in of_app}


def _project_settings() -> Mapping[str, object]:
    values = getattr(settings, "FLAGSTAFF", {})
    # A page reads settings some 200 times, and the check of an abstract class is slow.
    if type(values) is not dict and not isinstance(values, Mapping):
        example = f'FLAGSTAFF = {{"POLL_INTERVAL": {SETTINGS["POLL_INTERVAL"].default}}}'
        problem = f"FLAGSTAFF is a {type(values).__name__}"
        raise SettingError(problem, f"write a dict such as {example}")
    return values


def _unknown_names(values: Mapping[str, object]) -> Iterator[SettingError]:
    known_settings = all_settings()
    for name in (name for name in values if name not in known_settings):
        similar = most_similar(str(name), known_settings)
        hint = f'did you mean "{similar}"?'
        if not similar:
            listed = ", ".join(known_settings)
            hint = (
                f"known settings: {listed}; an optional app adds its own if it is in INSTALLED_APPS"
            )
        yield SettingError(f"FLAGSTAFF has no setting {name!r}", hint)


# At import, too: without the app there is no check of it, but checks import the project's views.
_require_installed()
conf = Conf()
