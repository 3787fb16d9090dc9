/* What all ancestors of each op weigh: the twin of `run_masses`, with the same results to the last
   bit. */
#include <stdint.h>

#include "plain.h"

enum { BITS = 64 };

/* An op with its ancestors: all ops below `whole`, and bits of others in words from `low` on. */
typedef struct {
  i64 whole, low, count, unread;
  uint64_t *words;
} Closure;

/* The op's own closure, from the union of its makers': words [base, end). */
static i64 close_op(Closure *closure, i64 op, const uint64_t *united, i64 base, i64 end, i64 whole) {
  i64 low = base;
  while (low < end && !united[low]) low++;
  closure->whole = whole;
  closure->low = low;
  closure->count = end - low;
  if (whole > op) closure->count = 0;
  if (!closure->count || !closure->unread) return FOUND;
  closure->words = malloc(closure->count * sizeof(uint64_t));
  if (!closure->words) return NO_MEMORY;
  memcpy(closure->words, united + low, closure->count * sizeof(uint64_t));
  return FOUND;
}

/* offsets, makers, mass [n], before [n], which is filled in. */
EXPORT i64 respect_run_masses(const Array *a, const double *scalars) {
  const i64 *offsets = a[0].data, *makers = a[1].data;
  const double *mass = a[2].data;
  double *before = a[3].data;
  i64 n = a[3].rows, result = NO_MEMORY;
  (void)scalars;
  Closure *closures = calloc(n + 1, sizeof(Closure));
  uint64_t *united = calloc(n / BITS + 2, sizeof(uint64_t));
  if (!closures || !united) goto end;
  for (i64 row = 0; row < offsets[n]; row++) closures[makers[row]].unread++;
  for (i64 op = 0; op < n; op++) {
    i64 first = offsets[op], last = offsets[op + 1], best = -1;
    for (i64 row = first; row < last; row++)
      if (best < 0 || closures[makers[row]].whole >= closures[best].whole) best = makers[row];
    i64 whole = best < 0 ? 0 : closures[best].whole;
    i64 base = whole / BITS, end = op / BITS + 1;
    memset(united + base, 0, (end - base) * sizeof(uint64_t));
    for (i64 row = first; row < last; row++) {
      const Closure *from = &closures[makers[row]];
      for (i64 at = larger(base - from->low, 0); at < from->count; at++)
        united[from->low + at] |= from->words[at];
    }
    uint64_t below = ((uint64_t)1 << (whole % BITS)) - 1;
    before[op] = best < 0 ? 0 : before[best] + mass[best];
    for (i64 word = base; best >= 0 && word < end; word++) {
      const Closure *known = &closures[best];
      uint64_t more = united[word];
      if (word == base) more &= ~below;
      if (word >= known->low && word < known->low + known->count)
        more &= ~known->words[word - known->low];
      for (; more; more &= more - 1) before[op] += mass[word * BITS + __builtin_ctzll(more)];
    }
    united[base] |= below;
    while (base < end && !~united[base]) base++;
    whole = base < end ? base * BITS + __builtin_ctzll(~united[base]) : end * BITS;
    if (whole == op) whole++;
    if (whole <= op) united[base] &= ~(((uint64_t)1 << (whole % BITS)) - 1);
    united[op / BITS] |= (uint64_t)1 << (op % BITS);
    if (close_op(&closures[op], op, united, base, end, whole) == NO_MEMORY) goto end;
    for (i64 row = first; row < last; row++) {
      Closure *from = &closures[makers[row]];
      if (--from->unread == 0) {
        free(from->words);
        from->words = NULL;
      }
    }
  }
  result = FOUND;
end:
  for (i64 op = 0; closures && op < n; op++) free(closures[op].words);
  free(closures);
  free(united);
  return result;
}
