"""The addresses of the example, and of what is installed beside it."""

import os

from tests.support.pages import code_of

if os.environ.get("BESIDE") == "unfold":
    # Before the URLs: they belong to the classes that are registered then.
    [code] = code_of("how-to/admin-set-up.md", "python", having="unfold.admin")
    exec(code)

from shop.urls import urlpatterns

__all__ = ["urlpatterns"]

if os.environ.get("BESIDE") == "debug_toolbar":
    from debug_toolbar.toolbar import debug_toolbar_urls

    urlpatterns = [*debug_toolbar_urls(), *urlpatterns]
