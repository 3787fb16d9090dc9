"""Models of the benchmarks, converted once and kept by content."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# The models of the RESPECT paper (arXiv 2304.04716), section 4.
TEN_MODELS = (
    "Xception",
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNet101V2",
    "ResNet152V2",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "InceptionResNetV2",
)

CACHE = Path(__file__).parents[1] / ".cache" / "models"
_NUM_SAMPLES = 3


def int8_model(name: str) -> bytes:
    """The int8 .tflite model of a Keras application.

    Models are built and converted in a process of their own each, which gives TensorFlow's memory
    back at its end.
    """
    command = [sys.executable, "-m", "benchmarks._models", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.strip()).read_bytes()


def plain_conversion(model: Any, samples: Any) -> bytes:
    """What users write without us."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    content: bytes = converter.convert()
    return content


def converted(name: str, model: Any, samples: Any, *, strict: bool = True) -> Path:
    """The int8 file of a Keras model in the cache, made if it is not there.

    It is kept under a hash of the model's configuration and weights, the calibration samples and
    the versions that convert them. After a change to how models are converted, empty the cache.
    """
    from respect_tf.tflite import to_int8

    path = CACHE / f"{name}-{_content_hash(model, samples)}.tflite"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        content = to_int8(model, samples, strict=strict, verbose=0).content
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        partial.rename(path)
    return path


def application(name: str) -> tuple[Any, Any]:
    """A Keras application, or a model with ops on the CPU, and samples to calibrate it with."""
    from benchmarks._cpu_op_models import CPU_OP_MODELS, built
    from examples.applications import build_application

    if name in CPU_OP_MODELS:
        return built(name)

    model = build_application(name)
    return model, application_samples(name, model)


def application_samples(name: str, model: Any) -> Any:
    """Samples to calibrate a Keras application with."""
    from examples.applications import calibration_samples

    return calibration_samples(name, _NUM_SAMPLES, input_shape=model.input_shape[1:])


def _content_hash(model: Any, samples: Any) -> str:
    import tensorflow as tf

    import respect_tf

    digest = hashlib.sha256()
    digest.update(_configuration(model))
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    for array in samples.values() if isinstance(samples, dict) else [samples]:
        digest.update(array.tobytes())
    digest.update(f"{tf.__version__} {respect_tf.__version__}".encode())
    return digest.hexdigest()[:16]


def _configuration(model: Any) -> bytes:
    """Of a model of Keras's layers; a subclassed one is known by its class."""
    try:
        return json.dumps(model.get_config(), sort_keys=True, default=str).encode()
    except NotImplementedError:
        return repr(type(model)).encode()


if __name__ == "__main__":
    print(converted(sys.argv[1], *application(sys.argv[1]), strict=False))
