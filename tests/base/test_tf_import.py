"""TensorFlow in a process of its own: what a command leaves out, and what whoever imports harness still gets."""

import json
import subprocess
import sys

import pytest

SCRIPT = """\
import gc, json, sys, types
sys.modules["__main__"].__spec__ = types.SimpleNamespace(name={name!r})  # as python -m sets it
from harness.base import tf_import
tf_import.import_tensorflow()
loaded = [name for name in ("matplotlib.pyplot", "pandas", "sklearn") if name in sys.modules]
import matplotlib.pyplot, sklearn.base
import keras
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
print(json.dumps([loaded, gc.isenabled(), model.count_params()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name, is_command", [("harness.train", True), ("notebook", False), ("harness_of_mine", False)])
def test_command_leaves_out_what_keras_could_take_too(name, is_command):
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(name=name)], capture_output=True, text=True, check=True)
    loaded, collects, num_parameters = json.loads(done.stdout)

    assert not is_command or loaded == []
    assert is_command or "sklearn" in loaded
    assert collects and num_parameters == 3
