from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.management.base import BaseCommand
from django.utils.crypto import get_random_string

from store.customers import BACKEND

TOKEN_LENGTH = 32


class Command(BaseCommand):
    help = "Logs in all customers, and prints the headers of their requests: for simulated users."

    def handle(self, *args: Any, **options: Any) -> None:
        customers = get_user_model().objects.filter(is_staff=False).order_by("pk")
        self.stdout.write(json.dumps([log_in(customer) for customer in customers]))


def log_in(customer: Any) -> dict[str, str]:
    """Creates a session, and returns the headers that belong to it."""
    token = get_random_string(TOKEN_LENGTH)
    session = SessionStore()
    session[SESSION_KEY] = str(customer.pk)
    session[BACKEND_SESSION_KEY] = BACKEND
    session[HASH_SESSION_KEY] = customer.get_session_auth_hash()
    session.create()
    cookies = {settings.SESSION_COOKIE_NAME: session.session_key, settings.CSRF_COOKIE_NAME: token}
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return {"Cookie": cookie, "X-CSRFToken": token}
