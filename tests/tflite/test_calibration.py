"""Representative data of every kind becomes named samples of batch 1, or a clear error."""

import numpy as np
import pytest

from respect_tf._errors import CalibrationDataError
from respect_tf.tflite._calibration import MAX_SAMPLES, calibration_samples, cast_sample
from respect_tf.tflite._model_inputs import ModelInput

IMAGE = ModelInput("image", (1, 4, 5, 3), "float32")
VECTOR = ModelInput("vector", (1, 7), "float32")
IDS = ModelInput("ids", (1, 6), "int32")


def _images(count: int = 12) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 4, 5, 3)).astype(np.float32)


def _vectors(count: int = 12) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 7)).astype(np.float32)


def _samples(data, *inputs, **options):
    return calibration_samples(data, inputs or (IMAGE,), verbose=0, **options)


def _stack(samples, name: str) -> np.ndarray:
    assert all(sample[name].shape[0] == 1 for sample in samples)
    return np.concatenate([sample[name] for sample in samples])


class _Sequence:
    """Like keras.utils.PyDataset: a length, and no IndexError at its end."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return _images()[4 * index : 4 * index + 4], np.zeros(4)


def _kinds_of_one_input():
    import tensorflow as tf

    images, labels = _images(), np.zeros(12)
    dataset = tf.data.Dataset.from_tensor_slices(images)
    return {
        "array": images,
        "list of one": [images],
        "dict": {"image": images},
        "tensor": tf.constant(images),
        "function of arrays": lambda: (image for image in images),
        "function of batches": lambda: iter([images[:5], images[5:]]),
        "function of lists": lambda: ([image[None]] for image in images),
        "function of dicts": lambda: ({"image": image} for image in images),
        "function of TFLite's signature pairs": lambda: (
            ("serving_default", {"image": image[None]}) for image in images
        ),
        "generator": (image for image in images),
        "function that returns a list": lambda: list(images),
        "list of dicts": [{"image": image} for image in images],
        "RepresentativeDataset": tf.lite.RepresentativeDataset(lambda: ([x] for x in images)),
        "sequence of batches with labels": _Sequence(),
        "dataset": dataset,
        "batched dataset": dataset.batch(5),
        "dataset with labels": tf.data.Dataset.from_tensor_slices((images, labels)).batch(5),
        "dataset of dicts": tf.data.Dataset.from_tensor_slices({"image": images}),
        "dataset of dicts with labels": tf.data.Dataset.from_tensor_slices(
            ({"image": images}, labels)
        ),
    }


def test_every_kind_gives_the_same_samples_of_one_input():
    for kind, data in _kinds_of_one_input().items():
        np.testing.assert_array_equal(_stack(_samples(data), "image"), _images(), err_msg=kind)


def test_every_kind_gives_the_same_samples_of_two_inputs():
    import tensorflow as tf

    images, vectors = _images(), _vectors()
    both = {"vector": vectors, "image": images}
    from_tensors = tf.data.Dataset.from_tensor_slices
    for data in (
        [images, vectors],
        (images, vectors),
        both,
        lambda: zip(images, vectors, strict=True),
        lambda: ([i[None], v[None]] for i, v in zip(images, vectors, strict=True)),
        lambda: ({"vector": v, "image": i} for i, v in zip(images, vectors, strict=True)),
        from_tensors(both).batch(4),
        from_tensors((images, vectors)).batch(4),
        from_tensors(((images, vectors), np.zeros(12))),
        from_tensors((both, np.zeros(12))).batch(5),
    ):
        samples = _samples(data, IMAGE, VECTOR)
        np.testing.assert_array_equal(_stack(samples, "image"), images)
        np.testing.assert_array_equal(_stack(samples, "vector"), vectors)


def test_a_cast_sample_has_the_models_dtypes_and_order():
    sample = _samples(
        {"vector": _vectors().astype(np.float64), "image": _images().astype(np.uint8)},
        IMAGE,
        VECTOR,
    )[0]
    cast = cast_sample(sample, (IMAGE, VECTOR))
    assert list(cast) == ["image", "vector"]
    assert {array.dtype for array in cast.values()} == {np.dtype(np.float32)}


def test_a_buffer_that_a_generator_fills_again_is_copied():
    def samples():
        buffer = np.zeros((1, 7), np.float32)
        for number in range(12):
            buffer[:] = number
            yield buffer

    assert _stack(_samples(samples, VECTOR), "vector")[:, 0].tolist() == list(range(12))


def test_arrays_are_sampled_evenly_and_generators_are_not_exhausted():
    many = np.arange(10 * MAX_SAMPLES, dtype=np.float32)[:, None] * np.ones((1, 7), np.float32)
    taken = _stack(_samples(many, VECTOR), "vector")[:, 0]
    assert len(taken) == MAX_SAMPLES
    assert (taken[0], taken[-1]) == (0, 10 * MAX_SAMPLES - 1)
    assert np.diff(taken).min() >= 9

    def endless():
        while True:
            yield np.ones(7, np.float32)

    assert len(_samples(endless, VECTOR)) == MAX_SAMPLES
    assert len(_samples(endless, VECTOR, limit=3)) == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"representative_dataset=x_train.*\(n, 4, 5, 3\)"),
        (_images(0), "no samples"),
        (lambda: iter(()), "no samples"),
        ("photos/", "str"),
        (lambda: "photos/", "str"),
        (3, "int"),
        (lambda: {"image": _images()}, "dict"),
        (lambda one_too_many: iter(()), "without arguments"),
        (_images()[..., :2], r"'image'.*\(12, 4, 5, 2\).*Expected \(n, 4, 5, 3\)"),
        (_images().transpose(0, 3, 1, 2), "another order"),
        (_images()[0], "add a batch dimension"),
        (_images()[None], r"\(1, 12, 4, 5, 3\)"),
        ([_images(), _images()], r"Received 2 arrays.*expected 1.*np\.stack"),
        (list(_images()), r"Received 12 arrays.*np\.stack"),
        ([], "Received 0 arrays"),
        ({"picture": _images()}, "lacks 'image' and has the unknown 'picture'"),
        ({"image": _images(), "extra": _images()}, "has the unknown 'extra'"),
        (_images().astype(str), "dtype <U"),
        (_images() > 0, "dtype bool"),
        (_images().astype(complex), "dtype complex"),
        (np.full((12, 4, 5, 3), None), "dtype object"),
        (np.where(_images() > 2, np.nan, _images()), r"input 'image', holds \d+ values.*NaN"),
        (_images().astype(np.float64) * 1e300, "too large for float32"),
        (lambda: ([image] for image in _images()[:, :3]), r"element 0.*\(3, 5, 3\)"),
        (lambda: (np.full((4, 5, 3), x) for x in (1.0, np.inf)), "sample 1 of"),
        ([[[1.0, 2.0], [3.0]]], "no array"),
    ],
)
def test_data_that_does_not_fit_is_refused(data, message):
    with pytest.raises(CalibrationDataError, match=f"(?s){message}"):
        _samples(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r'"image": .*"vector": '),
        (_images(), r"Received 1 array .*expected 2.*'image' \(n, 4, 5, 3\), 'vector' \(n, 7\)"),
        ({"image": _images()}, "lacks 'vector'"),
        ([_vectors(), _images()], "'image'"),
        ([_images(12), _vectors(11)], "'image' 12, 'vector' 11"),
        (lambda: iter([[_images(3), _vectors(2)]]), "element 0.*'image' 3, 'vector' 2"),
    ],
)
def test_data_for_two_inputs_that_does_not_fit_is_refused(data, message):
    with pytest.raises(CalibrationDataError, match=f"(?s){message}"):
        _samples(data, IMAGE, VECTOR)


def test_integer_inputs_take_integers_in_range_only():
    ids = np.arange(72).reshape(12, 6)
    assert cast_sample(_samples(ids, IDS)[0], (IDS,))["ids"].dtype == np.int32
    with pytest.raises(CalibrationDataError, match="dtype float64"):
        _samples(ids / 2, IDS)
    with pytest.raises(CalibrationDataError, match="the range of int32"):
        _samples(ids + 2**40, IDS)


def test_an_error_inside_a_generator_is_explained_and_ctrl_c_passes():
    def broken(error):
        yield np.ones(7)
        raise error

    with pytest.raises(CalibrationDataError, match="KeyError at element 1: 'path'") as caught:
        _samples(lambda: broken(KeyError("path")), VECTOR)
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(KeyboardInterrupt):
        _samples(lambda: broken(KeyboardInterrupt()), VECTOR)
    with pytest.raises(MemoryError):
        _samples(lambda: broken(MemoryError()), VECTOR)


def test_few_or_constant_samples_are_pointed_out(capsys):
    calibration_samples(_images(3), (IMAGE,))
    assert "3 samples" in capsys.readouterr().err
    calibration_samples(np.full((12, 7), 0.5), (VECTOR,))
    assert "every value of input 'vector'" in capsys.readouterr().err
    calibration_samples(_images(), (IMAGE,))
    calibration_samples(_images(3), (IMAGE,), verbose=0)
    assert capsys.readouterr().err == ""
