"""Whatever reads a picture reads it through the one decoder: no other file hands bytes to a library's."""

import ast
import re
from pathlib import Path

from conftest import ROOT

# Besides the decoder: what this project wrote itself, in records and on plots, and what decodes where this project is
# not: tests compare that with the decoder pixel by pixel.
ALLOWED = {
    "harness/dataset/images/decoder.py": {"Image.open", "simplejpeg.decode_jpeg", "simplejpeg.decode_jpeg_header"},
    "harness/dataset/images/wide_pixels.py": {"cv2.imdecode"},
    "harness/dataset/records/encoding.py": {"simplejpeg.decode_jpeg", "cv2.imdecode"},
    "harness/results/export/conversion/graph_decoding.py": {"tf.io.decode_jpeg", "tf.io.decode_png"},
    "harness/results/report/artifacts.py": {"Image.open"},
    "harness/runs/tensorboard.py": {"tf.io.decode_png"},
}
DECODES = re.compile(
    r"(im(read|decode|count)\w*|load_img|read_image|image_dataset_from_directory|verify_jpeg"
    r"|decode_(and_crop_)?(jpeg|png|gif|bmp|webp|tiff|avif|image|raw_image)\w*)$"
)


def decoders_in(path: Path) -> set[str]:
    """The functions that a file names and that decode pictures."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name for name in names if name == "PIL.Image.open" or DECODES.match(name.rpartition(".")[2])}
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name.endswith("Image.open") or DECODES.match(node.attr):
                found.add(name)
    return found


def test_no_other_file_decodes_pictures(tmp_path):
    found = {path.relative_to(ROOT).as_posix(): decoders_in(path) for path in sorted((ROOT / "harness").rglob("*.py"))}
    assert {name: used for name, used in found.items() if used} == ALLOWED
    (tmp_path / "bad.py").write_text("from PIL import Image\nImage.open(x)\ncv2.imread(y)\ntf.io.decode_image(z)\n")
    assert decoders_in(tmp_path / "bad.py") == {"Image.open", "cv2.imread", "tf.io.decode_image"}


def test_pillow_is_always_told_which_formats_to_try():
    for name in ALLOWED:
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open":
                assert "formats" in {keyword.arg for keyword in node.keywords}, f"{name}:{node.lineno}"
