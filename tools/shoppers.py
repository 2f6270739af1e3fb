"""Simulated users of the example shop, who order all the time through HTTP."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import final
from urllib.parse import urlencode

from tools.demo import EXAMPLE
from tools.limits import seconds
from tools.ports import LOOPBACK

__all__ = ["FAILED", "Shop", "Shoppers", "log_in_all"]

#: How an order ended: with a receipt, with a server error, or not at all, because the user has
#: ordered the cart in another thread.
PAID, FAILED, ABANDONED = "paid", "failed", "abandoned"

Headers = Mapping[str, str]

TIMEOUT = 30.0
_PRODUCT = "/cart/add/pennant/"
_RECEIPT = "/receipt/"
# The fields of both checkouts, of all their pages.
_ORDER = {
    "name": "A. Shopper",
    "street": "Harbour Street 7",
    "city": "Svolvær",
    "confirmed": "1",
}


def log_in_all(environment: dict[str, str]) -> list[Headers]:
    """Logs in all customers of the shop, and returns the headers of their requests."""
    command = [sys.executable, "manage.py", "shoppers"]
    run = subprocess.run(command, cwd=EXAMPLE, env=environment, stdout=subprocess.PIPE, check=True)
    headers: list[Headers] = json.loads(run.stdout)
    return headers


class Shop:
    """The example shop, as a browser of a logged-in user sees it."""

    def __init__(self, port: int) -> None:
        self._port = port

    def order(self, headers: Headers) -> str:
        """Buys something, and returns how it ended. Raises OSError if the shop does not respond."""
        self._post(_PRODUCT, headers, {})
        status, target = self._post("/checkout/", headers, _ORDER)
        if status >= http.client.INTERNAL_SERVER_ERROR:
            return FAILED
        return PAID if target.startswith(_RECEIPT) else ABANDONED

    def _post(self, path: str, headers: Headers, fields: Mapping[str, str]) -> tuple[int, str]:
        """Sends a form, and returns the status and where it redirects to."""
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=seconds(TIMEOUT))
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            connection.request("POST", path, urlencode(fields), {**headers, **form})
            response = connection.getresponse()
            response.read()
            return response.status, response.getheader("Location") or ""
        finally:
            connection.close()


@final
class Shoppers:
    """Threads that order as one user after another, in a random order, until the block ends."""

    def __init__(self, shop: Shop, users: Sequence[Headers]) -> None:
        self._shop, self._users = shop, users
        self._ends = Event()
        self._lock = Lock()
        self._orders: Counter[str] = Counter()
        self._turns = self._endless_turns()

    @contextmanager
    def ordering(self, threads: int) -> Iterator[None]:
        """Orders while the block runs."""
        running = [Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in running:
            thread.start()
        try:
            yield
        finally:
            self._ends.set()
            for thread in running:
                thread.join(seconds(TIMEOUT))

    def orders(self) -> Counter[str]:
        """Returns how many orders ended in which way."""
        with self._lock:
            return self._orders.copy()

    def _endless_turns(self) -> Iterator[Headers]:
        while True:
            yield from random.sample(self._users, len(self._users))

    def _run(self) -> None:
        while not self._ends.is_set():
            with self._lock:
                user = next(self._turns)
            try:
                ended = self._shop.order(user)
            except OSError:
                # The shop stops before the shoppers do.
                self._ends.wait(0.1)
                continue
            with self._lock:
                self._orders[ended] += 1
