"""Runs the function in FLAGSTAFF["IS_CRAWLER"]."""

from __future__ import annotations

from flagstaff._engine.log_once import log_once
from flagstaff._engine.request_functions import RequestFunctionError, result_of
from flagstaff.conf import conf


def names_crawler(request: object) -> bool:
    """Returns whether the function says that the request is of a crawler. False if it fails."""
    path = str(conf.is_crawler)
    try:
        return bool(result_of(path, request, (bool,), "True or False"))
    except RequestFunctionError as problem:
        message = f"{path} in IS_CRAWLER {problem}; the request counts as no crawler"
        log_once("crawler", str(problem), message)
        return False
