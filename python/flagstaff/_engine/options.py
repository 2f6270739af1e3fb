"""What the extension needs to start the engine, read from the settings."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from django.db import connections

from flagstaff._connection import connection_parameters
from flagstaff._core import check_parameters
from flagstaff._tables.database import engine_names
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError


@dataclass(frozen=True)
class EngineOptions:
    """How the engine connects and refreshes. Times are in seconds."""

    #: Connection parameters by their libpq name.
    parameters: dict[str, str]
    #: Quoted names of tables and columns.
    names: dict[str, str]
    listen: bool
    poll_interval: float
    pool_size: int
    pool_idle: float
    max_staleness: float
    usage_interval: float
    measure_interval: float
    new_visitors_per_hour: int
    host: str
    #: The build of the project, empty without one.
    release: str
    #: How the primary is reached, if its alias is another one; used behind replication.
    report_parameters: dict[str, str] | None = None
    region: str = ""


@dataclass(frozen=True)
class StartOptions:
    """Everything that the extension needs to start, read once per process."""

    startup_timeout: float
    report_unknown: bool
    #: None if the process evaluates directly.
    engine: EngineOptions | None


def engine_options() -> EngineOptions:
    """Returns the options of the engine. Raises ConfigurationError if settings are not valid."""
    connection = connections[conf.engine_database]
    return EngineOptions(
        parameters=connection_parameters(connection),
        names=engine_names(connection),
        listen=conf.listen,
        poll_interval=conf.poll_interval,
        pool_size=conf.pool_size,
        pool_idle=conf.pool_idle,
        max_staleness=conf.max_staleness,
        usage_interval=conf.usage_interval,
        measure_interval=conf.measure_interval,
        new_visitors_per_hour=conf.new_visitors_per_hour,
        host=socket.gethostname(),
        release=conf.release,
        report_parameters=report_parameters(),
        region=conf.region,
    )


def report_parameters() -> dict[str, str] | None:
    """Returns how workers behind replication reach the primary; None if the alias is the engine's.

    Without REPORT_DATABASE also None if the engine cannot use the parameters of the router's alias.
    Raises ConfigurationError if it cannot use those of REPORT_DATABASE.
    """
    alias = conf.report_database
    if alias == conf.engine_database:
        return None
    try:
        parameters = connection_parameters(connections[alias])
        check_parameters(parameters)
    except ConfigurationError:
        if conf.names_report_database:
            raise
        return None
    return parameters
