"""Devices and interpreters as pycoral has them, on no hardware. Needs numpy alone.

A compiled model is either the JSON that `describe` makes, whose outputs are a simple function of
its inputs, or a .tflite model, which TensorFlow runs. `STAND_IN_EDGE_TPUS` lists the devices.
"""

import json
import os
from pathlib import Path

import numpy as np

_in_use = set()
fail_at = {}  # device -> the invocation that fails


def wait_before(device):
    """What a test replaces to make a device hang."""


def describe(inputs, outputs, factor):
    """A stand-in for a compiled model; each tensor is a dict of name, dtype and shape."""
    return json.dumps({"inputs": inputs, "outputs": outputs, "factor": factor}).encode()


def compute(description, inputs):
    """The outputs of such a model: every input counts, in its place."""
    outputs = []
    for position, output in enumerate(description["outputs"]):
        total = np.full(output["shape"], position, np.int64)
        for number, value in enumerate(inputs, 1):
            total += number * np.resize(value.astype(np.int64), output["shape"])
        limits = np.iinfo(output["dtype"])
        wrapped = (description["factor"] * total) % 256 + limits.min
        outputs.append(wrapped.astype(output["dtype"]))
    return outputs


def get_runtime_version():
    return "BuildLabel(COMPILER=6.3.0,DATE=stand-in)"


def list_edge_tpus():
    kinds = os.environ.get("STAND_IN_EDGE_TPUS", "").split(",")
    return [{"type": kind, "path": "/dev/stand_in"} for kind in kinds if kind]


def make_interpreter(model_path_or_content, device=None):
    kind, _, number = (device or "usb:0").partition(":")
    there = [entry["type"] for entry in list_edge_tpus()]
    if kind not in there or int(number or 0) >= there.count(kind) or device in _in_use:
        raise ValueError("Failed to load delegate from libedgetpu.so.1\n")
    content = model_path_or_content
    if isinstance(content, str):
        assert content.endswith("_edgetpu.tflite"), content
        content = Path(content).read_bytes()
    return Interpreter(content, device)


class Interpreter:
    def __init__(self, content, device):
        self.device = device
        _in_use.add(device)
        self._allocated = False
        self._runs = 0
        self._tf = None
        if content[4:8] == b"TFL3":
            from respect_tf.tflite import Interpreter as OnCpu

            self._tf = OnCpu(content)
            details = self._tf.tf_interpreter
            self._inputs = details.get_input_details()
            self._outputs = details.get_output_details()
            return
        self._description = json.loads(content.decode())
        self._inputs, self._outputs = (
            [
                {
                    "index": index,
                    "name": entry["name"],
                    "dtype": np.dtype(entry["dtype"]).type,
                    "shape": np.array(entry["shape"]),
                }
                for index, entry in enumerate(self._description[key], first)
            ]
            for key, first in (("inputs", 0), ("outputs", 100))
        )

    def __del__(self):
        _in_use.discard(self.device)

    def allocate_tensors(self):
        self._allocated = True
        self._values = {}

    def get_input_details(self):
        return self._inputs

    def get_output_details(self):
        return self._outputs

    def set_tensor(self, index, value):
        detail = next(detail for detail in self._inputs if detail["index"] == index)
        if value.dtype != detail["dtype"] or value.shape != tuple(detail["shape"]):
            raise ValueError(f"Cannot set tensor: got {value.dtype} {value.shape}")
        self._values[index] = value.copy()

    def invoke(self):
        if not self._allocated:
            raise RuntimeError("Invoke called on model that is not ready.")
        wait_before(self.device)
        number, self._runs = self._runs, self._runs + 1
        if fail_at.get(self.device) == number:
            raise RuntimeError("Failed to execute request. Hardware error.")
        given = [self._values[detail["index"]] for detail in self._inputs]
        made = self._tf.run(given) if self._tf else compute(self._description, given)
        for detail, value in zip(self._outputs, made):  # noqa: B905 - Python 3.7
            self._values[detail["index"]] = value

    def get_tensor(self, index):
        return self._values[index].copy()
