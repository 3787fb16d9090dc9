/* Which ops of stages are on the Edge TPU: the twin of `run_mapped_ops` of `device/_batch_cpu.py`. */
#include "plain.h"

/* Arrays: rows of makers of ops (offsets, makers), a topological order, which ops are supported, and
   [num_stages, num_ops] which ops each stage holds, and which of them are mapped. */
EXPORT i64 respect_run_mapped_ops(const Array *a, const double *numbers) {
  const i64 *offsets = a[0].data, *makers = a[1].data, *order = a[2].data;
  const uint8_t *supported = a[3].data, *inside = a[4].data;
  uint8_t *mapped = a[5].data;
  i64 num_ops = a[4].columns;
  uint8_t *seen = malloc(num_ops + 1); /* on the way to each op, itself included */
  (void)numbers;
  if (!seen) return NO_MEMORY;
  for (i64 stage = 0; stage < a[4].rows; stage++, inside += num_ops, mapped += num_ops) {
    for (i64 place = 0; place < num_ops; place++) {
      i64 op = order[place];
      uint8_t before = 0;
      mapped[op] = seen[op] = 0;
      if (!inside[op]) continue;
      for (i64 row = offsets[op]; row < offsets[op + 1]; row++)
        if (seen[makers[row]] > before) before = seen[makers[row]];
      mapped[op] = supported[op] && before < 2;
      seen[op] = mapped[op] ? 1 : before || supported[op] ? 2 : 0;
    }
  }
  free(seen);
  return FOUND;
}
