"""What records were made of and with: the pictures and settings of their build, as their manifest says them.

Whoever uses records takes these from here, and not from the settings of another command, which may be defaults that
have nothing to do with the records.
"""

from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from harness.base.errors import DataError
from harness.base.storage import Folder
from harness.config import settings
from harness.config.schema import Config
from harness.config.settings import Setting, WrongValue
from harness.config.values import AnyFolder
from harness.dataset.records import manifest
from harness.dataset.records.manifest import Manifest

SECTIONS = ("clean", "split", "records")  # that a build goes by, and no training
_OF_LISTING = ("labels", "follow_links")  # settings of `data` that a build may state
_FOLDER: TypeAdapter[Folder] = TypeAdapter(AnyFolder)


def fill(config: Config, data: Manifest, folder: Folder) -> Config:
    """Returns the config with the pictures and settings that records were built with, whatever it says itself.

    A setting of the build that this version does not know so stays as it is.

    Args:
      config: as it was given.
      data: the manifest of the records.
      folder: where they lie.

    Raises:
      DataError: the manifest has something else in the place of images or classes.
    """
    built = _read(data)
    changes: dict[str, object] = {"records": folder, "images": _parse_images(data)}
    if config.data.classes is None and (classes := manifest.list_classes(data)) is not None:
        changes["classes"] = classes
    default = Config()
    for name in _OF_LISTING:
        if getattr(config.data, name) == getattr(default.data, name):
            changes[name] = getattr(built.data, name)
    sections = {name: getattr(built, name) for name in SECTIONS if data.config.get(name)}
    return config.model_copy(update={"data": config.data.model_copy(update=changes), **sections})


def list_overruled(given: Config, filled: Config) -> list[str]:
    """Returns a phrase for each setting that was given otherwise than the records were built with."""
    default = settings.list_values(Config())
    return [
        f"{name} is {asked}, the records were built with {built}"
        for name, asked, built in settings.list_changes(given, filled, SECTIONS)
        if asked != default.get(name)
    ]


def _read(data: Manifest) -> Config:
    """Returns the config of the build, of which what this version does not know so is the default."""
    known = settings.setting_names()
    stated = {
        f"{section}.{name}": Setting(value, "the manifest of the records")
        for section, values in data.config.items()
        if isinstance(values, Mapping) and section in (*SECTIONS, "data")
        for name, value in values.items()
        if f"{section}.{name}" in known and (section != "data" or name in _OF_LISTING)
    }
    while True:
        try:
            return settings.make_config(stated)
        except WrongValue as error:
            del stated[error.name]


def _parse_images(data: Manifest) -> Folder:
    try:
        return _FOLDER.validate_python(data.images)
    except ValidationError:
        raise DataError("the manifest of the records names no folder of images. Build them again.") from None
