"""Evaluates the public specifications of other systems, as far as rules can say them.

    python -m tools.specifications FOLDER

FOLDER has the clones `client-specification` (Unleash), `engine-test-data` (Flagsmith) and
`flagd-testbed` (OpenFeature), and `cases.json` of an SDK of GrowthBook. Prints of each how many
expectations are equal, differ and cannot be said, by kind. Exits with 1 if one differs that
`DOCUMENTED` does not have. None of their texts are part of this repository.

A condition of theirs becomes rules: a list of alternatives, each a list of conditions.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, reduce
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import django
from django.conf import settings

from flagstaff import _core

Condition = dict[str, Any]
Alternatives = list[list[Condition]]

ALWAYS: Alternatives = [
    [{"attribute": "is_authenticated", "operator": "isnull", "values": [False]}]
]
NEVER: Alternatives = []
#: Where the documentation of rules says something else, by the beginning of the expectation.
DOCUMENTED = {
    "14-constraint-semver-operators: F8.invalidSemverWithLeadingV": "a leading v is no part of it",
    "17-dependent-features: Child is disabled if a transitive": "four flags are followed",
    "condition: missing attribute with comparison operators": "a missing attribute is false",
    "condition: comparing numbers and strings": "unlike types do not compare",
    "condition: version a.b.c": "no version by SemVer",
    "condition: version 1-2-3": "no version by SemVer",
    "condition: version 1.2.3.4": "no version by SemVer",
    "condition: $inGroup fails for improperly typed data": "a number equals its text",
}
_MOST = 100


class UnsayableError(Exception):
    """What rules cannot say: its kind."""


class Flag(NamedTuple):
    """A flag: alternatives with the result of each, in order, and that of all others."""

    rules: list[tuple[Alternatives, bool]]
    otherwise: bool = False


class Expectation(NamedTuple):
    """What an evaluation of the flag `key` must return, or why it cannot be said."""

    name: str
    flags: Mapping[str, Callable[[], Flag]]
    key: str
    attributes: Mapping[str, Any]
    expected: bool
    user: str | None = None


def test(attribute: str, operator: str, *values: Any, **more: Any) -> Alternatives:
    """A condition on an attribute."""
    return [[{"attribute": f"a.{attribute}", "operator": operator, "values": [*values], **more}]]


def is_missing(attribute: str) -> Alternatives:
    """A condition for an attribute that is not there."""
    return test(attribute, "isnull", *[True])


def both(*all_of: Alternatives) -> Alternatives:
    """All of them."""
    joined = [[*chain] for chain in product(*all_of)]
    flat = [[condition for part in parts for condition in part] for parts in joined]
    if len(flat) > _MOST:
        raise UnsayableError("too many alternatives")
    return flat


def either(any_of: Iterable[Alternatives]) -> Alternatives:
    """One of them."""
    return [alternative for alternatives in any_of for alternative in alternatives]


def inverse(alternatives: Alternatives) -> Alternatives:
    """The opposite, which is true for a missing attribute."""
    return both(*(either(map(_not, alternative)) for alternative in alternatives))


def _not(condition: Condition) -> Alternatives:
    if condition == ALWAYS[0][0]:
        return NEVER
    if "flag" in condition:
        return [[condition | {"is": not condition["is"]}]]
    opposite = [[condition | {"negate": not condition.get("negate", False)}]]
    if condition["operator"] == "isnull":
        return opposite
    missing = {"attribute": condition["attribute"], "operator": "isnull", "values": [True]}
    return [*opposite, [missing]]


def text_test(attribute: str, pattern: str, values: Iterable[Any], *, folds: bool) -> Alternatives:
    """A pattern with `{}` for each of some texts, without regard to case if it `folds`."""
    case = "(?i)" if folds else ""
    return test(attribute, "regex", *(case + pattern.format(re.escape(str(v))) for v in values))


# Unleash.

_UNLEASH = {
    "IN": "in", "STR_STARTS_WITH": "startswith", "STR_ENDS_WITH": "endswith",
    "STR_CONTAINS": "contains", "NUM_EQ": "in", "NUM_GT": "gt", "NUM_GTE": "gte", "NUM_LT": "lt",
    "NUM_LTE": "lte", "DATE_AFTER": "gt", "DATE_BEFORE": "lt", "REGEX": "regex",
    "SEMVER_EQ": "version_eq", "SEMVER_GT": "version_gt", "SEMVER_GTE": "version_gte",
    "SEMVER_LT": "version_lt", "SEMVER_LTE": "version_lte",
}  # fmt: skip
_PATTERNS = {"STR_STARTS_WITH": "^{}", "STR_ENDS_WITH": "{}$", "STR_CONTAINS": "{}"}


def unleash(folder: Path) -> Iterator[Expectation]:
    """The files of Unleash."""
    for path in sorted((folder / "client-specification/specifications").glob("[0-9]*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        state = document["state"]
        for case in document.get("tests", ()):
            context = {**case["context"], **case["context"].get("properties", {})}
            context.pop("properties", None)
            segments = {
                segment["id"]: segment["constraints"] for segment in state.get("segments", ())
            }
            flags = {
                feature["name"]: partial(_feature, feature, segments)
                for feature in state.get("features", ())
            }
            if not flags:
                yield _unsayable(f"{path.stem}: {case['description']}", "events of a delta")
                continue
            attributes = {name: _number(value) for name, value in context.items()}
            name = f"{path.stem}: {case['description']}"
            yield Expectation(name, flags, case["toggleName"], attributes, case["expectedResult"])
        for case in document.get("variantTests", ()):
            yield _unsayable(f"{path.stem}: {case['description']}", "variants")


def _unsayable(name: str, kind: str) -> Expectation:
    def flag() -> Flag:
        raise UnsayableError(kind)

    return Expectation(name, {"": flag}, "", {}, expected=True)


def _number(value: Any) -> Any:
    """A number in a text, which code passes as a number."""
    is_number = isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value)
    return float(value) if is_number and "." in value else int(value) if is_number else value


def _feature(feature: Any, segments: Any) -> Flag:
    if not feature["enabled"]:
        return Flag([])
    needed = [_parent(parent) for parent in feature.get("dependencies", ())]
    strategies = feature.get("strategies") or [{"name": "default"}]
    parts = []
    for strategy in strategies:
        shared = [segments.get(key) for key in strategy.get("segments", ())]
        constraints = [
            *strategy.get("constraints", ()),
            *(constraint for some in shared for constraint in some or ()),
        ]
        own = both(_strategy(strategy), *(_constraint(constraint) for constraint in constraints))
        parts.append(NEVER if None in shared else own)
    return Flag([(both(*needed, either(parts)), True)])


def _parent(parent: Any) -> Alternatives:
    if parent.get("variants"):
        raise UnsayableError("a variant of a prerequisite")
    return [[{"flag": parent["feature"], "is": parent.get("enabled", True)}]]


def _strategy(strategy: Any) -> Alternatives:
    name, parameters = strategy["name"], strategy.get("parameters") or {}
    if name == "default":
        return ALWAYS
    if name == "userWithId":
        return test("userId", "in", *map(str.strip, parameters["userIds"].split(",")))
    if name == "remoteAddress":
        addresses = [address.strip() for address in parameters["IPs"].split(",")]
        if any("/" in address for address in addresses):
            raise UnsayableError("IP ranges")
        return test("remoteAddress", "in", *addresses)
    percent = int(parameters.get("rollout", parameters.get("percentage", 0)))
    if percent not in {0, 100}:
        raise UnsayableError("a percentage of another hash")
    units = {"gradualRolloutUserId": "userId", "gradualRolloutSessionId": "sessionId"}
    unit = units.get(name, parameters.get("stickiness", "default"))
    if unit in {"default", "random"} or name == "gradualRolloutRandom":
        return ALWAYS if percent else NEVER
    return inverse(is_missing(unit)) if percent else NEVER


def _constraint(constraint: Any) -> Alternatives:
    operator, name = constraint["operator"], constraint["contextName"]
    values = constraint.get("values") or []
    values = values if operator.startswith(("IN", "NOT_IN", "STR")) else [constraint.get("value")]
    if operator == "IN_CIDR":
        raise UnsayableError("IP ranges")
    if operator == "REGEX" and re.search(r"\(\?[=!<]|\\\d", constraint["value"]):
        raise UnsayableError("look-around and back references")
    if operator == "NOT_IN":
        alternatives = inverse(test(name, "in", *values) if values else NEVER)
    elif operator not in _UNLEASH or not values:
        alternatives = NEVER
    elif constraint.get("caseInsensitive") and operator in _PATTERNS:
        alternatives = text_test(name, _PATTERNS[operator], values, folds=True)
    elif operator == "REGEX":
        case = "(?i)" if constraint.get("caseInsensitive") else ""
        alternatives = test(name, "regex", case + values[0])
    else:
        of_number = operator.startswith("NUM")
        alternatives = test(
            name, _UNLEASH[operator], *(map(_number, values) if of_number else values)
        )
    return inverse(alternatives) if constraint.get("inverted") else alternatives


# Flagsmith.

_FLAGSMITH = {
    "EQUAL": "in", "NOT_EQUAL": "in", "GREATER_THAN": "gt", "GREATER_THAN_INCLUSIVE": "gte",
    "LESS_THAN": "lt", "LESS_THAN_INCLUSIVE": "lte", "CONTAINS": "contains",
    "NOT_CONTAINS": "contains", "REGEX": "regex",
}  # fmt: skip
_VERSIONS = {"in": "eq", "gt": "gt", "gte": "gte", "lt": "lt", "lte": "lte"}


def flagsmith(folder: Path) -> Iterator[Expectation]:
    """The files of Flagsmith: who is in each segment, and whether each feature is enabled."""
    for path in sorted((folder / "engine-test-data/test_cases").glob("*.json*")):
        text = re.sub(r"^\s*//.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        document = json.loads(text)
        context, result = document["context"], document["result"]
        identity = context.get("identity") or {}
        attributes = {
            **identity.get("traits", {}),
            "$.identity.identifier": identity.get("identifier"),
            "$.identity.key": identity.get("key"),
            "$.environment.name": context["environment"]["name"],
            "$.environment.key": context["environment"]["key"],
        }
        attributes = {name: value for name, value in attributes.items() if value is not None}
        segments = context.get("segments", {})
        names = {segment["name"] for segment in result.get("segments", ())}

        def of_segment(
            key: str, segments: Any = segments, traits: Any = attributes
        ) -> Alternatives:
            return both(*(_rule(rule, traits) for rule in segments[key]["rules"]))

        for key, segment in segments.items():

            def flag(key: str = key, of_segment: Any = of_segment) -> Flag:
                return Flag([(of_segment(key), True)])

            name = f"{path.stem}: segment {segment['name']}"
            yield Expectation(name, {"s": flag}, "s", attributes, segment["name"] in names)
        for feature_name, feature in context.get("features", {}).items():
            if feature["name"] not in result["flags"]:
                continue

            def of_feature(
                feature: Any = feature, segments: Any = segments, of_segment: Any = of_segment
            ) -> Flag:
                overrides = [
                    (override.get("priority", float("inf")), key, override["enabled"])
                    for key, segment in segments.items()
                    for override in segment.get("overrides", ())
                    if override["name"] == feature["name"]
                ]
                overrides.sort(key=itemgetter(0))
                rules = [(of_segment(key), enabled) for _priority, key, enabled in overrides]
                return Flag(rules, feature["enabled"])

            expected = result["flags"][feature["name"]]["enabled"]
            name = f"{path.stem}: feature {feature_name}"
            yield Expectation(name, {"f": of_feature}, "f", attributes, expected)


def _rule(rule: Any, traits: Any) -> Alternatives:
    parts = [_flagsmith_condition(condition, traits) for condition in rule.get("conditions", ())]
    parts += [_rule(inner, traits) for inner in rule.get("rules", ())]
    if not parts or rule["type"] == "ALL":
        return both(ALWAYS, *parts)
    return inverse(either(parts)) if rule["type"] == "NONE" else either(parts)


def _flagsmith_condition(condition: Any, traits: Any) -> Alternatives:  # noqa: PLR0911 (one for each kind)
    name, operator, value = condition["property"], condition["operator"], condition["value"]
    name = re.sub(r"^\$\.identity\.traits(?:\.|\['(.*)'\]$)", r"\1", name)
    if operator in {"PERCENTAGE_SPLIT", "MODULO"}:
        raise UnsayableError(operator.lower().replace("_", " "))
    if operator in {"IS_SET", "IS_NOT_SET"}:
        return test(name, "isnull", operator == "IS_NOT_SET")
    trait = traits.get(name)
    if trait is None or isinstance(trait, list | dict):
        return NEVER
    if operator == "IN":
        values = value if isinstance(value, list) else _listed(str(value))
        is_usable = isinstance(trait, str) or (
            isinstance(trait, int) and not isinstance(trait, bool)
        )
        return test(name, "in", *values) if values and is_usable else NEVER
    own = _FLAGSMITH.get(operator)
    if own is None:
        return NEVER
    text, is_not = str(value), {"negate": True} if operator.startswith("NOT_") else {}
    if text.endswith(":semver"):
        return test(name, f"version_{_VERSIONS[own]}", text.removesuffix(":semver"), **is_not)
    if own in {"contains", "regex"}:
        return test(name, own, text, **is_not)
    typed = _typed(text, trait)
    return NEVER if typed is None else test(name, own, typed, **is_not)


def _listed(text: str) -> list[str]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    return [*map(str, parsed)] if isinstance(parsed, list) else text.split(",")


def _typed(text: str, trait: Any) -> Any:
    """A text as a value of the type of a trait; None if it is none."""
    try:
        if isinstance(trait, bool):
            return {"True": True, "true": True, "1": True, "False": False, "false": False}.get(text)
        return type(trait)(text)
    except ValueError:
        return None


# GrowthBook.

_GROWTHBOOK = {
    "$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte", "$vgt": "version_gt",
    "$vgte": "version_gte", "$vlt": "version_lt", "$vlte": "version_lte", "$veq": "version_eq",
}  # fmt: skip
_INVERSE = {
    "$ne": "$eq", "$nin": "$in", "$vne": "$veq", "$notRegex": "$regex", "$notRegexi": "$regexi",
    "$nini": "$ini", "$notInGroup": "$inGroup",
}  # fmt: skip


def growthbook(folder: Path) -> Iterator[Expectation]:
    """The conditions of GrowthBook, and its features whose results are bools."""
    cases = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    for name, condition, attributes, expected, *groups in cases["evalCondition"]:

        def flag(condition: Any = condition, groups: Any = groups) -> Flag:
            return Flag([(_growthbook(condition, groups[0] if groups else {}), True)])

        yield Expectation(f"condition: {name}", {"f": flag}, "f", _flat(attributes), expected)
    for name, context, key, result in cases["feature"]:
        features = context.get("features", {})
        flags = {
            own: partial(_growthbook_feature, feature, context.get("savedGroups", {}))
            for own, feature in features.items()
        }
        attributes = _flat(context.get("attributes", {}))
        yield Expectation(f"feature: {name}", flags, key, attributes, result["on"])


def _flat(nested: Any, above: str = "") -> dict[str, Any]:
    """Attributes in objects, by their path."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{name}.")
        else:
            flat[above + name] = value
    return flat


def _growthbook(condition: Any, groups: Any) -> Alternatives:
    parts = []
    for name, value in condition.items():
        if name in {"$or", "$nor"}:
            alternatives = either(_growthbook(part, groups) for part in value) if value else ALWAYS
            parts.append(inverse(alternatives) if name == "$nor" else alternatives)
        elif name == "$and":
            parts += [_growthbook(part, groups) for part in value]
        elif name == "$not":
            parts.append(inverse(_growthbook(value, groups)))
        elif isinstance(value, dict) and any(key.startswith("$") for key in value):
            parts += [_operator(name, *item, groups=groups) for item in value.items()]
        else:
            parts.append(_operator(name, "$eq", value, groups=groups))
    return both(ALWAYS, *parts)


def _operator(name: str, operator: str, value: Any, *, groups: Any) -> Alternatives:  # noqa: C901, PLR0911, PLR0912 (a table of operators)
    if operator in _INVERSE:
        if operator in {"$nin", "$nini"} and not isinstance(value, list):
            return NEVER
        return inverse(_operator(name, _INVERSE[operator], value, groups=groups))
    if operator == "$not":
        return inverse(_growthbook({name: value}, groups))
    if operator == "$inGroup":
        operator, value = "$in", groups.get(value, [])
    if operator == "$exists":
        return test(name, "isnull", not value)
    if operator in {"$type", "$size"}:
        raise UnsayableError(operator)
    if operator in {"$eq", "$in"} and isinstance(value, dict):
        raise UnsayableError("equal objects")
    if operator == "$eq":
        if isinstance(value, list):
            raise UnsayableError("equal lists")
        return is_missing(name) if value is None else test(name, "in", value)
    if operator in {"$in", "$ini"}:
        if not isinstance(value, list) or not value:
            return NEVER
        values = [part for part in value if part is not None]
        if operator == "$ini":
            return text_test(name, "^{}$", values, folds=True)
        missing = is_missing(name) if len(values) < len(value) else NEVER
        return [*(test(name, "in", *values) if values else NEVER), *missing]
    if operator in {"$all", "$alli"}:
        singular = {"$all": "$eq", "$alli": "$ini"}[operator]
        parts = ([part] if singular == "$ini" else part for part in value)
        return both(*(_operator(name, singular, part, groups=groups) for part in parts))
    if operator == "$elemMatch":
        if len(value) != 1 or not next(iter(value)).startswith("$"):
            raise UnsayableError("one element for several conditions, or objects in lists")
        return _operator(name, *next(iter(value.items())), groups=groups)
    if operator in {"$regex", "$regexi"}:
        try:
            re.compile(value)
        except re.error:
            return NEVER
        return test(name, "regex", ("(?i)" if operator == "$regexi" else "") + value)
    if operator not in _GROWTHBOOK:
        return NEVER
    return test(name, _GROWTHBOOK[operator], value)


def _growthbook_feature(feature: Any, groups: Any) -> Flag:
    rules, gate = [], ALWAYS
    for rule in feature.get("rules", ()):
        if rule.keys() - {"condition", "force", "parentConditions", "id"}:
            raise UnsayableError("experiments, percentages and names of GrowthBook")
        parents = rule.get("parentConditions", ())
        needed = both(gate, *(_growthbook_parent(parent) for parent in parents))
        own = _growthbook(rule.get("condition", {}), groups)
        if any(parent.get("gate") for parent in parents):
            gate = needed
        if "force" in rule:
            rules.append((both(needed, own), bool(rule["force"])))
    return Flag([*rules, (gate, bool(feature.get("defaultValue")))])


def _growthbook_parent(parent: Any) -> Alternatives:
    wanted = {json.dumps(parent["condition"]): parent["condition"].get("value")}
    [value] = wanted.values()
    if isinstance(value, bool):
        return [[{"flag": parent["id"], "is": value}]]
    if value in ({"$ne": False}, {"$exists": True}):
        return [[{"flag": parent["id"], "is": True}]]
    raise UnsayableError("a prerequisite on a value")


# flagd.

_FLAGD = {
    "starts_with": "startswith",
    "ends_with": "endswith",
    "<": "lt",
    "<=": "lte",
    ">": "gt",
    ">=": "gte",
}
_FLAGD_VERSIONS = {
    "=": "version_eq",
    ">": "version_gt",
    "<": "version_lt",
    ">=": "version_gte",
    "<=": "version_lte",
}


def flagd(folder: Path) -> Iterator[Expectation]:
    """The scenarios of flagd about versions, texts and targeting."""
    path = folder / "flagd-testbed/evaluator"
    document = json.loads((path / "flags/testkit-flags.json").read_text(encoding="utf-8"))
    shared = document["$evaluators"]
    for feature in sorted((path / "gherkin").glob("*.feature")):
        for title, steps, row in _scenarios(feature.read_text(encoding="utf-8")):
            text = reduce(
                lambda text, cell: text.replace(f"<{cell[0]}>", cell[1]), row.items(), steps
            )
            key = re.search(r'-flag with key "([^"]*)"', text)
            value = re.search(r'details value should be "([^"]*)"', text)
            flag = document["flags"].get(key[1]) if key else None
            name = f"{feature.stem}: {title} {' '.join(row.values())}"
            if flag is None or value is None or "targeting" not in flag:
                continue
            attributes: dict[str, Any] = {}
            for attribute, kind, text_of_value in re.findall(
                r'key "([^"]*)", with type "(\w+)" and with value "([^"]*)"', text
            ):
                attributes[attribute] = {"Integer": int, "Float": float}.get(kind, str)(
                    text_of_value
                )
            if targeting_key := re.search(r'targeting key with value "([^"]*)"', text):
                attributes["targetingKey"] = targeting_key[1]

            def of_flagd(flag: Any = flag, value: str = value[1]) -> Flag:
                def is_expected(variant: Any) -> bool:
                    return str(flag["variants"].get(variant, variant)).lower() == value.lower()

                if flag.get("defaultVariant") is None:
                    raise UnsayableError("no default")
                default = is_expected(flag["defaultVariant"])
                rules = _cases(flag["targeting"], shared, is_expected, default=default)
                return Flag(rules)

            yield Expectation(name, {"f": of_flagd}, "f", attributes, expected=True)


def _scenarios(text: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The title, the steps, and a row of examples of each scenario."""
    for part in re.split(r"\n\s*Scenario(?: Outline)?: ", text)[1:]:
        title, _, rest = part.partition("\n")
        steps, _, examples = rest.partition("Examples:")
        rows = [
            [cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in examples.splitlines()
            if line.strip().startswith("|")
        ]
        head, *others = rows or [[]]
        for row in others or [[]]:
            yield title, steps, dict(zip(head, row, strict=True))


def _cases(
    logic: Any, shared: Any, is_expected: Callable[[Any], bool], *, default: bool
) -> list[tuple[Alternatives, bool]]:
    """The branches of a targeting: each condition, and whether its variant is the expected one."""
    if not isinstance(logic, dict):
        return [(ALWAYS, default if logic is None else is_expected(logic))]
    if "fractional" in logic:
        raise UnsayableError("a percentage of another hash")
    if "if" not in logic:
        raise UnsayableError(f"{next(iter(logic))} without a condition")
    condition, then, *otherwise = logic["if"]
    own = [(_logic(condition, shared), is_expected(then))]
    return own + _cases(otherwise[0] if otherwise else None, shared, is_expected, default=default)


def _logic(logic: Any, shared: Any) -> Alternatives:
    [(operator, operands)] = logic.items()
    if operator == "$ref":
        if operands not in shared:
            raise UnsayableError("a reference to nothing")
        return _logic(shared[operands], shared)
    if operator == "fractional":
        raise UnsayableError("a percentage of another hash")
    names = [
        operand["var"] for operand in operands if isinstance(operand, dict) and "var" in operand
    ]
    values = [argument for argument in operands if not isinstance(argument, dict)]
    if len(names) != 1:
        raise UnsayableError(operator)
    [name] = names if isinstance(names[0], str) else names[0]
    if operator == "==":
        return test(name, "in", *values)
    if operator == "sem_ver":
        return _flagd_version(name, *values)
    if operator in _FLAGD:
        return test(name, _FLAGD[operator], *values)
    raise UnsayableError(operator)


def _flagd_version(name: str, operator: str, version: str) -> Alternatives:
    if operator in _FLAGD_VERSIONS:
        return test(name, _FLAGD_VERSIONS[operator], version)
    major, minor, _patch = (*map(int, version.split(".")), 0, 0)[:3]
    end = f"{major + 1}" if operator == "^" else f"{major}.{minor + 1}"
    return both(test(name, "version_gte", version), test(name, "version_lt", end))


# Evaluation.


def evaluate(case: Expectation) -> bool:
    """Evaluates an expectation. Raises UnsayableError."""
    if any(isinstance(value, dict) for value in case.attributes.values()):
        raise UnsayableError("objects as attributes")
    rows: list[Any] = []
    wanted, names = [case.key], dict.fromkeys(f"a.{name}" for name in case.attributes)
    for key in wanted:
        if key not in case.flags:
            continue
        flag = case.flags[key]()
        rules: list[dict[str, Any]] = [
            {"conditions": conditions, "rollout_percent": 100 * on}
            for alternatives, on in flag.rules
            for conditions in alternatives
        ]
        conditions = [condition for rule in rules for condition in rule["conditions"]]
        wanted += {condition["flag"] for condition in conditions if "flag" in condition} - {*wanted}
        # What is not given is missing, and not unknown.
        names |= dict.fromkeys(
            condition["attribute"] for condition in conditions if "attribute" in condition
        )
        text = json.dumps(rules)
        if problem := _core.check_rules(text):
            raise UnsayableError(f"refused: {str(problem).rpartition(': ')[2][:40]}")
        rows.append((key, key, True, 100 * flag.otherwise, False, text if rules else None, "user"))
    side: Any = (rows, [], [], [], [])
    comparison = _core.Comparison(side, side, [("flag", case.key)])
    names.pop(ALWAYS[0][0]["attribute"], None)
    values = [case.attributes.get(name.removeprefix("a.")) for name in names]
    users: Any = iter([("1", *values)])
    _changed, [counts] = comparison.count(users, [*names])
    return counts[3] > 0


def main() -> int:
    """Prints the figures, and returns the exit status."""
    folder = Path(sys.argv[1])
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "flagstaff"],
        USE_TZ=True,
    )
    django.setup()
    total, status = Counter[str](), 0
    for read in (unleash, flagsmith, growthbook, flagd):
        counts, kinds, differing = Counter[str](), Counter[str](), []
        for case in read(folder):
            try:
                outcome = "equal" if evaluate(case) is case.expected else "differ"
            except UnsayableError as unsayable:
                outcome = "cannot be said"
                kinds[str(unsayable)] += 1
            why = next(
                (why for name, why in DOCUMENTED.items() if case.name.startswith(name)), None
            )
            if outcome == "differ":
                outcome = "differ as documented" if why else outcome
                differing.append(f"  {case.name}{f' ({why})' if why else ''}")
                status |= why is None
            counts[outcome] += 1
        total += counts
        print(read.__name__, dict(counts))
        print(*(f"  {count} {kind}" for kind, count in kinds.most_common()), sep="\n")
        print(*differing, sep="\n")
    print("all", dict(total))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
