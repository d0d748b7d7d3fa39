"""Settings from defaults, a YAML file and flags into one Config, each with where it came from.

A setting is named `section.field`. Precedence: default < file < flag. schema.py and the sections below
it define the settings, flags.py reads the command line.
"""

import contextlib
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from harness.base import json_files
from harness.base.errors import ConfigError
from harness.base.storage import RemotePath
from harness.base.text import visible
from harness.config.hints.spelling import explain_unknown
from harness.config.schema import Config
from harness.config.yaml_loader import NO_VALUE, WORD_TAGS, Loader, construct_names

DEFAULT = "default"
_MOST_CHARACTERS = 1 << 18
# Settings made of names of folders, which are text also where YAML reads a number or a truth value: [0, 1], [no, yes].
_NAMES = ("data.classes",)


class WrongValue(ConfigError):
    """A value that a setting cannot have.

    Attributes:
      name: of the setting.
    """

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Setting:
    """A value and where it was given: a file with its line, or a flag."""

    value: object
    source: str


def setting_names() -> dict[str, str]:
    """Returns every setting's name and description, in the order of the schema."""
    return {
        f"{section}.{name}": field.description or ""
        for section in Config.model_fields
        for name, field in _fields_of(section).items()
    }


def _fields_of(section: str) -> dict[str, FieldInfo]:
    return cast(type[BaseModel], Config.model_fields[section].annotation).model_fields


def read_file(path: Path, *, unknown: list[str] | None = None) -> dict[str, Setting]:
    """Reads the settings a YAML file states.

    Args:
      path: the file.
      unknown: takes the names of sections and settings that do not exist, which are refused without it.

    Raises:
      ConfigError: the file is missing, is no YAML, or names a setting that does not exist.
    """
    text = _read_text(path)
    try:
        loader = Loader(text)  # which looks for characters that YAML does not have
        try:
            root = loader.get_single_node()
            return _flatten(loader, root, path, unknown) if root else {}
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: this is not valid YAML: {error.problem}.") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}:{line}: this is not valid YAML: {error.reason}.") from None


def _read_text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    else:
        if len(text) <= _MOST_CHARACTERS:
            return text
        reason = f"it has more than {_MOST_CHARACTERS} characters"
    advice = f"Did you mean {near}?" if (near := _find_near(path)) else "Give a YAML file, such as configs/smoke.yaml."
    raise ConfigError(f"cannot read the config file {path}: {reason}. {advice}")


def _find_near(path: Path) -> Path | None:
    """Returns the config file that is probably meant: that of a run folder, or one in configs/ of such a name."""
    folder = Path("configs")
    meant = (
        path / "config.yaml",
        path.with_name(f"{path.name}.yaml"),
        folder / path.name,
        folder / f"{path.name}.yaml",
    )
    if found := next((other for other in meant if other.is_file()), None):
        return found
    by_name = {other.stem: other for other in folder.glob("*.yaml")}
    nearest = difflib.get_close_matches(path.stem, by_name, n=1)
    return by_name[nearest[0]] if nearest else None


def _flatten(loader: Loader, root: yaml.Node, path: Path, unknown: list[str] | None) -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}:1: expected sections such as 'train:', found a single value.")
    for section_key, section in root.value:
        section_name, line = _name_of(section_key, path), section_key.start_mark.line + 1
        if section_name not in Config.model_fields:
            if unknown is not None:
                unknown.append(section_name)
                continue
            raise ConfigError(f"{path}:{line}: {explain_unknown(section_name, Config.model_fields, 'section')}")
        if isinstance(section, yaml.ScalarNode) and section.tag.endswith(":null"):
            continue
        if not isinstance(section, yaml.MappingNode):
            raise ConfigError(f"{path}:{line}: expected settings under '{section_name}:', found a single value.")
        for key, value in section.value:
            name, line = f"{section_name}.{_name_of(key, path)}", key.start_mark.line + 1
            if name not in setting_names():
                if unknown is not None:
                    unknown.append(name)
                    continue
                raise ConfigError(f"{path}:{line}: {explain_unknown(name, setting_names(), 'setting')}")
            if name in settings:
                raise ConfigError(f"{path}:{line}: {name} is stated twice, first at {settings[name].source}. Keep one.")
            settings[name] = Setting(_construct(loader, name, value, f"{path}:{line}"), f"{path}:{line}")
    return settings


def _name_of(key: yaml.Node, path: Path) -> str:
    if isinstance(key, yaml.ScalarNode):
        return str(key.value)
    raise ConfigError(f"{path}:{key.start_mark.line + 1}: expected the name of a section or setting, found a list.")


def _construct(loader: Loader, name: str, node: yaml.Node, source: str) -> object:
    if name in _NAMES:
        return construct_names(node)
    if isinstance(node, yaml.ScalarNode) and node.tag in WORD_TAGS and _takes_text(name):
        return node.value  # a folder called 2024-11-25 is text, whatever else YAML reads in it
    try:
        return loader.construct_object(node, deep=True)
    except NO_VALUE as error:
        reason = " ".join(str(error).split())[:100]
        raise ConfigError(
            f"{source}: {name} has a value that cannot be read: {type(error).__name__}: {reason}."
        ) from None


def parse_flag(name: str, text: str) -> Setting:
    """Reads the text of a flag as YAML would, so that a flag and a file mean the same; a path or a name as it is.

    Only `null` stands for nothing where that is a choice: a folder of this name is ./null.
    """
    value: object = text
    is_null = text == "null" and type(None) in get_args(_declared(name))
    if is_null or not _takes_text(name):
        with contextlib.suppress(yaml.YAMLError, *NO_VALUE):
            if name in _NAMES:
                value = construct_names(yaml.compose(text, Loader=Loader))
            else:
                value = yaml.load(text, Loader=Loader)  # noqa: S506 - Loader is a SafeLoader
    return Setting(value, f"flag --{name}")


def _declared(name: str) -> object:
    section, field = name.split(".")
    return _fields_of(section)[field].annotation


def _takes_text(name: str) -> bool:
    """Whether a setting is a text, a path or one of several words, or may be null besides."""
    return all(_is_text(kind) for kind in _members(_declared(name)))


def _members(declared: object) -> list[object]:
    """The kinds of a union; Annotated is looked through."""
    if get_origin(declared) is Annotated:
        return _members(get_args(declared)[0])
    if get_origin(declared) in (Union, UnionType):
        return [member for part in get_args(declared) for member in _members(part)]
    return [declared]


def _is_text(kind: object) -> bool:
    return kind in (str, Path, RemotePath, type(None)) or get_origin(kind) is Literal


def make_config(settings: Mapping[str, Setting]) -> Config:
    """Returns the Config of these settings over the defaults.

    Raises:
      WrongValue: it has the wrong type or is out of range; the text names the setting, value and source.
    """
    tree: dict[str, dict[str, object]] = {}
    for name, setting in settings.items():
        section, field = name.split(".")
        tree.setdefault(section, {})[field] = setting.value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:2])
        below = ".".join(str(part) for part in first["loc"][2:] if not str(part).startswith("function"))
        expected = re.sub(r"^(Input|Value|String) should |^Value error, it should ", "it should ", first["msg"])
        if first["type"] == "string_pattern_mismatch":
            expected = f"it should be {setting_names()[name]}"
        where = settings[name].source
        what = f"{name} is {json_files.show(settings[name].value)}" + (f" (at {below})" if below else "")
        raise WrongValue(f"{where}: {what}: {expected}.", name) from None


def make_absolute(config: Config) -> Config:
    """Returns the config with local paths that mean the same in every current folder; the records are named."""
    data = config.data.model_copy(update={"records": config.data.records_folder})
    changed = config.model_copy(update={"data": data})
    for section in Config.model_fields:
        values = getattr(changed, section)
        paths = {name: _make_absolute(name, value) for name, value in values if isinstance(value, Path)}
        changed = changed.model_copy(update={section: values.model_copy(update=paths)})
    return changed


def _make_absolute(name: str, path: Path) -> Path:
    is_of_node = name == "stage" and str(path).startswith("$")  # a variable, which each node expands for itself
    return path if is_of_node else path.absolute()


def as_yaml(config: Config, *sections: str, header: str = "") -> str:
    """Returns the config, or some of its sections, as YAML that `read_file` takes, below a comment."""
    values = config.model_dump(mode="json", exclude_none=True, include=set(sections) or None)
    comment = "".join(f"# {visible(line)}\n" for line in header.splitlines())
    return comment + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)


def describe(config: Config, settings: Mapping[str, Setting]) -> str:
    """Returns a table of every setting's value and source."""
    values = config.model_dump(mode="json")
    rows = []
    for name in setting_names():
        section, field = name.split(".")
        source = settings[name].source if name in settings else DEFAULT
        rows.append((name, _inline_yaml(values[section][field]), source))
    name_width = max(len(row[0]) for row in rows)
    value_width = max(len(row[1]) for row in rows if len(row[1]) <= 40)
    return "\n".join(f"{name:<{name_width}}  {value:<{value_width}}  {source}" for name, value, source in rows)


def list_differences(before: Config, now: Config, sections: Sequence[str]) -> list[str]:
    """Returns a phrase for each setting of the sections that differs; the run folder's name does not count."""
    return [f"{name} was {was}, now {is_now}" for name, was, is_now in list_changes(before, now, sections)]


def list_changes(before: Config, now: Config, sections: Sequence[str]) -> list[tuple[str, str, str]]:
    """Returns name and both values as YAML of each setting that differs; the run folder's name does not count."""
    was, is_now = (_flatten_values(config.model_dump(mode="json", include=set(sections))) for config in (before, now))
    return [
        (name, _inline_yaml(was.get(name)), _inline_yaml(is_now.get(name)))
        for name in was | is_now
        if was.get(name) != is_now.get(name) and name != "train.run"
    ]


def list_values(config: Config) -> dict[str, str]:
    """Returns the value of each setting as YAML on one line; those of one that holds others by their names, too."""
    return {name: _inline_yaml(value) for name, value in _flatten_values(config.model_dump(mode="json")).items()}


def _flatten_values(sections: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Returns the values of all settings; those of a setting that holds others by their names, too."""
    found: dict[str, object] = {}
    for section, values in sections.items():
        for name, value in values.items():
            inner = value if isinstance(value, dict) else {}
            found |= {f"{section}.{name}.{key}": each for key, each in inner.items()} or {f"{section}.{name}": value}
    return found


def value_hint(name: str) -> str:
    """Returns what a setting takes, for its help: the choices, or the kind of value."""
    section, field = name.split(".")
    text = str(_fields_of(section)[field].annotation)
    if text.startswith("tuple"):
        return "LIST"
    if choices := re.findall(r"Literal\[([^]]*)\]", text):
        words = [part.strip(" '") for found in choices for part in found.split(",")]
        others = re.sub(r"Literal\[[^]]*\]", "", text)
        return "|".join([*words, *(hint for kind, hint in (("tuple", "LIST"), ("int", "INT")) if kind in others)])
    kinds = {"Path": "PATH", "bool": "BOOL", "tuple": "LIST", "int": "INT", "float": "FLOAT"}
    return next((hint for kind, hint in kinds.items() if kind in text), "TEXT")


def default_text(name: str) -> str:
    """Returns the default of a setting as YAML."""
    section, field = name.split(".")
    return _inline_yaml(Config().model_dump(mode="json")[section][field])


def _inline_yaml(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
