"""Advice is in the words of the command line, or of a script that sets up a converter."""

import pytest

from respect_tf._words import command_words, converter_words


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("or pass overwrite=True (--overwrite) to", "or pass --overwrite to"),
        ('see what it brings: rewrite="all"', "see what it brings: --rewrite all"),
        ('device="usb3-pi5" (respect-tf devices)', "--device usb3-pi5 (respect-tf devices)"),
        ("input_shape=(224, 224, 3) or", "--input-shape 224,224,3 or"),
        ("input_shape=(224,) or", "--input-shape 224 or"),
        ("longer: time_limit=60", "longer: --time-limit 60"),
        ("pass\nstrict=False.", "pass\n--no-strict."),
        ('ask for num_segments=3, or "auto".', 'ask for --num-segments 3, or "auto".'),
        ("inference_output_type='int8'.", "--output-type int8."),
        (
            "and representative_dataset is None, for example\n"
            "    representative_dataset=x_train[:200]  # (n, 3)",
            "and --representative-data is None, for example\n"
            "    --representative-data samples.npy  # (n, 3)",
        ),
        (
            "for example\n    representative_dataset={\n"
            '        "left": ...,  # (n, 3) float32\n'
            '        "right": ...,  # (n, 4) int32\n    }',
            "for example\n    --representative-data samples.npz  "
            "# with the arrays left (n, 3) float32, right (n, 4) int32",
        ),
        ("Convert with strict=True, which", "Convert without --no-strict, which"),
        ("the layer 'device' of pose_device=3", "the layer 'device' of pose_device=3"),
        ("Segment 2: op 3 CONV_2D", "Segment 2: op 3 CONV_2D"),
    ],
)
def test_advice_names_options_of_the_command_line(said, expected):
    assert command_words(said) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "convert with inference_output_type='int8'.",
            "convert with converter.inference_output_type = tf.int8.",
        ),
        ("Pass num_segments=3.", "Pass respect_tf.intercept(num_segments=3)."),
        ('uses it: rewrite="all"', 'uses it: respect_tf.intercept(rewrite="all")'),
        ("pass strict=False.", "pass respect_tf.intercept(strict=False)."),
        ("the representative_dataset holds", "the converter.representative_dataset holds"),
        ("converter.representative_dataset has", "converter.representative_dataset has"),
    ],
)
def test_advice_names_what_a_script_has_written(said, expected):
    assert converter_words(said) == expected
