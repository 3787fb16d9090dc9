"""Representative data: whatever users have, as checked samples that are mapped to inputs by name.

TFLite takes lists in the order of its own tensors, which need not be Keras's, and then sets scales
from the wrong data without a word. Here every sample becomes a dict first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from respect_tf._errors import CalibrationDataError
from respect_tf._reporting import Verbosity, report
from respect_tf.tflite._input_arrays import Sample, check_values, fitting_arrays, snippet
from respect_tf.tflite._model_inputs import ModelInput

MAX_SAMPLES = 500
_FEW_SAMPLES = 10


def calibration_samples(
    data: Any,
    inputs: Sequence[ModelInput],
    *,
    limit: int = MAX_SAMPLES,
    verbose: Verbosity = "auto",
) -> tuple[Sample, ...]:
    """Turn representative data into samples of batch 1.

    Args:
        data: One of

            - an array [n, ...], for a model with one input;
            - a list or tuple of arrays [n, ...], one per input, in the model's order;
            - a dict of arrays [n, ...] by input name;
            - a generator function, as TFLite takes it; or a generator, or any other iterable with
              a length (`keras.utils.PyDataset`) or without (a PyTorch `DataLoader`);
            - a `tf.data.Dataset`, batched or not.

            Generators and datasets yield an array, a list of arrays, or a dict of arrays, with or
            without a batch dimension. Of a tuple, `(x, y)` or `(x, y, weight)` as `fit` takes it,
            x is used, unless it has one array per input of a model with several.
        inputs: The model's inputs.
        limit: Samples used at most. Of arrays, those used are spread evenly over all of them;
            of everything else, they are the first ones.
        verbose: Warnings about few samples or constant data are shown from level 1.

    Returns:
        Samples with values of the dtypes that were given; `cast_sample` makes them the model's.

    Raises:
        CalibrationDataError: No data, or data that does not fit: wrong number or names of inputs,
            rank, shape or dtype, values that are not finite, or arrays of different lengths.
    """
    if data is None:
        raise CalibrationDataError(
            "Quantising a model to int8 takes representative data, and representative_dataset is "
            f"None. Pass a few hundred typical inputs, preprocessed as for training, for example\n"
            f"{snippet(inputs)}"
        )
    samples = tuple(islice(_samples(data, inputs, limit), limit))
    if not samples:
        raise CalibrationDataError(
            "The representative dataset holds no samples. Expected at least one, better 100 to 500."
        )
    if len(samples) < _FEW_SAMPLES:
        report(
            f"warning: the representative dataset holds {len(samples)} "
            f"sample{'s' if len(samples) > 1 else ''}; 100 to 500 typical ones give better scales.",
            verbose=verbose,
        )
    for spec in inputs:
        first = samples[0][spec.name].flat[0]
        if all((sample[spec.name] == first).all() for sample in samples):
            report(
                f"warning: every value of input '{spec.name}' in the representative dataset is "
                f"{first}, so the scales behind it mean little.",
                verbose=verbose,
            )
    return samples


def cast_sample(sample: Sample, inputs: Sequence[ModelInput]) -> Sample:
    """A sample with the dtypes of the model's inputs, in their order."""
    return {spec.name: sample[spec.name].astype(spec.dtype, copy=False) for spec in inputs}


def _samples(data: Any, inputs: Sequence[ModelInput], limit: int) -> Iterator[Sample]:
    """Single samples of any kind of data; more than `limit` need not be made."""
    if is_dataset(data):
        yield from _from_elements(data.as_numpy_iterator(), inputs)
        return
    data = getattr(data, "input_gen", data)  # tf.lite.RepresentativeDataset
    if isinstance(data, Mapping) or _is_array(data) or _is_list_of_arrays(data):
        where = "the representative dataset"
        arrays = fitting_arrays(data, inputs, where, single_allowed=False)
        count = len(next(iter(arrays.values())))
        for index in np.linspace(0, count - 1, min(count, limit)).round().astype(int):
            sample = {name: array[index : index + 1] for name, array in arrays.items()}
            check_values(sample, inputs, int(index))
            yield sample
        return
    yield from _from_elements(_elements(data), inputs)


def _elements(data: Any) -> Iterator[Any]:
    """What a generator function, a generator or another iterable yields."""
    if callable(data) and not isinstance(data, Iterable):
        data = _call(data)
    if isinstance(data, (str, bytes, Mapping)):
        pass
    elif isinstance(data, Sequence) or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        # keras.utils.PyDataset has a length and no end: iterating it would start over.
        return (data[index] for index in range(len(data)))
    elif isinstance(data, Iterable):
        return iter(data)
    raise CalibrationDataError(
        "The representative dataset must be an array, a list or dict of arrays, a function that "
        f"returns an iterator of samples, or a tf.data.Dataset. Received: {type(data).__name__}."
    )


def _call(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except MemoryError:
        raise
    except Exception as error:
        raise CalibrationDataError(
            f"The representative dataset function raised {type(error).__name__}: {error}. "
            "It is called without arguments and must return an iterator of samples."
        ) from error


def _from_elements(elements: Iterator[Any], inputs: Sequence[ModelInput]) -> Iterator[Sample]:
    number = 0
    for position, element in enumerate(_guarded(elements)):
        where = f"element {position} of the representative dataset"
        batches = fitting_arrays(
            _without_labels(element, inputs), inputs, where, single_allowed=True
        )
        for index in range(len(next(iter(batches.values())))):
            # A copy: a generator may fill the same array again for its next element.
            sample = {name: batch[index : index + 1].copy() for name, batch in batches.items()}
            check_values(sample, inputs, number)
            yield sample
            number += 1


def _guarded(elements: Iterator[Any]) -> Iterator[Any]:
    """The same elements, with the exceptions of user code explained."""
    position = 0
    while True:
        try:
            element = next(elements)
        except StopIteration:
            return
        except (MemoryError, CalibrationDataError):
            raise
        except Exception as error:
            raise CalibrationDataError(
                f"The representative dataset raised {type(error).__name__} at element {position}: "
                f"{error}"
            ) from error
        yield element
        position += 1


def _without_labels(element: Any, inputs: Sequence[ModelInput]) -> Any:
    """Of `(x, y)`, `(x, y, weight)` and TFLite's `(signature key, dict)`, the inputs."""
    if not isinstance(element, tuple) or not element:
        return element
    if isinstance(element[0], str) and len(element) == 2:
        return element[1]
    if len(inputs) > 1 and len(element) == len(inputs) and _is_array(element[0]):
        return list(element)
    return element[0]


def is_dataset(data: object) -> bool:
    """Whether it is a `tf.data.Dataset`. Imports nothing."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(data, tensorflow.data.Dataset)


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) or (
        hasattr(value, "__array__") and not isinstance(value, type)
    )


def _is_list_of_arrays(data: object) -> bool:
    return isinstance(data, (list, tuple)) and not any(
        isinstance(item, (Mapping, list, tuple)) and not _is_numbers(item) for item in data
    )


def _is_numbers(item: object) -> bool:
    """Whether a nested list is an array written down by hand."""
    while isinstance(item, (list, tuple)) and item:
        item = item[0]
    return isinstance(item, (int, float))
