"""The setting APPROVAL: which actions need a second person."""

from __future__ import annotations

import logging

from django.utils.module_loading import import_string

from flagstaff.changes.consequence import Consequence
from flagstaff.conf import APPROVAL_RULES, conf
from flagstaff.waiting.prospect import Prospect, is_of_secret

logger = logging.getLogger("flagstaff")


def is_approval_needed(prospect: Prospect) -> bool:
    """Whether the setting APPROVAL asks for a second person.

    Nothing delays what always runs, such as a rollout to 0 %, and a secret value is not stored to
    wait. An error of the project's function counts as a yes.
    """
    run, rule = prospect.run, conf.approval
    if rule is None or run.action.runs_always(run.arguments) or is_of_secret(run):
        return False
    if rule in APPROVAL_RULES:
        return prospect.consequence >= Consequence[APPROVAL_RULES[rule]]
    try:
        return bool(import_string(rule)(run.action, run.rows, prospect.consequence))
    except Exception:
        logger.exception("flagstaff: the function in APPROVAL failed, so an approval is needed")
        return True
