from __future__ import annotations

from django.urls import path

from . import views

urlpatterns = [
    path("checkout/", views.checkout),
    path("checkout/async/", views.checkout_async),
    path("new-only/", views.new_only),
]
