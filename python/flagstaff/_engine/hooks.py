"""The functions of this package that the extension calls, and what they pass to it.

`lifecycle` installs them. The extension imports it at the first call, so that `import flagstaff`
imports neither Django nor the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


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


@dataclass(frozen=True)
class StartOptions:
    """Everything that the extension needs to start, read once per process."""

    startup_timeout: float
    report_unknown: bool
    #: None if the process evaluates directly.
    engine: EngineOptions | None


@dataclass(frozen=True)
class Hooks:
    """What the extension calls.

    `call` and `snapshot` are the context of a call and that of its snapshot.
    """

    # The life of the process.
    read_options: Callable[[bool], StartOptions | None]
    #: Blocks for at most so many seconds.
    wait_for_first_load: Callable[[float], None]
    log_late_start: Callable[[], None]
    after_fork: Callable[[], None]
    run_maintenance: Callable[[], None]

    # Results.
    report_unknown_key: Callable[[str, Literal["flag", "value", "experiment"]], None]
    #: Arguments: the kind, the key and the resolution.
    notify: Callable[[Literal["flag", "value", "variant"], str, Any], None]
    reads_own_writes: Callable[[], bool]

    # Direct mode. They raise NotReadyError if the database cannot be queried.
    kept_snapshots: Callable[[], dict[str | None, object]]
    read_all: Callable[[str | None], tuple[object, ...]]
    read_groups: Callable[[list[str] | None], list[tuple[str, list[str]]] | None]

    # The request: arguments `call` and `snapshot`.
    request_context: type[dict[str, object]]
    visitor_of: Callable[[object, object, bool], str | None]
    visitor_has_returned: Callable[[object, object], bool | None]
    is_crawler: Callable[[object, object], bool | None]
    origin_of: Callable[[Any], tuple[bytes | None, int | None]]

    # The attributes that rules read.
    classify: Callable[[object], tuple[str, str]]
    read_attribute_settings: Callable[[], tuple[dict[str, str], bool]]
    #: Arguments: the user, `call` and `snapshot`.
    computed_attributes: Callable[[object, object, object], dict[str, object] | None]
    is_deferred: Callable[[object, str], bool]
    plain_value: Callable[[object], object]
    microseconds: Callable[[datetime], int]
    utc_of: Callable[[int], int]
    note_evaluation: Callable[[], None]

    # What keeps them, or the user, from being read.
    load_lazy_user: Callable[[object], None]
    is_database_error: Callable[[BaseException], bool]
    report_database_error: Callable[[Exception], bool]
    report_needed_user: Callable[[str], None]
    report_missing_user: Callable[[str], None]
    check_text_key: Callable[[str], bool]
    report_reserved_name: Callable[[str], None]
    report_no_unit: Callable[[str], None]
    report_unreadable: Callable[[str, Exception], None]
    report_unreadable_context: Callable[[Exception], None]
