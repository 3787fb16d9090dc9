/* Orders cut into intervals, as well as each can be cut. */
#include "problem.h"

enum { LOOK_EVERY = 64 };

/* First and last positions that each boundary can have under a limit. */
static void find_windows(const Problem *p, const i64 *order, const i64 *position, double limit,
                         i64 *first, i64 *last) {
  i64 n = p->num_items, num_stages = p->num_stages;
  for (i64 k = 0; k <= num_stages; k++) {
    first[k] = k;
    last[k] = n - num_stages + k;
  }
  first[num_stages] = n;
  last[0] = 0;
  for (i64 item = 0; item < n; item++) {
    i64 k = p->latest[item] + 1;
    first[k] = larger(first[k], position[item] + 1);
    k = p->earliest[item];
    if (k > 0) last[k] = smaller(last[k], position[item]);
  }
  if (!p->is_sum) { /* what is before and after a boundary must fit into so many stages */
    double before = 0, total = 0;
    for (i64 item = 0; item < n; item++) total += p->weights[item];
    i64 *fit = calloc(num_stages + 1, sizeof(i64));
    for (i64 place = 0; fit && place <= n; place++) {
      for (i64 k = 1; k < num_stages; k++) {
        if (before <= (double)k * limit) fit[k] = place;
        if (total - before > (double)(num_stages - k) * limit) first[k] = larger(first[k], place + 1);
      }
      if (place < n) before += p->weights[order[place]];
    }
    for (i64 k = 1; fit && k < num_stages; k++) last[k] = smaller(last[k], fit[k]);
    free(fit);
  }
  for (i64 k = 1; k < num_stages; k++) first[k] = larger(first[k], first[k - 1] + 1);
  for (i64 k = num_stages - 1; k > 0; k--) last[k] = smaller(last[k], last[k + 1] - 1);
}

/* The best cut of an order into intervals: the one that costs least or, `by_crossing`, has the
   fewest crossing bytes of those that keep the limit; that is not for costs that are added up.

   Costs of the intervals from one start on are kept up to date while the stop moves on, as far as
   their weight keeps the limit.

   order: [num_items], a topological order. limit: schedules that cost more are left out.
   allowed: [num_stages + 1, num_items + 1], positions that boundaries may have; null for all.
   seconds: after so many it gives up. stages: [num_items], is filled in.
   quality: its cost and its crossing bytes. work: intervals looked at are added to it. */
i64 slice_order(const Problem *p, const i64 *order, double limit, i64 by_crossing,
                const uint8_t *allowed, double seconds, i64 *stages, double *quality, i64 *work) {
  i64 n = p->num_items, num_stages = p->num_stages, width = n + 1, result = NOTHING_FOUND;
  double deadline = now_seconds() + seconds;
  i64 *position = malloc(n * sizeof(i64)), *windows = malloc(2 * (num_stages + 1) * sizeof(i64));
  i64 *unread = malloc((p->num_tensors + 1) * sizeof(i64));
  i64 *seen = malloc((p->num_tensors + 1) * sizeof(i64));
  double *best = malloc((num_stages + 1) * width * sizeof(double));
  double *crossings = malloc((num_stages + 1) * width * sizeof(double));
  i64 *origin = malloc((num_stages + 1) * width * sizeof(i64));
  if (!position || !windows || !unread || !seen || !best || !crossings || !origin) {
    result = NO_MEMORY;
    goto end;
  }
  i64 *first = windows, *last = windows + num_stages + 1;
  for (i64 place = 0; place < n; place++) position[order[place]] = place;
  find_windows(p, order, position, limit, first, last);
  for (i64 i = 0; i < (num_stages + 1) * width; i++) best[i] = INFINITY;
  for (i64 tensor = 0; tensor < p->num_tensors; tensor++) seen[tensor] = -1;
  best[0] = crossings[0] = 0;
  for (i64 start = 0; start < n; start++) {
    i64 low = num_stages, high = -1;
    double least = INFINITY;
    for (i64 k = 0; k < num_stages; k++)
      if (best[k * width + start] < INFINITY) {
        if (low == num_stages) low = k;
        high = k;
        if (best[k * width + start] < least) least = best[k * width + start];
      }
    if (high < 0) continue;
    if (start % LOOK_EVERY == 0 && now_seconds() > deadline) {
      result = GAVE_UP;
      goto end;
    }
    double most = p->is_sum ? limit - least : limit;
    double weight = 0, filled = 0, op_costs = 0, entering = 0, leaving = 0;
    i64 stop = start + 1;
    for (; stop <= last[high + 1]; stop++) {
      i64 item = order[stop - 1];
      op_costs += p->op_costs[item];
      weight += p->weights[item];
      filled += p->held[item];
      if (weight > most) break;
      leaving += p->outputs[item];
      for (i64 row = p->read_starts[item]; row < p->read_starts[item + 1]; row++) {
        i64 tensor = p->read[row], maker = p->makers[tensor];
        if (maker < 0 || position[maker] < start) {
          if (seen[tensor] != start) {
            seen[tensor] = start;
            entering += p->sizes[tensor];
          }
        } else if (--unread[tensor] == 0 && p->leaves[tensor]) {
          leaving -= p->sizes[tensor];
        }
      }
      for (i64 row = p->made_starts[item]; row < p->made_starts[item + 1]; row++) {
        i64 tensor = p->made[row];
        unread[tensor] = p->reader_starts[tensor + 1] - p->reader_starts[tensor];
        if (p->leaves[tensor]) leaving += p->sizes[tensor];
      }
      if (weight + p->enter * entering > most) break; /* neither ever gets less */
      double cost = cost_of(p, op_costs, entering, leaving);
      if (cost > most) continue;
      for (i64 k = low; k <= high; k++) {
        if (stop < first[k + 1] || stop > last[k + 1] || filled > p->rooms[k]) continue;
        i64 from = k * width + start, to = (k + 1) * width + stop;
        if (allowed && !allowed[to]) continue;
        double total = p->is_sum ? best[from] + cost : (cost > best[from] ? cost : best[from]);
        double crossing = crossings[from] + entering + leaving;
        int is_better = total < best[to] || (total == best[to] && crossing < crossings[to]);
        if (by_crossing) is_better = best[to] == INFINITY || crossing < crossings[to];
        if (total <= limit && is_better) {
          best[to] = total;
          crossings[to] = crossing;
          origin[to] = start;
        }
      }
    }
    *work += stop - start;
  }
  quality[0] = best[num_stages * width + n];
  if (quality[0] < INFINITY) {
    quality[1] = crossings[num_stages * width + n];
    i64 stop = n;
    for (i64 k = num_stages; k > 0; k--) {
      i64 start = origin[k * width + stop];
      for (i64 place = start; place < stop; place++) stages[order[place]] = k - 1;
      stop = start;
    }
    result = FOUND;
  }
end:
  free(position);
  free(windows);
  free(unread);
  free(seen);
  free(best);
  free(crossings);
  free(origin);
  return result;
}

/* See `slice_order`. */
EXPORT i64 respect_slice(const Problem *p, const i64 *order, double limit, i64 by_crossing,
                         const uint8_t *allowed, double seconds, i64 *stages, double *quality) {
  i64 work = 0;
  return slice_order(p, order, limit, by_crossing, allowed, seconds, stages, quality, &work);
}
