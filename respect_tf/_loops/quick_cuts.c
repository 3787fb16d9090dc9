/* Quick cuts of orders: the twin of `run_quick_cuts`, with the same results to the last bit. */
#include "plain.h"

enum { BISECTIONS = 20, CROSSING_BISECTIONS = 9, NUM_SHARES = 2 };
static const double SHARES_READ[NUM_SHARES] = {1.0, 0.4};

/* Borders of intervals, the heaviest of which is as light as can be, up to rounding. */
static double even_cut(i64 n, i64 num_stages, const double *sums, double largest, i64 *best,
                       i64 *cut) {
  best[num_stages] = cut[num_stages] = n;
  for (i64 stage = 0; stage < num_stages; stage++) best[stage] = stage;
  cut[0] = 0;
  double low = sums[n] / (double)num_stages, high = sums[n], heaviest = 0;
  if (largest > low) low = largest;
  for (int bisection = 0; bisection <= BISECTIONS; bisection++) {
    double middle = bisection == 0 ? low : (low + high) / 2, limit = middle * (1 + 1e-9);
    for (i64 stage = 1; stage < num_stages; stage++) {
      i64 start = cut[stage - 1], stop = start, above = n + 1;
      while (stop + 1 < above) {
        i64 border = (stop + above) / 2;
        if (sums[border] <= sums[start] + limit)
          stop = border;
        else
          above = border;
      }
      cut[stage] = smaller(larger(stop, start + 1), n - num_stages + stage);
    }
    if (sums[n] - sums[cut[num_stages - 1]] <= limit) {
      memcpy(best, cut, num_stages * sizeof(i64));
      high = middle;
      if (bisection == 0) break;
    } else if (bisection > 0) {
      low = middle;
    }
  }
  for (i64 stage = 0; stage < num_stages; stage++) {
    double weight = sums[best[stage + 1]] - sums[best[stage]];
    if (weight > heaviest) heaviest = weight;
  }
  return heaviest;
}

/* The cut under the least limit that is enough for stages with a share of what crosses borders. */
static void crossing_cut(i64 n, i64 num_stages, const double *sums, const double *ends,
                         const double *starts, double heaviest, double most, i64 *best, i64 *cut) {
  double low = heaviest, high = heaviest + 2 * most;
  for (i64 stage = 0; stage < num_stages; stage++) best[stage] = stage;
  for (int bisection = 0; bisection < CROSSING_BISECTIONS; bisection++) {
    double middle = (low + high) / 2;
    int fits = 1;
    for (i64 stage = 1; stage < num_stages && fits; stage++) {
      double limit = starts[cut[stage - 1]] + middle, reach = -INFINITY;
      i64 chosen = -1;
      for (i64 border = cut[stage - 1] + 1; border <= n - num_stages + stage; border++) {
        if (sums[border] > limit) break;
        if (ends[border] <= limit && starts[border] > reach) {
          chosen = border;
          reach = starts[border];
        }
      }
      fits = chosen >= 0;
      if (fits) cut[stage] = chosen;
    }
    if (fits && ends[n] <= starts[cut[num_stages - 1]] + middle) {
      memcpy(best, cut, num_stages * sizeof(i64));
      high = middle;
    } else {
      low = middle;
    }
  }
}

/* Both cuts of one order. */
static i64 quick_cut(const i64 *order, i64 n, i64 num_stages, const i64 *offsets, const i64 *readers,
                     const double *costs, const double *sent, double *found) {
  double largest = 0, most_sent = 0, least = INFINITY;
  i64 *ints = malloc((2 * (n + 1) + 3 * (num_stages + 1)) * sizeof(i64));
  double *floats = calloc(5 * (n + 1) + 2 * (num_stages + 1), sizeof(double));
  if (!ints || !floats) {
    free(ints);
    free(floats);
    return NO_MEMORY;
  }
  i64 *place = ints, *stage_of = place + n + 1, *best = stage_of + n + 1;
  i64 *cut = best + num_stages + 1, *entered = cut + num_stages + 1;
  double *sums = floats, *gone = sums + n + 1, *crossing = gone + n + 1, *ends = crossing + n + 1;
  double *starts = ends + n + 1, *leaving = starts + n + 1, *entering = leaving + num_stages + 1;
  for (i64 step = 0; step < n; step++) {
    i64 op = order[step];
    place[op] = step;
    sums[step + 1] = sums[step] + costs[op];
    if (sums[step + 1] - sums[step] > largest) largest = sums[step + 1] - sums[step];
    if (sent[op] > most_sent) most_sent = sent[op];
  }
  found[0] = found[1] = even_cut(n, num_stages, sums, largest, best, cut);
  double made = 0, left = 0;
  for (i64 step = 0; step < n && most_sent != 0; step++) {
    i64 op = order[step], last = step;
    for (i64 row = offsets[op]; row < offsets[op + 1]; row++) last = larger(last, place[readers[row]]);
    gone[last + 1] += sent[op];
  }
  for (i64 border = 0; border <= n; border++) {
    if (border > 0) made += sent[order[border - 1]];
    left += gone[border];
    crossing[border] = made - left;
  }
  for (int number = 0; number <= NUM_SHARES && most_sent != 0; number++) {
    if (number > 0) {
      double most = -INFINITY;
      for (i64 border = 0; border <= n; border++) {
        double part = SHARES_READ[number - 1] * crossing[border];
        ends[border] = sums[border] + part;
        starts[border] = sums[border] - part;
        if (part > most) most = part;
      }
      crossing_cut(n, num_stages, sums, ends, starts, found[0], most, best, cut);
    }
    for (i64 stage = 0; stage < num_stages; stage++) {
      leaving[stage] = entering[stage] = 0;
      entered[stage] = -1;
      for (i64 step = best[stage]; step < best[stage + 1]; step++) stage_of[step] = stage;
    }
    for (i64 step = 0; step < n; step++) {
      i64 op = order[step];
      int leaves = 0;
      for (i64 row = offsets[op]; row < offsets[op + 1]; row++) {
        i64 stage = stage_of[place[readers[row]]];
        if (stage == stage_of[step] || entered[stage] == step) continue;
        entered[stage] = step;
        entering[stage] += sent[op];
        leaves = 1;
      }
      if (leaves) leaving[stage_of[step]] += sent[op];
    }
    double dearest = 0;
    for (i64 stage = 0; stage < num_stages; stage++) {
      double load = sums[best[stage + 1]] - sums[best[stage]] + leaving[stage] + entering[stage];
      if (load > dearest) dearest = load;
    }
    if (dearest < least) least = dearest;
  }
  if (most_sent != 0) found[1] = least;
  free(ints);
  free(floats);
  return FOUND;
}

/* orders [num_orders, n], offsets, readers, costs, sent, cuts [num_orders, 2]; number of stages. */
EXPORT i64 respect_run_quick_cuts(const Array *a, const double *scalars) {
  const i64 *orders = a[0].data;
  double *cuts = a[5].data;
  i64 n = a[3].rows;
  for (i64 row = 0; row < a[5].rows; row++) {
    i64 same = 0; /* networks without branches have one order only */
    while (same < row && memcmp(orders + same * n, orders + row * n, n * sizeof(i64)) != 0) same++;
    if (same < row) {
      memcpy(cuts + 2 * row, cuts + 2 * same, 2 * sizeof(double));
    } else {
      i64 result = quick_cut(orders + row * n, n, (i64)scalars[0], a[1].data, a[2].data, a[3].data,
                             a[4].data, cuts + 2 * row);
      if (result != FOUND) return result;
    }
  }
  return FOUND;
}
