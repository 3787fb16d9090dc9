/* Order ideals that may be what is before a boundary, as sets of 64-bit words. */
#ifndef RESPECT_TF_IDEALS_H
#define RESPECT_TF_IDEALS_H

#include "problem.h"

/* Places of items that are in every candidate of a boundary, and of those that are in none. */
enum { ALWAYS = -1, NEVER = -2 };

/* An ideal's weight, number of items, op costs, bytes of the model's outputs and bytes that
   constraints count; bytes that wait for a reader outside of it, and those of them that leave their
   maker's stage. */
typedef struct {
  double weight, op_costs, outputs, held, waiting, leaving;
  i64 count;
} Numbers;

/* Candidates for one boundary. Sets are over those items only that not all candidates agree about,
   and over those tensors that may wait. */
typedef struct {
  i64 *places;  /* [num_items], ALWAYS, NEVER, or the item's place in `sets` */
  i64 *tensors; /* [num_tensors], tensors that wait for readers in some of them */
  i64 num_free, num_tensors, width, tensor_width, count, capacity;
  u64 *sets;    /* [count, width] */
  u64 *waiting; /* [count, tensor_width] */
  Numbers *numbers;
  double *best; /* [count], of the chains up to each candidate: cost, or crossing bytes */
  i64 *origin;  /* [count], the candidate that the best chain comes from */
} Boundary;

/* A search, what it may use and has used. */
typedef struct {
  const Problem *p;
  const i64 *earliest, *latest; /* [num_items] */
  double limit, slack; /* what a schedule may cost, and how much of it is against rounding */
  int bare; /* costs are weights: of ideals, those that others hold are left out */
  i64 work, max_work, max_bytes;
  double deadline;
} Search;

static inline i64 words(i64 places) { return larger(1, (places + 63) >> 6); }
static inline int has(const u64 *set, i64 place) { return set[place >> 6] >> (place & 63) & 1; }
static inline void put(u64 *set, i64 place) { set[place >> 6] |= (u64)1 << (place & 63); }
static inline void drop(u64 *set, i64 place) { set[place >> 6] ^= (u64)1 << (place & 63); }

static inline int is_within(const u64 *set, const u64 *other, i64 width) {
  u64 lacks = 0;
  for (i64 word = 0; word < width; word++) lacks |= set[word] & ~other[word];
  return lacks == 0;
}

/* Whether a search has to stop, after some more work. */
static inline int is_over(Search *s, i64 work) {
  s->work += work;
  return s->work > s->max_work;
}

static inline int is_late(const Search *s) { return now_seconds() > s->deadline; }

void release(Boundary *b);
i64 list_candidates(Search *s, const Boundary *rows, i64 k, Boundary *found);
i64 advance(Search *s, const Boundary *rows, Boundary *columns, i64 k, double limit,
            int by_crossing);

#endif
