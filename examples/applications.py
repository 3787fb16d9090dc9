"""Keras applications without a download: deterministic weights that behave like trained ones.

A model with freshly initialised weights is useless for trying a pipeline: its batch normalisation
does not fit its activations, and its softmax is constant, so that even a wrongly cut model gives
the right answer. Here the statistics are taken from a forward pass over synthetic images, and the
logits are centred and scaled, so that inner tensors and outputs vary with the input. Spatial
kernels are made smooth, as those of trained models mostly are: random ones cancel the images and
amplify the noise of quantisation, layer after layer.

    model = build_application("ResNet50")
    images = calibration_samples("ResNet50", 32)
    result = respect_tf.convert(model, 4, images)
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

_PASS_IMAGES = 12
_DIRECTIONS = 3  # of the feature space, that the classes depend on
_LOGIT_SPREAD = 2.0  # standard deviation over images
_LIKELY_CLASSES = 16  # among which there are clear winners, above the steps of an int8 softmax
_UNLIKELY = -10.0  # logit of the others
_DEFAULT_SHAPE = (224, 224, 3)
_KERNEL_NOISE = 0.3  # relative to a smooth kernel
# Shift before activations, and what residual branches are scaled by, so that depth does not amplify
# noise: without them, int8 is 88 % off for ResNet50 and 25 % for EfficientNetB0, with them
# as `tests/examples/test_applications.py` allows.
_SHIFT, _BRANCH_GAIN = 0.4, 0.3
_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)

Images = npt.NDArray[np.float32]


def build_application(
    name: str, *, input_shape: tuple[int, int, int] | None = None, seed: int = 0
) -> keras.Model:
    """Build a model of `keras.applications`, offline, the same for the same seed.

    Keras numbers automatic layer names from 0 again here, so that names are the same too.

    Args:
        name: A class of `keras.applications`, for example `"ResNet50"`.
        input_shape: Height, width and channels; the application's own where left out.
        seed: For weights and images.

    Returns:
        A model with ImageNet's 1000 classes, ready for inference.

    Raises:
        ValueError: `keras.applications` has no such model.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model: keras.Model = _builder(name)(weights=None, input_shape=input_shape)
    if None in model.input_shape[1:]:  # the application leaves its size open
        model = _builder(name)(weights=None, input_shape=_DEFAULT_SHAPE)
    images = calibration_samples(name, _PASS_IMAGES, input_shape=model.input_shape[1:], seed=seed)
    _smooth_kernels(model, seed)
    _calm_branches(model)
    _fit_batch_statistics(model, images)
    _spread_logits(model, images, seed)
    return model


def calibration_samples(
    name: str, count: int, *, input_shape: tuple[int, ...] = _DEFAULT_SHAPE, seed: int = 0
) -> Images:
    """Synthetic images, preprocessed as the application wants them, [count, height, width, 3]."""
    builder = _builder(name)
    module = sys.modules[inspect.unwrap(builder).__module__]
    images = module.preprocess_input(synthetic_images(count, input_shape, seed))
    return np.asarray(images, np.float32)


def synthetic_images(count: int, shape: tuple[int, ...] = _DEFAULT_SHAPE, seed: int = 0) -> Images:
    """Smooth random images with values from 0 to 255, [count, *shape].

    Noise on a coarse and on a finer grid, drawn larger with linear interpolation: neighbouring
    pixels are alike, as in photographs, while images differ in brightness, colour and structure.
    """
    rng = np.random.default_rng(seed)
    height, width, channels = shape
    colour = rng.random((count, 1, 1, channels))
    contrast = rng.uniform(0.6, 1.0, (count, 1, 1, 1))
    images = np.repeat(np.repeat(colour, height, axis=1), width, axis=2)
    for cells, weight in ((3, 1.0), (12, 0.5)):
        grid = rng.uniform(-weight, weight, (count, cells, cells, channels))
        rows, columns = _interpolation(height, cells), _interpolation(width, cells)
        images += contrast * np.einsum("hi,nijc,wj->nhwc", rows, grid, columns, optimize=True)
    return np.asarray(255 * np.clip(images, 0, 1), np.float32)


def _builder(name: str) -> Callable[..., Any]:
    builder = getattr(keras.applications, name, None)
    if not inspect.isfunction(builder):
        known = [
            key for key, value in vars(keras.applications).items() if inspect.isfunction(value)
        ]
        raise ValueError(f"keras.applications has no model '{name}'. It has: {', '.join(known)}.")
    return builder


def _interpolation(size: int, cells: int) -> npt.NDArray[np.float64]:
    """The matrix [size, cells] that draws `cells` values as `size`, linearly in between."""
    positions = np.linspace(0, cells - 1, size)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(cells)[None]))


def _smooth_kernels(model: keras.Model, seed: int) -> None:
    """Make spatial kernels bumps of either sign, with some noise, of the same norm as before."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if not isinstance(layer, _CONVOLUTIONS) or kernel is None:
            continue
        before = np.asarray(kernel)
        if before.shape[0] * before.shape[1] == 1:
            continue
        rows, columns = (np.hanning(size + 2)[1:-1] for size in before.shape[:2])
        bump = np.outer(rows, columns)[:, :, None, None]
        signs = before.sum(axis=(0, 1), keepdims=True)
        after = bump * signs * (1 + _KERNEL_NOISE * rng.normal(size=before.shape))
        scale = np.linalg.norm(before) / np.linalg.norm(after)
        kernel.assign((after * scale).astype(np.float32))


def _calm_branches(model: keras.Model) -> None:
    """Shift what is activated, and make residual branches smaller than what they are added to."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and layer.beta is not None:
            layer.beta.assign(np.full(layer.beta.shape, _SHIFT, np.float32))
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Add):
            continue
        makers = [_maker(tensor) for tensor in layer.input]
        branches = [
            x for x in makers if isinstance(x, (keras.layers.BatchNormalization, *_CONVOLUTIONS))
        ]
        if len(branches) == 1:
            (branch,) = branches
            gain = getattr(branch, "gamma", None)
            weight = gain if gain is not None else getattr(branch, "kernel", None)
            if weight is not None:
                weight.assign(np.asarray(weight) * _BRANCH_GAIN)


def _maker(tensor: Any) -> Any:
    """The layer that makes a tensor, but for dropout, which does nothing here."""
    layer = tensor._keras_history.operation
    while isinstance(layer, keras.layers.Dropout):
        layer = layer.input._keras_history.operation
    return layer


def _fit_batch_statistics(model: keras.Model, images: Images) -> None:
    """Set the moving mean and variance of every batch normalisation to those of `images`."""
    layers = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    # What drops values in training would spoil the statistics.
    dropping = [x for x in model.layers if isinstance(getattr(x, "rate", None), float)]
    settings = [(layer, "momentum", layer.momentum) for layer in layers]
    settings += [(layer, "rate", layer.rate) for layer in dropping]
    for layer, name, _ in settings:
        setattr(layer, name, 0.0)
    try:
        model(images, training=True)
    finally:
        for layer, name, value in settings:
            setattr(layer, name, value)


def _spread_logits(model: keras.Model, images: Images, seed: int) -> None:
    """Give the classifier weights under which different images get different classes.

    Classes look only at the few directions in which the features of `images` differ most. With
    weights in all directions, the noise of quantisation would outweigh what tells images apart.
    """
    classifier = next(x for x in reversed(model.layers) if getattr(x, "kernel", None) is not None)
    features = keras.Model(model.inputs[0], classifier.input)(images, training=False)
    flat = np.asarray(features, np.float64).reshape(len(images), -1)
    _, strength, directions = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    mixture = np.random.default_rng(seed).normal(size=(_DIRECTIONS, classifier.kernel.shape[-1]))
    mixture /= np.sqrt(strength[:_DIRECTIONS, None])
    kernel = directions[:_DIRECTIONS].T @ mixture
    logits = flat @ kernel
    factor = _LOGIT_SPREAD / logits.std(axis=0).mean()
    shape, classes = classifier.kernel.shape, classifier.kernel.shape[-1]
    biases = -logits.mean(axis=0) * factor
    likely = np.random.default_rng(seed).permutation(classes)[:_LIKELY_CLASSES]
    biases[np.setdiff1d(np.arange(classes), likely)] += _UNLIKELY
    classifier.set_weights([(kernel * factor).reshape(shape), biases])
