"""The model as an ONNX file, with the packages of the extra [export]."""

import logging
from pathlib import Path

import keras
import tensorflow as tf

from harness.results.export.conversion import saved_model

_OPSET = 18  # ONNX Runtime reads it since 1.14, of February 2023


def save(model: keras.Model, path: Path) -> None:
    """Writes a model that takes `pixels`, float32 [n, size, size, 3], and gives `probabilities`, float32 [n, classes].

    Its weights are made constants first: of layers with constants of their own, such as EfficientNet's normalisation,
    Keras' export makes further inputs, and ONNX Runtime refuses the file.
    """
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # It tells of each simplification that it fails at, and does without; the file is judged by its answers.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)

    def answer(pixels: tf.Tensor) -> tf.Tensor:
        return tf.identity(model(pixels, training=False), name="probabilities")

    frozen = convert_variables_to_constants_v2(saved_model.trace(answer, saved_model.pixels_of(model)))
    graph = frozen.graph.as_graph_def()
    names = {"input_names": [frozen.inputs[0].name], "output_names": [frozen.outputs[0].name]}
    made, _ = tf2onnx.convert.from_graph_def(graph, opset=_OPSET, **names)
    _rename(made.graph, {frozen.inputs[0].name: "pixels", frozen.outputs[0].name: "probabilities"})
    path.write_bytes(made.SerializeToString())


def _rename(graph, names: dict[str, str]) -> None:
    """Gives the ends of an ONNX graph other names, wherever they stand."""
    for end in (*graph.input, *graph.output):
        end.name = names.get(end.name, end.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
