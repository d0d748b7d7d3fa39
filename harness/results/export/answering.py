"""Asks exported files for probabilities, each by its own library without harness: the program of a fresh process.

python -m harness.results.export.answering FORMAT=FILE... takes pictures in NumPy's format from its standard input,
uint8 [n, size, size, 3], and prints a line of JSON for each file. It writes nothing to disk. check.py starts it.
"""

import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

_BATCH = 8
_NUM_AS_BYTES = 8  # pictures that a SavedModel is given as files too
_WARM_UPS, _MOST_TIMED, _TIMED_S = 2, 30, 1.0  # single pictures

Ask = Callable[[np.ndarray], np.ndarray]  # of uint8 [n, size, size, 3], probabilities [n, classes or 1]


def load_keras(path: str) -> Ask:
    """Loads a file of Keras, in either format."""
    import keras

    model = keras.models.load_model(path, compile=False, safe_mode=True)
    return lambda pictures: np.asarray(model.predict_on_batch(pictures.astype(np.float32)))


def load_saved_model(path: str) -> Ask:
    """Loads a SavedModel; raises ValueError where its two signatures give different answers to the same picture."""
    import tensorflow as tf

    model = tf.saved_model.load(path)
    by_pixels, by_bytes = model.signatures["serving_default"], model.signatures["serve_bytes"]
    is_compared = False

    def ask(pictures: np.ndarray) -> np.ndarray:
        """Answers by pixels; the first time also by PNG files, which have to give the same."""
        nonlocal is_compared
        answer = by_pixels(pixels=tf.constant(pictures, tf.float32))
        if not is_compared:
            encoded = tf.stack([tf.io.encode_png(picture) for picture in pictures[:_NUM_AS_BYTES]])
            other = by_bytes(image_bytes=encoded)
            difference = np.abs(other["probabilities"] - answer["probabilities"][: len(encoded)]).max()
            if not difference <= 1e-4:
                raise ValueError(f"serve_bytes and serving_default differ by {difference:.2g}")
            is_compared = True
        return answer["probabilities"].numpy()

    return ask


def load_tflite(path: str) -> Ask:
    """Loads a TensorFlow Lite file, whose ends may be numbers of 8 bits."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(path)
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def ask(pictures: np.ndarray) -> np.ndarray:
        """Answers a batch, whose size it is set up for anew."""
        interpreter.resize_tensor_input(taken["index"], pictures.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], pictures.astype(taken["dtype"]))
        interpreter.invoke()
        scale, zero = given["quantization"]
        found = interpreter.get_tensor(given["index"])
        return (found.astype(np.float32) - zero) * scale if scale else found

    return ask


def load_onnx(path: str) -> Ask:
    """Loads an ONNX file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pictures: session.run(["probabilities"], {"pixels": pictures.astype(np.float32)})[0]


_LOADERS = {"keras": load_keras, "h5": load_keras, "saved_model": load_saved_model, "onnx": load_onnx}


def main() -> None:
    """Answers for each file that is named."""
    printed = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print there, too
    pictures = np.load(io.BytesIO(sys.stdin.buffer.read()))
    for word in sys.argv[1:]:
        name, _, path = word.partition("=")
        try:
            found = _answer(_LOADERS.get(name, load_tflite)(path), pictures)
        except Exception as error:  # a file may fail in every way that its library has
            found = {"error": " ".join(str(error).split())[:300] or type(error).__name__}
        print(json.dumps({"format": name, **found}), file=printed, flush=True)


def _answer(ask: Ask, pictures: np.ndarray) -> dict[str, object]:
    chances = np.concatenate([ask(pictures[start : start + _BATCH]) for start in range(0, len(pictures), _BATCH)])
    if chances.shape[1] == 1:
        chances = np.concatenate([1 - chances, chances], axis=1)
    return {"chances": chances.tolist(), "ms": time_single(ask, pictures[:1])}


def time_single(ask: Ask, picture: np.ndarray) -> float:
    """Returns the median of what one picture, uint8 [1, size, size, 3], takes, in milliseconds."""
    for _ in range(_WARM_UPS):
        ask(picture)
    took: list[float] = []
    while len(took) < _MOST_TIMED and sum(took) < _TIMED_S:
        started = time.perf_counter()
        ask(picture)
        took.append(time.perf_counter() - started)
    return 1000 * statistics.median(took)


if __name__ == "__main__":
    main()
