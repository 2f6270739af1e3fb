"""The addresses of the example, and those of Django Debug Toolbar."""

from __future__ import annotations

from debug_toolbar.toolbar import debug_toolbar_urls

from shop.urls import urlpatterns as urls_of_shop

urlpatterns = [*debug_toolbar_urls(), *urls_of_shop]
