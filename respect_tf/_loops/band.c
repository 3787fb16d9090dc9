/* The items that a neighbourhood lets cross boundaries. */
#include "problem.h"

enum { TRIES = 4 };

/* Let some of the items next to some boundaries cross them.

   stages: [num_items], a valid schedule. is_open: [num_stages + 1], boundaries that items may cross.
   depth: items may be so many edges away from the boundary, less one. most: items that may cross one
   boundary. random: state of the random numbers, is moved on.
   earliest, latest: [num_items], are filled with the first and last stage of each item. */
EXPORT i64 respect_choose_band(const Problem *p, const i64 *stages, const uint8_t *is_open, i64 depth,
                        i64 most, i64 *random, i64 *earliest, i64 *latest) {
  i64 n = p->num_items;
  i64 *up = calloc(n, sizeof(i64)), *down = calloc(n, sizeof(i64));
  i64 *near = malloc(n * sizeof(i64)), *pending = malloc(n * sizeof(i64));
  i64 *seen = calloc(n, sizeof(i64)), turn = 0; /* the turn in which each was pending last */
  if (!up || !down || !near || !pending || !seen) {
    free(up);
    free(down);
    free(near);
    free(pending);
    free(seen);
    return NO_MEMORY;
  }
  /* Edges to the item's own first and last items of its stage. */
  for (i64 item = 0; item < n; item++)
    for (i64 row = p->before_starts[item]; row < p->before_starts[item + 1]; row++) {
      i64 other = p->before[row];
      if (stages[other] == stages[item]) up[item] = larger(up[item], up[other] + 1);
    }
  for (i64 item = n - 1; item >= 0; item--)
    for (i64 row = p->after_starts[item]; row < p->after_starts[item + 1]; row++) {
      i64 other = p->after[row];
      if (stages[other] == stages[item]) down[item] = larger(down[item], down[other] + 1);
    }
  memcpy(earliest, stages, n * sizeof(i64));
  memcpy(latest, stages, n * sizeof(i64));
  for (i64 boundary = 1; boundary < p->num_stages; boundary++) {
    if (!is_open[boundary]) continue;
    i64 num_near = 0, left = most;
    for (i64 item = 0; item < n; item++)
      if ((stages[item] == boundary && up[item] < depth) ||
          (stages[item] == boundary - 1 && down[item] < depth))
        near[num_near++] = item;
    i64 tries = TRIES * smaller(most, num_near);
    for (i64 i = 0; i < tries; i++) {
      *random = next_random(*random);
      i64 item = near[*random % num_near];
      /* The item, and what has to come along. */
      int forward = stages[item] == boundary - 1;
      const i64 *starts = forward ? p->after_starts : p->before_starts;
      const i64 *others = forward ? p->after : p->before;
      const i64 *bound = forward ? latest : earliest;
      i64 count = 0;
      turn++;
      if (bound[item] == stages[item]) pending[count++] = item;
      seen[item] = turn;
      for (i64 place = 0; place < count && count <= left; place++)
        for (i64 row = starts[pending[place]]; row < starts[pending[place] + 1]; row++) {
          i64 other = others[row];
          if (stages[other] != stages[item] || bound[other] != stages[item]) continue;
          if (seen[other] == turn) continue;
          seen[other] = turn;
          pending[count++] = other;
        }
      if (count > left) continue;
      left -= count;
      for (i64 index = 0; index < count; index++)
        *(forward ? &latest[pending[index]] : &earliest[pending[index]]) =
            forward ? boundary : boundary - 1;
    }
  }
  free(up);
  free(down);
  free(near);
  free(pending);
  free(seen);
  return FOUND;
}
