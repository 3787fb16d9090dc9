"""Models from elsewhere run in workers: fatal ones harm nobody, and no worker is left behind."""

import contextlib
import dataclasses
import gc
import hashlib
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile_models
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from model_builder import ModelBuilder
from random_models import models

import respect_tf
from respect_tf import InterpreterError, OpGraph
from respect_tf._errors import InvalidModelError, RespectError, RunnerError
from respect_tf.cli import main
from respect_tf.run import create_runner, measure_on_cpu
from respect_tf.segmentation import random_inputs
from respect_tf.tflite import (
    Interpreter,
    call_in_worker,
    is_made_here,
    mark_made_here,
    read_model,
    schema,
    write_model,
)
from respect_tf.tflite._messages import memory_file

_WAIT = 120  # seconds after which a test gives up on something that takes milliseconds
_LEAST = np.full((1, 8), -(2**31), np.int32)
_ROOT = Path(__file__).parents[2]


def _wait_until(condition):
    """Whether something becomes true, for however long a busy machine may take."""
    deadline = time.monotonic() + _WAIT
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def _is_alive(pid):
    """Whether there is such a process; one that nobody has waited for yet has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _children(pid):
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(folder.name))
    return found


def _processor_time(pid):
    """What a process has used of it, in hundredths of a second."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def _keeper_of(interpreter):
    return int(
        Path(f"/proc/{interpreter.worker_pid}/stat").read_text().rpartition(")")[2].split()[1]
    )


def _chain(num_ops=4, seed=0):
    builder = ModelBuilder(seed)
    tensor = builder.input()
    for _ in range(num_ops):
        tensor = builder.conv(tensor)
    return builder.build([tensor])


def _sample(value=0):
    return np.full(hostile_models.MAP, value, np.int8)


def _script(text, **options):
    """Python code in a process of its own, in which `tests` can be imported."""
    path = os.pathsep.join([str(_ROOT), str(_ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        **options,
    )


# What is computed


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=models())
def test_a_worker_computes_the_same_bytes(content):
    inputs = random_inputs(OpGraph.from_tflite(content), 2, seed=0)
    there = Interpreter(content, keep_inner_tensors=True)
    assert there.worker_pid is not None or is_made_here(content)
    mark_made_here(content)
    here = Interpreter(content, keep_inner_tensors=True)
    assert here.worker_pid is None
    for sample in inputs:
        for left, right in zip(there.run(sample), here.run(sample), strict=True):
            assert (left.dtype, left.shape) == (right.dtype, right.shape)
            assert left.tobytes() == right.tobytes()
        for tensor in range(OpGraph.from_tflite(content).num_tensors):
            assert there.tensor(tensor).tobytes() == here.tensor(tensor).tobytes()
    details = there.tf_interpreter, here.tf_interpreter
    for kind in ("get_input_details", "get_output_details"):
        left, right = ([_plain(entry) for entry in getattr(one, kind)()] for one in details)
        assert left == right
    there.close()


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def test_a_model_made_here_and_its_segments_run_here():
    content = _chain(seed=11)
    assert not any(is_made_here(one.content) for one in respect_tf.segment(content, [0, 0, 1, 1]))
    mark_made_here(content)
    segments = respect_tf.segment(content, [0, 1, 1, 1])
    assert all(is_made_here(segment.content) for segment in segments)
    pipeline = respect_tf.convert(content, 2, objective="memory", verbose=0)
    assert all(is_made_here(segment.content) for segment in pipeline.segments)


def test_outputs_that_are_larger_than_the_inputs_and_scalars_come_back():
    content = hostile_models.hungry(2**20)
    with Interpreter(content) as interpreter:
        for value in (0, 5):
            (output,) = interpreter.run([_sample(value)])
            assert output.shape == (8192, 4, 4, 8)
            assert np.all(output == output[0, 0, 0, 0])


def test_wrong_inputs_are_errors_and_the_worker_goes_on():
    with Interpreter(_chain(seed=1)) as interpreter:
        pid = interpreter.worker_pid
        for wrong in (np.zeros((1, 2), np.int8), np.zeros(hostile_models.MAP), np.array("text")):
            with pytest.raises(InterpreterError):
                interpreter.run([wrong])
        interpreter.run([_sample()])
        assert interpreter.worker_pid == pid


def test_threads_do_not_mix_their_inputs():
    for made_here in (False, True):
        content = _chain(seed=20 + made_here)
        if made_here:
            mark_made_here(content)
        pipeline = respect_tf.convert(content, 3, objective="memory", verbose=0)
        inputs = [np.full((1, 4, 4, 8), value, np.int8) for value in range(-60, 60)]
        expected = [pipeline.predict(one).tobytes() for one in inputs]
        with ThreadPoolExecutor(8) as pool:
            got = [array.tobytes() for array in pool.map(pipeline.predict, inputs)]
        assert got == expected


# Fatal models, by every way to run one


def test_convert_survives_a_model_that_crashes():
    with pytest.raises(InterpreterError, match="SIGSEGV") as caught:
        respect_tf.convert(hostile_models.index_out_of_range(), 2, objective="memory", verbose=0)
    assert "'model" in str(caught.value)
    respect_tf.convert(_chain(), 2, objective="memory", verbose=0)


@pytest.fixture(scope="module")
def divider():
    """A pipeline that computes what it should, and dies of some inputs."""
    content = hostile_models.division()
    made = respect_tf.convert(content, 2, strict=False, objective="memory", verify=False, verbose=0)
    made.verify([_LEAST, _DIVISORS[0]])
    return made


_DIVISORS = np.full((1, 8), 3, np.int32), np.full((1, 8), -1, np.int32)


def test_predict_names_model_segment_and_signal_and_goes_on(divider):
    good, fatal = ([_LEAST, divisor] for divisor in _DIVISORS)
    expected = divider.predict(good)
    with pytest.raises(InterpreterError, match=r"segment 1 'model_segment_1_of_2'.* SIGFPE"):
        divider.predict(fatal)
    assert np.array_equal(divider.predict(good), expected)


def test_verify_survives_inputs_that_crash(divider):
    with pytest.raises(InterpreterError, match="SIGFPE"):
        divider.verify([_LEAST, _DIVISORS[1]])
    divider.verify([_LEAST, _DIVISORS[0]])


def test_a_runner_reports_a_segment_that_crashes(divider):
    with divider.runner("cpu") as runner:
        names = list(divider.inputs)
        for divisor in _DIVISORS:
            runner.push(dict(zip(names, [_LEAST, divisor], strict=True)))
        assert runner.pop() is not None
        with pytest.raises(RunnerError, match=r"Segment 1 failed at input 1 .*SIGFPE"):
            runner.pop()


def test_profiling_survives_a_model_that_crashes():
    content = hostile_models.index_out_of_range()
    with pytest.raises(InterpreterError, match=r"ops .*SIGSEGV"):
        measure_on_cpu(content)(np.arange(4))
    with pytest.raises(InterpreterError, match="SIGSEGV"):
        respect_tf.convert(content, 2, scheduler="profile", verify=False, verbose=0)


def test_a_public_file_that_kills_the_interpreter_is_an_error(data_folder):
    path = data_folder / "models" / "tflm" / "keyword_scrambled_8bit.tflite"
    with pytest.raises(InterpreterError, match="SIG"):
        respect_tf.convert(path, 2, strict=False, objective="memory", verbose=0)


def _changed(folder, content):
    """Replace segment 1 of a saved pipeline, and correct its hash."""
    manifest = json.loads((folder / "pipeline.json").read_text())
    name = manifest["segments"][1]["file"]
    (folder / name).write_bytes(content)
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "pipeline.json").write_text(json.dumps(manifest))


@pytest.fixture
def tampered(tmp_path):
    """A saved pipeline whose second segment is fatal."""
    pipeline = respect_tf.convert(_chain(), 2, objective="memory", verbose=0)
    folder = pipeline.save(tmp_path / "saved", verbose=0)
    last = pipeline.segments[1]
    names = last.inputs[0].name, last.outputs[0].name
    _changed(folder, hostile_models.index_out_of_range(names))
    return folder


def test_a_changed_segment_of_a_saved_folder_harms_nobody(tampered):
    pipeline = respect_tf.load(tampered)
    with pytest.raises(InterpreterError, match=r"segment 1 'model_segment_1_of_2'.*SIGSEGV"):
        pipeline.predict(_sample())
    with pytest.raises(InterpreterError, match=r"segment 1 .*SIGSEGV"):
        pipeline.verify()
    with pipeline.runner("cpu") as runner:
        runner.push({name: _sample() for name in pipeline.inputs})
        with pytest.raises(RunnerError, match="SIGSEGV"):
            runner.pop()


def test_the_command_line_reports_fatal_models(tampered, tmp_path):
    path = tmp_path / "fatal.tflite"
    path.write_bytes(hostile_models.index_out_of_range())
    commands = (
        ["convert", str(path), "-n", "2", "--objective", "memory", "-o", str(tmp_path / "out")],
        ["verify", str(tampered)],
    )
    for command in commands:
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 1
        assert "SIGSEGV" in done.output


# Endless models


@pytest.fixture
def short_time(monkeypatch):
    monkeypatch.setenv("RESPECT_TF_MODEL_SECONDS", "0.5")


def test_an_endless_model_is_ended_and_the_error_says_the_limit(short_time):
    interpreter = Interpreter(hostile_models.endless(), label="the loop")
    with pytest.raises(InterpreterError, match=r"running the loop did not finish within 0.5 s"):
        interpreter.run([np.ones(1, bool)])
    assert interpreter.worker_pid is None
    (ended,) = interpreter.run([np.zeros(1, bool)])
    assert ended.tolist() == [False]


def test_an_endless_segment_is_ended_by_predict_and_verify(short_time):
    pipeline = respect_tf.convert(_chain(), 2, objective="memory", verbose=0)
    hung = dataclasses.replace(
        pipeline.segments[1], content=hostile_models.endless(hostile_models.MAP)
    )
    pipeline = dataclasses.replace(pipeline, segments=(pipeline.segments[0], hung))
    for action in (lambda: pipeline.predict(_sample(1)), pipeline.verify):
        with pytest.raises(InterpreterError, match=r"segment 1 .* did not finish within 0\.5 s"):
            action()


def test_a_runner_with_an_endless_segment_is_closed_without_waiting_for_it(monkeypatch):
    monkeypatch.setattr("respect_tf.run.script._engine.DISCARD_SECONDS", 0.2)
    (segment,) = respect_tf.segment(_chain(), [0, 0, 0, 0])
    hung = dataclasses.replace(segment, content=hostile_models.endless(hostile_models.MAP))
    runner = create_runner([hung], device="cpu")
    pid = runner._engine.models()[0]._interpreter.worker_pid
    runner.push({segment.inputs[0].name: _sample(1)})
    assert _wait_until(lambda: runner.statistics()[0].waiting == 0)
    runner.close(discard=True)  # before its time limit, which is 15 s
    assert not any(thread.is_alive() for thread in runner._engine._threads)
    assert _wait_until(lambda: not _is_alive(pid))


def test_what_a_process_ignores_or_blocks_does_not_free_its_workers():
    text = """
        import os, signal
        import numpy as np
        import hostile_models
        from respect_tf import InterpreterError
        from respect_tf.tflite import Interpreter

        for number in (signal.SIGCHLD, signal.SIGPROF):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF])
        os.environ["RESPECT_TF_MODEL_SECONDS"] = "0.5"
        for _ in range(2):
            try:
                Interpreter(hostile_models.endless()).run([np.ones(1, bool)])
            except InterpreterError as error:
                print("did not finish" in str(error))
    """
    with _script(text) as process:
        assert process.communicate(timeout=_WAIT)[0] == "True\nTrue\n"


def test_a_wrong_limit_is_refused(monkeypatch):
    for text in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("RESPECT_TF_MODEL_SECONDS", text)
        with pytest.raises(RespectError, match="RESPECT_TF_MODEL_SECONDS"):
            Interpreter(_chain(seed=2))


# Memory


def test_a_small_file_gets_no_more_memory_than_its_limit(monkeypatch):
    monkeypatch.setenv("RESPECT_TF_MODEL_MIB", "64")
    with pytest.raises(InterpreterError, match=r"64 MiB|SIG"):
        Interpreter(hostile_models.hungry(2**28)).run([_sample()])
    with Interpreter(hostile_models.hungry(2**24)) as interpreter:
        interpreter.run([_sample()])


def test_what_needs_too_much_is_refused_without_a_limit_of_ones_own():
    with pytest.raises(InterpreterError, match=r"MiB|SIG"):
        Interpreter(hostile_models.hungry(2**31 - 128)).run([_sample()])


# Workers that die by themselves


@pytest.mark.parametrize("who", ["worker", "keeper"])
def test_a_worker_that_somebody_kills_is_replaced(who):
    interpreter = Interpreter(_chain(seed=3))
    expected = interpreter.run([_sample()])[0]
    old, keeper = interpreter.worker_pid, _keeper_of(interpreter)
    os.kill(old if who == "worker" else keeper, signal.SIGKILL)
    assert _wait_until(lambda: not _is_alive(old))
    assert np.array_equal(interpreter.run([_sample()])[0], expected)
    assert interpreter.worker_pid != old
    assert (_keeper_of(interpreter) == keeper) == (who == "worker")


def test_ctrl_c_ends_the_call_and_the_next_answer_is_the_next_ones():
    interpreter = Interpreter(hostile_models.endless())
    pid = interpreter.worker_pid
    main_thread = threading.main_thread().ident
    started = _processor_time(pid)

    def interrupt():
        _wait_until(lambda: _processor_time(pid) > started)  # it is in the endless loop
        signal.pthread_kill(main_thread, signal.SIGINT)

    # A process that a shell has started in the background ignores the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            interpreter.run([np.ones(1, bool)])
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert _wait_until(lambda: not _is_alive(pid))
    assert interpreter.run([np.zeros(1, bool)])[0].tolist() == [False]


def test_closed_and_dropped_interpreters_leave_nothing():
    kept = Interpreter(_chain(seed=4))
    keeper = _keeper_of(kept)
    others = set(_children(keeper))
    gc.collect()  # what other tests left
    files = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(12):
        interpreter = Interpreter(_chain(seed=5))
        interpreter.run([_sample()])
        if number % 2:
            interpreter.close()
        del interpreter
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == files
    assert _wait_until(lambda: set(_children(keeper)) <= others)
    kept.close()
    with pytest.raises(InterpreterError, match="closed"):
        kept.run([_sample()])


def test_too_many_open_files_are_an_error_and_harm_no_other_worker():
    kept = Interpreter(_chain(seed=6))
    expected, pid = kept.run([_sample()]), kept.worker_pid
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(InterpreterError, match="open files"):
            Interpreter(_chain(seed=7))
        assert np.array_equal(kept.run([_sample()]), expected)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert kept.worker_pid == pid


def test_models_with_ops_of_tensorflow_are_refused_in_a_worker():
    """They could read and write files."""
    model = read_model(_chain(1))
    (code,) = model.operatorCodes
    code.builtinCode = code.deprecatedBuiltinCode = schema().BuiltinOperator.CUSTOM
    code.customCode = "FlexWriteFile"
    for operator in model.subgraphs[0].operators:
        operator.builtinOptionsType, operator.builtinOptions = 0, None
    with pytest.raises(InterpreterError, match="Flex"):
        Interpreter(write_model(model)).run([_sample()])


# Nothing outlives this process, and its end waits for nothing


_BUSY = """
    import os, sys, threading, time
    from pathlib import Path
    import numpy as np
    import hostile_models
    from respect_tf.tflite import Interpreter

    interpreter = Interpreter(hostile_models.endless())
    pid = interpreter.worker_pid
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()

    def busy():
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(stat[11]) > int(fields[11]) + 20  # hundredths of a second

    threading.Thread(target=interpreter.run, args=[[np.ones(1, bool)]], daemon=True).start()
    while not busy():
        time.sleep(0.01)
    print(pid, fields[1], flush=True)
    THEN
"""


@pytest.mark.parametrize("then", ["time.sleep(1000)", "sys.exit()", "os._exit(0)"])
def test_no_endless_worker_outlives_its_user(then):
    with _script(_BUSY.replace("THEN", then)) as process:
        pid, keeper = map(int, process.stdout.readline().split())
        if "sleep" in then:
            assert _is_alive(pid)
            process.kill()
        process.wait(_WAIT)
    assert _wait_until(lambda: not _is_alive(pid))
    assert _wait_until(lambda: not _is_alive(keeper))


def test_a_keeper_that_is_killed_takes_an_endless_worker_with_it():
    with _script(_BUSY.replace("THEN", "os.kill(int(fields[1]), 9); time.sleep(1000)")) as process:
        pid, _ = map(int, process.stdout.readline().split())
        assert _wait_until(lambda: not _is_alive(pid))
        process.kill()


_FORKING = """
    import os, signal, sys
    import multiprocessing
    import warnings
    import numpy as np
    import respect_tf
    from model_builder import ModelBuilder

    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on forks beside threads
    builder = ModelBuilder()
    content = builder.build([builder.conv(builder.conv(builder.input()))])
    pipeline = respect_tf.convert(content, 2, objective="memory", verbose=0)
    sample = np.ones((1, 4, 4, 8), np.int8)
    expected = pipeline.predict(sample).tobytes()

    def predict(number):
        return pipeline.predict(sample).tobytes() == expected
"""


def test_a_process_with_a_forked_daemon_ends():
    text = (
        _FORKING
        + """
    daemon = os.fork()
    if daemon == 0:
        os.close(1)
        signal.pause()
    print(daemon, flush=True)
"""
    )
    with _script(text) as process:
        daemon = int(process.stdout.readline())
        try:
            assert process.wait(_WAIT) == 0
            # The daemon has a copy of everything, and still no worker is left.
            assert _wait_until(lambda: not _children(process.pid))
        finally:
            os.kill(daemon, signal.SIGKILL)


def test_forked_processes_make_workers_of_their_own():
    text = (
        _FORKING
        + """
    own = os.fork()
    if own == 0:
        sys.exit(0 if predict(0) else 1)  # by the ordinary way out
    print(os.waitpid(own, 0)[1], flush=True)
    pool = multiprocessing.get_context("fork").Pool(2)
    print(all(pool.map(predict, range(6))), predict(0), flush=True)
    # The pool stays open.
"""
    )
    with _script(text) as process:
        assert process.stdout.readline() == "0\n"
        assert process.stdout.readline() == "True True\n"
        assert process.wait(_WAIT) == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_run_does_not_lock_the_child():
    interpreter = Interpreter(hostile_models.endless())
    thread = threading.Thread(target=_ignoring_errors, args=[interpreter])
    thread.start()
    assert _wait_until(interpreter._lock.locked)
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_run_in_child, args=[interpreter, sending])
    child.start()
    assert receiving.poll(_WAIT)
    assert receiving.recv_bytes() == b"\0"
    child.join(_WAIT)
    interpreter.close()  # ends the endless run
    thread.join(_WAIT)
    assert not thread.is_alive()


def _ignoring_errors(interpreter):
    with contextlib.suppress(InterpreterError):
        interpreter.run([np.ones(1, bool)])


def _run_in_child(interpreter, sending):
    sending.send_bytes(interpreter.run([np.zeros(1, bool)])[0].tobytes())


# A model of ours that once failed to load, because the probe fed it what lay in memory


def test_a_model_that_looks_up_rows_is_saved_and_loaded(tmp_path):
    builder = ModelBuilder()
    rows = builder.tensor("rows", (1, 4), "INT32", scale=None)
    builder.inputs.append(rows)
    table = builder.constant((10, 8), "table")
    found = builder.tensor("found", (1, 4, 8))
    builder.op("GATHER", [table, rows], [found], schema().GatherOptionsT())
    out = builder.tensor("out", (1, 4, 8))
    builder.op("RELU", [found], [out])
    pipeline = respect_tf.convert(
        builder.build([out]), 2, strict=False, objective="memory", verbose=0
    )
    folder = pipeline.save(tmp_path / "saved", verbose=0)
    loaded = respect_tf.load(folder)
    loaded.verify()
    indices = np.array([[0, 9, 3, 3]], np.int32)
    assert np.array_equal(loaded.predict(indices), pipeline.predict(indices))
    with pytest.raises(InterpreterError):
        loaded.predict(np.array([[0, 10**6, 0, 0]], np.int32))


# Functions


def test_a_function_is_called_in_a_worker(tmp_path):
    import h5py

    path = tmp_path / "good.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        file.create_dataset("layer/kernel", data=np.zeros((300, 7), np.float32))
        file.create_dataset("layer/scalar", data=1.0)
        file.create_dataset("layer/names", data=np.array([b"a", b"b"]))
    value, arrays = call_in_worker(
        "read_hdf5", str(path), "good.h5", timeout=_WAIT, label="'good.h5'"
    )
    assert value == {"groups": 2, "datasets": 3, "attributes": 1}
    assert arrays == {}


def test_errors_of_a_function_keep_their_class(tmp_path):
    path = tmp_path / "bad.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(InvalidModelError, match=r"bad\.h5"):
        call_in_worker("read_hdf5", str(path), "bad.h5", timeout=_WAIT, label="'bad.h5'")
    with pytest.raises(RespectError, match="read_hdf5"):
        call_in_worker("os.system", "true", timeout=_WAIT, label="nothing")


def test_a_function_that_hangs_is_ended(tmp_path):
    path = tmp_path / "endless.h5"
    os.mkfifo(path)
    with pytest.raises(InvalidModelError, match=r"'endless.h5' .* did not finish within 0.5 s"):
        call_in_worker("read_hdf5", str(path), "endless.h5", timeout=0.5, label="'endless.h5'")


def test_a_file_in_memory_can_be_neither_cut_short_nor_made_longer():
    file = memory_file("test", 4096)
    try:
        for size in (0, 8192):
            with pytest.raises(PermissionError):
                os.ftruncate(file, size)
    finally:
        os.close(file)
