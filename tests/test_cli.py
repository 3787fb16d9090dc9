"""The command line: results, JSON, exit codes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from model_builder import ModelBuilder

import respect_tf
from respect_tf._cli_common import SCHEDULERS
from respect_tf.cli import main
from respect_tf.scheduling._solvers import SCHEDULERS as NAMES


@pytest.fixture
def model(tmp_path):
    builder = ModelBuilder()
    tensor = builder.input("image")
    for number in range(4):
        tensor = builder.conv(tensor)
        builder.rename(tensor, f"net/conv_{number}/BiasAdd")
    path = tmp_path / "net.tflite"
    path.write_bytes(builder.build([tensor]))
    return str(path)


def _run(*arguments: str, code: int = 0):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result


def test_convert_prints_a_table_and_saves(model, tmp_path):
    folder = tmp_path / "out"
    result = _run("convert", model, "-n", "2", "-o", str(folder))
    assert "bit-exact" in result.stdout
    assert len(respect_tf.load(folder).segments) == 2


def test_convert_prints_json_alone(model, tmp_path):
    result = _run("convert", model, "-n", "2", "-o", str(tmp_path / "out"), "--json")
    figures = json.loads(result.stdout)
    assert figures["folder"] == str(tmp_path / "out")
    assert len(figures["stages"]) == 2


def test_every_scheduler_can_be_chosen():
    assert sorted(SCHEDULERS) == sorted(NAMES)


_EVERY_SCHEDULER = """
import sys
from respect_tf.cli import main
model, times, *schedulers = sys.argv[1:]
for scheduler in schedulers:
    also = ["--times", times] if scheduler == "profile" else ["--objective", "memory"]
    main(["schedule", model, "-n", "2", "--scheduler", scheduler, *also, "--json"],
         standalone_mode=False)
print("highspy" in sys.modules, "cvxpy" in sys.modules, file=sys.stderr)
"""


def test_no_scheduler_prints_anything_beside_its_json(tmp_path):
    # In a process of its own: solvers print past sys.stdout.
    builder = ModelBuilder()
    middle = [builder.conv(builder.input("image"), channels) for channels in (4, 8, 12, 16, 20)]
    model, times = tmp_path / "wide.tflite", tmp_path / "times.csv"
    model.write_bytes(builder.build([builder.conv(tensor, 7) for tensor in middle]))
    ops = [" ".join(map(str, range(first, last))) for first in range(10) for last in
           range(first + 1, 11)]  # fmt: skip
    times.write_text("\n".join(["model,ops,ms", *(f"{model},{one},{len(one)}" for one in ops)]))
    command = [sys.executable, "-c", _EVERY_SCHEDULER, str(model), str(times), *SCHEDULERS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stderr.splitlines()[-1] == "True False"  # the solver was needed, cvxpy was not
    found, rest = [], done.stdout
    while rest.strip():
        value, end = json.JSONDecoder().raw_decode(rest.lstrip())
        found.append(value["scheduler"])
        rest = rest.lstrip()[end:]
    assert found == list(SCHEDULERS)


def test_measured_times_lead_the_profile_scheduler(model, tmp_path):
    measured = {"0": 4, "0 1": 9, "0 1 2": 9, "1 2 3": 3, "2 3": 2, "3": 1}
    rows = [f"{model},{ops},{ms}" for ops, ms in measured.items()]
    times = tmp_path / "times.csv"
    times.write_text("\n".join(["model,ops,ms", *rows]) + "\n")
    profiled = ["--scheduler", "profile", "--times", str(times)]
    result = _run("schedule", model, "-n", "2", *profiled, "--json")
    assert json.loads(result.stdout)["stages"] == [0, 1, 1, 1]
    result = _run("convert", model, "-n", "2", "-o", str(tmp_path / "two"), *profiled, "-q")
    assert respect_tf.load(tmp_path / "two").schedule.stages.tolist() == [0, 1, 1, 1]
    assert "profile" in _run("schedule", model, "--times", str(times), code=1).stderr


def test_convert_writes_metadata(model, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join("abcdefgh") + "\n")
    folder = str(tmp_path / "out")
    options = ["--mean", "1,2,3,4,5,6,7,8", "--std", "2", "--labels", str(labels)]
    _run("convert", model, "-n", "2", "-o", folder, *options)
    (image,), (scores,) = vars(respect_tf.load(folder).interface).values()
    assert image.mean == (1, 2, 3, 4, 5, 6, 7, 8)
    assert scores.labels == tuple("abcdefgh")
    _run("convert", model, "-o", str(tmp_path / "bad"), "--mean", "one", "--std", "2", code=2)


def test_an_existing_folder_fails_before_the_work_starts(model, tmp_path):
    folder = str(tmp_path / "out")
    _run("convert", model, "-n", "2", "-o", folder, "-q")
    assert "overwrite" in _run("convert", model, "-o", folder, code=1).stderr
    _run("convert", model, "-n", "3", "-o", folder, "--overwrite", "-q")
    assert len(respect_tf.load(folder).segments) == 3


def test_errors_go_to_standard_error_or_into_the_json(model, tmp_path):
    folder = str(tmp_path / "out")
    result = _run("convert", model, "-n", "9", "-o", folder, code=1)
    assert result.stdout == ""
    assert "9" in result.stderr
    result = _run("convert", model, "-n", "9", "-o", folder, "--json", code=1)
    assert "9" in json.loads(result.stdout)["error"]["message"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("convert",),
        ("convert", "no-such-file.tflite"),
        ("convert", "{model}", "-n", "0"),
        ("convert", "{model}", "--no-such-option"),
        ("schedule", "{model}", "--scheduler", "magic"),
        ("segment", "{model}"),
        ("nonsense",),
    ],
)
def test_wrong_usage_ends_with_2(model, arguments):
    _run(*(argument.format(model=model) for argument in arguments), code=2)


def test_schedule_and_segment_work_together(model, tmp_path):
    chosen = _run("schedule", model, "-n", "2", "--json").stdout
    assert json.loads(chosen)["stages"] == [0, 0, 1, 1]
    (tmp_path / "s.json").write_text(chosen)
    folder = tmp_path / "out"
    _run("segment", model, "--schedule", str(tmp_path / "s.json"), "-o", str(folder))
    assert [s.ops for s in respect_tf.load(folder).segments] == [(0, 1), (2, 3)]
    assert "optimal" in _run("schedule", model, "-n", "2").stdout


def test_segment_cuts_at_layers(model, tmp_path):
    folder = tmp_path / "out"
    _run("segment", model, "--cut", "conv_0", "--cut", "conv_1", "-o", str(folder), "-q")
    assert [s.ops for s in respect_tf.load(folder).segments] == [(0,), (1,), (2, 3)]
    assert "No tensor or layer" in _run("segment", model, "--cut", "x", code=1).stderr


def test_verify_proves_a_saved_pipeline(model, tmp_path):
    folder = str(tmp_path / "out")
    _run("convert", model, "-n", "2", "-o", folder, "-q")
    assert "bit-exact" in _run("verify", folder).stdout
    assert json.loads(_run("verify", folder, "--json").stdout)["num_inputs"] == 3
    (tmp_path / "out" / "net.tflite").write_bytes(b"changed")
    assert "was changed" in _run("verify", folder, code=1).stderr


def test_inspect_says_what_is_in_a_file(model, tmp_path):
    assert "CONV_2D" in _run("inspect", model).stdout
    assert json.loads(_run("inspect", model, "--json").stdout)["op_counts"] == {"CONV_2D": 4}
    (tmp_path / "bad").write_bytes(b"nothing")
    assert "no TFLite model" in _run("inspect", str(tmp_path / "bad"), code=1).stderr


def test_inspect_says_what_is_in_a_saved_pipeline(model, tmp_path):
    folder = str(tmp_path / "out")
    _run("convert", model, "-n", "2", "-o", folder, "-q")
    said = _run("inspect", folder).stdout
    assert "net_segment_1_of_2.tflite" in said
    assert "2 segments, bit-exact" in said
    found = json.loads(_run("inspect", folder, "--json").stdout)
    assert [segment["op_counts"] for segment in found["segments"]] == [{"CONV_2D": 2}] * 2
    assert found["whole"]["num_ops"] == 4
    assert found["replicas"] == [1, 1]
    (tmp_path / "out" / "net.tflite").write_bytes(b"changed")
    assert "was changed" in _run("inspect", folder, code=1).stderr


def test_remedies_are_options_of_the_command_line(model, tmp_path, monkeypatch):
    import keras

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    start = keras.Input((8, 8, 3), name="image")
    keras.Model(start, keras.layers.Conv2D(4, 3)(start)).save(tmp_path / "net.keras")
    said = _run("convert", str(tmp_path / "net.keras"), "-o", str(tmp_path / "o"), code=1).stderr
    assert "--representative-data samples.npy  # (n, 8, 8, 3)" in said
    assert "representative_dataset" not in said
    assert "edgetpu_compiler" not in said  # it matters once nothing else is wrong
    _run("convert", model, "-o", str(tmp_path / "o"), "-q")
    said = _run("convert", model, "-o", str(tmp_path / "o"), code=1).stderr
    assert "pass --overwrite to" in said
    done = _run("convert", model, "-o", str(tmp_path / "o"), "--overwrite")
    assert "edgetpu_compiler was not found" in done.stderr
    assert "--device usb3-pi5" in done.stdout
    assert "device=" not in done.stdout


def test_doctor_finds_what_is_installed():
    assert "tensorflow" in _run("doctor").stdout
    names = {finding["name"] for finding in json.loads(_run("doctor", "--json").stdout)}
    assert {"Python", "tensorflow", "edgetpu_compiler", "pycoral"} <= names


def test_calibration_files_must_hold_numbers(model, tmp_path):
    path = tmp_path / "data.npy"
    path.write_bytes(b"no array")
    _run("convert", model, "-r", str(path), code=2)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    _run("convert", model, "-r", str(path), code=2)


def test_every_command_explains_itself():
    for command in main.commands:
        assert "Usage" in _run(command, "--help").stdout


def test_schedules_are_for_an_objective_and_a_device(model):
    found = json.loads(_run("schedule", model, "-n", "2", "--json").stdout)
    assert (found["objective"], found["device"]) == ("throughput", "usb3")
    options = ("--objective", "latency", "--device", "pcie-m2")
    found = json.loads(_run("schedule", model, "-n", "2", *options, "--json").stdout)
    assert (found["objective"], found["device"]) == ("latency", "pcie-m2")
    assert "ms (latency)" in _run("schedule", model, "-n", "2", *options).stdout
    found = json.loads(_run("schedule", model, "--objective", "memory", "--json").stdout)
    assert (found["objective"], found["device"]) == ("memory", None)
    assert "usb4" in _run("schedule", model, "--device", "usb4", code=1).stderr


def test_calibrate_says_errors_and_writes_a_device(model, tmp_path):
    rows = ["macs,cached_bytes,streamed_bytes,input_bytes,output_bytes,ms"]
    for number in range(1, 7):
        macs, streamed = number * 10**8, (number % 3) * 2**20
        ms = 0.88 + 0.204 * number + 2.97 * (number % 3) + 0.06 * (number % 4)
        rows.append(f"{macs},1000000,{streamed},{number * 1000},{number % 4 * 2000},{ms}")
    measurements, device = tmp_path / "times.csv", tmp_path / "mine.json"
    measurements.write_text("\n".join(rows))
    found = json.loads(_run("calibrate", str(measurements), "-o", str(device), "--json").stdout)
    assert found["error"]["after"] < found["error"]["before"]
    options = ("--device", str(device), "--json")
    assert json.loads(_run("schedule", model, "-n", "2", *options).stdout)["cost"] > 0
    assert "before" in str(respect_tf.calibrate(measurements))
    assert "usb3-pi5" in found["host"]
    assert set(found["determined"]).isdisjoint(found["kept"])
    listed = json.loads(_run("devices", "--json").stdout)
    assert {"usb3-pc", "usb2-pi3", "pcie-card"} <= {row["name"] for row in listed}
    assert "Raspberry Pi 5" in _run("devices").stdout
    two = ("--device", "usb3-pc", "--device", "usb3-pi4", "--json")
    assert json.loads(_run("schedule", model, "-n", "2", *two).stdout)["cost"] >= 1
    assert "usb3-jetson" in _run("schedule", model, "-n", "2", "--device", "no", code=1).stderr
    measurements.write_text("ms\n1")
    assert "no column" in _run("calibrate", str(measurements), code=1).stderr


def test_run_sends_samples_through_a_saved_pipeline(model, tmp_path):
    folder, samples, output = (str(tmp_path / name) for name in ("out", "in.npy", "made.npy"))
    _run("convert", model, "-n", "2", "-o", folder, "-q")
    pipeline = respect_tf.load(folder)
    shape = next(iter(pipeline.inputs.values())).shape[1:]
    given = np.random.default_rng(0).integers(-128, 128, (5, *shape)).astype(np.int8)
    np.save(samples, given)
    assert "5 samples" in _run("run", folder, samples, "--on", "cpu", "-o", output).stdout
    np.testing.assert_array_equal(np.load(output), pipeline.predict(given))
    figures = json.loads(_run("run", folder, samples, "--on", "cpu", "-q", "--json").stdout)
    assert figures["num_samples"] == 5
    assert len(figures["segment_ms"]) == 2
    copies = ("--backend", "cpu", "--replicas", "2,1", "--timeout", "600", "-q")
    assert "cpu, cpu" in _run("run", folder, samples, *copies).stdout
    assert "numbers as in 2,1,1" in _run("run", folder, samples, "--replicas", "x", code=2).stderr


def test_simulate_says_what_the_device_model_predicts(model, tmp_path):
    folder = str(tmp_path / "out")
    _run("convert", model, "-n", "2", "-o", folder, "-q")
    figures = json.loads(_run("simulate", folder, "--json").stdout)["simulated"]
    expected = respect_tf.load(folder).report.speed.frames_per_second
    assert figures["frames_per_second"] == pytest.approx(expected, rel=0.02)
    assert "throughput" in _run("simulate", folder, "--rate", "30", "--poisson").stdout
    _run("simulate", folder, "--device", "usb9", code=1)


def test_compile_without_a_compiler_says_where_to_get_on(model, tmp_path, monkeypatch):
    folder = str(tmp_path / "out")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    _run("convert", model, "-n", "2", "-o", folder, "-q")
    assert "edgetpu_compiler" in _run("compile", folder, code=1).stderr
    _run("convert", model, "-n", "2", "-o", folder, "--overwrite", "--compile", "yes", code=1)
    assert len(respect_tf.load(folder).segments) == 2  # still the first one


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "is no JSON file"),
        (b"\xff", "is no JSON file"),
        (b"3", "holds no list of stages"),
        (b'{"stages": [0, [0], 1, 1]}', "stages must be whole numbers"),
        (b'{"stages": [0, null, 1, 1]}', "stages must be whole numbers"),
        (b'{"stages": [0, 18446744073709551616, 1, 1]}', "stages must be whole numbers"),
        (b'{"stages": [0, 4611686018427387904, 1, 1]}', "Stage 2 of"),
    ],
)
def test_files_of_stages_that_are_none_are_refused(model, tmp_path, content, message):
    path = tmp_path / "stages.json"
    path.write_bytes(content)
    result = CliRunner().invoke(main, ["segment", model, "--schedule", str(path)])
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code in (1, 2)
    assert message in result.output


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["inspect", "MODEL"], ["inspect", "MODEL", "--json"]]
)
def test_a_result_that_cannot_be_printed_is_an_error_without_a_traceback(model, arguments):
    command = [sys.executable, "-m", "respect_tf", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [model if argument == "MODEL" else argument for argument in command],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    # On a slow machine, progress stands above it.
    said = "error: the result cannot be printed: No space left on device\n"
    assert done.stderr.endswith(said)
    assert "Traceback" not in done.stderr


_INTERRUPTED = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # as it is on a terminal
left = int(sys.argv.pop(1))
def interrupt(event, arguments):
    global left
    if event == "import":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(interrupt)
runpy.run_module("respect_tf", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("imports", [20, 60, 150, 300, 330])
def test_ctrl_c_during_imports_ends_without_a_traceback(model, imports):
    command = [sys.executable, "-c", _INTERRUPTED, str(imports), "schedule", model, "-n", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1:]  # on a slow machine, progress stands above it
    assert last in ([], ["Aborted!"]) or last[0].startswith("Scheduling")
    assert done.returncode in (1, -signal.SIGINT)


def test_paths_in_usage_errors_are_escaped(tmp_path):
    done = _run("inspect", str(tmp_path / "a\x1b[2J"), code=2)
    assert "\x1b" not in done.output
    assert r"\x1b[2J" in done.output


@pytest.mark.parametrize("content", [b"[" * 10**5, b"{", b'{"stages": [1e999]}', b"\xff"])
def test_a_file_of_stages_that_is_damaged_is_wrong_usage(model, tmp_path, content):
    (tmp_path / "s.json").write_bytes(content)
    _run("segment", model, "--schedule", str(tmp_path / "s.json"), code=2)


def test_labels_that_are_no_text_are_wrong_usage(model, tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe")
    _run("convert", model, "--labels", str(tmp_path / "labels.txt"), code=2)


@pytest.mark.parametrize("name", ["made.npy", "made.npz"])
def test_results_are_written_whole_or_not_at_all(tmp_path, name):
    from respect_tf._cli_arrays import save_arrays

    save_arrays(tmp_path / name, {"file": np.arange(3)})
    loaded = np.load(tmp_path / name)
    assert (loaded if name.endswith("y") else loaded["file"]).tolist() == [0, 1, 2]
    (tmp_path / "taken").touch()
    with pytest.raises(respect_tf.SavedPipelineError, match="cannot be written"):
        save_arrays(tmp_path / "taken" / name, {"file": np.arange(3)})


def test_convert_keeps_what_a_model_says_of_its_inputs(model, tmp_path):
    metadata = respect_tf.Metadata(mean=127.5, std=127.5)
    described = respect_tf.convert(model, 1, metadata=metadata, verify=False, verbose=0)
    (tmp_path / "described.tflite").write_bytes(described.segments[0].content)
    folder = tmp_path / "out"
    _run("convert", str(tmp_path / "described.tflite"), "-n", "1", "-o", str(folder), "-q")
    assert respect_tf.load(folder).interface == described.interface


def test_help_lists_the_commands_in_the_order_of_work_in_whole_sentences():
    text = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    lines = [line.strip() for line in text.split("Commands:")[1].splitlines() if line.strip()]
    names = [line.split()[0] for line in lines]
    assert set(names) == set(main.commands)
    assert names.index("doctor") < names.index("convert") < names.index("run")
    for line in lines:
        assert line.endswith("."), line
        assert not line.endswith("..."), line


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_option_says_what_it_does_within_80_columns(name):
    for parameter in main.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    text = CliRunner().invoke(main, [name, "--help"], terminal_width=80).output
    for line in text.splitlines():
        assert len(line) <= 80, line


def test_a_schedule_can_be_had_of_any_model(tmp_path):
    import keras

    keras.utils.set_random_seed(0)
    start = keras.Input((8, 8, 3))
    tensor = keras.layers.Conv2D(4, 3, name="stem")(start)
    model = keras.Model(start, keras.layers.Dense(3)(keras.layers.Flatten()(tensor)), name="net")
    model.save(tmp_path / "net.keras")
    samples = np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 3)).astype("float32")
    respect_tf.convert(model, 2, samples, verbose=0).save(tmp_path / "folder", verbose=0)
    for path in (tmp_path / "net.keras", tmp_path / "folder"):
        result = CliRunner().invoke(main, ["schedule", str(path), "-n", "2", "--json"])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["num_stages"] == 2
    command = ["schedule", str(tmp_path / "net.keras"), "-n", "2", "--scheduler", "profile"]
    assert CliRunner().invoke(main, command).exit_code == 2
