"""The addresses of the example, after the code of the page about themes."""

from __future__ import annotations

from tests.support.pages import code_of

# Before the URLs: they belong to the classes that are registered then.
[code] = code_of("how-to/admin-set-up.md", "python", having="unfold.admin")
exec(code)

from shop.urls import urlpatterns  # noqa: E402

__all__ = ["urlpatterns"]
