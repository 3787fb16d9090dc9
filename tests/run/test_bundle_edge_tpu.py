"""The saved folder's script on a stand-in libedgetpu, on the CPU, and for other processes."""

import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from edge_tpu_stand_in import edge_tpus
from model_builder import ModelBuilder

import respect_tf
from respect_tf._convert import segment_at
from respect_tf.run import run_script
from respect_tf.run.script._folder import Failure
from respect_tf.run.script._wire import Client, ProtocolError, array_message, parse_npy
from respect_tf.tflite import Interpreter

# Runs the script without what a Raspberry Pi does not have, but for an interpreter.
_LAUNCHER = """
import runpy, sys
for name in ("respect_tf", "keras", "flatbuffers", "numba"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def tpus(tmp_path_factory, monkeypatch):
    return edge_tpus(tmp_path_factory, monkeypatch)


def _save(path, content, stages, *, on_cpu=(), **fields):
    pipeline = segment_at(content, stages=stages, verify=False, verbose=0)
    segments = tuple(
        dataclasses.replace(one, on_cpu=True)
        if one.index in on_cpu
        else dataclasses.replace(one, compiled=one.content)
        for one in pipeline.segments
    )
    pipeline = dataclasses.replace(pipeline, segments=segments, **fields)
    pipeline.save(path, verbose=0)
    return pipeline


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two inputs, a CPU stage, a float output and an int8 one."""
    builder = ModelBuilder()
    first, second = builder.input("zebra"), builder.input("ant")
    middle = builder.conv(builder.relu(builder.add(first, second)))
    late = builder.add(middle, builder.relu(second))
    content = builder.build([builder.relu(late), builder.dequantize(builder.relu(middle))])
    path = tmp_path_factory.mktemp("bundle") / "mixed"
    return path, _save(path, content, [0, 0, 1, 1, 2, 2, 2, 2], on_cpu=[1])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    builder = ModelBuilder()
    content = builder.build([builder.conv(builder.conv(builder.input()))])
    path = tmp_path_factory.mktemp("bundle") / "plain"
    return path, _save(path, content, [0, 1])


@contextlib.contextmanager
def _start(path, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, path / "run_pipeline.py", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=path,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _run(path, *arguments, code=0):
    with _start(path, *arguments) as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return out + err


def _samples(count, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, (count, 4, 4, 8)).astype(np.int8)


def test_results_are_the_whole_models(mixed, tpus, tmp_path):
    path, pipeline = mixed
    tpus.attach("usb", "pci", "usb", "usb")
    first, second = _samples(6), _samples(6, 1)
    np.savez(tmp_path / "x.npz", zebra=first, ant=second)
    places = {"--cpu": [], "--replicas": ["1,2,3"], "--performance": ["Max"]}
    whole = Interpreter(pipeline.model)
    expected = [whole.run([first[[i]], second[[i]]]) for i in range(6)]
    for place, values in places.items():
        out = tmp_path / f"y{place}.npz"
        _run(path, "--input", tmp_path / "x.npz", "--output", out, place, *values)
        with np.load(out) as got:
            for position, name in enumerate(pipeline.outputs):
                column = np.concatenate([row[position] for row in expected])
                assert got[name].dtype == column.dtype
                assert got[name].tobytes() == column.tobytes()
    assert "Performance=Max" in tpus.options


def test_verify_names_the_first_segment_that_differs(mixed, plain, tpus, tmp_path):
    tpus.attach("usb", "usb")
    told = _run(mixed[0], "--verify")
    assert "segment 1 on cpu: as saved" in told
    assert "segment 2 on usb:1: as saved" in told
    assert "verified" in told
    assert "segment 2 on cpu: as saved" in _run(mixed[0], "--verify", "--cpu")
    # Compiled elsewhere, and wrongly: the same interface, other numbers.
    _, pipeline = plain
    uncompiled = [dataclasses.replace(one, compiled=None) for one in pipeline.segments]
    copy = tmp_path / "copy"
    dataclasses.replace(pipeline, segments=tuple(uncompiled)).save(copy, verbose=0)
    for one in pipeline.segments:
        content = bytearray(one.content)
        if one.index == 1:
            reference = np.zeros(64, np.int8)  # the weights of a 1 by 1 convolution, 8 to 8
            conv = respect_tf.OpGraph.from_tflite(one.content)
            assert conv.parameter_bytes.sum() > 0
            place = _weights(content)
            content[place : place + 64] = reference.tobytes()
        (copy / f"{one.name}_edgetpu.tflite").write_bytes(content)
    told = _run(copy, "--verify", code=1)
    assert "segment 0 on usb:0: as saved" in told
    assert "segment 1 on usb:1: differs" in told
    assert "segment 1 (model_segment_1_of_2) is the first that differs" in told
    assert "verified" in _run(copy, "--verify", "--tolerance", 255)


def _weights(content):
    """Where the longest constant of a model lies in its file."""
    from respect_tf.tflite import read_model

    buffers = [b.data for b in read_model(bytes(content)).buffers if b.data is not None]
    longest = max(buffers, key=len)
    return bytes(content).index(np.asarray(longest).tobytes())


def test_a_changed_file_is_named(plain, tpus, tmp_path):
    tpus.attach("usb", "usb")
    copy = tmp_path / "copy"
    shutil.copytree(plain[0], copy)
    target = copy / "model_segment_1_of_2_edgetpu.tflite"
    target.write_bytes(target.read_bytes() + b"\0")
    assert "model_segment_1_of_2_edgetpu.tflite was changed" in _run(copy, "--verify", code=1)
    (copy / "reference.npz").unlink()
    assert "no reference.npz" in _run(copy, "--verify", "--cpu", code=1)


def test_what_fails_is_said_with_its_device_and_an_exit_code(plain, tpus, tmp_path):
    path, _ = plain
    np.save(tmp_path / "x.npy", _samples(5))
    give = ("--input", tmp_path / "x.npy", "--warm-up", 0)
    assert "The pipeline needs 2 Edge TPUs" in _run(path, *give, code=1)
    tpus.attach("usb", "usb")
    assert "usb:7 (5 attempts)" in _run(path, *give, "--devices", "usb:0,usb:7", code=1)
    tpus.say("crash")
    assert "died of signal SIGSEGV" in _run(path, *give, code=1)
    tpus.unsay("crash")
    assert _run(path, "--list-devices").split("\n")[1] == "usb:1 (/dev/usb/1)"


@pytest.mark.parametrize(("what", "code"), [("fail", 1), ("hang", 3)])
def test_a_device_that_fails_or_hangs_while_serving_ends_it(plain, tpus, tmp_path, what, code):
    path, _ = plain
    tpus.attach("usb", "usb")
    address = str(tmp_path / "s")
    with _start(path, "--serve", address, "--timeout", 1) as process:
        with _connect(address) as client:
            client(_samples(1)[0])
            tpus.say(what, "usb:1")
            with pytest.raises((Failure, OSError, EOFError)):
                client(_samples(1)[0])
        _, err = process.communicate(timeout=600)
        assert process.returncode == code, err
        assert "Segment 1 failed at input" in err
        assert "Traceback" not in err


def _connect(address):
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return Client(address)
        time.sleep(0.02)
    raise AssertionError("nobody serves")


def test_other_processes_are_served_in_order(mixed, tmp_path):
    path, pipeline = mixed
    address = str(tmp_path / "s")
    whole = Interpreter(pipeline.model)
    with _start(path, "--serve", address, "--cpu") as process:
        clients = [_connect(address) for _ in range(3)]
        assert Path(address).stat().st_mode & 0o777 == 0o600

        def ask(number):
            client, firsts, seconds = clients[number], _samples(20, number), _samples(20, 9)
            for i in range(10):
                client.send(firsts[[i]], seconds[i])
            for i in range(10, 30):
                if i < 20:
                    client.send(firsts[[i]], seconds[i])
                expected = whole.run([firsts[[i - 10]], seconds[[i - 10]]])
                for got, right in zip(client.receive(), expected, strict=True):
                    equal.append(got.tobytes() == right.tobytes() and got.dtype == right.dtype)

        equal = []
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(equal) == 3 * 20 * 2
        assert all(equal)
        real = clients[0](np.zeros((4, 4, 8)), np.zeros((1, 4, 4, 8), np.float32))
        assert [values.dtype for values in real] == [np.float32, np.float32]
        with pytest.raises(Failure, match="must have the shape"):
            clients[0](np.zeros((4, 4, 7), np.int8), np.zeros((4, 4, 8), np.int8))
        clients[0](_samples(1)[0], _samples(1)[0])  # the connection has survived that
        with pytest.raises(Failure, match="expected 2 arrays, received 1"):
            clients[1](_samples(1)[0])
        for client in clients:
            client.close()
        assert "serves at" in _run(path, "--serve", address, "--cpu", code=1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=600)
        assert process.returncode == 130, err
        assert not Path(address).exists()


def test_nonsense_on_the_socket_does_no_harm(plain, tmp_path):
    path, _ = plain
    address = str(tmp_path / "s")
    random = np.random.default_rng(0)
    good = array_message([_samples(1)])
    with _start(path, "--serve", address, "--cpu") as process:
        client = _connect(address)
        for number in range(60):
            message = bytearray(good)
            for _ in range(int(random.integers(1, 4))):
                message[int(random.integers(0, min(len(message), 200)))] = int(random.integers(256))
            if number % 3 == 0:
                message = message[: int(random.integers(0, len(message)))]
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(address)
                with contextlib.suppress(OSError):  # it hangs up before all is sent
                    raw.sendall(message)
                    raw.shutdown(socket.SHUT_WR)
                    while raw.recv(65536):
                        pass
        assert client(_samples(1)[0])[0].shape == (1, 4, 4, 8)
        client.close()
        process.kill()
        assert "Traceback" not in process.communicate()[1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00\xff\xff" + b" " * 70000,
        b"\x93NUMPY\x03\x00" + b" " * 20,
        *[
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 8
            for header in (
                b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
                b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,)}",
                b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}",
                b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}",
                b"{'descr': '<f8', 'fortran_order': False, 'shape': (True,)}",
                b"{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,)}",
                b"{'descr': '<U2', 'fortran_order': False, 'shape': (1,)}",
                b"__import__('os').system('true')",
                b"(" * 4000,
                b"{'descr': '<f8'}",
                b"[]",
                b"\xff\xfe",
            )
        ],
    ],
)
def test_only_plain_arrays_are_read_from_the_socket(content):
    with pytest.raises(ProtocolError):
        parse_npy(content)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numbers_are_read_from_the_socket(order):
    array = np.asarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4), order=order)
    assert np.array_equal(parse_npy(array_message([array])[8:]), array)


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    """A model of pictures with normalisation and labels."""
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 6, 3), name="image")
    scores = keras.layers.Dense(3, name="scores")(
        keras.layers.Flatten()(keras.layers.Conv2D(4, 3, name="stem")(image))
    )
    images = np.random.default_rng(0).uniform(-1, 1, (8, 8, 6, 3)).astype(np.float32)
    pipeline = respect_tf.convert(
        keras.Model(image, scores),
        2,
        images,
        objective="memory",
        compile=False,
        metadata=respect_tf.Metadata(mean=127.5, std=127.5, labels=["cat", "dog", "owl"]),
        verbose=0,
    )
    path = tmp_path_factory.mktemp("bundle") / "seeing"
    pipeline.save(path, verbose=0)
    return path, pipeline


def test_pictures_are_resized_normalised_and_labelled(seeing, tmp_path):
    from PIL import Image

    path, pipeline = seeing
    pixels = np.random.default_rng(1).integers(0, 256, (2, 8, 6, 3)).astype(np.uint8)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{index}.png")
    Image.fromarray(pixels[0]).resize((60, 80), Image.Resampling.NEAREST).save(folder / "big.png")
    (folder / "notes.txt").write_text("no picture")
    told = _run(path, "--cpu", "--input", folder)
    assert [line.split(":")[0] for line in told.splitlines()[:3]] == ["0.png", "1.png", "big.png"]
    expected = pipeline.predict((pixels.astype(np.float32) - 127.5) / 127.5)
    best = ["cat", "dog", "owl"][int(expected[0].argmax())]
    assert f"largest: {best} {expected[0].max():.6g}" in told
    _run(path, "--cpu", "--input", folder / "1.png", "--output", tmp_path / "y.npy")
    assert np.array_equal(np.load(tmp_path / "y.npy"), expected[1:])
    (folder / "0.png").write_bytes(b"no picture")
    assert "cannot be read as a picture" in _run(path, "--cpu", "--input", folder, code=1)


def test_pictures_need_to_know_the_normalisation(plain, seeing, tmp_path):
    from PIL import Image

    Image.new("RGB", (5, 5)).save(tmp_path / "p.png")
    assert "Pictures fit models" in _run(plain[0], "--cpu", "--input", tmp_path / "p.png", code=1)
    shown = _run(seeing[0], "--cpu", "--input", tmp_path / "p.png", "--mean", 0, "--std", 255)
    assert "p.png: " in shown


def test_every_python_of_this_machine_can_read_the_script(tmp_path):
    script = tmp_path / "run_pipeline.py"
    script.write_bytes(run_script())
    tried = 0
    for minor in range(9, 14):
        python = shutil.which(f"python3.{minor}")
        if python is None:
            continue
        code = f"compile(open({str(script)!r}).read(), 'run_pipeline.py', 'exec')"
        done = subprocess.run(
            [python, "-W", "error", "-c", code],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": ""},
        )
        if b"command exists in these" not in done.stderr:  # a version manager's empty shell
            assert done.returncode == 0, done.stderr
            tried += 1
    assert tried or shutil.which("python3") is None or sys.version_info >= (3, 14)
