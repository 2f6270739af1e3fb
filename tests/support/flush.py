"""Empties the tables after a test that has committed its rows.

Django truncates all tables, which takes 50 ms and fires flagstaff's triggers: the history then
holds a deletion of everything. Here a superuser deletes the rows without triggers, in 2 ms. The
rows of `migrate` (content types and permissions) stay, so no test has to create them again. On
SQLite, and for other roles, Django flushes.

Django also closes the connections. A new backend reads the catalogue again, which takes 10 ms, so
here they stay open, as after the other tests, without the state of the session.
"""

from functools import cache

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TransactionTestCase

_OF_MIGRATE = {"auth_permission", "django_content_type"}
# Not managed, so that `flush` keeps them. A test would find the entries of others, and a flag that
# another test has evaluated is in use: its deletion asks for more.
_NOT_MANAGED = {"flagstaff_change", "flagstaff_usage"}

_DELETE = """
DO $flush$
DECLARE
    flushed text;
BEGIN
    PERFORM pg_catalog.set_config('session_replication_role', 'replica', true);
    -- A sender in this process writes its row of reports first, then what it counted. Without the
    -- lock it would hold the one and wait for the other, which are deleted here in another order.
    IF pg_catalog.to_regclass('flagstaff_report') IS NOT NULL THEN
        LOCK TABLE flagstaff_report IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    FOREACH flushed IN ARRAY '{tables}'::text[] LOOP
        IF pg_catalog.to_regclass(flushed) IS NOT NULL THEN
            EXECUTE 'DELETE FROM ' || flushed;
        END IF;
    END LOOP;
    -- A test of the status would find what the history lacks because of others.
    IF pg_catalog.to_regclass('flagstaff_token') IS NOT NULL THEN
        DELETE FROM flagstaff_token WHERE entry_missing;
    END IF;
    -- A plan, an experiment or a wait of another test would wait for its workers.
    IF pg_catalog.to_regclass('flagstaff_report') IS NOT NULL THEN
        DELETE FROM flagstaff_report WHERE report <> 'usage';
    END IF;
    IF pg_catalog.to_regclass('flagstaff_worker') IS NOT NULL THEN
        DELETE FROM flagstaff_worker;
    END IF;
END
$flush$
"""


def install(patch: pytest.MonkeyPatch) -> None:
    """Makes Django's transactional tests delete their rows in this way."""
    patch.setattr(TransactionTestCase, "_fixture_teardown", _tear_down)
    patch.setattr(TransactionTestCase, "_should_reload_connections", lambda test: False)


def _tear_down(test: TransactionTestCase) -> None:
    own = test._databases_names(include_mirrors=False)  # type: ignore[attr-defined]
    for alias in own:
        _flush(alias)
    for connection in connections.all(initialized_only=True):
        if connection.alias not in own or not _reset(connection):
            connection.close()


def _flush(alias: str) -> None:
    connection = connections[alias]
    statement = _statement(alias, connection.settings_dict["NAME"])
    if statement is None:
        call_command(
            "flush",
            verbosity=0,
            interactive=False,
            database=alias,
            allow_cascade=True,
            # As Django does: the keys below the first one are those that tests give.
            reset_sequences=False,
        )
        return
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _reset(connection: BaseDatabaseWrapper) -> bool:
    """Makes a session like a new one. Returns False if the connection must be closed."""
    if connection.vendor != "postgresql" or not connection.get_autocommit():
        return False
    with connection.cursor() as cursor:
        cursor.execute("DISCARD ALL")
    connection.init_connection_state()
    return True


@cache
def _statement(alias: str, _database: str) -> str | None:
    """Returns the statement for the tables of all models; None: Django flushes."""
    connection = connections[alias]
    if connection.vendor != "postgresql" or not _is_superuser(alias):
        return None
    # Also those that do not exist now, or whose models the settings of one test use.
    models = apps.get_models(include_auto_created=True, include_swapped=True)
    managed = {model._meta.db_table for model in models if model._meta.managed}
    names = sorted(_NOT_MANAGED | managed - _OF_MIGRATE)
    quoted = [connection.ops.quote_name(name) for name in names]
    listed = ",".join('"{}"'.format(name.replace('"', r"\"")) for name in quoted)
    return _DELETE.format(tables="{" + listed + "}")


def _is_superuser(alias: str) -> bool:
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW is_superuser")
        return bool(cursor.fetchone() == ("on",))
