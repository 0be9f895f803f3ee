"""YAML to Job and back. An error is one line: where, what is wrong, what was got, the fix."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from sigdca.errors import JobError
from sigdca.job.schema import Job

MAX_JOB_BYTES = 1_000_000  # a job is a page of text; more is a mistake or an attack


def load_job(path: str | Path, settings: Sequence[str] = ()) -> Job:
    """Reads a job file.

    Args:
        path: the YAML file.
        settings: overrides, each `dotted.path=value` with a YAML value, as given to `--set`.

    Returns:
        The validated job with every default filled in.

    Raises:
        JobError: one line that names the file and the key, what is wrong and the nearest fix.
    """
    where = str(path)
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_JOB_BYTES + 1)
    except OSError as error:
        raise JobError(f"{where}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_JOB_BYTES:
        raise JobError(f"{where}: larger than a job file may be ({MAX_JOB_BYTES} bytes)")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JobError(f"{where}: not UTF-8 text (byte {error.start})") from error
    return parse_job(text, where, settings)


def parse_job(text: str, where: str, settings: Sequence[str] = ()) -> Job:
    """Reads a job from YAML text; `where` names it in errors. See `load_job`."""
    document = _parse_yaml(text, where)
    if not isinstance(document, dict):
        raise JobError(f"{where}: must be a mapping of keys, got {type(document).__name__}")
    for setting in settings:
        _apply(document, setting)
    try:
        return Job.model_validate(document)
    except ValidationError as error:
        raise JobError(f"{where}: {_explain(error, document)}") from error


def with_values(
    job: Job, values: Mapping[str, Any], where: str, without: Collection[str] = ()
) -> Job:
    """The job with some dotted paths set, and some items of lists left out afterwards.

    Args:
        job: the job.
        values: path, as `--set` takes it -> value; set in this order.
        where: begins the line of an error.
        without: paths of list items.

    Raises:
        JobError: a path or value is wrong, with the nearest fix.
    """
    document = job.model_dump(mode="json", exclude_none=True)
    for path, value in values.items():
        if value == "lars" and path.endswith(".optimizer"):  # sgd's own rate is none for it
            _leave_out_default(job, document, path.removesuffix("optimizer") + "learning_rate")
    for path, value in values.items():
        _set_path(document, path, copy.deepcopy(value), where)
    for path in sorted(without, key=_item_number, reverse=True):
        found = value_at(document, path)
        parent = value_at(document, path.rpartition(".")[0])
        if found is None or not isinstance(parent, list):
            raise JobError(f"{where} {path}: no such item of a list")
        del parent[_item_number(path)]
    try:
        return Job.model_validate(document)
    except ValidationError as error:
        raise JobError(f"{where} {_explain(error, document)}") from error


def _leave_out_default(job: Job, document: dict[str, Any], path: str) -> None:
    """Takes out of a job's document what its file does not say."""
    section, _, key = path.rpartition(".")
    found = value_at(document, section)
    written = job.model_dump(mode="json", exclude_unset=True)
    if isinstance(found, dict) and value_at(written, path) is None:
        found.pop(key, None)


def _item_number(path: str) -> int:
    last = path.rpartition(".")[2]
    return int(last) if _is_number(last) else -1


def _is_number(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 10


def value_at(document: Any, path: str) -> Any:
    """What lies at a dotted path of a job's document; None if nothing does."""
    node = document
    for key in path.split("."):
        if isinstance(node, list) and _is_number(key) and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict):
            node = node.get(key)
        else:
            return None
    return node


def dump_job(job: Job) -> str:
    """The resolved job as YAML: every default written out, so that it reruns alone."""
    document = job.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML's own loader keeps the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"key '{key.value}' is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _parse_yaml(text: str, where: str) -> Any:
    try:
        _refuse_aliases(text, where)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" line {mark.line + 1}, column {mark.column + 1}:" if mark is not None else ""
        raise JobError(f"{where}:{line} not YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise JobError(f"{where}: not YAML: {first}") from error


def _refuse_aliases(text: str, where: str) -> None:
    """Aliases can make a small file expand without bound, and no job needs one."""
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise JobError(f"{where}: YAML aliases (*{event.anchor}) are not allowed")


def _apply(document: dict[str, Any], setting: str) -> None:
    """One `--set`."""
    path, equals, value = setting.partition("=")
    if not equals or not path:
        raise JobError(f"--set {setting}: must be path=value, for example seed=1")
    _set_path(document, path, _parse_yaml(value, f"--set {path}"), "--set")


def _set_path(document: dict[str, Any], path: str, value: Any, what: str) -> None:
    """Sets one dotted path; list items are numbers, a pass's own key may be left as it is."""
    node: Any = document
    keys = path.split(".")
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        here = ".".join(keys[: depth + 1])
        if isinstance(node, list):
            if not _is_number(key) or int(key) >= len(node):
                raise JobError(f"{what} {here}: no such item; the list has {len(node)}")
            index: Any = int(key)
        elif isinstance(node, dict):
            index = key
            if not last and node.get(key) is None:
                node[key] = {}
        else:
            raise JobError(f"{what} {path}: '{'.'.join(keys[:depth])}' is a value, not a section")
        if last:
            node[index] = value
        else:
            node = node[index]


def _explain(error: ValidationError, document: dict[str, Any]) -> str:
    """The first problem as one line.

    An unknown key comes first, for it often causes the others; then the deepest: where a setting
    may be one figure or a figure per layer, that is the branch which the user meant.
    """
    problems = error.errors(include_url=False)
    problems.sort(key=lambda at: (at["type"] != "extra_forbidden", -len(at["loc"])))
    problem = problems[0]
    location = tuple(part for part in problem["loc"] if not _is_union_branch(part))
    path = _dotted(location)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _known_keys(location[:-1]), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else _list(_known_keys(location[:-1]))
        return f"{path}: unknown key{hint}"
    if problem["type"] == "missing":
        return f"{path}: is missing"
    message = _MESSAGES.get(problem["type"], "{msg}").format(
        msg=problem["msg"].removeprefix("Value error, "), **problem.get("ctx", {})
    )
    message = _with_interval(message, location)
    got = problem["input"]
    shown = "" if isinstance(got, (dict, list, BaseModel)) else f", got {got!r}"
    return f"{path}: {message}{shown}" if path else f"{message}{shown}"


_MESSAGES = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be one of {expected}",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "string_pattern_mismatch": "must match {pattern}",
    "tuple_type": "must be a list",
    "dict_type": "must be a section of keys",
    "model_type": "must be a section of keys",
    "model_attributes_type": "must be a section of keys",
    "too_short": "must not be empty",
}

# Where both ends of a range are known, the whole range is the better message.
_INTERVALS = {
    "sparsity": "must be in [0, 1)",
    "momentum": "must be in [0, 1)",
    "bits": "must be in [1, 12]",
}


def _with_interval(message: str, location: tuple[str | int, ...]) -> str:
    if message.startswith(("must be at", "must be more", "must be less")):
        for part in reversed(location):
            if part in _INTERVALS:
                return _INTERVALS[str(part)]
    return message


def _is_union_branch(part: str | int) -> bool:
    """Pydantic names the branch of a union in a location; a reader has no use for it."""
    return isinstance(part, str) and (
        part in {"float", "int", "constrained-float", "constrained-int"} or "[" in part
    )


def _dotted(location: tuple[str | int, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """The keys that the section at this place may have."""
    model: type[BaseModel] | None = Job
    named = False  # the next part is a key of the user's own
    for part in location:
        if isinstance(part, int):
            continue
        if named:
            named = False
            continue
        field = model.model_fields.get(str(part)) if model else None
        model = _section_in(field.annotation) if field else None
        named = field is not None and model is not None and _is_mapping(field.annotation)
    return list(model.model_fields) if model else []


def _is_mapping(annotation: Any) -> bool:
    """Whether sections lie under names of the user's own."""
    arguments = get_args(annotation)
    here = get_origin(annotation) is dict and _section_in(arguments[1]) is not None
    return here or any(_is_mapping(argument) for argument in arguments)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _section_in(argument)
        if found is not None:
            return found
    return None


def _list(keys: list[str]) -> str:
    return f"; known keys are {', '.join(keys)}" if keys else ""
