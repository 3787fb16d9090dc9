/* How far chains of intervals within a cost limit get: near-linear, for orders of many items. */
#include "problem.h"

enum { LOOK_EVERY = 4096 };

/* A segment tree that holds, for every start, the cost of the stage so far. One tree serves all
   boundaries: what is added to a range of starts is the same for all of them, only which starts are
   active differs. */
typedef struct {
  double *least; /* [2 * size, num_stages], of the starts below each node */
  double *added; /* [2 * size], to all starts below each node */
  i64 size, num_stages;
} Tree;

static void bring_up(Tree *t, i64 node) {
  for (node >>= 1; node >= 1; node >>= 1)
    for (i64 k = 0; k < t->num_stages; k++) {
      double left = t->least[2 * node * t->num_stages + k];
      double right = t->least[(2 * node + 1) * t->num_stages + k];
      t->least[node * t->num_stages + k] = (left < right ? left : right) + t->added[node];
    }
}

static void add(Tree *t, i64 node, double change) {
  t->added[node] += change;
  for (i64 k = 0; k < t->num_stages; k++) t->least[node * t->num_stages + k] += change;
}

/* The least cost of a chain of intervals up to each position, infinite above the limit.

   Where the costs of stages are not added up, it is 0 wherever the limit can be kept.

   n: number of items. offsets: [n + 2], where the events of each stop begin. spans: [2, num_events],
   first and last start that each event is about. changes: [num_events], what is added to their cost.
   sums, held: [n + 1], weight and bytes before each position. first, last: [num_stages + 1],
   positions that boundaries can have. rooms: [num_stages]. reached: [num_stages + 1, n + 1].
   beyond: the least limit above this one that would let any chain get further. */
EXPORT i64 respect_sweep(i64 n, i64 num_stages, i64 is_sum, const i64 *offsets, i64 num_events,
                  const i64 *spans, const double *changes, const double *sums, const double *held,
                  const i64 *first, const i64 *last, const double *rooms, double limit,
                  double seconds, double *reached, double *beyond) {
  i64 width = n + 1, result = FOUND;
  double deadline = now_seconds() + seconds;
  Tree tree = {.size = 1, .num_stages = num_stages};
  while (tree.size <= width) tree.size *= 2;
  tree.least = malloc(2 * tree.size * num_stages * sizeof(double));
  tree.added = calloc(2 * tree.size, sizeof(double));
  i64 *oldest = calloc(num_stages, sizeof(i64)); /* the first start from which a stage has room */
  *beyond = INFINITY;
  if (!tree.least || !tree.added || !oldest) {
    result = NO_MEMORY;
    goto end;
  }
  for (i64 i = 0; i < 2 * tree.size * num_stages; i++) tree.least[i] = INFINITY;
  for (i64 i = 0; i < (num_stages + 1) * width; i++) reached[i] = INFINITY;
  reached[0] = 0;
  for (i64 stop = 0; stop < width; stop++) {
    if (stop % LOOK_EVERY == 0 && now_seconds() > deadline) {
      result = GAVE_UP;
      goto end;
    }
    for (i64 event = offsets[stop]; event < offsets[stop + 1]; event++) {
      i64 from = spans[event], to = spans[num_events + event];
      i64 left = from + tree.size, right = to + tree.size + 1;
      for (; left < right; left >>= 1, right >>= 1) {
        if (left & 1) add(&tree, left++, changes[event]);
        if (right & 1) add(&tree, --right, changes[event]);
      }
      /* The first and the newest start end most ranges: they are brought up once, below. */
      if (from > 0) bring_up(&tree, from + tree.size);
      if (to < stop - 1) bring_up(&tree, to + tree.size);
    }
    if (stop > 0) {
      bring_up(&tree, tree.size);
      bring_up(&tree, stop - 1 + tree.size);
    }
    for (i64 k = 0; k < num_stages; k++) {
      for (; held[stop] - held[oldest[k]] > rooms[k]; oldest[k]++) {
        tree.least[(oldest[k] + tree.size) * num_stages + k] = INFINITY;
        bring_up(&tree, oldest[k] + tree.size);
      }
      if (first[k + 1] <= stop && stop <= last[k + 1]) {
        double cost = tree.least[num_stages + k] + sums[stop];
        if (cost <= limit)
          reached[(k + 1) * width + stop] = is_sum ? cost : 0;
        else if (cost < *beyond)
          *beyond = cost;
      }
    }
    for (i64 k = 0; k < num_stages; k++)
      tree.least[(stop + tree.size) * num_stages + k] = reached[k * width + stop] - sums[stop];
  }
end:
  free(tree.least);
  free(tree.added);
  free(oldest);
  return result;
}
