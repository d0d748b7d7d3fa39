"""The standing attack: some of its variants in every run of the tests, and that it notices and keeps what fails."""

import re
import subprocess
import sys
from types import SimpleNamespace

import attack
import numpy as np
import pytest
from attacks import names, pictures, records, structures
from conftest import ROOT, command_environment


def run_attack(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "attack.py", *map(str, arguments)],
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(("kind", "count"), [("pictures", 500), ("records", 300), ("names", 10)])
def test_nothing_hostile_gets_through(kind, count, tmp_path):
    done = run_attack(kind, "--count", count, "--keep", tmp_path / "kept")
    assert done.stdout == f"{kind}: {count} variants from number 0 on, 0 failed\n", done.stderr
    assert done.returncode == 0 and not (tmp_path / "kept").exists()


def test_an_attack_goes_on_for_so_many_seconds(tmp_path):
    done = run_attack("pictures", "--seconds", 2, "--seed", 1000, "--keep", tmp_path / "kept")
    assert done.returncode == 0, done.stderr
    num_tried = int(re.fullmatch(r"pictures: (\d+) variants from number 1000 on, 0 failed\n", done.stdout)[1])
    assert num_tried > 0 and not (tmp_path / "kept").exists()


@pytest.mark.parametrize("make", [names.make, pictures.make, records.make])
def test_a_variant_follows_from_its_number(make):
    assert [make(number) for number in range(50)] == [make(number) for number in range(50)]
    assert len({repr(make(number)) for number in range(50)}) > 45


@pytest.mark.parametrize("name", pictures.sample_pictures())
def test_good_files_are_not_refused(name, tmp_path):
    content = pictures.sample_pictures()[name]
    (tmp_path / "picture").write_bytes(content)
    pictures.attempt(tmp_path)
    assert pictures.decoder.decode(content, pictures.LIMITS).pixels.shape in ((64, 96, 3), (96, 64, 3))


@pytest.mark.parametrize("name", pictures.sample_pictures())
def test_parts_that_nobody_changed_are_the_picture(name):
    content = pictures.sample_pictures()[name]
    ((split, join),) = [(split, join) for start, split, join in structures.FORMATS if content.startswith(start)]
    parts = list(split(content))
    expected, found = (pictures.decoder.decode(file, pictures.LIMITS) for file in (content, join(content, parts)))
    assert np.array_equal(expected.pixels, found.pixels) and (join(content, parts) == content or content[:2] == b"II")


def test_a_process_that_dies_is_noted_and_its_files_are_kept(tmp_path, monkeypatch):
    # The children do not know this kind: they end without an answer.
    unknown = SimpleNamespace(make=lambda number: {"x": b"%d" % number})
    monkeypatch.setitem(sys.modules, "attacks.unknown", unknown)
    run = attack._Run("unknown", tmp_path / "kept", tmp_path)
    assert run.go_on(7, 2, 0) == 2 and run.num_failed == 2
    assert (tmp_path / "kept" / "unknown-8" / "x").read_bytes() == b"8"
    assert (tmp_path / "kept" / "unknown-7.txt").read_text() == "the process died (exit code 1)"


def test_what_fails_is_kept_with_the_bytes_that_it_takes(tmp_path):
    def attempt(folder):
        if b"bad" in (folder / "x").read_bytes():
            raise ValueError

    files, kind = {"x": b"a" * 500 + b"bad" + b"b" * 900, "y": b"more"}, SimpleNamespace(attempt=attempt)
    error = attack._attempt(kind, tmp_path / "1", files)
    assert attack._shrink(kind, tmp_path / "1", files, error) == {"x": b"bad", "y": b""}


def test_a_wrong_picture_is_a_failure(tmp_path, monkeypatch):
    (tmp_path / "picture").write_bytes(pictures.sample_pictures()["png"])
    monkeypatch.setattr(
        pictures.decoder, "decode", lambda *_, **__: (_ for _ in ()).throw(KeyError("not refused as it should"))
    )
    with pytest.raises(KeyError):
        pictures.attempt(tmp_path)


def test_pixels_that_nobody_wrote_are_a_failure(tmp_path, monkeypatch):
    (tmp_path / "picture").write_bytes(pictures.sample_pictures()["png"])
    unwritten = pictures.Picture
    monkeypatch.setattr(
        pictures.decoder, "decode", lambda *_, **__: unwritten(np.empty((64, 96, 3), np.uint8), "png", 64, 96, ())
    )
    with pytest.raises(AssertionError, match="what the memory held before"):
        pictures.attempt(tmp_path)


def test_a_picture_that_costs_too_much_is_a_failure(tmp_path, monkeypatch):
    (tmp_path / "picture").write_bytes(pictures.sample_pictures()["png"])
    decode = pictures.decoder.decode

    def decode_at_a_price(*arguments, **options):
        return decode(*arguments, **options) if np.ones(250_000_000, np.uint8).all() else None

    monkeypatch.setattr(pictures.decoder, "decode", decode_at_a_price)
    with pytest.raises(AssertionError, match=r"25[0-9] MB"):
        pictures.attempt(tmp_path)


def test_other_pixels_than_were_written_are_a_failure(tmp_path, monkeypatch):
    encoding = "png"
    shard = b"".join(records._frame(records.tfrecord.encode_example(fields)) for fields in records.sample(encoding)[1])
    (tmp_path / records._SHARD).write_bytes(shard)
    (tmp_path / "manifest.json").write_text(records.json.dumps(records._describe(encoding, shard)))
    records.attempt(tmp_path)
    read = records.decoding.read_pictures
    monkeypatch.setattr(records.decoding, "read_pictures", lambda *arguments: 255 - read(*arguments))
    with pytest.raises(AssertionError, match="other pixels than were written"):
        records.attempt(tmp_path)
