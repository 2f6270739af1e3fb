"""The example with Unfold, a theme of the admin."""

from __future__ import annotations

from tests.support.pages import code_of
from tests.system.browser.settings import *  # noqa: F403
from tests.system.browser.settings import INSTALLED_APPS, MIDDLEWARE

# It replaces templates of Django's admin, so it comes before it.
INSTALLED_APPS = ["unfold", *INSTALLED_APPS]
# Its scripts need a Content-Security-Policy with "unsafe-eval".
MIDDLEWARE = [name for name in MIDDLEWARE if "content_security_policy" not in name]
# The menu of docs/how-to/admin-set-up.md.
[_menu] = code_of("how-to/admin-set-up.md", "python", having="SIDEBAR")
exec(_menu)
ROOT_URLCONF = "tests.system.browser.urls_unfold"
