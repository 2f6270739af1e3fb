"""The public functions, methods and classes of flagstaff that take a key."""

from __future__ import annotations

from dataclasses import dataclass

from flagstaff.cleanup.references.model import About, Kind


@dataclass(frozen=True)
class Function:
    """How a function takes a key."""

    kind: Kind
    about: About = About.FLAG
    #: The key's name as a keyword, and its place among the positional arguments.
    parameter: str = "key"
    #: None if the key is a keyword only.
    position: int | None = 0
    #: All positional arguments are keys.
    is_many: bool = False
    #: What else may have the key.
    or_about: About | None = None
    #: What the key is the name of in another library, such as "switch"; empty for our keys.
    source: str = ""
    #: What replaces it, by the name that a project imports; empty if nothing does.
    becomes: str = ""


def _all(module: str, names: str, kind: Kind, about: About = About.FLAG) -> dict[str, Function]:
    return {f"{module}.{name}": Function(kind, about) for name in names.split()}


#: By the name that a project imports.
BY_NAME: dict[str, Function] = {
    **_all("flagstaff", "flag_enabled explain resolve_flag", Kind.EVALUATION),
    **_all("flagstaff", "explain_value get_value resolve_value", Kind.EVALUATION, About.VALUE),
    **_all("flagstaff", "impact usage", Kind.QUERY),
    **_all("flagstaff", "value_impact", Kind.QUERY, About.VALUE),
    **_all(
        "flagstaff.experiments",
        "explain_variant get_variant peek_variant resolve_variant",
        Kind.EVALUATION,
        About.EXPERIMENT,
    ),
    **_all(
        "flagstaff.experiments",
        "create delete edit force set_metrics set_weights ship shuffle start stop undo",
        Kind.CHANGE,
        About.EXPERIMENT,
    ),
    **_all("flagstaff.experiments", "report", Kind.QUERY, About.EXPERIMENT),
    **_all("flagstaff.otel", "get_variant", Kind.EVALUATION, About.EXPERIMENT),
    **_all("flagstaff.decorators", "flag_required", Kind.DECORATOR),
    **_all("flagstaff.drf", "HasFlag", Kind.PERMISSION),
    **_all("flagstaff.testing", "override_flag", Kind.TEST),
    **_all("flagstaff.testing", "override_value", Kind.TEST, About.VALUE),
    **_all("flagstaff.testing", "override_variant", Kind.TEST, About.EXPERIMENT),
    **_all("pytest.mark", "flag", Kind.TEST),
    **_all("pytest.mark", "value", Kind.TEST, About.VALUE),
    **_all("pytest.mark", "variant", Kind.TEST, About.EXPERIMENT),
    **_all(
        "flagstaff.changes",
        "add_allowed_users create delete disable enable release_to_everybody remove_allowed_users "
        "restore set_rollout undo update",
        Kind.CHANGE,
    ),
    **_all(
        "flagstaff.changes",
        "create_value delete_value restore_value set_value undo_value update_value",
        Kind.CHANGE,
        About.VALUE,
    ),
    **_all(
        "flagstaff.changes",
        "create_segment delete_segment restore_segment undo_segment update_segment",
        Kind.CHANGE,
        About.SEGMENT,
    ),
    **_all("flagstaff.history", "flag_history flag_version", Kind.QUERY),
    **_all("flagstaff.history", "value_history value_version", Kind.QUERY, About.VALUE),
    **_all("flagstaff.history", "segment_history segment_version", Kind.QUERY, About.SEGMENT),
    "flagstaff.history.recent_events": Function(Kind.QUERY, position=None),
    **_all(
        "flagstaff.rollouts",
        "create delete dismiss edit jump pause resume rollback start",
        Kind.CHANGE,
    ),
}

#: By the type of the object and the name of the method. `[]` is the subscript.
BY_METHOD: dict[tuple[str, str], Function] = {
    ("snapshot", "flag_enabled"): Function(Kind.EVALUATION),
    ("snapshot", "explain"): Function(Kind.EVALUATION),
    ("snapshot", "depends_on_user"): Function(Kind.EVALUATION),
    ("snapshot", "resolve_flag"): Function(Kind.EVALUATION),
    ("snapshot", "get_value"): Function(Kind.EVALUATION, About.VALUE),
    ("snapshot", "resolve_value"): Function(Kind.EVALUATION, About.VALUE),
    ("request_flags", "enabled"): Function(Kind.EVALUATION),
    ("request_flags", "aenabled"): Function(Kind.EVALUATION),
    ("snapshot", "get_variant"): Function(Kind.EVALUATION, About.EXPERIMENT),
    ("snapshot", "peek_variant"): Function(Kind.EVALUATION, About.EXPERIMENT),
    ("snapshot", "resolve_variant"): Function(Kind.EVALUATION, About.EXPERIMENT),
    ("request_flags", "value"): Function(Kind.EVALUATION, About.VALUE),
    ("request_flags", "variant"): Function(Kind.EVALUATION, About.EXPERIMENT),
    ("request_flags", "[]"): Function(Kind.EVALUATION),
    ("results", "[]"): Function(Kind.EVALUATION),
    ("results", "get"): Function(Kind.EVALUATION),
    ("results", "pop"): Function(Kind.EVALUATION),
    ("fixture", "on"): Function(Kind.TEST, is_many=True),
    ("fixture", "off"): Function(Kind.TEST, is_many=True),
    ("fixture", "set"): Function(Kind.TEST),
    ("fixture", "value"): Function(Kind.TEST, About.VALUE),
    ("fixture", "variant"): Function(Kind.TEST, About.EXPERIMENT),
}

#: What a call returns: the type of an object, by the function or by the object and its method.
RESULTS: dict[str | tuple[str, str], str] = {
    "flagstaff.snapshot": "snapshot",
    "flagstaff.all_flags": "results",
    ("snapshot", "all_flags"): "results",
    ("request_flags", "all"): "results",
    ("request_flags", "aall"): "results",
    ("request_flags", "client_side"): "results",
}

#: The models that have a key, for `FeatureFlag.objects.get(key="…")`.
MODELS = {
    "FeatureFlag": About.FLAG,
    "KeyValueStore": About.VALUE,
    "Segment": About.SEGMENT,
}

#: Names that are also importable from a private or a longer path.
PUBLIC_MODULES = {
    "flagstaff._core": "flagstaff",
    "flagstaff._engine.explain": "flagstaff",
    "flagstaff.rollouts.plans": "flagstaff.rollouts",
    "flagstaff.changes.flags": "flagstaff.changes",
    "flagstaff.changes.values": "flagstaff.changes",
    "flagstaff.changes.segments": "flagstaff.changes",
    "flagstaff.changes.allowed_users": "flagstaff.changes",
}
