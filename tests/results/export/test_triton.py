"""A real Triton serves the SavedModel as docs/serving.md shows it, in an environment that knows nothing of harness.

The server is in the wheel of nvidia-pytriton. HARNESS_TRITON names an environment that has it beside NumPy before 2;
without, one is made for the test, which downloads 75 MB.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT, draw_face, run_command, write_picture
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")]
PACKAGES = ("nvidia-pytriton==0.7.0", "numpy==1.26.4")
INSTALL_S, START_S, ANSWER_S = 300, 180, 60
# The request that the docs show last.
ASKING = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "serving.md").read_text(), re.DOTALL)[-1]


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """The packages of an environment with Triton."""
    folder = Path(os.environ.get("HARNESS_TRITON") or tmp_path_factory.mktemp("triton") / "environment")
    if not folder.exists():
        words = (
            [sys.executable, "-m", "venv", folder],
            [folder / "bin" / "pip", "install", "--no-deps", "--only-binary=:all:", *PACKAGES],
        )
        for command in words:
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
            except subprocess.TimeoutExpired:
                pytest.skip(f"{PACKAGES[0]} is not installed: {INSTALL_S} s were not enough")
            if done.returncode:
                pytest.skip(f"{PACKAGES[0]} cannot be installed: {done.stderr.strip()[-300:]}")
    found = list(folder.glob("lib/python*/site-packages/pytriton/tritonserver"))
    if not found:
        pytest.skip(f"there is no Triton in {folder}")
    return found[0].parent.parent


def make_repository(run: Path, packages: Path, folder: Path) -> Path:
    """A model repository as the docs make it; the program finds TensorFlow where these tests have it."""
    shutil.copytree(ROOT / "docs" / "triton", folder)
    version = folder / "emotion" / "1"
    shutil.copytree(run / "export" / "saved_model", version / "saved_model")
    # NumPy before 2 comes first. The backend has an interpreter of its own, which reads no environment.
    paths = [str(packages), str(Path(find_spec("tensorflow").origin).parent.parent)]
    program = version / "model.py"
    program.write_text(f"import sys\n\nsys.path[:0] = {paths}\n{program.read_text()}")
    return folder


def make_backends(packages: Path, folder: Path) -> Path:
    """The Python backend beside the stub that fits this interpreter, where the server looks for it."""
    server = packages / "pytriton" / "tritonserver"
    stub = server / "python_backend_stubs" / "{}.{}".format(*sys.version_info[:2]) / "triton_python_backend_stub"
    if not stub.is_file():
        pytest.skip(f"{PACKAGES[0]} has nothing for Python {sys.version_info[0]}.{sys.version_info[1]}")
    shutil.copytree(server / "backends" / "python", folder / "python")
    shutil.copy(stub, folder / "python")
    return folder


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def server(smoke_run, packages, tmp_path_factory):
    """The address of a Triton that serves the run, on the loopback interface."""
    folder, port = tmp_path_factory.mktemp("triton"), free_port()
    log = folder / "triton.log"
    words = [
        packages / "pytriton" / "tritonserver" / "bin" / "tritonserver",
        f"--model-repository={make_repository(smoke_run, packages, folder / 'models')}",
        f"--backend-directory={make_backends(packages, folder / 'backends')}",
        "--http-address=127.0.0.1",
        f"--http-port={port}",
        "--allow-grpc=false",
        "--allow-metrics=false",
    ]
    libraries = str(packages / "nvidia_pytriton.libs")
    environment = os.environ | {"LD_LIBRARY_PATH": libraries, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, env=environment)
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/v2/health/ready", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen, address: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    text = log.read_text(errors="replace")
    if "GLIBC_" in text:
        pytest.skip(f"this Triton needs a newer C library: {text.strip()[-300:]}")
    pytest.fail(f"Triton was not ready:\n{text[-3000:]}")


def ask(address: str, file: Path) -> dict:
    """What the server answers to a file, by the lines of the docs."""
    program = ASKING.replace("photo.jpg", str(file)).replace("http://localhost:8000", address)
    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, timeout=ANSWER_S, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_server_answers_the_bytes_of_a_file_as_predict_does(server, smoke_run, tmp_path):
    png = write_picture(tmp_path / "happy.png", draw_face(3, happy=True))
    Image.fromarray(draw_face(4, happy=False, size=200)).save(tmp_path / "sad.jpg")
    for path in (png, tmp_path / "sad.jpg"):
        expected = json.loads(run_command("predict", smoke_run, path, "--json").stdout)
        found = {item["name"]: item["data"] for item in ask(server, path)["outputs"]}
        assert found["label"] == [expected["label"]]
        assert found["probabilities"] == pytest.approx(list(expected["probabilities"].values()), abs=1e-3)


def test_a_server_refuses_what_is_no_picture_and_goes_on(server, tmp_path):
    (tmp_path / "text").write_bytes(b"no picture")
    assert "JPEG or PNG" in ask(server, tmp_path / "text")["error"]
    png = write_picture(tmp_path / "happy.png", draw_face(3, happy=True))
    assert ask(server, png)["model_name"] == "emotion"
