"""How a picture is stored in a record."""

import numpy as np
from conftest import draw_face

from harness.config.schema import CleanConfig
from harness.dataset.images import decoder, formats
from harness.dataset.records.encoding import encode_jpeg


def test_a_stored_jpeg_is_close_to_its_pixels():
    face = draw_face(3, happy=False, size=256)
    content = encode_jpeg(face, 95)
    assert formats.sniff(content) == "JPEG"
    assert np.abs(decoder.decode(content, CleanConfig()).pixels.astype(int) - face).mean() < 2
