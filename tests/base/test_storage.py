"""Pictures and records on s3://: addresses, and every command against a server on the loopback interface.

boto3 looks at the server from outside: a process that has used tensorflow-io cannot leave in the ordinary way.
"""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest
from conftest import SMOKE, command_environment, command_line, files_of, run_command_anew, write_faces

from harness.base import files, storage
from harness.base.storage import RemotePath
from harness.config import settings
from harness.config.settings import Setting

HAS_IO = find_spec("tensorflow_io") is not None and find_spec("moto") is not None
with_storage = pytest.mark.skipif(not HAS_IO, reason="needs the extras [io,test-io]")
KEYS = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


class TestAddresses:
    """What can be known of an address without asking anybody."""

    def test_a_text_is_an_address_or_a_local_path(self):
        assert storage.parse("s3://bucket/a/b/") == RemotePath("bucket", "a/b")
        assert storage.parse("s3://bucket") == RemotePath("bucket", "")
        assert storage.parse("data/sample") == Path("data/sample")

    @pytest.mark.parametrize("text", ["gs://bucket/a", "s3://", "s3:///a", "https://example.com/a"])
    def test_another_address_is_refused(self, text):
        with pytest.raises(ValueError, match="a local folder or s3://BUCKET/FOLDER"):
            storage.parse(text)

    def test_it_behaves_as_a_path_does(self):
        folder = storage.parse("s3://bucket/a")
        path = folder / "b c" / "ü.png"
        assert (str(path), path.as_posix(), path.name) == (
            "s3://bucket/a/b c/ü.png",
            "s3://bucket/a/b c/ü.png",
            "ü.png",
        )
        assert (path.parent.parent, path.relative_to(folder)) == (folder, PurePosixPath("b c/ü.png"))
        assert (folder / PurePosixPath("x/y"), folder.resolve()) == (RemotePath("bucket", "a/x/y"), folder)
        assert path.relative_to(RemotePath("bucket")) == PurePosixPath("a/b c/ü.png")
        assert (str(folder.parent), folder.parent.name) == ("s3://bucket/", "bucket")
        assert pickle.loads(pickle.dumps(path)) == path
        with pytest.raises(ValueError, match="is not below"):
            folder.relative_to(path)

    def test_it_is_not_taken_for_a_local_path(self):
        with pytest.raises(TypeError, match="no path of the local file system"):
            os.fspath(RemotePath("bucket", "a"))

    def test_settings_keep_an_address_as_it_was_typed(self, tmp_path):
        given = {"data.images": Setting("s3://b/x", "flag"), "data.records": Setting("s3://b//y/", "flag")}
        config = settings.make_config(given)
        assert (config.data.images, config.data.records_folder) == (RemotePath("b", "x"), RemotePath("b", "y"))
        (tmp_path / "config.yaml").write_text(settings.as_yaml(config))
        assert settings.make_config(settings.read_file(tmp_path / "config.yaml")) == config
        assert "images: s3://b/x\n" in (tmp_path / "config.yaml").read_text()

    def test_records_of_remote_pictures_are_local_by_default(self):
        config = settings.make_config({"data.images": Setting("s3://b/deep/faces", "flag")})
        assert config.data.records_folder == Path("tfrecords/faces")

    def test_a_run_folder_is_local(self, tmp_path):
        done = run_command_anew("train", "--run", "s3://bucket/run", cwd=tmp_path)
        assert done.returncode == 2
        assert "train.run is 's3://bucket/run': it should be a local path" in done.stderr

    def test_another_address_is_one_sentence(self, tmp_path):
        done = run_command_anew("train", "--images", "gs://bucket/run", cwd=tmp_path)
        assert done.returncode == 2
        assert "data.images is 'gs://bucket/run': it should be a local folder or s3://BUCKET/FOLDER" in done.stderr
        done = run_command_anew("build_records", "--verify", "gs://bucket/run", cwd=tmp_path)
        assert done.returncode == 2 and "it should be a local folder or s3://BUCKET/FOLDER" in done.stderr

    @pytest.mark.parametrize(
        ("kind", "message", "expected"),
        [
            ("NotFoundError", ": No response body.", "s3://b/x cannot be read: not found. Check the bucket's name"),
            (
                "PermissionDeniedError",
                "{{node a}} : No response body. [Op:ReadFile]",
                "access denied. Check AWS_ACCESS",
            ),
            (
                "UnknownError",
                ": curlCode: 7, Couldn't connect",
                "curlCode: 7, Couldn't connect. Check the network, S3_",
            ),
        ],
    )
    def test_an_error_says_what_to_check(self, kind, message, expected, monkeypatch):
        monkeypatch.delenv("S3_ENDPOINT", raising=False)
        error = type(kind, (Exception,), {"message": message})()
        assert expected in str(storage.explain(RemotePath("b", "x"), error))

    @pytest.mark.skipif(find_spec("tensorflow_io") is not None, reason="tensorflow-io is installed")
    @pytest.mark.parametrize(
        ("module", "flags"),
        [
            ("build_records", ("--images", "s3://bucket/a")),
            ("build_records", ("--verify", "s3://bucket/a")),
            ("train", ("--records", "s3://bucket/a")),
        ],
    )
    def test_without_the_extra_one_sentence_says_what_to_install(self, module, flags, tmp_path):
        done = run_command_anew(module, *flags, cwd=tmp_path)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        assert "s3:// needs tensorflow-io, which is not installed: pip install -e '.[io]'" in done.stderr


class Storage:
    """A moto server on the loopback interface, and boto3 to look at it."""

    def __init__(self) -> None:
        import boto3
        from botocore.config import Config

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=KEYS["AWS_REGION"],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(s3={"addressing_style": "path"}),
        )
        self.client.create_bucket(Bucket="bucket")

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.endpoint}/moto-api/data.json", timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the server does not start")

    def put(self, folder: Path, key: str) -> None:
        for name, content in files_of(folder).items():
            self.client.put_object(Bucket="bucket", Key=f"{key}/{name}", Body=content)

    def files(self, key: str) -> dict[str, bytes]:
        """Every file below a key with its bytes, by its name below the key."""
        found = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=f"{key}/"):
            for item in page.get("Contents", ()):
                body = self.client.get_object(Bucket="bucket", Key=item["Key"])["Body"].read()
                found[item["Key"].removeprefix(f"{key}/")] = body
        return found

    def refuse_all_keys(self) -> None:
        """The server knows no user, so it refuses every key as soon as it looks at them."""
        text = {"Content-Type": "text/plain"}
        url = f"{self.endpoint}/moto-api/reset-auth"
        urllib.request.urlopen(urllib.request.Request(url, data=b"0", headers=text), timeout=5).close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module", autouse=True)
def keys():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield patch


@pytest.fixture(scope="module")
def server(keys, faces):
    server = Storage()
    keys.setenv("S3_ENDPOINT", server.endpoint)
    server.put(faces, "faces")
    yield server
    server.kill()


@pytest.fixture
def own_storage(monkeypatch, faces):
    """A server that a test may spoil."""
    server = Storage()
    monkeypatch.setenv("S3_ENDPOINT", server.endpoint)
    server.put(faces, "faces")
    yield server
    server.kill()


def build(cwd: Path, *flags: object):
    return run_command_anew("build_records", "--config", SMOKE, "--runtime.workers", 1, *flags, cwd=cwd)


def bytes_but_origin(found: dict[str, bytes]) -> dict[str, bytes]:
    """The files but the report, and the manifest without where the pictures were."""
    lines = found["manifest.json"].splitlines()
    manifest = b"\n".join(line for line in lines if not line.startswith(b'  "images":'))
    return {**{name: content for name, content in found.items() if name != "report.html"}, "manifest.json": manifest}


@pytest.fixture(scope="module")
def records(server, tmp_path_factory):
    """The address of records that were built from pictures on the same server."""
    done = build(tmp_path_factory.mktemp("here"), "--images", "s3://bucket/faces", "--records", "s3://bucket/records")
    assert done.returncode == 0, done.stderr
    assert "connecting to http://127.0.0.1" in done.stderr and "records: s3://bucket/records" in done.stdout
    assert "WARNING" not in done.stderr and "E0000" not in done.stderr
    return "s3://bucket/records"


@pytest.mark.io
@with_storage
class TestRecords:
    def test_records_are_the_same_bytes_as_local_ones(self, server, records, face_records):
        assert bytes_but_origin(server.files("records")) == bytes_but_origin(files_of(face_records))
        assert server.files("records")["report.html"].startswith(b"<!doctype html>")

    def test_local_pictures_to_the_storage_and_back(self, server, faces, face_records, tmp_path):
        done = build(tmp_path, "--images", faces, "--records", "s3://bucket/deep/er/ünï cödé")
        assert done.returncode == 0, done.stderr
        assert bytes_but_origin(server.files("deep/er/ünï cödé")) == bytes_but_origin(files_of(face_records))
        left = [path.name for path in (tmp_path / "tfrecords").rglob("*") if path.is_file()]
        assert left == []
        done = build(tmp_path, "--images", "s3://bucket/faces")
        assert done.returncode == 0, done.stderr
        assert bytes_but_origin(files_of(tmp_path / "tfrecords" / "smoke")) == bytes_but_origin(files_of(face_records))

    def test_verify_reads_every_byte(self, server, records, tmp_path):
        done = build(tmp_path, "--verify", records)
        assert (done.returncode, done.stdout.split(":")[0]) == (0, "s3"), done.stderr
        assert "4 shards with 24 records" in done.stdout and "every byte as written" in done.stdout
        for name, content in server.files("records").items():
            spoilt = content[:-30] + b"\0" + content[-29:] if name.startswith("validation-") else content
            server.client.put_object(Bucket="bucket", Key=f"spoilt/{name}", Body=spoilt)
        done = build(tmp_path, "--verify", "s3://bucket/spoilt")
        assert done.returncode == 3
        assert "s3://bucket/spoilt/validation-00000-of-00001.tfrecord is damaged in record" in done.stderr

    def test_a_second_build_is_up_to_date_and_a_changed_one_is_refused(self, server, records, faces, tmp_path):
        before = server.files("records")
        done = build(tmp_path, "--images", "s3://bucket/faces", "--records", records)
        assert done.returncode == 0, done.stderr
        assert "s3://bucket/records is up to date: 20 train, 4 validation" in done.stdout
        done = build(tmp_path, "--images", "s3://bucket/faces", "--records", records, "--split.seed", 5)
        assert done.returncode == 3 and "was built from other settings (s3://bucket/faces)" in done.stderr
        assert server.files("records") == before

    def test_overwrite_leaves_nothing_of_the_replaced_records(self, server, records, faces, tmp_path):
        for name, content in server.files("records").items():
            server.client.put_object(Bucket="bucket", Key=f"replaced/{name}", Body=content)
        flags = ("--images", faces, "--records", "s3://bucket/replaced", "--records.min_shards", 1)
        server.client.put_object(Bucket="bucket", Key="replaced/notes.txt", Body=b"mine")
        done = build(tmp_path, *flags, "--overwrite")
        assert done.returncode == 0, done.stderr
        found = server.files("replaced")
        assert found.pop("notes.txt") == b"mine"
        names = {"train-00000-of-00001.tfrecord", "validation-00000-of-00001.tfrecord"}
        assert {name for name in found if name.endswith(".tfrecord")} == names
        assert json.loads(found["manifest.json"])["config"]["records"]["min_shards"] == 1

    def test_a_sending_that_was_cut_short_is_done_again(self, server, records, tmp_path):
        whole = server.files("records")
        for name in ("train-00000-of-00003.tfrecord", "cleaning.csv"):
            server.client.put_object(Bucket="bucket", Key=f"partly/{name}", Body=whole[name][:100])
        done = run_command_anew("train", "--records", "s3://bucket/partly", cwd=tmp_path)
        assert done.returncode == 3 and "there are no records in s3://bucket/partly" in done.stderr
        done = build(tmp_path, "--images", "s3://bucket/faces", "--records", "s3://bucket/partly")
        assert done.returncode == 0, done.stderr
        assert bytes_but_origin(server.files("partly")) == bytes_but_origin(whole)

    def test_a_folder_of_other_things_is_left_alone(self, server, tmp_path):
        server.client.put_object(Bucket="bucket", Key="others/notes.txt", Body=b"mine")
        done = build(tmp_path, "--images", "s3://bucket/faces", "--records", "s3://bucket/others")
        assert done.returncode == 3 and "s3://bucket/others exists but holds no records" in done.stderr
        assert server.files("others") == {"notes.txt": b"mine"}

    def test_labels_of_a_table_and_given_splits_are_read_from_the_storage(self, server, tmp_path):
        faces = server.files("faces")
        rows = []
        for index, (name, content) in enumerate(sorted(faces.items())):
            label, split = name.partition("/")[0], "test" if index % 4 == 3 else "train"
            server.client.put_object(Bucket="bucket", Key=f"flat/{index}.png", Body=content)
            server.client.put_object(Bucket="bucket", Key=f"parted/{split}/{label}/{index}.png", Body=content)
            rows.append(f"{index}.png;{label}")
        table = "\n".join(["file;emotion", *rows]).encode()
        server.client.put_object(Bucket="bucket", Key="flat/labels.csv", Body=table)
        done = build(tmp_path, "--images", "s3://bucket/flat", "--records", "flat", "--data.labels", "labels.csv")
        assert done.returncode == 0, done.stderr
        assert "labels: 0 happy, 1 sad" in done.stdout
        done = build(tmp_path, "--images", "s3://bucket/parted", "--records", "parted")
        assert done.returncode == 0, done.stderr
        assert "labels: 0 happy, 1 sad" in done.stdout and "splits: train, test as given" in done.stdout

    def test_records_are_never_written_among_the_pictures(self, server, tmp_path):
        before = server.files("faces")
        for records in ("s3://bucket/faces", "s3://bucket/faces/happy/records", "s3://bucket"):
            done = build(tmp_path, "--images", "s3://bucket/faces", "--records", records)
            assert done.returncode == 3 and f"the records would lie in {records}" in done.stderr, done.stderr
        assert server.files("faces") == before


@pytest.mark.io
@with_storage
class TestTraining:
    @pytest.mark.parametrize("cache", ["memory", "none"])
    def test_training_reads_records_from_the_storage(self, cache, records, smoke_run, tmp_path):
        run = tmp_path / "run"
        flags = ("--config", SMOKE, "--records", records, "--data.cache", cache, "--run", run)
        done = run_command_anew("train", *flags, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr and "E0000" not in done.stderr
        assert {path.name for path in run.iterdir()} == {path.name for path in smoke_run.iterdir()}
        found = json.loads((run / "metrics.json").read_text())
        if cache == "memory":  # streamed pictures come in another order
            assert found["loss"] == pytest.approx(
                json.loads((smoke_run / "metrics.json").read_text())["loss"], rel=1e-4
            )
            return
        measured = run_command_anew("evaluate", run, "--json", cwd=tmp_path)
        assert measured.returncode == 0, measured.stderr
        assert json.loads(measured.stdout)["loss"] == pytest.approx(found["loss"], rel=1e-3)

    def test_records_are_fetched_once_to_a_local_disk(self, records, tmp_path):
        flags = ("--config", SMOKE, "--records", records, "--data.cache", "none", "--epochs", 1)
        done = run_command_anew("train", *flags, "--run", tmp_path / "run", "--data.stage", tmp_path, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (manifest,) = tmp_path.glob("records-*/manifest.json")
        assert f"MB copied to {manifest.parent} in " in done.stderr
        for split in json.loads(manifest.read_text())["splits"].values():
            for shard in split["shards"]:
                assert files.digest_file(manifest.parent / shard["file"]) == shard["sha256"]

    def test_pictures_on_the_storage_are_measured(self, server, smoke_run, faces, tmp_path):
        there = run_command_anew("evaluate", smoke_run, "--images", "s3://bucket/faces", "--json", cwd=tmp_path)
        here = run_command_anew("evaluate", smoke_run, "--images", faces, "--json", cwd=tmp_path)
        assert there.returncode == 0, there.stderr
        found, expected = (json.loads(done.stdout) for done in (there, here))
        assert found.pop("split") == "s3://bucket/faces/" and expected.pop("split") == f"{faces}/"
        told, same = (values.pop("verdict")["sentences"] for values in (found, expected))
        assert "The model has learnt 20 of these 24 pictures" in told[1] and told[1:] == same[1:]
        assert found == expected


@pytest.mark.io
@with_storage
class TestFailures:
    def assert_is_refused(self, done, *words: str) -> None:
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr
        error = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
        assert all(word in error for word in words), error

    def test_a_missing_bucket(self, server, faces, tmp_path):
        done = build(tmp_path, "--images", "s3://nobucket/faces")
        self.assert_is_refused(done, "no images folder s3://nobucket/faces", "Check the bucket's name")
        done = build(tmp_path, "--images", faces, "--records", "s3://nobucket/out")
        self.assert_is_refused(done, "s3://nobucket/out", "NoSuchBucket", "Check the bucket's name")
        assert "sending" not in done.stderr

    def test_wrong_keys(self, own_storage, faces, tmp_path):
        own_storage.refuse_all_keys()
        done = build(tmp_path, "--images", "s3://bucket/faces")
        self.assert_is_refused(done, "s3://bucket/faces", "access denied", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        done = build(tmp_path, "--images", faces, "--records", "s3://bucket/out")
        self.assert_is_refused(done, "s3://bucket/out", "access denied", "AWS_ACCESS_KEY_ID")

    def test_no_server(self, own_storage, tmp_path):
        own_storage.kill()
        done = run_command_anew("train", "--records", "s3://bucket/records", cwd=tmp_path, timeout_s=60)
        self.assert_is_refused(done, "s3://bucket/records", own_storage.endpoint, "connect", "Check the network")

    def test_a_server_that_dies_while_pictures_are_read(self, own_storage, tmp_path):
        own_storage.put(write_faces(tmp_path / "many", num_each=80), "many")
        process = start_build(tmp_path, "--images", "s3://bucket/many", "--records", "s3://bucket/out")
        wait_for(lambda: list(tmp_path.glob("tfrecords/.s3/bucket/.out.building/spool/*.csv")), process)
        own_storage.kill()
        output, errors = process.communicate(timeout=120)
        done = subprocess.CompletedProcess([], process.returncode, output, errors)
        self.assert_is_refused(done, "s3://bucket/many/", own_storage.endpoint, "S3_ENDPOINT")

    def test_a_server_that_dies_while_records_are_sent(self, own_storage, faces, tmp_path):
        process = start_build(tmp_path, "--images", faces, "--records", "s3://bucket/out")
        for line in process.stderr:
            if line.startswith("sending"):
                own_storage.process.send_signal(signal.SIGSTOP)
                break
        own_storage.kill()
        output, errors = process.communicate(timeout=120)
        done = subprocess.CompletedProcess([], process.returncode, output, errors)
        self.assert_is_refused(done, "s3://bucket/out", own_storage.endpoint, "the same command", ".out.building")
        assert (tmp_path / "tfrecords/.s3/bucket/.out.building/manifest.json").is_file()

    def test_a_build_that_is_killed_goes_on(self, own_storage, tmp_path):
        own_storage.put(write_faces(tmp_path / "many", num_each=80), "many")
        flags = ("--records", "s3://bucket/out", "--clean.near_copies", "ignore")
        process = start_build(tmp_path, "--images", "s3://bucket/many", *flags)
        wait_for(lambda: list(tmp_path.glob("tfrecords/.s3/bucket/.out.building/spool/*.csv")), process)
        process.kill()
        process.communicate()
        done = build(tmp_path, "--images", "s3://bucket/many", *flags)
        assert done.returncode == 0, done.stderr
        assert "files were examined before" in done.stderr
        done = build(tmp_path, "--images", tmp_path / "many", *flags, "--records", tmp_path / "here")
        assert done.returncode == 0, done.stderr
        assert bytes_but_origin(own_storage.files("out")) == bytes_but_origin(files_of(tmp_path / "here"))


def start_build(cwd: Path, *flags: object) -> subprocess.Popen:
    return subprocess.Popen(
        command_line("build_records", "--config", SMOKE, "--runtime.workers", 1, *flags),
        cwd=cwd,
        env=command_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 90
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
