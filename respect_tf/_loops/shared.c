/* Chains of stages that share out devices: twins of the plain loops of `planning/_loops.py`, with the
   same results to the last bit. */
#include "plain.h"

static inline i64 needed(double cost, double limit, i64 most, i64 most_replicas) {
  if (limit <= 0) return cost <= 0 ? 1 : most + 1;
  if (cost <= limit) return 1;
  double share = cost / limit;
  if (share > (double)most) return most + 1;
  i64 count = (i64)share;
  count += (double)count < share;
  return count > most_replicas ? most + 1 : count;
}

/* rows, columns, costs, loads, by rows; then filled: fewest devices before and after each node, in
   two rows; the least load before and after, likewise; which stages are near. Numbers: what a stage
   may cost for each of its devices, what a chain may load, devices, replicas. */
EXPORT i64 respect_run_near(const Array *a, const double *numbers) {
  const i64 *rows = a[0].data, *columns = a[1].data;
  const double *costs = a[2].data, *loads = a[3].data;
  i64 num_pairs = a[0].rows, num_nodes = a[4].columns, found = 0;
  i64 *before = a[4].data, *after = before + num_nodes;
  double *lead = a[5].data, *rest = lead + num_nodes;
  uint8_t *near = a[6].data;
  double limit = numbers[0], most_load = numbers[1];
  i64 most = (i64)numbers[2], most_replicas = (i64)numbers[3];
  for (i64 node = 0; node < 2 * num_nodes; node++) {
    before[node] = most + 1;
    lead[node] = INFINITY;
  }
  before[0] = after[num_nodes - 1] = 0;
  lead[0] = rest[num_nodes - 1] = 0;
  for (i64 pair = 0; pair < num_pairs; pair++) {
    i64 row = rows[pair], column = columns[pair];
    if (before[row] >= most) continue;
    i64 count = before[row] + needed(costs[pair], limit, most, most_replicas);
    double load = lead[row] + loads[pair];
    if (count > most || load > most_load) continue;
    if (count < before[column]) before[column] = count;
    if (load < lead[column]) lead[column] = load;
  }
  for (i64 pair = num_pairs - 1; pair >= 0; pair--) {
    i64 row = rows[pair], column = columns[pair];
    near[pair] = 0;
    if (after[column] >= most || before[row] >= most) continue;
    i64 alone = needed(costs[pair], limit, most, most_replicas), count = alone + after[column];
    double load = loads[pair] + rest[column];
    if (count + before[row] > most || lead[row] + load > most_load) continue;
    near[pair] = 1;
    found = 1;
    if (count < after[row]) after[row] = count;
    if (load < rest[row]) rest[row] = load;
  }
  return found;
}

/* rows, columns, counts, loads, by rows; then filled: the least load up to each node, or from it, of
   so many devices, a row for each node. Numbers: whether all devices are used, whether backward. */
EXPORT i64 respect_run_least_loads(const Array *a, const double *numbers) {
  const i64 *rows = a[0].data, *columns = a[1].data, *counts = a[2].data;
  const double *loads = a[3].data;
  double *best = a[4].data;
  i64 num_pairs = a[0].rows, num_nodes = a[4].rows, size = a[4].columns;
  int uses_all = numbers[0] != 0, backward = numbers[1] != 0;
  double *start = backward ? best + (num_nodes - 1) * size : best;
  for (i64 place = 0; place < num_nodes * size; place++) best[place] = INFINITY;
  for (i64 used = 0; used < (uses_all ? 1 : size); used++) start[used] = 0;
  for (i64 place = 0; place < num_pairs; place++) {
    i64 pair = backward ? num_pairs - 1 - place : place, count = counts[pair];
    const double *head = best + (backward ? columns : rows)[pair] * size;
    double *tail = best + (backward ? rows : columns)[pair] * size, load = loads[pair];
    for (i64 used = count; used < size; used++) {
      double sum = head[used - count] + load;
      if (sum < tail[used]) tail[used] = sum;
    }
  }
  return FOUND;
}

/* rows, columns, counts, loads, the least loads before and after each node, as above; then filled:
   which stages some chain has. Numbers: what a chain may load. */
EXPORT i64 respect_run_fitting(const Array *a, const double *numbers) {
  const i64 *rows = a[0].data, *columns = a[1].data, *counts = a[2].data;
  const double *loads = a[3].data, *before = a[4].data, *after = a[5].data;
  uint8_t *fits = a[6].data;
  i64 num_pairs = a[0].rows, size = a[4].columns;
  for (i64 pair = 0; pair < num_pairs; pair++) {
    const double *lead = before + rows[pair] * size;
    const double *rest = after + columns[pair] * size + (size - 1 - counts[pair]);
    fits[pair] = 0;
    for (i64 used = 0; used < size - counts[pair] && !fits[pair]; used++)
      fits[pair] = lead[used] + loads[pair] + rest[-used] <= numbers[0];
  }
  return FOUND;
}
