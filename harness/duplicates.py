"""Copies of one picture: kept once within a class, refused across classes. It compares digests of upright pixels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Copies:
    """What becomes of pictures that equal another: path -> the path it equals."""

    duplicates: Mapping[str, str]
    label_conflicts: Mapping[str, str]


def find_exact_copies(pictures: Sequence[tuple[str, str, str]]) -> Copies:
    """Finds pictures whose decoded pixels are equal, whatever their files' names, formats and metadata.

    Args:
      pictures: `(path, class_name, pixels_sha256)` of every usable picture, in any order.

    Returns:
      Within one class all but the first path are duplicates. When equal pictures carry different classes nobody can
      say which label is right, so all of them are label conflicts.
    """
    by_digest: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path, class_name, digest in sorted(pictures):
        by_digest[digest].append((path, class_name))
    duplicates: dict[str, str] = {}
    label_conflicts: dict[str, str] = {}
    for copies in by_digest.values():
        first_path, first_class = copies[0]
        other = next((path for path, class_name in copies if class_name != first_class), None)
        if other is None:
            duplicates.update((path, first_path) for path, _ in copies[1:])
            continue
        for path, class_name in copies:
            label_conflicts[path] = first_path if class_name != first_class else other
    return Copies(duplicates, label_conflicts)
