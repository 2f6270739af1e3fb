"""What all pages share: the reason of a change, the environment, templates and titles."""

from __future__ import annotations

from django.http import HttpRequest, QueryDict
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from flagstaff.conf import conf

#: The name of the form field. A model may have a column "reason".
REASON = "_reason"
#: The name of the field with the version that the page showed.
VERSION = "expect_version"
MAX_REASON_LENGTH = 500
# The name of a page's template in its context, for a template that extends it.
_PARENT = "flagstaff_parent"


def reason_problem(request: HttpRequest) -> str:
    """Returns the error of a posted reason; empty if there is none."""
    if not conf.require_reason or posted_reason(request).strip():
        return ""
    return _("A reason is required. Write why you make this change: the history shows it.")


def remove_nul(request: HttpRequest) -> None:
    """Removes NUL from the parameters of the URL, which PostgreSQL cannot compare with a text."""
    query = request.GET.urlencode()
    if "%00" in query:
        request.GET = QueryDict(query.replace("%00", ""))


def posted_reason(request: HttpRequest) -> str:
    """Returns the reason, cut to what can be stored. Not all pages have a form for it."""
    return request.POST.get(REASON, "").replace("\0", "")[:MAX_REASON_LENGTH]


def environment_context() -> dict[str, object]:
    """Returns what the templates of the pages read."""
    return {
        "flagstaff_environment": conf.environment,
        "flagstaff_read_only": conf.read_only,
    }


def extend_template(response: TemplateResponse, template: str, parent: str = _PARENT) -> None:
    """Renders a page with a template that extends its present one, which may be a theme's.

    `parent` is the name by which the template knows the present one.
    """
    response.context_data = {
        **(response.context_data or {}),
        parent: response.resolve_template(response.template_name),
    }
    response.template_name = template
