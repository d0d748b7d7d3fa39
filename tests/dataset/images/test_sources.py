"""Picture files in folders."""

from conftest import draw_face, write_picture

from harness.config.schema import CleanConfig
from harness.dataset.images import sources
from harness.dataset.images.rejection import Rejected


def test_walking_is_in_order_and_reading_keeps_it(tmp_path):
    for name in ("b.png", "a.png", "sub/c.png"):
        write_picture(tmp_path / name, draw_face(1, happy=True))
    limits = CleanConfig()
    (tmp_path / "bad.png").write_bytes(b"no")
    paths = list(sources.walk_files(tmp_path))
    assert [path.name for path in paths] == ["a.png", "b.png", "bad.png", "c.png"]
    found = list(sources.read_all(paths, limits, 32))
    assert [path for path, _ in found] == paths
    assert [isinstance(picture, Rejected) for _, picture in found] == [False, False, True, False]
