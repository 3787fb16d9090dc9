"""The search for a fast architecture trains what is fast enough, and deploys the best."""

import pytest

from examples import search_fast

pytest.importorskip("keras_tuner")


@pytest.mark.filterwarnings("ignore")
def test_what_is_too_slow_is_not_trained_and_the_best_is_fast_enough(capsys):
    found = search_fast.main(["--images", "160", "--epochs", "1"])
    refused = {tuple(values.values()) for values in found.refused}
    assert refused == {(8, 1, 4096), (16, 1, 4096), (16, 2, 4096)}
    assert len(found.trained) == 5
    assert [score for _, score in found.trained] == sorted(
        (score for _, score in found.trained), reverse=True
    )
    assert found.pipeline.prediction.frames_per_second >= search_fast.FRAMES_PER_SECOND
    printed = capsys.readouterr().out
    assert "width 16, depth 1, hidden 4096: too slow, not trained" in printed
    assert "frames/s predicted (wanted 60)" in printed
