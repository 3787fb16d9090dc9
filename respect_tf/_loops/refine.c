/* The policy's orders, each cut as well as it can be, and more of them near the best one. */
#include "plain.h"

i64 slice_order(const Problem *p, const i64 *order, double limit, i64 by_crossing,
                const uint8_t *allowed, double seconds, i64 *stages, double *quality, i64 *work);
i64 respect_run_ready_orders(const Array *a, const double *scalars);

/* Draws of one order are so far from those of the one before, and those that say where an op goes
   from those that say whether it goes anywhere. */
enum { STEP = 40503, APART = 9973 };
/* Making an order takes as long as looking at so many intervals for each op. */
enum { ORDER_WORK = 4 };
static const double FOREVER = 1e18;

/* A problem without constraints whose ops make a tensor each; what a byte costs is in `sent`. */
static int set_up(Problem *p, const Array *a, i64 num_stages) {
  i64 n = a[4].rows, sends = 0;
  const i64 *after_starts = a[0].data;
  const double *sent = a[6].data;
  i64 *ints = calloc(3 * (n + 1), sizeof(i64));
  double *floats = calloc(n + num_stages + 1, sizeof(double));
  uint8_t *leaves = calloc(n + 1, 1);
  if (!ints || !floats || !leaves) {
    free(ints);
    free(floats);
    free(leaves);
    return 0;
  }
  for (i64 op = 0; op <= n; op++) {
    ints[op] = op;
    ints[2 * (n + 1) + op] = num_stages - 1;
    if (op == n) break;
    leaves[op] = after_starts[op + 1] > after_starts[op];
    sends |= sent[op] > 0;
  }
  for (i64 k = 0; k < num_stages; k++) floats[n + k] = INFINITY;
  *p = (Problem){.num_items = n, .num_tensors = n, .num_stages = num_stages,
                 .before_starts = a[2].data, .before = a[3].data,
                 .after_starts = after_starts, .after = a[1].data,
                 .read_starts = a[2].data, .read = a[3].data,
                 .made_starts = ints, .made = ints,
                 .reader_starts = after_starts, .readers = a[1].data, .makers = ints,
                 .earliest = ints + n + 1, .latest = ints + 2 * (n + 1),
                 .sizes = sent, .op_costs = a[5].data, .outputs = floats, .weights = a[5].data,
                 .held = floats, .rooms = floats + n, .leaves = leaves,
                 .enter = (double)sends, .leave = (double)sends};
  return 1;
}

/* after: offsets, nodes; before: offsets, nodes; waiting, costs, sent, draws, orders [num_orders, n],
   the first of which are given, then what they cost, infinite unless less than all before; number
   of stages, number of given orders, limit of the first, how far ops go, which draws let them, and
   after how many intervals to stop. */
EXPORT i64 respect_refine(const Array *a, const double *scalars) {
  i64 n = a[4].rows, num_given = (i64)scalars[1], mask = a[7].rows - 1, best = 0, result = NO_MEMORY;
  const double *draws = a[7].data;
  i64 *orders = a[8].data, *stages = malloc((n + 1) * sizeof(i64));
  double *found = a[9].data, *keys = malloc((n + 1) * sizeof(double)), quality[2];
  Problem problem = {0};
  if (!stages || !keys || !set_up(&problem, a, (i64)scalars[0])) goto end;
  double limit = scalars[2];
  i64 work = 0;
  for (i64 row = 0; row < a[8].rows; row++) {
    found[row] = INFINITY;
    if ((double)work > scalars[5]) continue;
    i64 *order = orders + row * n;
    if (row >= num_given) {
      const i64 *parent = orders + best * n;
      for (i64 place = 0; place < n; place++) {
        i64 op = parent[place], draw = row * STEP + op;
        keys[op] = (double)place;
        if (draws[(draw + APART) & mask] < scalars[4]) keys[op] += scalars[3] * draws[draw & mask];
      }
      Array made[5] = {a[0], a[1], a[4], {keys, 1, n}, {order, 1, n}};
      if (respect_run_ready_orders(made, scalars) != FOUND) goto end;
      work += ORDER_WORK * n;
    }
    i64 is_found = slice_order(&problem, order, limit, 0, NULL, FOREVER, stages, quality, &work);
    if (is_found == NO_MEMORY) goto end;
    if (is_found == FOUND && (quality[0] < limit || row == 0)) {
      found[row] = quality[0];
      limit = nextafter(quality[0], 0); /* nobody asks for as much again */
      best = row;
    }
  }
  result = FOUND;
end:
  free((void *)problem.made);
  free((void *)problem.held);
  free((void *)problem.leaves);
  free(stages);
  free(keys);
  return result;
}
