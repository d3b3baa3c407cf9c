"""Reading and changing params.yaml: strict against the schema, comments kept when a value is changed."""

import dataclasses
import difflib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter

from mmcore.settings import Settings
from mmcore.workspace import write_bytes

# Of presets and projects. Release tags carry a project's name, and DVC allows no other letters in them.
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?")


def load(path: Path) -> Settings:
    """The settings that the file `path` states; a ValueError names the key that is wrong and what was expected."""
    return parse(_read(path), path.name)


def parse(values: Any, source: str) -> Settings:
    """Settings from a nested dict; `source` names it in errors."""
    try:
        settings = TypeAdapter(Settings).validate_python(values)
    except ValidationError as error:
        raise ValueError(_explain(error, source)) from None
    if not NAME.fullmatch(settings.name):
        raise ValueError(f"{source}: name '{settings.name}' may hold only small letters, digits and '-' between them")
    if not settings.tasks:
        raise ValueError(f"{source}: tasks is empty; name at least one of finetune's sections")
    for task in settings.tasks:
        if task not in settings.finetune:
            raise ValueError(f"{source}: task '{task}' has no section under finetune; add finetune.{task} or remove it")
    return settings


def as_dict(settings: Settings) -> dict[str, Any]:
    """The settings as plain nested values, as they stand in the file."""
    return dataclasses.asdict(settings)


def change(path: Path, *, presets: Sequence[Path] = (), assignments: Sequence[str] = ()) -> str:
    """Rewrite the file with the values of `presets`, then of `assignments` (`section.key=value`), comments kept.

    Returns the difference as text, empty if nothing changed. Nothing is written unless the result is valid.
    """
    document = _read(path)
    before = _dump(document)
    for preset in presets:
        _overlay(document, _read(preset), preset.name, ())
    for assignment in assignments:
        key, found, value = assignment.partition("=")
        if not found:
            raise ValueError(f"--set {assignment}: write it as section.key=value")
        _assign(document, key.split("."), YAML(typ="safe").load(value), f"--set {assignment}")
    parse(_plain(document), path.name)
    after = _dump(document)
    if after != before:
        write_bytes(path, after.encode())
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), path.name, path.name, lineterm="", n=0)
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def rename(root: Path, name: str) -> None:
    """Give the project in `root` another name, in params.yaml and where dvc.yaml declares its released artifact."""
    old = load(root / "params.yaml").name
    change(root / "params.yaml", assignments=[f"name={name}"])
    stages = _read(root / "dvc.yaml")
    if old != name and old in stages.get("artifacts", {}):
        stages["artifacts"] = {name: stages["artifacts"][old]}
        write_bytes(root / "dvc.yaml", _dump(stages).encode())


def preset(root: Path, name: str) -> Path:
    """The file of the preset `name`; a LookupError lists what there is."""
    path = root / "presets" / f"{name}.yaml"
    if not NAME.fullmatch(name) or not path.is_file():
        known = ", ".join(sorted(p.stem for p in (root / "presets").glob("*.yaml"))) or "none"
        raise LookupError(f"there is no preset '{name}' in presets/; there are: {known}")
    return path


class _Representer(RoundTripRepresenter):
    """Writes `null` where the library leaves a gap. A class of its own: DVC dumps with the library's."""


_Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 240
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _read(path: Path) -> Any:
    try:
        return _round_trip().load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path.name} is missing in {path.parent}; go to a project folder, or make one: mmcore init PATH"
        ) from None
    except YAMLError as error:
        raise ValueError(f"{path.name} is not valid YAML: {error}") from None


def _dump(document: Any) -> str:
    text = io.StringIO()
    _round_trip().dump(document, text)
    return text.getvalue()


def _plain(document: Any) -> Any:
    return YAML(typ="safe").load(_dump(document))


def _overlay(document: Any, changes: Any, source: str, above: tuple[str, ...]) -> None:
    """Put the values of a preset over those of the file; null takes an entry out of a table (an encoder, a metric)."""
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(document.get(key), dict) and "name" not in value:
            _overlay(document[key], value, source, (*above, key))
        elif value is None and _is_open(document):
            document.pop(key, None)
        else:
            _assign(document, [key], value, f"{source}: {'.'.join((*above, key))}")


def _assign(document: Any, keys: list[str], value: Any, source: str) -> None:
    for key in keys[:-1]:
        if not isinstance(document, dict) or key not in document:
            raise ValueError(f"{source}: no section '{key}'{_nearest(key, document)}")
        document = document[key]
    if not isinstance(document, dict) or (keys[-1] not in document and not _is_open(document)):
        raise ValueError(f"{source}: no key '{keys[-1]}'{_nearest(keys[-1], document)}")
    document[keys[-1]] = value


def _is_open(document: dict[str, Any]) -> bool:
    """Tables of the user's own keys (metrics, encoders, tasks): whether a new key is right is the schema's to say."""
    values = list(document.values())
    return (
        not values
        or all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        or all(isinstance(v, dict) for v in values)
    )


def _nearest(key: str, document: Any) -> str:
    choices = list(document) if isinstance(document, dict) else []
    near = difflib.get_close_matches(key, choices, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(choices) or 'none'}"


def _explain(error: ValidationError, source: str) -> str:
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "unexpected_keyword_argument":
            near = difflib.get_close_matches(str(problem["loc"][-1]), _all_keys(Settings), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            lines.append(f"{source}: there is no key '{place}'{hint}")
        elif problem["type"] in ("missing", "missing_argument"):
            lines.append(f"{source}: the key '{place}' is missing")
        elif problem["type"] == "value_error":  # the schema's own words
            lines.append(f"{source}: {place}: {problem['ctx']['error']}")
        else:
            lines.append(f"{source}: {place}: {problem['msg'].lower()} (found {problem['input']!r})")
    return "\n".join(lines)


def _all_keys(schema: Any) -> list[str]:
    keys: list[str] = []
    for field in dataclasses.fields(schema):
        keys.append(field.name)
        if dataclasses.is_dataclass(field.type):
            keys.extend(_all_keys(field.type))
    return keys
