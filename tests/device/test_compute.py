"""What ops take on the chip, and the fit of prices to public times."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import models

from benchmarks._device_networks import impossible
from benchmarks._graph_builder import GraphBuilder
from benchmarks._mobilenets import mobilenet_v1, mobilenet_v2
from benchmarks._network_fit import Design, host_ranges, known_constants
from benchmarks._network_runs import network_runs, probe_runs
from benchmarks.networks import NETWORKS, network
from respect_tf.device import op_parameters
from respect_tf.device._compute import PRICES, array_ms, chip_ms, op_work, padded_macs
from respect_tf.graph import OpGraph

_NAMES = [price.name.removeprefix("ms_per_") for price in PRICES]
_MIB = 2**20


def _last_work(build, image=(32, 32, 24)):
    """Work of the last op, without kinds of which there is none."""
    net = GraphBuilder(image)
    build(net)
    work = op_work(net.graph())[-1]
    return {name: amount for name, amount in zip(_NAMES, work, strict=True) if amount}


def test_every_price_is_positive_within_its_range_and_says_where_it_comes_from():
    assert len(set(_NAMES)) == len(PRICES)
    for price in PRICES:
        assert 0 < price.low <= price.value <= price.high
        assert price.unit.startswith("ms per ")
        assert price.source


def test_convolutions_are_priced_by_padded_products_and_by_what_they_make():
    made = 32 * 32 * 40
    assert _last_work(lambda net: net.conv(net.image, 40)) == pytest.approx(
        {"pointwise_gmac": 32 * 32 * 48 * 24 / 1e9, "map_mib": made / _MIB}
    )
    assert _last_work(lambda net: net.conv(net.image, 40, (1, 5))) == pytest.approx(
        {"spatial_gmac": 32 * 32 * 5 * 48 * 24 / 1e9, "map_mib": made / _MIB}
    )
    assert _last_work(lambda net: net.conv(net.image, 65, 3, 2)) == pytest.approx(
        {"spatial_gmac": 16 * 16 * 9 * 128 * 24 / 1e9, "map_mib": 16 * 16 * 65 / _MIB}
    )
    assert _last_work(lambda net: net.transpose_conv(net.image, 3)) == pytest.approx(
        {"spatial_gmac": 32 * 32 * 9 * 16 * 24 / 1e9, "map_mib": 64 * 64 * 3 / _MIB}
    )


def test_a_larger_kernel_costs_its_products_and_nothing_else():
    three, seven = (_last_work(lambda net, k=k: net.conv(net.image, 32, k)) for k in (3, 7))
    assert seven["spatial_gmac"] == pytest.approx(three["spatial_gmac"] * 49 / 9)
    assert seven["map_mib"] == three["map_mib"]


def test_depthwise_and_dense_layers_have_kinds_of_their_own():
    assert _last_work(lambda net: net.depthwise(net.image, 5)) == pytest.approx(
        {"depthwise_gmac": 32 * 32 * 25 * 24 / 1e9}
    )
    assert _last_work(lambda net: net.dense(net.image, 100), (2, 2, 50)) == pytest.approx(
        {"pointwise_gmac": 128 * 200 / 1e9, "vector_mib": 300 / _MIB}
    )


def test_other_ops_are_priced_by_the_larger_of_what_they_read_and_make():
    size = 32 * 32 * 24 / _MIB
    for build, expected in [
        (lambda net: net.add(net.image, net.plain("RELU", net.image)), 2 * size),
        (lambda net: net.add(net.image, net.image), size),  # one tensor, read once
        (lambda net: net.scale(net.image), size),  # constants are no activations
        (lambda net: net.max_pool(net.image, 2, 2), size),
        (lambda net: net.plain("RESIZE_BILINEAR", net.image, (1, 64, 64, 24)), 4 * size),
        (lambda net: net.concatenate([net.image, net.plain("RELU", net.image)]), 2 * size),
    ]:
        assert _last_work(build) == pytest.approx({"map_mib": expected})


def test_a_depthwise_layer_of_several_channels_for_each_counts_as_a_plain_convolution():
    net = GraphBuilder((8, 8, 1))
    net.conv(net.image, 6, 3)
    plain = net.graph()
    weights = int(plain.inputs_of(0)[1])
    shapes = list(plain.tensor_shapes)
    shapes[weights] = (1, 3, 3, 6)
    several = dataclasses.replace(
        plain, op_types=("DEPTHWISE_CONV_2D",), tensor_shapes=tuple(shapes)
    )
    assert op_work(several).tolist() == op_work(plain).tolist()


def test_graphs_without_shapes_count_their_macs_at_one_price():
    graph = OpGraph.from_arrays([10, 0], [2 * _MIB, 0], [[0, 1]], macs=[10**9, 5 * 10**8])
    times = chip_ms(graph)
    assert times[1] == pytest.approx(array_ms(5e8))
    assert times[0] == pytest.approx(array_ms(1e9) + 2 * PRICES[_NAMES.index("map_mib")].value)
    assert padded_macs(graph, 0) == 10**9


@settings(max_examples=30)
@given(st.data())
def test_work_of_random_models_is_finite_and_never_negative(data):
    graph = OpGraph.from_tflite(data.draw(models()))
    work = op_work(graph)
    assert work.shape == (graph.num_ops, len(PRICES))
    assert np.isfinite(work).all()
    assert (work >= 0).all()
    assert (work.sum(axis=1) > 0).all()
    assert chip_ms(graph) == pytest.approx(work @ [price.value for price in PRICES])


def test_built_networks_are_those_that_google_converted(data_folder):
    compiled = data_folder / "compiled"
    for built, path in [
        (mobilenet_v2(224, 965),
         compiled / "Segments-Runner" / "mobilenet_v2_1.0_224_inat_bird_quant.tflite"),
        (mobilenet_v1(192, 0.75), compiled / "test_data" / "mobilenet_v1_0.75_192_quant.tflite"),
    ]:  # fmt: skip
        real = OpGraph.from_tflite(path)
        assert built.op_types == real.op_types
        assert op_work(built) == pytest.approx(op_work(real))
        assert op_parameters(built).stored.tolist() == op_parameters(real).stored.tolist()


@pytest.mark.parametrize(
    ("name", "megabytes", "gmacs"),
    [
        # Parameters and multiply-accumulates as the papers and keras.applications have them.
        ("VGG16", 138.4, 15.5),
        ("DenseNet121", 8.0, 2.83),
        ("Inception v1", 6.6, 1.5),
        ("Inception v4", 42.7, 12.3),
        ("Inception-ResNet v2", 55.9, 13.2),
        ("SqueezeNet", 1.24, 0.35),
        ("EfficientNet-EdgeTpu S", 5.4, 1.9),
        ("ResNet-152 v2", 60.4, 20.2),
    ],
)
def test_built_networks_have_the_parameters_of_the_papers(name, megabytes, gmacs):
    graph = network(name)
    assert graph.parameter_bytes.sum() / 1e6 == pytest.approx(megabytes, rel=0.02)
    convolutions = [padded_macs(graph, op) > 0 for op in range(graph.num_ops)]
    assert graph.macs[convolutions].sum() / 1e9 == pytest.approx(gmacs, rel=0.03)


def test_every_network_is_one_graph_that_maps_as_a_whole():
    for name in NETWORKS:
        graph = network(name)
        read = set(graph.input_tensors.tolist()) | set(graph.model_outputs.tolist())
        assert set(graph.output_tensors.tolist()) <= read, name


def test_published_networks_are_predicted_with_the_shipped_prices(data_folder):
    assert data_folder.is_dir()
    runs = [run for run in network_runs() if impossible(run) is None]
    misses = np.abs(Design(runs).predict(known_constants()) / [run.ms for run in runs] - 1)
    for host, most in (("usb3-pc", 0.12), ("pcie-devboard", 0.12), ("usb3-pi4", 0.12)):
        of_host = [run.host == host for run in runs]
        assert sum(of_host) >= 5
        assert misses[of_host].mean() <= most, host


def test_only_one_published_network_is_impossible(data_folder):
    assert data_folder.is_dir()
    reasons = {run.name: impossible(run) for run in network_runs()}
    found = {name: reason for name, reason in reasons.items() if reason is not None}
    assert list(found) == ["Inception-ResNet v2"]
    assert "MiB of parameters that do not fit take" in found["Inception-ResNet v2"]


def test_a_fit_keeps_to_the_ranges_and_leaves_hosts_without_runs_as_they_are_known(data_folder):
    assert data_folder.is_dir()
    runs = probe_runs()
    design = Design(runs)
    chosen = [index for index, run in enumerate(runs) if run.host == "usb3-jetson"]
    before, after = known_constants(), design.fit(chosen, prices=False)
    for (_, low, high), value in zip(
        host_ranges()["usb3-jetson"], after.hosts["usb3-jetson"], strict=True
    ):
        assert low <= value <= high
    assert after.hosts["usb2-jetson"] == before.hosts["usb2-jetson"]
    assert after.prices.tolist() == before.prices.tolist()

    def error(constants):
        return np.abs(design.predict(constants) / design.ms - 1)[chosen].mean()

    assert error(after) < error(before)
