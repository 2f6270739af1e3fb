"""The system checks. Each function reports one problem, with a hint how to fix it."""

from __future__ import annotations

from flagstaff.checks.connection import (
    check_connection_parameters,
    check_database_is_the_written_one,
    check_database_vendor,
)
from flagstaff.checks.database import check_database
from flagstaff.checks.models import (
    check_allowed_users,
    check_field_tables,
    check_field_types,
    check_fields,
    check_fields_are_not_null,
    check_key_is_unique,
    check_secret_column,
)
from flagstaff.checks.settings import (
    check_forced_off_keys,
    check_named_objects_exist,
    check_setting_names,
    check_setting_values,
    check_webhooks_are_signed,
)
from flagstaff.checks.tenants import check_flags_are_shared, check_users_are_shared

__all__ = ["DATABASE_CHECKS", "STATIC_CHECKS"]

#: Run with every command. They do not connect.
STATIC_CHECKS = (
    check_setting_names,
    check_setting_values,
    check_forced_off_keys,
    check_named_objects_exist,
    check_connection_parameters,
    check_database_is_the_written_one,
    check_fields,
    check_field_types,
    check_allowed_users,
    check_fields_are_not_null,
    check_key_is_unique,
    check_field_tables,
    check_secret_column,
    check_webhooks_are_signed,
    check_flags_are_shared,
    check_users_are_shared,
)

#: Run with `migrate` and `check --database`.
DATABASE_CHECKS = (check_database_vendor, check_database)
