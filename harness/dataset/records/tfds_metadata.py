"""TFDS metadata beside the shards, so that tfds.builder_from_directory opens the folder without code.

It is plain JSON as TensorFlow Datasets itself writes it, written without that package. This project reads
manifest.json only.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.base import files
from harness.dataset.records import tfrecord
from harness.dataset.records.manifest import Manifest, SplitInfo

FEATURES_FILE = "features.json"
INFO_FILE = "dataset_info.json"
# TFDS looks for the names of a ClassLabel under its key with a dot for every slash.
CLASS_NAMES_FILE = f"{tfrecord.LABEL.replace('/', '.')}.labels.txt"
FILE_NAMES = (FEATURES_FILE, INFO_FILE, CLASS_NAMES_FILE)

_VERSION = "1.0.0"
_FILE_NAME_TEMPLATE = "{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}"  # what tfrecord.shard_name gives
_MODULES = "tensorflow_datasets.core.features"


def write(data: Manifest, folder: Path) -> None:
    """Writes features.json, dataset_info.json and the class names into `folder`; the same data gives the same bytes.

    Args:
      data: what the folder holds. Splits without examples are left out: TFDS cannot read them.
      folder: where the shards are.
    """
    files.write_json(folder / FEATURES_FILE, _features(data))
    files.write_json(folder / INFO_FILE, _info(data))
    files.write_text(folder / CLASS_NAMES_FILE, "".join(f"{_on_one_line(name)}\n" for name in data.class_names))


def _features(data: Manifest) -> dict[str, object]:
    # The keys stay flat: TFDS reads nested ones as well, but as_supervised does not find those.
    features = {
        tfrecord.IMAGE: _image(data.image_size, data.encoding),
        tfrecord.LABEL: _feature(
            "class_label_feature.ClassLabel", classLabel={"numClasses": str(len(data.class_names))}
        ),
    }
    for key in (tfrecord.HEIGHT, tfrecord.WIDTH):
        features[key] = _tensor((), dtype="int64", encoding="none")
    for key in (tfrecord.FORMAT, tfrecord.TEXT, tfrecord.FILENAME, tfrecord.SHA256, tfrecord.GROUP):
        features[key] = _feature("text_feature.Text", text={})
    return _feature("features_dict.FeaturesDict", featuresDict={"features": features})


def _image(size: int, encoding: str) -> dict[str, object]:
    shape = (size, size, 3)
    if encoding == "raw":
        return _tensor(shape, dtype="uint8", encoding="bytes")
    content = {"shape": _shape(shape), "dtype": "uint8", "encodingFormat": encoding}
    return _feature("image_feature.Image", image=content)


def _tensor(shape: tuple[int, ...], *, dtype: str, encoding: str) -> dict[str, object]:
    return _feature("tensor_feature.Tensor", tensor={"shape": _shape(shape), "dtype": dtype, "encoding": encoding})


def _shape(dimensions: tuple[int, ...]) -> dict[str, list[str]]:
    # A protocol buffer in JSON has its int64 as text, and no empty lists.
    return {"dimensions": [str(dimension) for dimension in dimensions]} if dimensions else {}


def _feature(python_class: str, **content: Mapping[str, object]) -> dict[str, object]:
    return {"pythonClassName": f"{_MODULES}.{python_class}", **content}


def _info(data: Manifest) -> dict[str, object]:
    keys = [{"featureKey": key} for key in (tfrecord.IMAGE, tfrecord.LABEL)]
    return {
        "name": _dataset_name(data.images),
        "version": _VERSION,
        "fileFormat": "tfrecord",
        "supervisedKeys": {"tuple": {"items": keys}},
        "splits": [_split(name, split) for name, split in data.splits.items() if split.num_examples],
    }


def _split(name: str, split: SplitInfo) -> dict[str, object]:
    return {
        "name": name,
        "shardLengths": [str(shard.num_examples) for shard in split.shards],
        "numBytes": str(sum(shard.num_bytes for shard in split.shards)),
        "filepathTemplate": _FILE_NAME_TEMPLATE,
    }


def _dataset_name(images: str) -> str:
    """The images folder's name, as far as TFDS allows; not the records', which may be renamed."""
    name = re.sub(r"[^a-z0-9]+", "_", PurePosixPath(images).name.lower()).strip("_") or "images"
    return name if name[0].isalpha() else f"images_{name}"


def _on_one_line(class_name: str) -> str:
    """As it is, or as a JSON string if TFDS, which splits the file into lines and strips them, would change it."""
    is_safe = class_name == class_name.strip() and not re.search(r'[\n\r]|^"', class_name)
    return class_name if is_safe else json.dumps(class_name, ensure_ascii=False)
