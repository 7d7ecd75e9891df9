"""
Threads, forked and spawned processes, and no network.

What works: threads that share a detector; processes started by ``spawn`` or ``forkserver``; and
``fork`` while torch has one thread (``OMP_NUM_THREADS=1``). A process forked after torch has worked
with several threads may hang, as with any program that uses OpenMP. So the processes of the tests
have one thread, and a limit of time.
"""

import json
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

import cosmiq_astro as ca
from cosmiq_astro.cli.main import main
from cosmiq_astro.data import sample_path

PLANES = ("probability", "uncertainty", "entropy", "mutual_information")


def content(maps):
    return b"".join(getattr(maps, name).tobytes() for name in PLANES)


def test_threads_sharing_a_detector_give_what_separate_ones_give(tiny_vi, frame):
    images = [np.roll(frame, 7 * k, axis=k % 2) for k in range(8)]
    expected = [
        content(ca.CosmicRayDetector(tiny_vi, device="cpu", tile_size=32)(image, T=3, seed=k))
        for k, image in enumerate(images)
    ]
    shared = ca.CosmicRayDetector(tiny_vi, device="cpu", tile_size=32)
    before = dict(vars(shared))
    found, gate = [None] * len(images), threading.Barrier(len(images))

    def work(k):
        gate.wait()
        found[k] = content(shared(images[k], T=3, seed=k))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == expected
    assert vars(shared) == before


_PROCESSES = """
import hashlib, json, multiprocessing, sys
import numpy as np
import cosmiq_astro as ca

def work(folder):
    image = np.random.default_rng(0).normal(50, 8, (60, 70))
    maps = ca.CosmicRayDetector(folder, device="cpu")(image, T=2, seed=1)
    return hashlib.sha256(maps.probability.tobytes() + maps.entropy.tobytes()).hexdigest()

if __name__ == "__main__":
    method, folder = json.loads(sys.argv[1])
    here = work(folder)  # torch has worked before the processes start
    with multiprocessing.get_context(method).Pool(1) as pool:
        print(json.dumps([here, *pool.map(work, [folder] * 2)]))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(model_folder, tmp_path, method):
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("needs fork")
    script = tmp_path / "script.py"
    script.write_text(_PROCESSES)
    command = [sys.executable, "-W", "ignore", str(script), json.dumps([method, str(model_folder)])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    # A process that hangs ends the test.
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    digests = json.loads(done.stdout)
    assert len(digests) == 3
    assert len(set(digests)) == 1


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a connection was asked for")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse, raising=False)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    with pytest.raises(AssertionError, match="a connection was asked for"):
        socket.create_connection(("localhost", 9))


@pytest.mark.usefixtures("no_network")
def test_no_network_for_the_bundled_models():
    ca.list_models()
    image = np.random.default_rng(1).normal(50, 8, (40, 40))
    data, mask = ca.cosmicray_vi(image, T=2, seed=0, device="cpu")
    assert mask.shape == data.shape


@pytest.mark.usefixtures("no_network")
def test_no_network_on_the_command_line(tmp_path, capsys):
    out = tmp_path / "out.fits"
    arguments = ["detect", str(sample_path()), "-o", str(out), "--model", "acs-wfc-unet"]
    assert main(arguments) == 0
    assert out.exists()
    assert capsys.readouterr().err == ""
