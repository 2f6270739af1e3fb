from __future__ import annotations

import os

from django.contrib import admin
from django.urls import include, path

from tests.support.pages import code_of

# Before the URLs: they belong to the classes that are registered then.
if os.environ["THEME"] == "unfold":
    [code] = code_of("how-to/admin-themes.md", "python", having="unfold.admin")
    exec(code)

urlpatterns = [path("admin/", admin.site.urls)]
if os.environ["THEME"] == "grappelli":
    urlpatterns = [path("grappelli/", include("grappelli.urls")), *urlpatterns]
