/* Topological orders that follow from structure: twins of the plain loops of
   `_structural_loops.py`, with the same results to the last bit. */
#include "plain.h"

typedef struct {
  double key;
  i64 node;
} Entry;

typedef struct {
  Entry *entries;
  i64 count;
} Heap;

static inline int is_less(Entry one, Entry other) {
  return one.key < other.key || (one.key == other.key && one.node < other.node);
}

static void push(Heap *heap, double key, i64 node) {
  Entry entry = {key, node};
  i64 place = heap->count++;
  for (; place > 0 && is_less(entry, heap->entries[(place - 1) / 2]); place = (place - 1) / 2)
    heap->entries[place] = heap->entries[(place - 1) / 2];
  heap->entries[place] = entry;
}

static Entry pop(Heap *heap) {
  Entry least = heap->entries[0], entry = heap->entries[--heap->count];
  i64 place = 0;
  for (;;) {
    i64 child = 2 * place + 1;
    if (child >= heap->count) break;
    if (child + 1 < heap->count && is_less(heap->entries[child + 1], heap->entries[child])) child++;
    if (!is_less(heap->entries[child], entry)) break;
    heap->entries[place] = heap->entries[child];
    place = child;
  }
  heap->entries[place] = entry;
  return least;
}

/* offsets, readers, waiting (used up), then the order. */
EXPORT i64 respect_run_depth_first(const Array *a, const double *scalars) {
  const i64 *offsets = a[0].data, *readers = a[1].data;
  i64 *waiting = a[2].data, *order = a[3].data, n = a[2].rows, count = 0;
  i64 *ready = malloc((n + 1) * sizeof(i64));
  (void)scalars;
  if (!ready) return NO_MEMORY;
  for (i64 node = n - 1; node >= 0; node--)
    if (waiting[node] == 0) ready[count++] = node;
  for (i64 place = 0; place < n && count > 0; place++) {
    i64 node = ready[--count];
    order[place] = node;
    for (i64 row = offsets[node + 1] - 1; row >= offsets[node]; row--)
      if (--waiting[readers[row]] == 0) ready[count++] = readers[row];
  }
  free(ready);
  return FOUND;
}

/* offsets, readers, waiting, keys [num_orders, n], orders [num_orders, n]. */
EXPORT i64 respect_run_ready_orders(const Array *a, const double *scalars) {
  const i64 *offsets = a[0].data, *readers = a[1].data, *waiting = a[2].data;
  i64 n = a[2].rows, *left = malloc((n + 1) * sizeof(i64));
  Heap heap = {malloc((n + 1) * sizeof(Entry)), 0};
  (void)scalars;
  for (i64 number = 0; left && heap.entries && number < a[3].rows; number++) {
    const double *keys = (const double *)a[3].data + number * n;
    i64 *order = (i64 *)a[4].data + number * n;
    memcpy(left, waiting, n * sizeof(i64));
    heap.count = 0;
    for (i64 node = 0; node < n; node++)
      if (left[node] == 0) push(&heap, keys[node], node);
    for (i64 place = 0; place < n && heap.count > 0; place++) {
      i64 node = pop(&heap).node;
      order[place] = node;
      for (i64 row = offsets[node]; row < offsets[node + 1]; row++)
        if (--left[readers[row]] == 0) push(&heap, keys[readers[row]], readers[row]);
    }
  }
  i64 result = left && heap.entries ? FOUND : NO_MEMORY;
  free(left);
  free(heap.entries);
  return result;
}

/* offsets, nodes, weights, then the paths; backward. */
EXPORT i64 respect_run_longest_paths(const Array *a, const double *scalars) {
  const i64 *offsets = a[0].data, *nodes = a[1].data;
  const double *weights = a[2].data;
  double *longest = a[3].data;
  i64 n = a[2].rows;
  memset(longest, 0, n * sizeof(double));
  for (i64 step = 0; step < n; step++) {
    i64 node = scalars[0] != 0 ? n - 1 - step : step;
    for (i64 row = offsets[node]; row < offsets[node + 1]; row++) {
      double path = longest[nodes[row]] + weights[nodes[row]];
      if (path > longest[node]) longest[node] = path;
    }
  }
  return FOUND;
}

/* after_offsets, after, waiting and growth (used up), sizes, reader_offsets, readers, read_offsets,
   read, then the order. */
EXPORT i64 respect_run_least_live(const Array *a, const double *scalars) {
  const i64 *after_offsets = a[0].data, *after = a[1].data, *reader_offsets = a[5].data;
  const i64 *readers = a[6].data, *read_offsets = a[7].data, *read = a[8].data;
  i64 *waiting = a[2].data, *order = a[9].data, n = a[2].rows, num_tensors = a[4].rows, place = 0;
  double *growth = a[3].data;
  const double *sizes = a[4].data;
  i64 *unread = malloc((num_tensors + 1) * sizeof(i64));
  uint8_t *done = calloc(n + 1, 1);
  Heap heap = {malloc((n + num_tensors + 1) * sizeof(Entry)), 0};
  (void)scalars;
  int has_room = unread && done && heap.entries;
  if (has_room) {
    for (i64 tensor = 0; tensor < num_tensors; tensor++)
      unread[tensor] = reader_offsets[tensor + 1] - reader_offsets[tensor];
    for (i64 node = 0; node < n; node++)
      if (waiting[node] == 0) push(&heap, growth[node], node);
  }
  while (has_room && heap.count > 0) {
    Entry entry = pop(&heap);
    i64 node = entry.node;
    if (done[node] || entry.key != growth[node]) continue;
    done[node] = 1;
    order[place++] = node;
    for (i64 row = read_offsets[node]; row < read_offsets[node + 1]; row++) {
      i64 tensor = read[row];
      if (--unread[tensor] != 1) continue;
      i64 first = reader_offsets[tensor];
      while (done[readers[first]]) first++;
      i64 last = readers[first];
      growth[last] -= sizes[tensor];
      if (waiting[last] == 0) push(&heap, growth[last], last);
    }
    for (i64 row = after_offsets[node]; row < after_offsets[node + 1]; row++)
      if (--waiting[after[row]] == 0) push(&heap, growth[after[row]], after[row]);
  }
  free(unread);
  free(done);
  free(heap.entries);
  return has_room ? FOUND : NO_MEMORY;
}

/* offsets, readers, waiting, orders [num_orders, n], costs, packed [num_orders, n]; number of
   stages. */
EXPORT i64 respect_run_packed(const Array *a, const double *scalars) {
  const i64 *offsets = a[0].data, *readers = a[1].data, *waiting = a[2].data;
  const double *costs = a[4].data;
  i64 n = a[2].rows;
  double total = 0, largest = 0, more = 1.05; /* see `_MORE_ROOM` */
  i64 *rank = malloc(3 * (n + 1) * sizeof(i64));
  Heap heap = {malloc((n + 1) * sizeof(Entry)), 0};
  for (i64 op = 0; op < n; op++) {
    total += costs[op];
    if (costs[op] > largest) largest = costs[op];
  }
  for (i64 number = 0; rank && heap.entries && number < a[3].rows; number++) {
    i64 *held = rank + n + 1, *missing = held + n + 1;
    const i64 *order = (const i64 *)a[3].data + number * n;
    i64 *packed = (i64 *)a[5].data + number * n;
    i64 stages_left = (i64)scalars[0], num_held = 0, done = 0;
    double left = total, filled = 0, room = left / scalars[0];
    room = more * (room > largest ? room : largest);
    heap.count = 0;
    memcpy(missing, waiting, n * sizeof(i64));
    for (i64 place = 0; place < n; place++) rank[order[place]] = place;
    for (i64 op = 0; op < n; op++)
      if (missing[op] == 0) push(&heap, 0, rank[op]);
    while (done < n && (heap.count > 0 || num_held > 0)) {
      if (heap.count == 0) {
        for (i64 row = 0; row < num_held; row++) push(&heap, 0, held[row]);
        num_held = 0;
        filled = 0;
        stages_left--;
        room = left / (double)larger(stages_left, 1);
        room = more * (room > largest ? room : largest);
      }
      i64 place = pop(&heap).node, op = order[place];
      if (filled > 0 && filled + costs[op] > room && stages_left > 1) {
        held[num_held++] = place;
        continue;
      }
      filled += costs[op];
      left -= costs[op];
      packed[done++] = op;
      for (i64 row = offsets[op]; row < offsets[op + 1]; row++)
        if (--missing[readers[row]] == 0) push(&heap, 0, rank[readers[row]]);
    }
  }
  i64 result = rank && heap.entries ? FOUND : NO_MEMORY;
  free(rank);
  free(heap.entries);
  return result;
}
