"""Prints the role with which the engine of this process has connected."""

from __future__ import annotations

import json

from django.db import connection

from flagstaff import ready

assert ready(10)
with connection.cursor() as cursor:
    cursor.execute(
        "SELECT usename FROM pg_stat_activity "
        "WHERE application_name LIKE 'flagstaff %' AND datname = current_database()"
    )
    [[role]] = cursor.fetchall()
print(json.dumps(role))
