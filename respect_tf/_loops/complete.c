/* Complete search: the best of all schedules that keep a cost limit. */
#include "ideals.h"

typedef struct {
  double weight;
  i64 index;
} Ranked;

static int by_weight(const void *one, const void *other) {
  const Ranked *a = one, *b = other;
  if (a->weight != b->weight) return a->weight < b->weight ? -1 : 1;
  return a->index < b->index ? -1 : 1;
}

/* Keep the candidates that `order` lists, in that order. */
static int keep(Boundary *b, const Ranked *order, i64 count) {
  u64 *sets = malloc((count * b->width + 1) * sizeof(u64));
  u64 *waiting = malloc((count * b->tensor_width + 1) * sizeof(u64));
  Numbers *numbers = malloc((count + 1) * sizeof(Numbers));
  double *best = malloc((count + 1) * sizeof(double));
  i64 *origin = malloc((count + 1) * sizeof(i64));
  int done = sets && waiting && numbers && best && origin;
  for (i64 place = 0; done && place < count; place++) {
    i64 index = order[place].index;
    memcpy(sets + place * b->width, b->sets + index * b->width, b->width * sizeof(u64));
    memcpy(waiting + place * b->tensor_width, b->waiting + index * b->tensor_width,
           b->tensor_width * sizeof(u64));
    numbers[place] = b->numbers[index];
    best[place] = b->best ? b->best[index] : INFINITY;
    origin[place] = b->origin ? b->origin[index] : 0;
  }
  free(b->sets);
  free(b->waiting);
  free(b->numbers);
  free(b->best);
  free(b->origin);
  b->sets = sets;
  b->waiting = waiting;
  b->numbers = numbers;
  b->best = best;
  b->origin = origin;
  b->count = b->capacity = count;
  return done;
}

static int sort_candidates(Boundary *b) {
  Ranked *order = malloc((b->count + 1) * sizeof(Ranked));
  if (!order) return 0;
  for (i64 index = 0; index < b->count; index++)
    order[index] = (Ranked){b->numbers[index].weight, index};
  qsort(order, b->count, sizeof(Ranked), by_weight);
  int done = keep(b, order, b->count);
  free(order);
  return done;
}

/* Drop the candidates that cost more than a limit and, with `prune`, those that a heavier one holds:
   without transfers, what can follow an ideal can follow a larger one. */
static int thin(Search *s, Boundary *b, double limit, int prune) {
  Ranked *order = malloc((b->count + 1) * sizeof(Ranked));
  i64 count = 0, kept = 0;
  if (!order) return 0;
  for (i64 index = 0; index < b->count; index++)
    if (b->best[index] <= limit) order[count++] = (Ranked){b->best[index], index};
  if (prune) { /* those that are kept go to the end of the list, the heaviest last */
    i64 to = count;
    for (i64 place = count - 1; place >= 0; place--) {
      const u64 *set = b->sets + order[place].index * b->width;
      i64 held = 0;
      if (s->work <= s->max_work)
        for (i64 other = count - 1; other >= to && !held; other--, s->work++)
          held = is_within(set, b->sets + order[other].index * b->width, b->width);
      if (!held) order[--to] = order[place];
    }
    kept = to;
  }
  int done = keep(b, order + kept, count - kept);
  free(order);
  return done;
}

/* The best chain, and of those that cost as much the one of fewest crossing bytes as far as
   `settling` work lasts. */
static i64 find_chain(Search *s, Boundary *all, int prune, i64 settling, i64 *stages, double *cost) {
  const Problem *p = s->p;
  i64 num_stages = p->num_stages, result;
  Boundary nothing = {.places = malloc(p->num_items * sizeof(i64))};
  if (!nothing.places) return NO_MEMORY;
  for (i64 item = 0; item < p->num_items; item++) nothing.places[item] = NEVER;
  result = list_candidates(s, &nothing, 0, &all[0]);
  free(nothing.places);
  if (result != FOUND || !sort_candidates(&all[0])) return result == FOUND ? NO_MEMORY : result;
  all[0].best[0] = 0;
  for (i64 k = 0; k < num_stages; k++) {
    result = list_candidates(s, &all[k], k + 1, &all[k + 1]);
    if (result != FOUND) return result;
    if (!sort_candidates(&all[k + 1])) return NO_MEMORY;
    result = advance(s, &all[k], &all[k + 1], k, s->limit, 0);
    if (result != FOUND) return result;
    if (!thin(s, &all[k + 1], s->limit, prune)) return NO_MEMORY;
    if (all[k + 1].count == 0) return NOTHING_FOUND;
  }
  *cost = all[num_stages].best[0];
  for (int pass = 0; pass < 2; pass++) {
    i64 row = 0;
    memset(stages, 0, p->num_items * sizeof(i64));
    for (i64 k = num_stages - 1; k > 0; k--) {
      row = all[k + 1].origin[row];
      for (i64 item = 0; item < p->num_items; item++) {
        i64 place = all[k].places[item];
        stages[item] +=
            !(place == ALWAYS || (place >= 0 && has(all[k].sets + row * all[k].width, place)));
      }
    }
    if (pass || prune || p->is_sum || settling <= 0) break;
    Search again = *s;
    again.work = 0;
    again.max_work = settling;
    for (i64 k = 1; k <= num_stages; k++)
      if (!thin(s, &all[k], *cost, 0)) return NO_MEMORY;
    for (i64 k = 0; k < num_stages && result == FOUND; k++)
      result = advance(&again, &all[k], &all[k + 1], k, *cost + s->slack, 1);
    s->work += again.work;
    if (result == NO_MEMORY) return NO_MEMORY;
    if (result != FOUND || all[num_stages].best[0] == INFINITY) return FOUND;
  }
  return FOUND;
}

static void release_all(Boundary *all, i64 num_stages) {
  for (i64 k = 0; all && k <= num_stages; k++) release(&all[k]);
  free(all);
}

/* Search all schedules that keep a cost limit.

   earliest, latest: [num_items], the stages that items may have; those of `p` count, too.
   limit: what a schedule may cost. slack: what is added to limits against rounding.
   prune: whether transfers cost nothing and nothing is constrained: then it finds some schedule,
   which need not be the cheapest. settling: work that may be spent on fewer crossing bytes.
   max_work, max_bytes, seconds: it gives up where these do not last.
   stages: [num_items], is filled in. cost: what they cost, in sum or at most.
   work: the work done, in some 30 ns. */
EXPORT i64 respect_search_ideals(const Problem *p, const i64 *earliest, const i64 *latest, double limit,
                          double slack, i64 prune, i64 settling, i64 max_work, i64 max_bytes,
                          double seconds, i64 *stages, double *cost, i64 *work) {
  i64 n = p->num_items, result = NO_MEMORY;
  i64 *ranges = malloc(2 * n * sizeof(i64));
  Boundary *all = calloc(p->num_stages + 1, sizeof(Boundary));
  Search s = {.p = p, .earliest = ranges, .latest = ranges + n, .limit = limit + slack,
              .slack = slack, .bare = (int)prune, .max_work = max_work, .max_bytes = max_bytes,
              .deadline = now_seconds() + seconds};
  if (ranges && all) {
    i64 *first = ranges, *last = ranges + n;
    for (i64 item = 0; item < n; item++) {
      first[item] = larger(earliest[item], p->earliest[item]);
      for (i64 row = p->before_starts[item]; row < p->before_starts[item + 1]; row++)
        first[item] = larger(first[item], first[p->before[row]]);
    }
    for (i64 item = n - 1; item >= 0; item--) {
      last[item] = smaller(latest[item], p->latest[item]);
      for (i64 row = p->after_starts[item]; row < p->after_starts[item + 1]; row++)
        last[item] = smaller(last[item], last[p->after[row]]);
    }
    result = find_chain(&s, all, (int)prune, settling, stages, cost);
  }
  release_all(all, p->num_stages);
  free(ranges);
  *work = s.work;
  return result;
}

/* Weight and number of each item and of all that it needs, and of it and of all that need it.
   sums: [num_items, 4]. */
EXPORT i64 respect_needed_sums(const Problem *p, double *sums) {
  i64 n = p->num_items, width = words(n);
  u64 *needs = calloc(n * width, sizeof(u64));
  if (!needs) return NO_MEMORY;
  memset(sums, 0, 4 * n * sizeof(double));
  for (i64 item = 0; item < n; item++) {
    u64 *own = needs + item * width;
    put(own, item);
    for (i64 row = p->before_starts[item]; row < p->before_starts[item + 1]; row++)
      for (i64 word = 0; word < width; word++) own[word] |= needs[p->before[row] * width + word];
    for (i64 word = 0; word < width; word++)
      for (u64 bits = own[word]; bits; bits &= bits - 1) {
        i64 other = (word << 6) + __builtin_ctzll(bits);
        sums[4 * item] += p->weights[other];
        sums[4 * item + 1] += 1;
        sums[4 * other + 2] += p->weights[item];
        sums[4 * other + 3] += 1;
      }
  }
  free(needs);
  return FOUND;
}
