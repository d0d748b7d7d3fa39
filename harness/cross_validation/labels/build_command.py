"""The command that builds records again just as they were built, with the corrections of their labels beside."""

import json
import shlex
from collections.abc import Iterator

from harness.base.storage import Folder
from harness.config.dataset_sections import DataConfig
from harness.config.schema import Config
from harness.dataset.records.manifest import Manifest

CORRECTIONS = "corrections.csv"
_SECTIONS = ("clean", "split", "records")


def make(data: Manifest, records: Folder, given: DataConfig) -> str:
    """Returns the command, to be typed where the records were built: what it names may lie in the current folder.

    Args:
      data: the manifest of the records.
      records: where they lie.
      given: the table of labels, and whether links are followed, of records that do not say so themselves.
    """
    words = ["python", "-m", "harness.build_records", "--images", data.images, "--records", str(records)]
    for name, value in (*_list_sources(data, given), *_list_settings(data)):
        words += [f"--{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
    return shlex.join([*words, "--clean.labels", CORRECTIONS, "--overwrite"])


def _list_sources(data: Manifest, given: DataConfig) -> Iterator[tuple[str, object]]:
    defaults, built = DataConfig().model_dump(mode="json"), data.config.get("data")
    stated = given.model_dump(mode="json") | (built if isinstance(built, dict) else {})
    for name in ("labels", "classes", "follow_links"):
        if stated[name] != defaults[name]:
            yield f"data.{name}", stated[name]


def _list_settings(data: Manifest) -> Iterator[tuple[str, object]]:
    """The settings that are not as the defaults are; the manifest may come from another version."""
    defaults = Config().model_dump(mode="json", include=set(_SECTIONS))
    for section in _SECTIONS:
        built = data.config.get(section)
        for name, value in built.items() if isinstance(built, dict) else ():
            known = name in defaults[section] and (section, name) != ("clean", "labels")
            if known and value != defaults[section][name]:
                yield f"{section}.{name}", value
