"""TensorBoard's HParams plugin, asked over HTTP, lists every trial with its values and figures."""

import json
import re
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import command_environment

from harness.base import files
from harness.config import settings
from harness.config.settings import Setting
from harness.runs import tensorboard
from harness.runs.workdir import Workdir
from harness.search import hparams

ANY_STATUS = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


@pytest.mark.slow
def test_every_trial_is_listed_with_its_values_and_figures(tmp_path):
    for name, rate, units, loss, accuracy in (("000", 1e-3, 8, 0.5, 0.75), ("001", 1e-2, 16, 0.25, 0.875)):
        config = settings.make_config(
            {"optim.learning_rate": Setting(rate, "a test"), "model.dense_units": Setting(units, "a test")}
        )
        run = Workdir(tmp_path / "trials" / name)
        files.write_json(run.record, {"values": {"optim.learning_rate": rate, "model.dense_units": units}})
        tensorboard.write_hparams(run, config, {"val_loss": loss, "val_accuracy": accuracy})
    hparams.write_failed(
        Workdir(tmp_path / "trials" / "002"),
        {"optim.learning_rate": 10.0, "model.dense_units": 8, "model.head": "softmax"},
    )
    groups = ask(tmp_path)
    assert {
        group["name"]: (
            group["hparams"].get("data"),
            group["hparams"]["optim.learning_rate"],
            group["hparams"]["model.dense_units"],
            {value["name"]["tag"]: value["value"] for value in group.get("metricValues", [])},
            group["sessions"][0]["status"],
        )
        for group in groups
    } == {
        "000: learning_rate 0.001, dense_units 8": (
            "sample",
            1e-3,
            8,
            {"Kept epoch/loss": 0.5, "Kept epoch/accuracy": 0.75},
            "STATUS_SUCCESS",
        ),
        "001: learning_rate 0.01, dense_units 16": (
            "sample",
            1e-2,
            16,
            {"Kept epoch/loss": 0.25, "Kept epoch/accuracy": 0.875},
            "STATUS_SUCCESS",
        ),
        "002: learning_rate 10, dense_units 8, head softmax": (None, 10.0, 8, {}, "STATUS_FAILURE"),
    }


def ask(folder):
    """Starts TensorBoard, and returns what its HParams table shows."""
    command = (sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", "0", "--load_fast", "false")
    server = subprocess.Popen(
        [str(word) for word in command], env=command_environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        url = next(found[1] for line in server.stderr if (found := re.search(r"(http://[^/\s]+)", line)))
        limit = time.monotonic() + 60
        while len(groups := post(url, "session_groups", columns_of(url)).get("sessionGroups", [])) < 3:
            assert time.monotonic() < limit, groups  # it reads the files in the background
            time.sleep(0.2)
        return groups
    finally:
        server.terminate()
        server.communicate(timeout=30)


def columns_of(url):
    known = post(url, "experiment", {"experimentName": ""})
    columns = [{"hparam": info["name"]} for info in known.get("hparamInfos", [])]
    columns += [{"metric": info["name"]} for info in known.get("metricInfos", [])]
    return {
        "experimentName": "",
        "allowedStatuses": ANY_STATUS,
        "colParams": columns,
        "startIndex": 0,
        "sliceSize": 99,
    }


def post(url, what, body):
    request = urllib.request.Request(
        f"{url}/data/plugin/hparams/{what}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
