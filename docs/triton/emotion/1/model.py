"""What Triton's Python backend runs: the SavedModel beside this file, asked about encoded pictures."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import triton_python_backend_utils as triton


class TritonPythonModel:
    """Answers requests for `image_bytes`, string [n, 1], with `probabilities`, float32 [n, classes], and `label`."""

    def initialize(self, args):
        """Loads the model; Triton calls it once."""
        self.model = tf.saved_model.load(str(Path(__file__).parent / "saved_model"))
        self.answer_files = self.model.signatures["serve_bytes"]

    def execute(self, requests):
        """Returns a response for each request."""
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        files = triton.get_input_tensor_by_name(request, "image_bytes").as_numpy()
        try:
            answer = self.answer_files(image_bytes=tf.constant(files[:, 0].tolist()))
        except tf.errors.InvalidArgumentError as error:  # no picture that it takes
            return triton.InferenceResponse(error=triton.TritonError(error.message))
        chances, labels = answer["probabilities"].numpy(), answer["label"].numpy().astype(np.object_)
        tensors = [triton.Tensor("probabilities", chances), triton.Tensor("label", labels[:, None])]
        return triton.InferenceResponse(tensors)
