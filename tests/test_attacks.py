"""The standing attack: some of its variants in every run of the tests, and that it notices and keeps what fails."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, command_environment

sys.path.insert(0, str(ROOT / "benchmarks"))

import attack
import attacks


@pytest.mark.parametrize(("kind", "count"), [("pictures", 500), ("records", 300), ("names", 4)])
def test_nothing_hostile_gets_through(kind, count, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "attack.py", kind, "--count", str(count), "--keep", tmp_path / "kept"],
        env=command_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout == f"{kind}: {count} variants from number 0 on, 0 failed\n", done.stderr
    assert done.returncode == 0 and not (tmp_path / "kept").exists()


@pytest.mark.parametrize("kind", attacks.ATTACKS)
def test_a_variant_follows_from_its_number(kind):
    make = attacks.ATTACKS[kind].make
    assert [make(number) for number in range(50)] == [make(number) for number in range(50)]
    assert len({repr(make(number)) for number in range(50)}) > 45


def test_good_files_are_not_refused(tmp_path):
    for name, content in attacks.sample_pictures().items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "picture").write_bytes(content)
        attacks.try_picture(folder)
        assert attacks.decoder.decode(content, attacks.LIMITS).pixels.shape[2] == 3


def test_a_process_that_dies_is_noted_and_its_files_are_kept(tmp_path, monkeypatch):
    # The children do not know this kind: they end without an answer.
    monkeypatch.setitem(attacks.ATTACKS, "unknown", attacks.Attack(lambda number: {"x": b"%d" % number}, print))
    run = attack._Run("unknown", tmp_path / "kept", tmp_path)
    assert run.go_on(7, 2, 0) == 2 and run.num_failed == 2
    assert (tmp_path / "kept" / "unknown-8" / "x").read_bytes() == b"8"
    assert (tmp_path / "kept" / "unknown-7.txt").read_text() == "the process died (exit code 1)"


def test_a_wrong_picture_is_a_failure(tmp_path, monkeypatch):
    (tmp_path / "picture").write_bytes(attacks.sample_pictures()["png"])
    monkeypatch.setattr(
        attacks.decoder, "decode", lambda *_: (_ for _ in ()).throw(KeyError("not refused as it should"))
    )
    with pytest.raises(KeyError):
        attacks.try_picture(tmp_path)


def test_a_picture_that_costs_too_much_is_a_failure(tmp_path, monkeypatch):
    content = attacks.sample_pictures()["png"]
    (tmp_path / "picture").write_bytes(content)
    decode = attacks.decoder.decode

    def decode_at_a_price(*arguments):
        return decode(*arguments) if np.ones(250_000_000, np.uint8).all() else None

    monkeypatch.setattr(attacks.decoder, "decode", decode_at_a_price)
    with pytest.raises(AssertionError, match=r"25[0-9] MB"):
        attacks.try_picture(tmp_path)
