"""The allowed users on the page of a flag: their number and first names."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.rows import Row
from flagstaff._words.text import local_list, local_number
from flagstaff.admin.flag.state import ALLOWED_COUNT
from flagstaff.admin.links import page_url
from flagstaff.admin.rights import why_not_change_users
from flagstaff.admin.users.listing import first_names
from flagstaff.history.user_names import may_see_users

_MAX_NAMES = 20


def allowed_users_panel(admin: ModelAdmin[Any], request: HttpRequest, flag: Any) -> SafeString:
    """Returns the number of allowed users, the first names, and a link to their page."""
    count: int = getattr(flag, ALLOWED_COUNT)
    text = ngettext("%(count)s user", "%(count)s users", count)
    names, link = "", ""
    if may_see_users(request.user):
        if count:
            names = local_list(first_names(cast("Row", flag), _MAX_NAMES), _MAX_NAMES, total=count)
        may_not = why_not_change_users(admin.admin_site, request, flag)
        link_text = _("Show or search") if may_not else _("Add, remove or search")
        url = page_url(admin.admin_site, admin.model, "allowed_users", flag.pk)
        link = format_html('<a href="{}">{}</a>', url, link_text)
    return format_html(
        '<span class="flagstaff-allowed">{} {}<span class="flagstaff-note">{}</span></span>',
        *(text % {"count": local_number(count)}, link, names),
    )
