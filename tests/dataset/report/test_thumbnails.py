"""Thumbnails of rejected files: by the one decoder, within bounds, and nothing that they meet stops a build."""

import io
import signal
import time

import numpy as np
import pytest
from conftest import draw_face
from PIL import Image

from harness.config.dataset_sections import RecordsConfig
from harness.dataset.build import process_pool
from harness.dataset.curation.findings import Finding
from harness.dataset.images.rejection import Reason
from harness.dataset.report import thumbnails
from harness.dataset.report.thumbnails import Origins


def encode(kind: str, pixels: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def draw(folder, content: bytes, reason: Reason) -> bytes | None:
    (folder / "happy").mkdir(exist_ok=True)
    (folder / "happy" / "x.jpg").write_bytes(content)
    finding = Finding("happy/x.jpg", "happy").rejected(reason, "seen", "expected")
    [jpeg] = thumbnails.draw([finding], Origins(folder, folder, folder), RecordsConfig(image_size=64))
    return jpeg


def test_the_upper_half_of_a_cut_picture_is_shown(tmp_path):
    for kind in ("PNG", "JPEG", "BMP"):
        content = encode(kind, draw_face(1, happy=True, size=224))
        jpeg = draw(tmp_path, content[: len(content) // 2], Reason.CUT_OFF)
        assert jpeg is not None
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as shown:
            assert shown.size == (112, 112)


def test_postscript_reaches_no_interpreter(tmp_path, monkeypatch):
    called = tmp_path / "called"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {called}\n")
    (tmp_path / "bin" / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n"
    for reason in (Reason.NOT_AN_IMAGE, Reason.CORRUPT):
        assert draw(tmp_path, script, reason) is None
    assert not called.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"DDS |\0\0\0" + bytes(200),
        b"\0\0\0\x1cftypavif" + bytes(200),
        b"8BPS\0\1" + bytes(200),
        b"II*\0\x08\0\0\0\xff\xff" + b"\x01" * 50,
        b"",
    ],
    ids=["dds", "avif", "psd", "tiff", "empty"],
)
def test_what_cannot_be_read_leaves_a_blank(tmp_path, content):
    assert draw(tmp_path, content, Reason.CORRUPT) is None


def test_a_file_that_has_gone_leaves_a_blank(tmp_path):
    gone = Finding("happy/gone.jpg", "happy").rejected(Reason.CORRUPT, "seen", "expected")
    assert thumbnails.draw([gone], Origins(tmp_path, tmp_path, tmp_path), RecordsConfig(image_size=64)) == [None]


def test_only_rejects_of_which_something_can_be_seen_are_tried():
    visible = [
        reason for reason in Reason if thumbnails.is_visible_reject(Finding("a/b", "a").rejected(reason, "", ""))
    ]
    assert visible == [Reason.LEFT_OUT, Reason.CUT_OFF, Reason.CORRUPT, Reason.SALVAGED, Reason.TOO_SMALL]


def test_thousands_of_scans_are_not_decoded_for_the_report_either(tmp_path):
    content = encode("JPEG", draw_face(1, happy=True, size=1500), progressive=True)
    last = content.rindex(b"\xff\xda")
    content = content[:-2] + content[last:-2] * 3000 + content[-2:]
    start = time.process_time()
    assert draw(tmp_path, content, Reason.CORRUPT) is None
    assert time.process_time() - start < 1


def test_a_large_rejected_picture_is_not_decoded_for_the_report(tmp_path):
    content = encode("PNG", np.zeros((2300, 2300, 3), np.uint8))
    assert draw(tmp_path, content[:-20], Reason.CUT_OFF) is None


def spin(seconds: float) -> None:
    with thumbnails._limit_cpu_time(seconds):
        while True:
            pass


def test_a_decoder_that_does_not_end_costs_its_process_alone():
    with process_pool.open_pool(1) as pool:
        done = process_pool.try_all(pool, spin, [(0.2,)], sizes=[1], title="spinning")
    assert done == [process_pool.Died(-signal.SIGPROF)] and str(done[0]) == "SIGPROF"
