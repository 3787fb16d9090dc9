"""What is put in order once the rules are done."""

from __future__ import annotations

from respect_tf.tflite.rewrites._float_graph import FloatGraph


def _square_first(graph: FloatGraph) -> None:
    """Square before a reshape: TFLite's quantiser fails at MUL(x, x) of a reshaped x."""
    for op in graph.ops:
        read = graph.read(op)
        if graph.kind(op) != "MUL" or len(set(read)) != 1:
            continue
        before = graph.maker(read[0])
        if before is None or graph.kind(before) != "RESHAPE" or not graph.only_reader(read[0]):
            continue
        x = graph.read(before)[0]
        square = graph.add(op, "MUL", [x, x], graph.shape(x))
        graph.result(op, graph.reshape(op, square, graph.shape(graph.made(op))))


def tidy(graph: FloatGraph) -> None:
    """Join reshapes that follow each other, and take out those that change nothing."""
    _square_first(graph)
    for op in graph.ops:
        if graph.kind(op) != "RESHAPE":
            continue
        x, made = graph.read(op)[0], graph.made(op)
        before = graph.maker(x)
        while before is not None and graph.kind(before) == "RESHAPE":
            x = graph.read(before)[0]
            graph.set_input(op, 0, x)
            before = graph.maker(x)
        if graph.shape(x) == graph.shape(made):
            if made not in graph.outputs:
                graph.use_instead(made, x)
            elif before is not None and graph.only_reader(x) is op:
                graph.result(op, x)
