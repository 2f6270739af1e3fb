"""The functions of this package that the extension calls; `src/python/hooks.rs` has their types.

The extension imports this module at the first call, so that `import flagstaff` imports neither
Django nor the settings. A `call` and a `snapshot` among the arguments of a function are the context
of the call and that of its snapshot.
"""

from __future__ import annotations

from types import SimpleNamespace

from flagstaff import _core, listeners
from flagstaff._engine import attributes, direct, lifecycle, user_keys
from flagstaff._request import context, user

HOOKS = SimpleNamespace(
    # The life of the process.
    read_options=lifecycle.read_options,
    wait_for_first_load=lifecycle.wait_for_first_load,
    log_late_start=lifecycle.log_late_start,
    after_fork=lifecycle.after_fork,
    run_maintenance=lifecycle.run_maintenance,
    # Results.
    report_unknown_key=lifecycle.report_unknown_key,
    notify=listeners.notify,
    reads_own_writes=direct.reads_own_writes,
    # Direct mode. They raise NotReadyError if the database cannot be queried.
    kept_snapshots=direct.kept_snapshots,
    read_all=direct.read_all,
    read_groups=direct.read_groups,
    # The request.
    request_context=context.RequestContext,
    visitor_of=context.visitor_of,
    visitor_has_returned=context.visitor_has_returned,
    is_crawler=context.is_crawler,
    origin_of=context.origin_of,
    # The attributes that rules read.
    classify=user_keys.classify,
    read_attribute_settings=attributes.read_settings,
    computed_attributes=context.computed_attributes,
    is_deferred=attributes.is_deferred,
    plain_value=attributes.plain_value,
    microseconds=attributes.microseconds,
    utc_of=attributes.utc_of,
    note_evaluation=context.note_evaluation,
    # What keeps them, or the user, from being read.
    load_lazy_user=user.load_lazy_user,
    is_database_error=user.is_database_error,
    report_database_error=user.report_database_error,
    report_needed_user=user_keys.report_needed_user,
    report_missing_user=user_keys.report_missing_user,
    check_text_key=user_keys.check_text_key,
    report_reserved_name=attributes.report_reserved_name,
    report_unreadable=attributes.report_unreadable,
    report_unreadable_context=attributes.report_unreadable_context,
)
_core.install(HOOKS)
