"""The texts about connections, for terminals, pages and checks."""

from __future__ import annotations

from flagstaff._words.message import Message, Template
from flagstaff._words.message import marked as _
from flagstaff._workers.connection_limits import ConnectionLimit, ConnectionUse

_LINE = Template(
    "connections",
    _(
        "%(used)s of %(slots)s connections: %(workers)s of workers, %(django)s of Django, "
        "%(others)s of others."
    ),
)
_LINE_OF = Template(
    "connections_of",
    _(
        "%(used)s of %(slots)s connections (%(where)s): %(workers)s of workers, %(django)s of "
        "Django, %(others)s of others."
    ),
)
_TOO_FEW = Template(
    "connections_too_few",
    _(
        "%(needed)s connections are needed, but %(where)s allows %(slots)s: workers have "
        "%(workers)s, Django needs %(django)s (%(per_worker)s for each worker), others have "
        "%(others)s."
    ),
)
_ALL_USED = Template(
    "connections_all_used",
    _(
        "0 connections are left of the %(slots)s that %(where)s allows: workers have %(workers)s, "
        "Django has %(django)s, others have %(others)s."
    ),
)
_ADVICE = Template(
    "connections_advice",
    _(
        "%(setting)s must be at least %(minimum)s. Otherwise connect Django through PgBouncer, or "
        "the workers (DATABASE of FLAGSTAFF), or run fewer workers."
    ),
)
_SETTING_OF = Template("connection_limit_of", _("CONNECTION LIMIT of %(where)s"))
_WHERE = {
    "server": Template("connections_of_server", _("the server")),
    "role": Template("connections_of_role", _("role %(name)s")),
    "database": Template("connections_of_database", _("database %(name)s")),
}


def connections_texts(use: ConnectionUse) -> list[Message]:
    """Returns the counts and, if there are too few connections, the problem and the advice."""
    problem = connections_problem(use)
    return [connections_line(use), *([problem, connections_advice(use)] if problem else ())]


def connections_line(use: ConnectionUse) -> Message:
    """Returns how many connections workers, Django and others have open."""
    limit = use.limit
    template = _LINE if limit.kind == "server" else _LINE_OF
    return template(**_counts(limit), used=limit.used, django=limit.django)


def connections_problem(use: ConnectionUse) -> Message | None:
    """Returns which limit is or will be exceeded; None if there are enough connections."""
    if use.fits:
        return None
    counts = _counts(use.limit)
    if use.needed == use.limit.used:
        return _ALL_USED(**counts, django=use.django)
    return _TOO_FEW(**counts, needed=use.needed, django=use.django, per_worker=use.per_worker)


def connections_advice(use: ConnectionUse) -> Message:
    """Returns what to change if there are too few connections."""
    limit = use.limit
    setting = "max_connections" if limit.kind == "server" else _SETTING_OF(where=_where(limit))
    # As text: a setting has no thousand separators.
    return _ADVICE(setting=setting, minimum=str(limit.setting + max(1, -use.room)))


def _counts(limit: ConnectionLimit) -> dict[str, str | int]:
    return {
        "where": _where(limit),
        "slots": limit.slots,
        "workers": limit.workers,
        "others": limit.others,
    }


def _where(limit: ConnectionLimit) -> Message:
    return _WHERE[limit.kind](name=limit.name)
