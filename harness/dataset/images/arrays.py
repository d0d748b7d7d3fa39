"""The types of NumPy arrays, for annotations. Nothing here makes or changes an array."""

from typing import Any

import numpy as np
import numpy.typing as npt

# Of any dtype, which is told in words where the array is used: OpenCV's type stubs do not say which one they return.
Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
