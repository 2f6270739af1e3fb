"""The rules on the pages of a flag, and in the list of flags."""

from __future__ import annotations

import shlex
from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._tables.model_fields import RULES
from flagstaff._words.text import local_number
from flagstaff.admin.json_fields import too_large_text
from flagstaff.admin.page import request_of
from flagstaff.admin.rule_editor.part import RulePages, stored_in
from flagstaff.admin.rules.sentences import rules_html
from flagstaff.validators import rule_problem

_EXAMPLE = """\
[
  {
    "name": "beta in DACH",
    "conditions": [
      {"attribute": "country", "operator": "in", "values": ["DE", "AT", "CH"]},
      {"segment": "enterprise", "negate": true}
    ],
    "rollout_percent": 25
  }
]"""


class FlagRules(RulePages):
    """The rules of a flag."""

    rule_field = RULES
    displays = ("saved_rules", "large_rules")
    rule_help = gettext_lazy(
        "The first rule that matches decides. If no rule matches, the rollout decides."
    )
    rule_example = _EXAMPLE

    @admin.display(description=gettext_lazy("current rules"))
    def saved_rules(self, flag: Any) -> SafeString | str:
        """The rules in the database as sentences."""
        rules = stored_in(flag, RULES)
        if rules in (None, []):
            return _("no rules")
        return rules_html(rules, self.admin.admin_site, request_of(flag))

    @admin.display(description=gettext_lazy("rules"))
    def large_rules(self, flag: Any) -> str:
        """How to change rules that are too large for a form."""
        advice = _("Use “manage.py flags rules %(key)s FILE” or changes.flags.update().")
        return too_large_text(stored_in(flag, RULES), advice % {"key": shlex.quote(flag.key)})


def count_rules(flag: Any) -> int | None:
    """Returns the number of a flag's rules; None if workers cannot read them."""
    rules = flag.rules
    # Most flags have none, and the parser takes longer than the rest of a row of the list.
    is_readable = rules == [] or (isinstance(rules, list) and rule_problem(rules) is None)
    return len(rules) if is_readable else None


def rule_count_text(count: int | None) -> str:
    """Returns the text of a list, such as "2 rules"; empty without rules."""
    if count is None:
        return _("unreadable rules")
    text = ngettext("%(count)s rule", "%(count)s rules", count)
    return text % {"count": local_number(count)} if count else ""
