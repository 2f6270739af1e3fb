"""The people that a visitor of the demo can be: a few customers by name, or nobody."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth import get_user_model, login, logout
from django.http import HttpRequest

from flagstaff import flag_enabled
from store.cart import SESSION_KEY
from store.standing import NEW_CHECKOUT

CUSTOMERS = ("alice", "bob", "carol")
BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True)
class Person:
    username: str
    name: str
    new_checkout: bool
    chosen: bool


def people_for(request: HttpRequest) -> list[Person]:
    """The menu's rows. It asks by primary key, which needs no user object."""
    customers = get_user_model().objects.filter(username__in=CUSTOMERS).order_by("pk")
    rows = customers.values_list("pk", "username", "first_name")
    return [
        Person(username, name, flag_enabled(NEW_CHECKOUT, pk), pk == request.user.pk)
        for pk, username, name in rows
    ]


def become(request: HttpRequest, username: str) -> None:
    """Without a password, so only the sample customers; anything else becomes nobody."""
    cart = request.session.get(SESSION_KEY)
    logout(request)
    customer = get_user_model().objects.filter(username=username).first()
    if customer is not None and username in CUSTOMERS:
        login(request, customer, backend=BACKEND)
    if cart:
        request.session[SESSION_KEY] = cart
