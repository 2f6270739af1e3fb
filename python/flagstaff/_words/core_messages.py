"""The messages of Rust. Its `texts.rs` and src/stored_value.rs have the same texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from flagstaff._core import message_templates
from flagstaff._words.message import Message, Template, Value
from flagstaff._words.message import marked as _

#: The code of a message of Rust, and its values.
CoreMessage: TypeAlias = "tuple[str, Mapping[str, CoreValue]]"
CoreValue: TypeAlias = "str | int | CoreMessage | list[CoreMessage]"

#: Rules and conditions with a problem.
IN_PLACES: Final = Template("rules_problem", _("%(places)s: %(problem)s"))
RULE_PLACE: Final = Template("rule_place", _("rule %(number)s"))
NAMED_RULE_PLACE: Final = Template("named_rule_place", _("rule %(number)s (%(name)s)"))
#: An impact that nobody knows.
NOT_COUNTED: Final = Template("users_not_counted", _("the users cannot be counted: %(why)s"))
_TEMPLATES: Final = {
    template.code: template
    for template in (
        # Places.
        IN_PLACES,
        RULE_PLACE,
        NAMED_RULE_PLACE,
        Template("condition_place", _("condition %(number)s")),
        Template("value_place", _("value %(number)s")),
        # What is wrong with the JSON text.
        Template("rules_not_json", _("this is not valid JSON: %(error)s")),
        Template(
            "rules_too_large",
            _(
                "the JSON text has more than 256 KiB; use fewer rules, and groups or attributes "
                "instead of long lists of values"
            ),
        ),
        Template(
            "rules_wrong_escape",
            _("a text has an escape that is not a Unicode character; remove it"),
        ),
        Template(
            "rules_nul",
            _("a text has the character U+0000, which PostgreSQL cannot store; remove it"),
        ),
        # What is wrong with its structure.
        Template("rules_wrong_kind", _("%(what)s must be %(expected)s, not %(kind)s")),
        Template("rules_wrong_length", _("%(what)s must have 1 to %(limit)s characters")),
        Template(
            "rules_unknown_member",
            _("the member %(name)s is not known to this version; use %(known)s"),
        ),
        Template("rules_duplicate_member", _("the member %(name)s is given twice; remove one")),
        Template("rules_missing_member", _("the member %(name)s is missing; add it")),
        Template(
            "too_many_rules",
            _(
                "%(count)s rules are too many; use at most %(limit)s, and join rules that differ "
                "only in their values"
            ),
        ),
        Template(
            "too_many_conditions",
            _(
                "%(count)s conditions are too many; use at most %(limit)s, and put the others into "
                "a segment of their own"
            ),
        ),
        Template(
            "too_many_values",
            _(
                "%(count)s values are too many; use at most %(limit)s, or test a group or a column "
                "that ATTRIBUTES names, or use allowed users"
            ),
        ),
        Template("too_many_patterns", _("more than %(limit)s patterns in all; join some with |")),
        Template(
            "no_conditions",
            _("there are no conditions, which would include everyone; add at least one"),
        ),
        Template(
            "no_conditions_of_value",
            _(
                "there are no conditions, which only the last rule may lack, with a percentage "
                "from 1 to 99; add one, or change the value itself"
            ),
        ),
        Template("rule_null_result", _('"value" must not be null; write a value, such as 25')),
        Template("rule_wrong_result", _('"value" %(problem)s')),
        Template("no_values", _("there are no values; add at least one")),
        Template(
            "segment_and_member",
            _('a condition has either "segment" or %(other)s; remove one of them'),
        ),
        Template(
            "nested_segment",
            _("a segment cannot name a segment; add the conditions of that segment here"),
        ),
        # What is wrong with a value.
        Template("rule_wrong_percent", _('"rollout_percent" must be a whole number from 0 to 100')),
        Template(
            "unknown_operator",
            _("the operator %(operator)s is not known to this version; use %(known)s"),
        ),
        Template(
            "condition_text_too_long",
            _(
                "the text has more than %(limit)s characters; shorten it, or test a part of it "
                'with "contains"'
            ),
        ),
        Template(
            "condition_number_too_long", _("the number has more than %(limit)s digits; shorten it")
        ),
        Template(
            "condition_exponent_too_large",
            _("the exponent of the number is out of range; write a smaller number"),
        ),
        Template(
            "not_a_version", _('the text is not a version; write it like "1.2.3" or "2.0.0-beta.1"')
        ),
        Template("wrong_isnull", _('the operator "isnull" has one value, true or false')),
        Template(
            "pattern_too_long",
            _(
                "the pattern has more than %(limit)s characters; write its alternatives as "
                "several values"
            ),
        ),
        Template(
            "pattern_too_big",
            _("the pattern is too big; use smaller repetitions and fewer classes such as \\w"),
        ),
        Template("wrong_pattern", _("the pattern is not valid: %(reason)s")),
        # Parts of these sentences.
        Template("part_the_rules", _("the rules")),
        Template("part_the_conditions", _("the conditions")),
        Template("part_a_rule", _("a rule")),
        Template("part_a_condition", _("a condition")),
        Template("part_the_value", _("the value")),
        Template("kind_null", _("null")),
        Template("kind_bool", _("a bool")),
        Template("kind_number", _("a number")),
        Template("kind_text", _("a text")),
        Template("kind_list", _("a list")),
        Template("kind_object", _("an object")),
        Template("kind_true_or_false", _("true or false")),
        Template("kind_number_or_text", _("a number or a text")),
        Template("kind_scalar", _("a bool, a number or a text")),
        # Columns, whose text is stored.
        Template("column_null", _("its %(column)s is NULL")),
        Template("column_not_unique", _("several rows have this key")),
        Template("column_undecodable", _("its %(column)s cannot be decoded as UTF-8")),
        Template("column_of_unreadable_json", _("its %(column)s %(problem)s")),
        Template(
            "column_malformed",
            _("its %(column)s cannot be read; save it in the admin, or with manage.py"),
        ),
        Template(
            "column_too_large",
            _(
                "its %(column)s is over 1 MiB, or all of them are over 64 MiB; shorten it, or keep "
                "large data in a table of your own"
            ),
        ),
        Template(
            "column_of_large_rules",
            _(
                "its JSON text is over 256 KiB, the limit; use fewer rules, and groups or "
                "attributes instead of long lists of values"
            ),
        ),
        Template(
            "column_of_large_rows",
            _(
                "the JSON texts of all rows are over %(limit)s MiB, and it is one of the largest; "
                "use groups, attributes or segments instead of long lists of values"
            ),
        ),
        Template(
            "column_of_many_patterns",
            _(
                "all rules and segments have over 1,000 regular expressions; use other operators, "
                "or share a segment"
            ),
        ),
        Template("column_json_text", _("JSON text")),
        Template("json_too_many_digits", _("has a number of more than 4,300 digits")),
        Template("json_too_deep", _("is nested deeper than 500 levels")),
        # Rows.
        Template("row_set_aside", _("%(row)s is set aside: %(problem)s")),
        Template(
            "unreadable_rules",
            _("the rules of %(row)s cannot be read, so %(effect)s: %(problem)s"),
        ),
        Template(
            "unreadable_conditions",
            _("the conditions of segment %(key)s cannot be read, so %(effect)s: %(problem)s"),
        ),
        Template(
            "unreadable_groups",
            _("the members of groups cannot be read, so %(effect)s: %(problem)s"),
        ),
        Template(
            "unreadable_latency_limits",
            _(
                "the latency limits of the rollout plan for flag %(key)s cannot be read, so its "
                "latency guards measure nothing: delete the plan and create it again"
            ),
        ),
        Template(
            "rules_missing_segment",
            _("rule %(number)s of %(row)s names a segment that does not exist: %(segment)s"),
        ),
        Template(
            "rules_missing_group",
            _("the rules of %(row)s name a group that does not exist: %(group)s"),
        ),
        # Parts of these sentences.
        Template("row_of_flag", _("flag %(key)s")),
        Template("row_of_value", _("value %(key)s")),
        Template("row_of_segment", _("segment %(key)s")),
        Template("row_of_experiment", _("experiment %(key)s")),
        Template("row_of_allowed_user", _("a user of flag %(key)s")),
        Template("last_rules_stay", _("its last good rules stay")),
        Template("default_of_call", _("it returns the default of the call")),
        Template("own_value_of_row", _("everyone gets the value itself")),
        Template("last_conditions_stay", _("its last good conditions stay")),
        Template("segment_is_false", _("conditions that name it are false")),
        Template("last_members_stay", _("the last known members stay")),
        Template("groups_are_false", _("conditions on groups are false")),
        # Errors. The step is what the worker did, and the details are the database's own words.
        Template(
            "error_of_parameters",
            _("%(step)s: the connection parameters cannot be used%(details)s"),
        ),
        Template("error_of_connect", _("%(step)s: the server cannot be reached%(details)s")),
        Template(
            "error_of_resources",
            _(
                "%(step)s: the process cannot start a thread or open a descriptor, see ulimit -u,"
                " ulimit -n, and the pids limit of its container%(details)s"
            ),
        ),
        Template(
            "error_of_tls",
            _(
                "%(step)s: the connection cannot be protected as it should be: "
                "%(problem)s%(details)s"
            ),
        ),
        Template("error_of_login", _("%(step)s: the log-in was refused: %(problem)s%(details)s")),
        Template(
            "error_of_refusal",
            _(
                "%(step)s: the server refused the connection, see OPTIONS in DATABASES and the "
                "server's log%(details)s"
            ),
        ),
        Template(
            "error_of_missing_table",
            _('%(step)s: a table or column is missing, run "manage.py migrate"%(details)s'),
        ),
        Template(
            "error_of_permission",
            _("%(step)s: the role may not read a table, GRANT SELECT on it%(details)s"),
        ),
        Template(
            "error_of_row_security",
            _(
                "%(step)s: row level security can hide rows, ALTER TABLE ... DISABLE ROW LEVEL "
                "SECURITY, or ALTER ROLE ... BYPASSRLS for the role%(details)s"
            ),
        ),
        Template("error_of_lock", _("%(step)s: a table is locked by another session%(details)s")),
        Template("error_of_deadline", _("%(step)s: the server did not answer in time%(details)s")),
        Template("error_of_lost_connection", _("%(step)s: the connection was lost%(details)s")),
        Template(
            "error_of_server_role",
            _("%(step)s: no server has the role that target_session_attrs requires%(details)s"),
        ),
        Template(
            "error_of_standby",
            _("%(step)s: the standby is behind, see MAX_STALENESS%(details)s"),
        ),
        Template("error_of_statement", _("%(step)s: the server refused a statement%(details)s")),
        # Why a log-in was refused.
        Template(
            "login_password",
            _(
                "USER or PASSWORD in DATABASES is wrong, or the role's password has expired "
                "(VALID UNTIL) or is stored for another method than that of pg_hba.conf"
            ),
        ),
        Template(
            "login_without_password",
            _("the server asks for a password, see PASSWORD in DATABASES"),
        ),
        Template(
            "login_method",
            _(
                "the server asks for a method that the engine does not support, such as GSSAPI or "
                "OAuth, allow scram-sha-256 or cert in pg_hba.conf"
            ),
        ),
        Template(
            "login_other_method",
            _(
                "pg_hba.conf asks for a method such as LDAP, PAM or cert, which refused USER, see "
                "the server's log"
            ),
        ),
        Template(
            "login_without_rule",
            _(
                "pg_hba.conf does not admit this USER, database, address or encryption, or "
                "requires a client certificate, see sslmode and sslcert"
            ),
        ),
        Template(
            "login_of_role",
            _(
                "there is no such role, or it may not log in, see USER in DATABASES, or ALTER "
                "ROLE ... LOGIN"
            ),
        ),
        Template(
            "login_not_permitted",
            _("the role may not connect to the database, GRANT CONNECT ON DATABASE to it"),
        ),
        Template("login_without_database", _("there is no such database, see NAME in DATABASES")),
        Template(
            "login_closed_database",
            _("the database admits no connections, ALTER DATABASE ... ALLOW_CONNECTIONS true"),
        ),
        Template("login_role_full", _("the role has no connection left, see its CONNECTION LIMIT")),
        Template(
            "login_database_full",
            _("the database has no connection left, see its CONNECTION LIMIT"),
        ),
        Template(
            "login_server_full", _("the server has no connection left, see its max_connections")
        ),
        Template(
            "login_too_early",
            _(
                "the server is starting, stopping or recovering, or is a standby with hot_standby "
                "off; workers retry"
            ),
        ),
        Template(
            "login_scram_iterations",
            _(
                "the password has more than 100,000 SCRAM iterations, set it again with a lower "
                "scram_iterations"
            ),
        ),
        # Why a connection cannot be protected.
        Template("tls_not_offered", _("the server offers no TLS, see sslmode")),
        Template("tls_not_bound", _("the log-in was not bound to TLS, see channel_binding")),
        Template(
            "tls_client_certificate",
            _("the server does not accept the client's certificate, see sslcert"),
        ),
        Template(
            "tls_version",
            _("the server supports no accepted version of TLS, see ssl_min_protocol_version"),
        ),
        Template(
            "tls_not_direct",
            _("the server does not support a direct handshake, see sslnegotiation"),
        ),
        Template("tls_handshake_failed", _("the handshake failed")),
        Template(
            "tls_unknown_issuer",
            _("the server's certificate is not signed by one of sslrootcert"),
        ),
        Template(
            "tls_other_host",
            _(
                "the server's certificate does not name HOST among its alternative names, see "
                "HOST, or sslmode if that is known"
            ),
        ),
        Template("tls_expired", _("the server's certificate has expired")),
        Template("tls_not_valid_yet", _("the server's certificate is not valid yet")),
        Template(
            "tls_authority",
            _("the server's certificate is an authority's own, and not one of sslrootcert"),
        ),
        Template(
            "tls_unsupported_certificate",
            _("the server's certificate is of an unsupported kind, such as X.509 version 1"),
        ),
        Template(
            "tls_no_server_certificate",
            _("the server's certificate is not one for a server"),
        ),
        # Why the mode is not live.
        Template("reload_without_table", _("there is no table flagstaff_token")),
        Template(
            "reload_without_trigger",
            _("a table has no token trigger, or it is not ENABLE ALWAYS"),
        ),
        Template(
            "reload_without_triggers",
            _("a table has no token trigger, or it is not ENABLE ALWAYS: %(tables)s"),
        ),
        Template(
            "reload_with_other_functions",
            _("a function of the token triggers was replaced: %(names)s"),
        ),
        Template("reload_with_replication", _("the tables are replicated without flagstaff_token")),
        Template("poll_by_setting", _("LISTEN is False")),
        Template("poll_behind_pooler", _("a connection pooler is in between")),
        Template("poll_of_standby", _("the server is a standby")),
        Template("poll_without_listen", _("the server refused LISTEN")),
        # Why something that a worker collects is not written.
        Template(
            "flush_not_permitted",
            _("the role may not write the tables, GRANT SELECT, INSERT, UPDATE on them to it"),
        ),
        Template("flush_without_table", _('a table is missing, run "manage.py migrate"')),
        Template(
            "flush_read_only",
            _("the connection is read-only, connect to the primary with a role that may write"),
        ),
        Template("usage_disabled", _("USAGE_INTERVAL is 0")),
        # What is missing in the schema.
        Template(
            "table_forbidden",
            _("the role may not read %(table)s, so %(effect)s: GRANT SELECT on it"),
        ),
        Template(
            "table_missing",
            _('there is no table %(table)s, so %(effect)s: run "manage.py migrate"'),
        ),
        Template(
            "column_missing",
            _('%(table)s has no column %(column)s, so %(effect)s: run "manage.py migrate"'),
        ),
        Template(
            "group_trigger_missing",
            _(
                "a trigger of groups on %(tables)s is missing or disabled, so a change of a group"
                ' is seen up to five minutes late: run "manage.py check --database"'
            ),
        ),
        Template(
            "changes_without_token",
            _(
                "a full load has found changes that no change token had named (%(number)s,"
                ' such as %(row)s): run "manage.py check --database"'
            ),
        ),
        Template("flags_without_rules", _("flags have no rules")),
        Template("flags_bucketed_by_user", _("flags are bucketed by user")),
        Template("values_without_rules", _("values have no rules")),
        Template("values_bucketed_by_user", _("values are bucketed by user")),
        Template("values_not_for_browsers", _("browsers get no values")),
        Template("secrets_not_masked", _("listeners see secret values")),
        Template("rules_without_segments", _("rules find no segments")),
        Template("plans_not_measured", _("rollout plans measure nothing")),
        Template("experiments_not_loaded", _("experiments give the default of the call")),
        # Problems of this worker.
        Template(
            "plan_unguarded",
            _(
                "the rollout plan of flag %(key)s is unguarded, because run-jobs has not watched "
                'it for about five minutes: run "manage.py flags run-jobs" to watch it now, or to'
                " see the error"
            ),
        ),
        Template(
            "counts_not_written",
            _("this worker cannot write the counts of rollout plans: %(problem)s"),
        ),
        Template(
            "exposures_not_written",
            _("this worker cannot write the exposures of experiments: %(problem)s"),
        ),
        Template(
            "entries_missing",
            _(
                "%(changes)s no entry in the history, the last at %(time)s: the server's log says"
                ' why, in lines with "flagstaff: no history". To end this report, run "UPDATE'
                ' flagstaff_token SET entry_missing = false"'
            ),
        ),
        Template("recent_change_has", _("1 recent change has")),
        Template("recent_changes_have", _("%(count)s recent changes have")),
        # Why an impact cannot be counted.
        NOT_COUNTED,
        Template(
            "impact_of_unreadable_rules",
            _("the rules of flag %(key)s cannot be read: %(problem)s"),
        ),
        Template(
            "impact_of_unreadable_value_rules",
            _("the rules of value %(key)s cannot be read: %(problem)s"),
        ),
    )
}
# The steps of an evaluation, which no other text of Python repeats.
_TEMPLATES.update(
    (code, Template(code, text)) for code, text in message_templates() if code.startswith("step_")
)


def message_of(message: CoreMessage) -> Message:
    """Returns a message of Rust as one of Python. Rust calls this for the text of an exception."""
    code, values = message
    return _TEMPLATES[code](**{name: _value(value) for name, value in values.items()})


def _value(value: CoreValue) -> Value:
    if isinstance(value, tuple):
        return message_of(value)
    return [*map(message_of, value)] if isinstance(value, list) else value
