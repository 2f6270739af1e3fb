"""The list of flags: reads once what its page shows, and sorts its columns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from flagstaff.admin.fallbacks import value_or_default
from flagstaff.admin.flag_list.columns import EVALUATED_ORDER, STATE_ORDER
from flagstaff.admin.flag_list.conditions import last_evaluation, state_rank
from flagstaff.admin.flag_list.overview import overview_of
from flagstaff.admin.flag_list.page_facts import (
    IS_READABLE,
    Button,
    count_missing,
    keep_button,
    read_facts,
)
from flagstaff.admin.flag_permissions import may_toggle

if TYPE_CHECKING:
    _ChangeList = ChangeList
else:
    _ChangeList = object


class FlagChangeListMixin(_ChangeList):
    """Put it before ChangeList."""

    def get_ordering_field(self, field_name: Any) -> Any:
        """The expression that a column is sorted by."""
        found = super().get_ordering_field(field_name)
        if found == STATE_ORDER:
            return state_rank(self.model)
        return last_evaluation() if found == EVALUATED_ORDER else found

    def get_results(self, request: HttpRequest) -> None:
        """Reads the flags of the page, and what the columns show of them."""
        overview = overview_of(request, self.model_admin)
        super().get_results(request)
        self.full_result_count = overview.total
        self.show_full_result_count = True
        self.show_admin_actions = overview.total > 0
        for flag in self.result_list:
            is_allowed = may_toggle(self.model_admin, request, flag)
            vars(flag)[IS_READABLE] = overview.is_readable
            keep_button(flag, Button(is_allowed, request.get_full_path()))
        # Iterating keeps the rows, to which the facts are added.
        read = partial(read_facts, list(self.result_list), overview.usage_since)
        value_or_default("the list of flags shows no evaluations and no changes", read, None)
        count_missing(list(self.result_list))
