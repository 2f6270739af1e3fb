"""Whether the connections that workers and Django need fit into the limits of the server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection.aliases import server_address
from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.names import sql
from flagstaff._workers.sessions import is_pooled

# The connections that a pool of psycopg opens without another number.
_POOL_SIZE = 4


class ConnectionLimit(NamedTuple):
    """A limit on connections, and the connections that count against it now."""

    #: server, role or database.
    kind: str
    #: The name of the role or the database.
    name: str
    #: max_connections, or the CONNECTION LIMIT.
    setting: int
    #: The connections that only superusers and roles with a privilege may open.
    reserved: int
    workers: int
    django: int
    others: int

    @property
    def slots(self) -> int:
        """The connections that the limit allows."""
        return self.setting - self.reserved

    @property
    def used(self) -> int:
        """The connections that are open."""
        return self.workers + self.django + self.others


@dataclass(frozen=True)
class ConnectionUse:
    """A limit on connections, and what Django needs."""

    limit: ConnectionLimit
    #: The connections that Django needs in each worker; 0 if that is not known.
    per_worker: int
    #: The connections that Django needs in all workers: at least those that it has.
    django: int

    @property
    def needed(self) -> int:
        """The connections of workers, Django and others."""
        return self.limit.workers + self.django + self.limit.others

    @property
    def is_full(self) -> bool:
        """Whether the next connection is refused."""
        return self.limit.used >= self.limit.slots

    @property
    def fits(self) -> bool:
        """Whether no connection is refused."""
        return self.needed <= self.limit.slots and not self.is_full

    @property
    def room(self) -> int:
        """The connections that are left if Django has all that it needs."""
        return self.limit.slots - self.needed


def tightest(
    limits: Iterable[ConnectionLimit], workers: int, per_worker: int
) -> ConnectionUse | None:
    """Returns the limit with the least room for Django in this number of workers.

    Returns None without a limit.
    """
    uses = [
        ConnectionUse(limit, per_worker, max(limit.django, workers * per_worker))
        for limit in limits
    ]
    return min(uses, key=lambda use: use.room, default=None)


def connection_use(connection: BaseDatabaseWrapper, workers: int) -> ConnectionUse | None:
    """Returns the limit of this connection's server with the least room. Makes a query.

    `workers` is the number of processes that evaluate flags. Returns None if the server's limits
    cannot be read.
    """
    if not is_postgresql(connection):
        return None
    aliases = [alias for alias in connections if _is_same_server(alias, connection.alias)]
    settings = [connections[alias].settings_dict for alias in aliases]
    own = [[one[name] or None for one in settings] for name in ("NAME", "USER")]
    try:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute(sql("connection_limits_v1"), own)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
    except Error:
        return None
    # Requests use the default alias. Elsewhere, what they need of the role is not known.
    has_requests = DEFAULT_DB_ALIAS in aliases and not is_pooled(connection, rows[0][-1])
    options = connections[DEFAULT_DB_ALIAS].settings_dict["OPTIONS"]
    per_worker = pool_size(options.get("pool")) if has_requests else 0
    limits = [ConnectionLimit(*limit) for *limit, _session in rows]
    if connection.alias != DEFAULT_DB_ALIAS:
        limits = [limit for limit in limits if limit.kind == "server"]
    return tightest(limits, workers, per_worker)


def _is_same_server(one: str, other: str) -> bool:
    """Returns True if DATABASES has the same address for both aliases."""
    first, second = connections[one], connections[other]
    return is_postgresql(first) and server_address(first) == server_address(second)


def pool_size(pool: object) -> int:
    """Returns how many connections a pool opens, as in OPTIONS; 1 without a pool.

    Without a pool, each thread opens one, but the number of threads is not known.
    """
    if not pool:
        return 1
    sizes = pool if isinstance(pool, dict) else {}
    return int(sizes.get("max_size") or sizes.get("min_size") or _POOL_SIZE)
