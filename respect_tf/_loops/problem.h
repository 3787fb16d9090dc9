/* A scheduling problem as arrays, the one record that all loops read; `_record.py` fills it in.

   Items are numbered in a topological order. All amounts are multiples of a power of two with exact
   sums, and nothing is contracted or reordered by the compiler: equal costs are equal numbers, on
   every machine. */
#ifndef RESPECT_TF_PROBLEM_H
#define RESPECT_TF_PROBLEM_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

typedef int64_t i64;
typedef uint64_t u64;

/* Rows are compressed: row `i` of `before` is before[before_starts[i]] up to, and without,
   before[before_starts[i + 1]]. */
typedef struct {
  i64 num_items, num_tensors, num_stages;
  const i64 *before_starts, *before; /* items that each item reads from */
  const i64 *after_starts, *after;   /* items that read from it */
  const i64 *read_starts, *read;     /* tensors that it reads */
  const i64 *made_starts, *made;     /* tensors that it makes */
  const i64 *reader_starts, *readers; /* items that read each tensor */
  const i64 *makers;                 /* [num_tensors], -1 for inputs of the model */
  const i64 *earliest, *latest;      /* [num_items], stages that constraints leave */
  const double *sizes;               /* [num_tensors], bytes */
  const double *op_costs, *outputs;  /* [num_items], cost of the ops, bytes of the model's outputs */
  const double *weights;             /* [num_items], op cost and what the outputs cost */
  const double *held, *rooms;        /* [num_items], [num_stages], bytes that constraints count */
  const double *sums;                /* [num_items, 4], what `needed_sums` fills in */
  const uint8_t *leaves; /* [num_tensors], whether it leaves its maker's stage if a later one reads it */
  double enter, leave;   /* cost per byte that enters, and that leaves a stage */
  i64 is_sum;            /* whether the costs of stages are added up; else the largest counts */
} Problem;

/* Results of loops that may give up. */
enum { NOTHING_FOUND = 0, FOUND = 1, GAVE_UP = -1, NO_MEMORY = -2 };

static inline i64 larger(i64 one, i64 other) { return one > other ? one : other; }
static inline i64 smaller(i64 one, i64 other) { return one < other ? one : other; }

/* `Problem.cost` of the Python side, to the last bit. */
static inline double cost_of(const Problem *p, double op_costs, double entering, double leaving) {
  if (p->enter == p->leave)
    return p->enter == 0 ? op_costs : op_costs + p->enter * (entering + leaving);
  return op_costs + p->enter * entering + p->leave * leaving;
}

/* The next of Lehmer's random numbers, which are 1 to 2**31 - 2. */
static inline i64 next_random(i64 random) {
  random *= 48271;
  random = (random & 2147483647) + (random >> 31);
  return random < 2147483647 ? random : random - 2147483647;
}

/* Seconds on a clock that never goes back. */
static inline double now_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
