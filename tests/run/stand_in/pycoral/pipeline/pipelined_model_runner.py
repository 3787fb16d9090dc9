"""PipelinedModelRunner with the real one's rules. Where that aborts the process, `Abort` is raised.

One worker runs all segments: this is about the rules, not about speed.
"""

import queue
import threading

import numpy as np


class Abort(BaseException):
    """The real runner's CHECK has failed."""


def _check(condition, message):
    if not condition:
        raise Abort(message)


class PipelinedModelRunner:
    def __init__(self, interpreters):
        self._inputs = None
        if not interpreters:
            raise ValueError("At least one interpreter expected")
        names = [[d["name"] for d in i.get_input_details()] for i in interpreters]
        made = [[d["name"] for d in i.get_output_details()] for i in interpreters]
        known = set(names[0])
        for index, inputs in enumerate(names):
            if not known.issuperset(inputs):
                raise ValueError(f"Interpreter {index} can not get its input tensors")
            known.update(made[index])
        for index, outputs in enumerate(made[:-1]):
            later = {name for inputs in names[index + 1 :] for name in inputs}
            _check(later.issuperset(outputs), "an output that no later segment reads")
        _check(len(set(made[-1])) == len(made[-1]), "final outputs of one name")
        _check(not any(set(made[-1]) & set(inputs) for inputs in names), "a final output is read")
        _check(all(i._allocated for i in interpreters), "tensors are not allocated")
        self._interpreters = interpreters
        self._types = {d["name"]: d["dtype"] for d in interpreters[0].get_input_details()}
        self._shapes = {d["name"]: d["shape"] for d in interpreters[0].get_input_details()}
        self._output_details = interpreters[-1].get_output_details()
        self._inputs, self._outputs = queue.Queue(), queue.Queue()
        self._ended = self._drained = False
        self._worker = threading.Thread(target=self._work, name="stand-in segment", daemon=True)
        self._worker.start()

    def set_input_queue_size(self, size):
        self._resize(self._inputs, size)

    def set_output_queue_size(self, size):
        self._resize(self._outputs, size)

    @staticmethod
    def _resize(which, size):
        with which.not_full:
            which.maxsize = size
            which.not_full.notify_all()

    def push(self, input_tensors):
        if input_tensors and len(input_tensors) != len(self._types):
            raise ValueError(f"Expected input of length {len(self._types)}")
        for name, value in input_tensors.items():
            if not isinstance(value, np.ndarray) or value.dtype != self._types[name]:
                raise ValueError(f"Input should be a numpy array of type {self._types[name]}")
        if self._ended:
            raise RuntimeError("Pipeline was turned off before.")
        if not input_tensors:
            self._ended = True
            self._inputs.put(None)
            self._worker.join()
            return
        _check(list(input_tensors) == list(self._types), "inputs in another order")
        for name, value in input_tensors.items():
            _check(value.flags.c_contiguous, "would be copied wrongly without an error")
            _check(value.size == np.prod(self._shapes[name]), "input of another byte size")
        copies = {name: value.copy() for name, value in input_tensors.items()}
        self._inputs.put(copies)

    def pop(self):
        if self._drained:
            return None
        result = self._outputs.get()
        if result is None:
            self._drained = True
            return None
        if isinstance(result, RuntimeError):
            self._drained = True
            raise result
        for value in result.values():
            if value.dtype.itemsize > 1:
                raise ValueError("cannot reshape array")
        return result

    def interpreters(self):
        return self._interpreters

    def _work(self):
        outputs = self._outputs
        while True:
            values = self._inputs.get()
            if values is None:
                outputs.put(None)
                return
            try:
                for interpreter in self._interpreters:
                    for detail in interpreter.get_input_details():
                        value = values[detail["name"]].reshape(detail["shape"])
                        interpreter.set_tensor(detail["index"], value)
                    interpreter.invoke()
                    for detail in interpreter.get_output_details():
                        values[detail["name"]] = interpreter.get_tensor(detail["index"])
            except RuntimeError as error:
                outputs.put(error)
                self._ended = True
                return
            outputs.put({d["name"]: values[d["name"]] for d in self._output_details})
