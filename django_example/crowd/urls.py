from __future__ import annotations

from django.urls import path

from crowd import views

urlpatterns = [
    path("", views.crowd, name="crowd"),
    path("stream/", views.stream, name="crowd-stream"),
]
