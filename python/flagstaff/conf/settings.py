"""A typed property for each setting of FLAGSTAFF, read from Django's settings at each use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from django.apps import apps
from django.conf import settings
from django.db import router
from django.db.models import Model

from flagstaff._connection.aliases import is_same_database
from flagstaff._words.similar import most_similar
from flagstaff.conf.attribute_sources import AttributeSources, sources_of
from flagstaff.conf.defaults import RULES
from flagstaff.conf.environment import Environment, environment_of
from flagstaff.conf.ofrep import OfrepSettings, settings_of
from flagstaff.conf.receivers import Receiver, receivers_of
from flagstaff.exceptions import ConfigurationError

UnknownKey = Literal["ignore", "warn", "raise"]


@dataclass(frozen=True)
class SettingProblem:
    """One problem of the settings, and how to fix it."""

    message: str
    hint: str
    unknown_name: bool = False

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


class Conf:
    """The current settings. Reading an invalid one raises ConfigurationError.

    The defaults are in `flagstaff.conf.defaults`.
    """

    @property
    def database(self) -> str:
        """The alias to write flags with, and to evaluate from without a snapshot.

        It is the alias to which the router writes the flag model. Where DATABASE is another alias
        of the same data (with a read-only role, or to a replica), the router's alias is returned.
        """
        named = cast("str | None", self._read("DATABASE"))
        written = router.db_for_write(self.flag_model)
        return written if named is None or is_same_database(written, named) else named

    @property
    def engine_database(self) -> str:
        """The alias that the engine connects with: DATABASE, or the router's alias for writes."""
        named = cast("str | None", self._read("DATABASE"))
        return named or router.db_for_write(self.flag_model)

    @property
    def flag_model(self) -> type[Model]:
        """The model of the flags."""
        return apps.get_model(self._read("FLAG_MODEL"))

    @property
    def value_model(self) -> type[Model]:
        """The model of the values."""
        return apps.get_model(self._read("VALUE_MODEL"))

    @property
    def listen(self) -> bool:
        """Whether workers LISTEN for changes between polls."""
        return cast("bool", self._read("LISTEN"))

    @property
    def poll_interval(self) -> float:
        """Seconds between two polls of the change tokens."""
        return float(self._read("POLL_INTERVAL"))

    @property
    def max_staleness(self) -> float:
        """Seconds without a successful poll after which status() reports `stale`."""
        return float(self._read("MAX_STALENESS"))

    @property
    def startup_timeout(self) -> float:
        """Seconds that the first evaluation of a process waits for the snapshot."""
        return float(self._read("STARTUP_TIMEOUT"))

    @property
    def pool_size(self) -> int:
        """The maximum number of short connections of a process."""
        return cast("int", self._read("POOL_SIZE"))

    @property
    def pool_idle(self) -> float:
        """Seconds that a short connection is kept for the next report; 0 keeps none."""
        return float(self._read("POOL_IDLE"))

    @property
    def usage_interval(self) -> float:
        """Seconds between two flushes of usage; 0 turns usage off."""
        return float(self._read("USAGE_INTERVAL"))

    @property
    def measure_interval(self) -> float:
        """Seconds between two flushes of what rollout plans measure."""
        return float(self._read("MEASURE_INTERVAL"))

    @property
    def client_address(self) -> str | None:
        """The path of a function that returns the address of a client, for rollout plans."""
        return cast("str | None", self._read("CLIENT_ADDRESS"))

    @property
    def stale_days(self) -> int:
        """The number of days after which a flag without a change or an evaluation is stale."""
        return cast("int", self._read("STALE_DAYS"))

    @property
    def history_days(self) -> int | None:
        """The age in days from which `run-jobs` deletes entries of the history; None: never."""
        return cast("int | None", self._read("HISTORY_DAYS"))

    @property
    def usage_days(self) -> int | None:
        """The age in days from which `run-jobs` deletes usage; None: never."""
        return cast("int | None", self._read("USAGE_DAYS"))

    @property
    def exposure_days(self) -> int | None:
        """The days after the end of an experiment when its exposures are deleted; None: never."""
        return cast("int | None", self._read("EXPOSURE_DAYS"))

    @property
    def metrics(self) -> Mapping[str, str]:
        """The dotted paths of the metrics of experiments, by name."""
        return cast("Mapping[str, str]", self._read("METRICS"))

    @property
    def excluded_units(self) -> Mapping[str, str]:
        """The dotted paths of queries of units that no experiment analyses, by unit."""
        return cast("Mapping[str, str]", self._read("EXCLUDED_UNITS"))

    @property
    def is_crawler(self) -> str | None:
        """The path of the function that names requests of crawlers; None without one."""
        return cast("str | None", self._read("IS_CRAWLER"))

    @property
    def new_visitors_per_hour(self) -> int:
        """The number of new visitors that a worker records per hour for experiments."""
        return cast("int", self._read("NEW_VISITORS_PER_HOUR"))

    @property
    def unknown_key(self) -> UnknownKey:
        """What an evaluation of an unknown key does, besides returning its default."""
        return cast("UnknownKey", self._read("UNKNOWN_KEY"))

    @property
    def attributes(self) -> AttributeSources:
        """Where rules read attributes of the user that are not built in."""
        return sources_of(self._read("ATTRIBUTES"))

    @property
    def visitor_cookie(self) -> bool | str:
        """Whether browsers may have the visitor's cookie, or the path of a function of consent."""
        return cast("bool | str", self._read("VISITOR_COOKIE"))

    @property
    def visitor_cookie_name(self) -> str:
        """The name of the visitor's cookie."""
        return cast("str", self._read("VISITOR_COOKIE_NAME"))

    @property
    def visitor_cookie_age(self) -> int:
        """Seconds for which a visitor's id is valid."""
        return cast("int", self._read("VISITOR_COOKIE_AGE"))

    @property
    def visitor_cookie_domain(self) -> str | None:
        """The domain of the visitor's cookie; None for the host of the response."""
        return cast("str | None", self._read("VISITOR_COOKIE_DOMAIN"))

    @property
    def webhooks(self) -> tuple[Receiver, ...]:
        """The receivers of webhooks."""
        return receivers_of(self._read("WEBHOOKS"))

    @property
    def site_url(self) -> str | None:
        """The URL of this site, for links in messages; None omits them."""
        return cast("str | None", self._read("SITE_URL"))

    @property
    def docs_url(self) -> str | None:
        """The URL of a site with the documentation, for links in the admin; None omits them."""
        return cast("str | None", self._read("DOCS_URL"))

    @property
    def environment(self) -> Environment | None:
        """The name of this deployment, for the admin; None shows none."""
        return environment_of(self._read("ENVIRONMENT"))

    @property
    def is_production(self) -> bool:
        """Whether ENVIRONMENT says that this deployment is production."""
        environment = self.environment
        return environment is not None and environment.production

    @property
    def require_reason(self) -> bool:
        """Whether changes in the admin and the terminal need a reason."""
        return cast("bool", self._read("REQUIRE_REASON"))

    @property
    def read_only(self) -> bool:
        """Whether the pages of the admin are read-only."""
        return cast("bool", self._read("READ_ONLY"))

    @property
    def ofrep(self) -> OfrepSettings:
        """The keys of services, what browsers may set, and the limit of requests."""
        return settings_of(self._read("OFREP"))

    @property
    def waffle(self) -> Mapping[str, Any]:
        """The settings of the app flagstaff.contrib.waffle, which checks them."""
        return cast("Mapping[str, Any]", self._read("WAFFLE"))

    def problems(self) -> list[SettingProblem]:
        """Returns all problems of the settings, for the system checks."""
        given = self._given()
        if not isinstance(given, Mapping):
            return [_not_a_dict(given)]
        unknown = [_unknown(name) for name in given if name not in RULES]
        invalid = [
            _invalid(name, given[name])
            for name, rule in RULES.items()
            if name in given and not rule.accepts(given[name])
        ]
        return unknown + invalid

    def fixed(self) -> dict[str, object]:
        """Returns the settings that cannot change while the engine runs."""
        return {name: self._read(name) for name, rule in RULES.items() if rule.fixed}

    def _read(self, name: str) -> Any:
        given = self._given()
        if not isinstance(given, Mapping):
            raise ConfigurationError(str(_not_a_dict(given)))
        for other in given:
            if other not in RULES:
                raise ConfigurationError(str(_unknown(other)))
        rule = RULES[name]
        value = given.get(name, rule.default)
        if not rule.accepts(value):
            raise ConfigurationError(str(_invalid(name, value)))
        return value

    def _given(self) -> object:
        return getattr(settings, "FLAGSTAFF", {})


def _not_a_dict(given: object) -> SettingProblem:
    return SettingProblem(
        f"FLAGSTAFF is a {type(given).__name__}",
        f'write a dict such as FLAGSTAFF = {{"POLL_INTERVAL": {RULES["POLL_INTERVAL"].default}}}',
    )


def _unknown(name: object) -> SettingProblem:
    similar = most_similar(str(name), RULES, 0.5)
    hint = f'did you mean "{similar}"?' if similar else f"known settings: {', '.join(RULES)}"
    return SettingProblem(f"FLAGSTAFF has no setting {name!r}", hint, unknown_name=True)


def _invalid(name: str, value: object) -> SettingProblem:
    rule = RULES[name]
    problem = rule.problem_of and rule.problem_of(value)
    if problem:
        return SettingProblem(f'FLAGSTAFF["{name}"]{problem[0]}', problem[1])
    return SettingProblem(f'FLAGSTAFF["{name}"] is {value!r}', f"expected {rule.expected}")


conf = Conf()
