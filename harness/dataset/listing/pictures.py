"""Lists the pictures of the images folder, each with its class: what a build goes by. It opens no picture."""

from harness.config.schema import DataConfig
from harness.dataset.listing import class_folders
from harness.dataset.listing.listed import LeftOut, Listed, Listing, judge_files
from harness.dataset.listing.walk import walk_files


def list_pictures(data: DataConfig) -> Listing:
    """Returns the pictures, their classes and splits, as far as folders give them.

    Raises:
      DataError: there are no classes, or nobody can tell which they are.
    """
    folder = data.images
    names = class_folders.list_classes(folder)
    class_folders.check_apart(folder, names)
    files = [
        item for name in names for item in judge_files(folder, walk_files(folder / name), Listed("", name), below=name)
    ]
    return Listing(
        pictures=tuple(item for item in files if isinstance(item, Listed)),
        class_names=tuple(names),
        left_out=tuple(item for item in files if isinstance(item, LeftOut)),
        warnings=tuple(class_folders.describe_alike(names)),
    )
