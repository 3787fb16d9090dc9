/* The layers of the policy's network before its heads: the twin of `run_trunk`, with the same results
   to the last bit. All sums are exact, so that neither their order nor a fused multiplication
   matters; processors with wider registers use them. */
#include "plain.h"

#define INLINE static inline __attribute__((always_inline))
#define FOR_ROWS _Pragma("GCC unroll 8") for (int row = 0; row < count; row++)

/* Ops that share what is read of a kernel, and columns of it that share a register. */
enum { TOGETHER = 8, LANES = 4 };
typedef double Lanes __attribute__((vector_size(LANES * sizeof(double)), aligned(8), may_alias));

static const double TO_GRID = 1.5 * 68719476736.0, MOST_STATE = 256; /* see `_forward.py` */

INLINE double on_grid(double value) { return value + TO_GRID - TO_GRID; }

INLINE double rectified(double value) {
  value = on_grid(value);
  value = value > 0 ? value : 0;
  return value < MOST_STATE ? value : MOST_STATE;
}

typedef struct {
  const double *kernel, *bias;
} Layer;

/* The next layer of those that follow each other in the vector of weights. */
INLINE Layer next_layer(const double **weights, i64 inputs, i64 outputs) {
  Layer layer = {*weights, *weights + inputs * outputs};
  *weights += (inputs + 1) * outputs;
  return layer;
}

/* out[row, :] = bias + in[row, :] * kernel, for `count` rows; no bias is 0. */
INLINE void multiply(int count, const double *in, i64 inputs, i64 in_stride, const double *kernel,
                     const double *bias, i64 outputs, double *out, i64 out_stride) {
  i64 column = 0;
  for (; column + LANES <= outputs; column += LANES) {
    Lanes sums[TOGETHER], start = {0};
    if (bias) start = *(const Lanes *)(bias + column);
    FOR_ROWS sums[row] = start;
    for (i64 i = 0; i < inputs; i++) {
      Lanes weights = *(const Lanes *)(kernel + i * outputs + column);
      FOR_ROWS sums[row] += in[row * in_stride + i] * weights;
    }
    FOR_ROWS *(Lanes *)(out + row * out_stride + column) = sums[row];
  }
  for (; column < outputs; column++)
    FOR_ROWS {
      double sum = bias ? bias[column] : 0;
      for (i64 i = 0; i < inputs; i++) sum += in[row * in_stride + i] * kernel[i * outputs + column];
      out[row * out_stride + column] = sum;
    }
}

/* Mean and maximum of the messages to an op: what their senders add, `sent`, and what is added to all,
   `received`. */
INLINE void pool(const i64 *offsets, const i64 *sources, i64 op, i64 units, const double *sent,
                 i64 stride, const double *received, const double *bias, double *mean,
                 double *largest) {
  i64 count = offsets[op + 1] - offsets[op];
  for (i64 unit = 0; unit < units; unit++) mean[unit] = largest[unit] = 0;
  for (i64 row = offsets[op]; row < offsets[op + 1]; row++) {
    const double *from = sent + sources[row] * stride;
    for (i64 unit = 0; unit < units; unit++) {
      double message = from[unit] + (received[unit] + bias[unit]);
      message = message > 0 ? message : 0;
      mean[unit] += message;
      largest[unit] = message > largest[unit] ? message : largest[unit];
    }
  }
  for (i64 unit = 0; unit < units; unit++) {
    mean[unit] = on_grid(count ? mean[unit] / (double)count : 0);
    mean[unit] = mean[unit] < MOST_STATE ? mean[unit] : MOST_STATE;
    largest[unit] = largest[unit] < MOST_STATE ? largest[unit] : MOST_STATE;
  }
}

/* What a round reads: rows of edges both ways, halves of messages [n, 4 * units], layers. */
typedef struct {
  const i64 *offsets[2], *sources[2];
  const double *halves;
  Layer ways[2], inner, outer;
  i64 units;
} Round;

/* New states of `count` ops. scratch: [TOGETHER, 7 * units]. */
INLINE void renew(int count, const Round *r, i64 op, const double *from_graph, double *scratch,
                  double *states) {
  i64 units = r->units, width = 5 * units;
  double *inner = scratch + TOGETHER * width, *block = inner + TOGETHER * units;
  for (int row = 0; row < count; row++) {
    double *pooled = scratch + row * width;
    memcpy(pooled, states + (op + row) * units, units * sizeof(double));
    for (int way = 0; way < 2; way++) {
      const double *sent = r->halves + 2 * way * units;
      double *mean = pooled + (1 + 2 * way) * units;
      pool(r->offsets[way], r->sources[way], op + row, units, sent, 4 * units,
           sent + (op + row) * 4 * units + units, r->ways[way].bias, mean, mean + units);
    }
  }
  multiply(count, scratch, width, width, r->inner.kernel, from_graph, units, inner, units);
  for (i64 i = 0; i < count * units; i++) inner[i] = rectified(inner[i]);
  multiply(count, inner, units, units, r->outer.kernel, r->outer.bias, units, block, units);
  for (i64 i = 0; i < count * units; i++)
    states[op * units + i] = rectified(block[i] + states[op * units + i]);
}

/* What ops add to messages that they send and receive, on the grid. */
INLINE void halve(int count, const Round *r, i64 op, const double *states, double *halves) {
  i64 units = r->units;
  double *own = halves + op * 4 * units;
  for (int half = 0; half < 4; half++)
    multiply(count, states + op * units, units, units,
             r->ways[half / 2].kernel + half % 2 * units * units, NULL, units, own + half * units,
             4 * units);
  for (i64 i = 0; i < count * 4 * units; i++) own[i] = on_grid(own[i]);
}

INLINE void encode(int count, i64 op, const float *ops, i64 inputs, Layer layer, i64 units,
                   double *scratch, double *states) {
  for (i64 i = 0; i < count * inputs; i++) scratch[i] = on_grid(ops[op * inputs + i]);
  multiply(count, scratch, inputs, inputs, layer.kernel, layer.bias, units, states + op * units,
           units);
  for (i64 i = 0; i < count * units; i++)
    states[op * units + i] = rectified(states[op * units + i]);
}

/* Ops by `TOGETHER`, and the rest one by one. */
#define FOR_OPS(n, call_together, call_one)      \
  do {                                           \
    i64 op = 0;                                  \
    for (; op + TOGETHER <= (n); op += TOGETHER) \
      call_together;                             \
    for (; op < (n); op++) call_one;             \
  } while (0)

INLINE i64 run(const Array *a, const double *scalars) {
  const float *ops = a[4].data, *graph = a[5].data;
  const double *weights = a[6].data;
  double *states = a[7].data;
  i64 n = a[4].rows, inputs = a[4].columns, graph_inputs = a[5].rows, units = a[7].columns;
  i64 rounds = (i64)scalars[0], own = 5 * units;
  double *halves = malloc(n * 4 * units * sizeof(double));
  double *scratch = malloc(TOGETHER * (7 * units + inputs) * sizeof(double));
  /* The graph's state, what is read to renew it, and what it adds to all ops. */
  double *whole = malloc((5 * units + graph_inputs) * sizeof(double));
  i64 result = NO_MEMORY;
  if (!halves || !scratch || !whole) goto end;
  double *summary = whole + units, *from_graph = summary + 3 * units + graph_inputs;
  Layer encode_op = next_layer(&weights, inputs, units);
  Layer encode_graph = next_layer(&weights, graph_inputs, units);
  FOR_OPS(n, encode(TOGETHER, op, ops, inputs, encode_op, units, scratch, states),
          encode(1, op, ops, inputs, encode_op, units, scratch, states));
  for (i64 i = 0; i < graph_inputs; i++) summary[i] = on_grid(graph[i]);
  multiply(1, summary, graph_inputs, 0, encode_graph.kernel, encode_graph.bias, units, whole, 0);
  for (i64 unit = 0; unit < units; unit++) whole[unit] = rectified(whole[unit]);
  for (i64 number = 0; number < rounds; number++) {
    /* In the order of `layer_sizes`, and of what `inner` reads: sent by readers, then by makers. */
    Round r = {.offsets = {a[2].data, a[0].data}, .sources = {a[3].data, a[1].data},
               .halves = halves, .units = units};
    r.ways[1] = next_layer(&weights, 2 * units, units);
    r.ways[0] = next_layer(&weights, 2 * units, units);
    r.inner = next_layer(&weights, 6 * units, units);
    r.outer = next_layer(&weights, units, units);
    FOR_OPS(n, halve(TOGETHER, &r, op, states, halves), halve(1, &r, op, states, halves));
    multiply(1, whole, units, 0, r.inner.kernel + own * units, r.inner.bias, units, from_graph, 0);
    FOR_OPS(n, renew(TOGETHER, &r, op, from_graph, scratch, states),
            renew(1, &r, op, from_graph, scratch, states));
    if (number == rounds - 1) break;
    Layer renew_graph = next_layer(&weights, 3 * units, units);
    double *mean = summary + units, *largest = mean + units;
    memcpy(summary, whole, units * sizeof(double));
    for (i64 unit = 0; unit < units; unit++) mean[unit] = largest[unit] = 0;
    for (i64 op = 0; op < n; op++)
      for (i64 unit = 0; unit < units; unit++) {
        double state = states[op * units + unit];
        mean[unit] += state;
        largest[unit] = state > largest[unit] ? state : largest[unit];
      }
    for (i64 unit = 0; unit < units; unit++) mean[unit] = on_grid(mean[unit] / (double)n);
    multiply(1, summary, 3 * units, 0, renew_graph.kernel, renew_graph.bias, units, whole, 0);
    for (i64 unit = 0; unit < units; unit++) whole[unit] = rectified(whole[unit]);
  }
  result = FOUND;
end:
  free(halves);
  free(scratch);
  free(whole);
  return result;
}

#ifdef __x86_64__
__attribute__((target("avx2,fma"))) static i64 run_wide(const Array *a, const double *scalars) {
  return run(a, scalars);
}
#endif

/* before: offsets, nodes; after: offsets, nodes; ops' features, graph's features (float32), weights
   of all layers, states [n, units], which are filled in; number of rounds. */
EXPORT i64 respect_run_trunk(const Array *a, const double *scalars) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return run_wide(a, scalars);
#endif
  return run(a, scalars);
}
