"""The setting IS_CRAWLER: requests whose variants are not recorded."""

from __future__ import annotations

from collections.abc import Callable

from flagstaff._log import log_once
from flagstaff._request.functions import RequestFunctionError, result_of
from flagstaff.conf import request_function

IS_CRAWLER = request_function(
    "A function that knows crawlers",
    "flagstaff.experiments.crawlers.is_crawler",
    "True or False",
    "IS_CRAWLER",
)
SETTINGS = (IS_CRAWLER,)


def crawlers() -> Callable[[object], bool] | None:
    """Returns what says whether a request is of a crawler; None without a function."""
    return None if IS_CRAWLER.current() is None else names_crawler


def names_crawler(request: object) -> bool:
    """Returns whether the function says that the request is of a crawler. False if it fails."""
    path = str(IS_CRAWLER.current())
    try:
        return bool(result_of(path, request, (bool,), "True or False"))
    except RequestFunctionError as problem:
        message = f"{path} in IS_CRAWLER {problem}; the request counts as no crawler"
        log_once("crawler", str(problem), message)
        return False
