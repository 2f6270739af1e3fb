"""The system checks: a function for each, which says what is wrong and what mends it."""

from __future__ import annotations

from flagstaff.checks.connection import (
    check_connection_options,
    check_database_is_written_to,
    check_database_vendor,
)
from flagstaff.checks.database import check_database
from flagstaff.checks.models import (
    check_allowed_users,
    check_field_tables,
    check_field_types,
    check_fields,
    check_key_is_unique,
    check_nothing_is_null,
    check_secret_is_seen,
)
from flagstaff.checks.settings import (
    check_messages_are_signed,
    check_setting_names,
    check_setting_values,
)

__all__ = ["OF_DATABASE", "OF_SETTINGS"]

#: They run with every command, and connect nowhere.
OF_SETTINGS = (
    check_setting_names,
    check_setting_values,
    check_connection_options,
    check_database_is_written_to,
    check_fields,
    check_field_types,
    check_allowed_users,
    check_nothing_is_null,
    check_key_is_unique,
    check_field_tables,
    check_secret_is_seen,
    check_messages_are_signed,
)

#: They run with `migrate` and `check --database`.
OF_DATABASE = (check_database_vendor, check_database)
