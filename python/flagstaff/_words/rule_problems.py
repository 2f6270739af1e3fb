"""The problems of the rule parser, in the language of a page."""

from __future__ import annotations

import re
from typing import Final

from flagstaff._words.known_texts import KnownTexts
from flagstaff._words.known_texts import message as _

# Where the problem is, from the outermost place to the innermost one.
_PLACE: Final = r'(?:rule [0-9]+(?: \("(?:[^"\\]|\\.)*"…?\))?|condition [0-9]+|value [0-9]+)'
_PLACES_AND_PROBLEM: Final = re.compile(rf"({_PLACE}(?:, {_PLACE})*): (.*)", re.DOTALL)
_NEXT_PLACE: Final = re.compile(rf"({_PLACE})(?:, )?")

#: The places of a problem.
PLACES: Final = (
    _("rule %(number)s (%(name)s)"),
    _("rule %(number)s"),
    _("condition %(number)s"),
    _("value %(number)s"),
)
_PLACE_TEXTS: Final = KnownTexts(PLACES)
_KINDS: Final = [
    _("a bool"),
    _("a number"),
    _("a text"),
    _("a list"),
    _("an object"),
    _("true or false"),
    _("a number or a text"),
    _("a bool, a number or a text"),
]
_SUBJECTS: Final = [
    _("the rules"),
    _("the conditions"),
    _("a rule"),
    _("a condition"),
    _("the value"),
]

#: The messages of the parser.
RULE_PROBLEMS: Final = KnownTexts(
    [
        _("the JSON text has more than 256 KiB; use fewer values"),
        _("%(count)s rules are too many; use at most %(limit)s"),
        _("%(count)s conditions are too many; use at most %(limit)s"),
        _("%(count)s values are too many; use at most %(limit)s"),
        _("there are no conditions, which would include everyone; add at least one"),
        _("there are no values; add at least one"),
        _('a condition has either "segment" or %(other)s; remove one of them'),
        _("a segment cannot name a segment; add the conditions of that segment here"),
        _('"rollout_percent" must be a whole number from 0 to 100'),
        _("this is not valid JSON: %(error)s"),
        _("a text has an escape that is not a Unicode character; remove it"),
        _("a text has the character U+0000, which PostgreSQL cannot store; remove it"),
        _("%(what)s must be %(expected)s, not %(kind)s"),
        _("%(what)s must have 1 to %(limit)s characters"),
        _("the member %(name)s is not known to this version; use %(known)s"),
        _("the member %(name)s is there twice; remove one"),
        _("the member %(name)s is missing; add it"),
        _("more than %(limit)s patterns in all; join some with |"),
        _("the operator %(operator)s is not known to this version; use %(known)s"),
        _("the text has more than %(limit)s characters; shorten it"),
        _("the number has more than %(limit)s digits; shorten it"),
        _("the exponent of the number is out of range; write a smaller number"),
        _('the text is not a version; write it like "1.2.3" or "2.0.0-beta.1"'),
        _('the operator "isnull" has one value, true or false'),
        _("the pattern has more than %(limit)s characters; shorten it"),
        _("the pattern is too big; use smaller repetitions and fewer classes such as \\w"),
        _("the pattern is not valid: %(reason)s"),
        _("this is nested too deeply; write a JSON list of objects"),
        _("this is not JSON: %(error)s; use lists, objects, texts, numbers and bools only"),
        _(
            "this is not JSON: it has NaN, an infinity, a number of more than 4,300 digits, or a "
            "list that contains itself; remove it"
        ),
    ],
    parts={
        "what": _SUBJECTS,
        "expected": _KINDS,
        "kind": _KINDS,
    },
    # What stands in the JSON, or comes from a library.
    untranslated=("error", "reason", "name", "known", "other", "operator"),
)


def rule_problem_text(problem: str) -> str:
    """Returns a problem of the parser, with its place, in the active language.

    >>> rule_problem_text('rule 1, condition 2: there are no values; add at least one')
    'rule 1, condition 2: there are no values; add at least one'
    """
    found = _PLACES_AND_PROBLEM.fullmatch(problem)
    if found is None:
        return RULE_PROBLEMS.translate(problem)
    places = (_PLACE_TEXTS.translate(place) for place in _NEXT_PLACE.findall(found[1]))
    return f"{', '.join(places)}: {RULE_PROBLEMS.translate(found[2])}"
