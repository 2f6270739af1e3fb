"""Why a place is left to a person, and what to do with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Why a place is not rewritten, and what to do with it."""

    why: str
    advice: str

    def at(self, path: str, line: int, column: int, code: str) -> Left:
        """Returns the place with this reason."""
        return Left(path, line, column, code, self.why, self.advice)


@dataclass(frozen=True, order=True)
class Left:
    """A place that is left to a person."""

    path: str
    #: Both begin with 1.
    line: int
    column: int
    code: str
    why: str
    advice: str


_KEEP = "it can stay as it is until waffle goes; "
_BY_HAND = "write it by hand"

# Keys.
DYNAMIC = Reason("the key is known only at run time", f"{_BY_HAND}, if all its keys are imported")
OPPOSITE = Reason('a name with "!" shows the view while the flag is off', _BY_HAND)
RENAMED = Reason("the key has another name here, and is not a text at this place", _BY_HAND)
SAMPLE = Reason(
    "a sample draws a random number for each evaluation", "use a flag with a rollout, or random()"
)

# Requests.
NO_REQUEST = Reason(
    "the request is not the parameter or the attribute of a view",
    'evaluate it for a user: flag_enabled("…", user)',
)
WITHOUT_REQUEST = Reason("there is no request", 'evaluate it without a user: flag_enabled("…")')
OPTIONAL_REQUEST = Reason("the request may be None", NO_REQUEST.advice)
TEST_REQUEST = Reason(
    "a request in a test is made without the middleware",
    "use override_flag, and test what the view returns",
)
MADE_REQUEST = Reason(
    "a test may call this code with a request that is made without the middleware",
    "let the test use Django's client, or set request.flags = RequestFlags(request) there",
)
NO_MIDDLEWARE = Reason(
    "there is no request.flags, because FlagstaffMiddleware is not installed, or because this is a "
    "middleware above it",
    "add flagstaff.middleware.FlagstaffMiddleware to MIDDLEWARE, or move it above this one",
)

# Names.
OTHER_NAME = Reason("the function may be another one here, or is reached by another name", _BY_HAND)
PATCHED = Reason(
    "a test replaces the function by its name, or another module takes it from here",
    "use override_flag in the test, and import the function where it is used",
)
TAKEN = Reason(
    "the file needs the name of the new function for something else", "rename one of them"
)
PASSED = Reason("the function is passed on, not called", _BY_HAND)
ARGUMENTS = Reason("the call has other arguments than usual", _BY_HAND)
COMMENT = Reason("a comment stands among what would go", _BY_HAND)
DEFAULT = Reason("a WAFFLE_…_DEFAULT is True, which has no counterpart here", _BY_HAND)

# Decorators, mixins, overrides.
REDIRECT = Reason(
    "redirect_to has no counterpart", 'use flag_required("…", otherwise=view) with a view'
)
NO_VIEW = Reason(
    "it is not clear that the decorated function is a view that gets the request first", _BY_HAND
)
VIEW_CLASS = Reason(
    "the view is configured in more than one class, or handles the response itself", _BY_HAND
)
UNCLEAR_OVERRIDE = Reason(
    "it is set to something else than True or False, or is used as an object", _BY_HAND
)
OTHER_OVERRIDE = Reason(
    "another override near it stays with waffle, whose key is the same, or is known only at run "
    "time",
    _BY_HAND,
)

# What has no counterpart.
MODEL = Reason(
    "it uses waffle's models",
    "use flagstaff.models.FeatureFlag, flagstaff.changes, or override_flag in a test",
)
PATCH_OF_WAFFLE = Reason(
    "a text names something of waffle", "replace a mock by override_flag; adapt others"
)
COMMAND = Reason("it calls a command of waffle", "use manage.py flags")
CODE = Reason("a string contains code that imports waffle", _BY_HAND)
MIGRATION = Reason(
    "the migration uses waffle's tables, so it fails without waffle",
    "when you remove waffle, remove this dependency, and return if apps.get_model raises "
    "LookupError",
)
IMPORT = Reason(
    "the import has no counterpart, or is part of a larger statement", "change the import by hand"
)
CONDITIONAL = Reason(
    "the import depends on whether waffle is installed", f"{_KEEP}then remove the condition"
)
NO_NAME = Reason("flagstaff.compat.waffle has no such name", _BY_HAND)
UNUSED_IMPORT = Reason(
    "nothing in this file uses the import; another module may take it from here",
    "remove it, or import from flagstaff",
)

# Templates.
TEMPLATE_STRING = Reason("the template is a string in Python code", _BY_HAND)
OTHER_TAG = Reason(
    "another tag of this template stays with waffle, and both libraries have a tag flag", _BY_HAND
)
BOTH_LIBRARIES = Reason("the template loads waffle_tags and flagstaff", "load one of them")
BUILTIN = Reason(
    "the settings load waffle_tags for all templates",
    "replace the library in the settings, and all tags at once",
)
VARIABLE = Reason("the name has no quotes, and may be a variable", "put it in quotes")
NO_CONTEXT = Reason(
    "templates have no variable request",
    "add django.template.context_processors.request to the settings",
)
NO_EXTENSION = Reason(
    "flagstaff.jinja2.FlagstaffExtension is not installed", "add it to the settings"
)
NOT_COMPILED = Reason(
    "the template does not compile with the settings, before or after the change", _BY_HAND
)
SCRIPT = Reason("a script reads results of waffle", "use the view of flags for browsers, or OFREP")


def made_at(place: str) -> Reason:
    """Returns the reason for a function that gets something else than the request of a view."""
    return Reason(
        f"the function may get None, or a request that is made by hand, such as from {place}",
        NO_REQUEST.advice,
    )


def no_flag(key: str) -> Reason:
    """Returns the reason for a key without a flag."""
    return Reason(
        f"there is no flag {key}", "run manage.py flags import-from waffle, or pass --flags"
    )


def not_served(name: str) -> Reason:
    """Returns the reason for a name that waffle still evaluates."""
    return Reason(f"waffle evaluates {name}", 'add it to FLAGSTAFF["WAFFLE"]["SERVE"]')


def needs_compat(key: str, what: str) -> Reason:
    """Returns the reason for a flag with a context that only flagstaff.compat passes."""
    return Reason(f"{key} depends on {what}, which only flagstaff.compat passes", _KEEP + _BY_HAND)


def depends_on_user(key: str) -> Reason:
    """Returns the reason for a switch that is not the same for all users any more."""
    return Reason(f"the switch {key} has rules or a rollout, which a switch ignores", _BY_HAND)
