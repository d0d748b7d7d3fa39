"""What an unfinished build has examined is believed as it was written, or not at all."""

import pytest

from harness.dataset.curation import build_cache
from harness.dataset.curation.build_cache import Examined
from harness.dataset.curation.findings import Finding
from harness.dataset.curation.fingerprints import FINGERPRINT_BYTES

PRINT = bytes(range(FINGERPRINT_BYTES))


def write(folder):
    folder.mkdir()
    found = [
        Finding("happy/a.png", width=64, height=48, sha256="a" * 64, fingerprint=PRINT),
        Finding("happy/Icon\r", verdict="rejected", reason="empty", measured="0 bytes", limit="a picture"),
    ]
    return build_cache.write_chunk(folder, [Examined(found[0], 7, b"pixels"), Examined(found[1], 8)])


def test_a_chunk_is_read_as_it_was_written(tmp_path):
    first, second = write(tmp_path / "cache")
    assert build_cache.read(tmp_path / "cache") == {"happy/a.png": (first, 7), "happy/Icon\r": (second, 8)}
    assert build_cache.read_encoded(tmp_path / "cache" / first.file, first.offset, first.length) == b"pixels"


@pytest.mark.parametrize(("old", "new"), [(b",64,48,", b",64,49,"), (b"happy/a", b"happy/b"), (b"\n", b"\r\n")])
def test_a_chunk_with_a_changed_value_is_left_out(tmp_path, old, new):
    write(tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.csv")
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    assert build_cache.read(tmp_path / "cache") == {}


def test_no_cut_of_a_chunk_is_taken_for_a_shorter_one(tmp_path):
    write(tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.csv")
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert build_cache.read(tmp_path / "cache") == {}
