"""The image that image.sh built: what is in it and what is not, and its root file system run as process 1 of its own, not
root, on a file system that cannot be written, against the embedded endpoints.

Needs IMAGE_WORK (the directory image.sh worked in), SQS_DRAIN_BIN (a binary with the feature `local`), and root for chroot."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import gate as gates
import pytest
import run_as_batch
from files import load
from world import QUICK, World, endpoints, zone

WORK = os.environ.get("IMAGE_WORK")
BIN = run_as_batch.binary()
pytestmark = pytest.mark.skipif(not WORK, reason="IMAGE_WORK names no image")
needs_endpoints = pytest.mark.skipif(BIN is None, reason="SQS_DRAIN_BIN names no binary with the feature `local`")
# What ships has at most 40 MB. Without link-time optimisation the same program is some 5 MB larger.
LIMIT_BYTES = 40_000_000 if os.environ.get("IMAGE_PROFILE", "dist") == "dist" else 45_000_000


@pytest.fixture(scope="module")
def root():
    return pathlib.Path(WORK) / "rootfs"


@pytest.fixture(scope="module")
def config():
    return json.loads((pathlib.Path(WORK) / "config.json").read_text())["OCIv1"]["config"]


def files(root):
    return [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]


def test_size(root):
    total = sum(path.stat().st_size for path in files(root))
    assert 1_000_000 < total < LIMIT_BYTES, total


def test_configuration(config):
    assert config["Entrypoint"] == ["/usr/local/bin/sqs-drain"]
    assert config["Cmd"] == ["run"]
    assert config["User"] == "65532:65532"
    assert config.get("StopSignal") == "SIGTERM"
    labels = config["Labels"]
    for name in ("title", "description", "licenses", "version", "revision", "source"):
        assert f"org.opencontainers.image.{name}" in labels, name
    assert labels["org.opencontainers.image.version"] == "check"


def test_dependencies_have_a_layer_of_their_own():
    """By the log of the build: after the source came in, the project alone was compiled."""
    before, after = (pathlib.Path(WORK) / "build.log").read_text().split("COPY src ./src")
    assert re.search(r"Compiling aws-sdk-sqs |Using cache", before), before[-2000:]
    compiled = re.findall(r"Compiling (\S+)", after)
    assert compiled == ["sqs-drain"] or (compiled == [] and "Using cache" in after), compiled


def test_no_shell_and_no_endpoints_inside(root):
    names = {path.name for path in files(root)}
    assert not names & {"sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "perl", "cargo", "rustc"}
    done = run(root, ["/usr/local/bin/sqs-drain", "local"], {})
    assert done.wait(60) == 2, "the feature `local` is in the image"


def test_certificates(root):
    bundle = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert bundle.count("BEGIN CERTIFICATE") > 100


def run(root, command, environment, **streams):
    """Starts a command as process 1 of a new process namespace, as the image's user, on a read-only root."""
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec chroot --userspec=65532:65532 "$0" "$@"'
    outer = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, str(root), *command]
    # The outer commands need a PATH; inside, nothing is looked up by it.
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}
    return subprocess.Popen(outer, env=environment, stdin=subprocess.DEVNULL, **streams)


def inner(outer):
    """The process id, seen from outside, of process 1 inside."""
    children = pathlib.Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for child in children.read_text().split():
            if os.readlink(f"/proc/{child}/exe").endswith("/usr/local/bin/sqs-drain"):
                status = pathlib.Path(f"/proc/{child}/status").read_text()
                (line,) = [line for line in status.splitlines() if line.startswith("NSpid:")]
                assert line.split()[-1] == "1", line
                (line,) = [line for line in status.splitlines() if line.startswith("Uid:")]
                assert line.split()[1:] == ["65532"] * 4, line
                return int(child)
        time.sleep(0.02)
    raise AssertionError("the program did not start")


@pytest.fixture
def world(tmp_path):
    if BIN is None:
        pytest.skip("SQS_DRAIN_BIN names no binary with the feature `local`")
    with endpoints(BIN, tmp_path) as (sqs, dynamodb):
        with gates.standing([load("iam/task-policy.json")], sqs, dynamodb) as (gate, url):
            world = World(BIN, sqs, dynamodb, gate, url, tmp_path)
            world.make_table()
            yield world


def environment(world, **more):
    container = load("batch-job.json")["containerProperties"]
    told = {entry["name"]: entry["value"] for entry in container["environment"]}
    return {**told, "SQS_DRAIN_ZONE": zone(13), **QUICK, **world.given, **more}


def start(root, config, world, tmp_path, **more):
    out, err = open(tmp_path / "out", "w+b"), open(tmp_path / "err", "w+b")
    command = [*config["Entrypoint"], *config["Cmd"]]
    return run(root, command, environment(world, **more), stdout=out, stderr=err)


def result(tmp_path):
    return json.loads((tmp_path / "out").read_text())


@needs_endpoints
def test_it_drains_a_thousand(root, config, world, tmp_path):
    # The time-zone data is in the binary, not in the image's file system.
    shutil.rmtree(root / "usr/share/zoneinfo", ignore_errors=True)
    world.park(1000)
    outer = start(root, config, world, tmp_path)
    inner(outer)
    assert outer.wait(180) == 0, (tmp_path / "err").read_text()[-2000:]
    (route,) = result(tmp_path)["routes"].values()
    assert route["total"] == 1000
    assert world.audit() == dict.fromkeys(range(1000), 1)


@needs_endpoints
def test_sigterm_reaches_process_1(root, config, world, tmp_path):
    world.park(1000)
    outer = start(root, config, world, tmp_path, SQS_DRAIN_RATE="100")
    process = inner(outer)
    assert world.moved(100)
    os.kill(process, signal.SIGTERM)
    assert outer.wait(60) == 6, (tmp_path / "err").read_text()[-2000:]
    (route,) = result(tmp_path)["routes"].values()
    assert 100 <= route["total"] < 1000
    # Nothing is left in hand: all that was not sent can be received again at once.
    assert world.depth("wait-queue") == [1000 - route["total"], 0, 0]
