"""Which packages an export format needs beside TensorFlow. It imports none of them, so that a command can ask early."""

import importlib.util
from collections.abc import Mapping, Sequence

from harness.base.errors import ConfigError

_PACKAGES: Mapping[str, Sequence[str]] = {"onnx": ("onnx", "tf2onnx", "onnxruntime")}


def check_installed(formats: Sequence[str]) -> None:
    """Looks whether what writes and runs these formats is installed.

    Raises:
      ConfigError: a package is missing.
    """
    for name in formats:
        missing = [package for package in _PACKAGES.get(name, ()) if importlib.util.find_spec(package) is None]
        if missing:
            raise ConfigError(
                f"the export format {name} needs packages that are not installed: {', '.join(missing)}. "
                "Install the extra of harness that brings them: pip install -e '.[export]'"
            )
