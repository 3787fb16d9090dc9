/* The order ideals that are candidates for one boundary. */
#include "ideals.h"

enum { STEP = 8, LOOK_EVERY = 1024 }; /* work of an ideal, beside what the length of sets takes */

void release(Boundary *b) {
  free(b->places);
  free(b->tensors);
  free(b->sets);
  free(b->waiting);
  free(b->numbers);
  free(b->best);
  free(b->origin);
  memset(b, 0, sizeof *b);
}

/* Tensors as the candidates of a boundary see them; rows are those of `Boundary.tensors`. */
typedef struct {
  i64 *made_by;       /* the place of the item that makes it, ALWAYS if it is there in any case */
  uint8_t *unread;    /* whether it has a reader in no candidate */
  uint8_t *may_enter; /* whether it is an input of the model that is read in some of them only */
  u64 *readers;       /* [num_tensors, width], its other readers */
  double entering;    /* bytes of inputs that enter in any case */
} Reading;

/* How ideals are listed: the item of each place; the places that each one needs; the weight that is
   lost for good where it is passed over, each item being lost with the last one that it needs. */
typedef struct {
  i64 *items;
  u64 *needs, *roots;
  double *lost;
  Numbers base; /* of an ideal without any of them */
} Tree;

/* The path to the ideal at hand: sets, what can be added next or at all, sums, weight in reach. */
typedef struct {
  u64 *path, *ready, *addable;
  Numbers *sums;
  double *reaches;
} Stack;

static void add(const Problem *p, i64 item, Numbers *numbers) {
  numbers->weight += p->weights[item];
  numbers->count += 1;
  numbers->op_costs += p->op_costs[item];
  numbers->outputs += p->outputs[item];
  numbers->held += p->held[item];
}

/* Which items are before a boundary in any schedule whose weight there is in range, or in none.
   Returns whether there is such a schedule. */
static int find_places(const Search *s, const Boundary *rows, i64 k, double low, double high,
                       Boundary *found) {
  const Problem *p = s->p;
  i64 n = p->num_items, least = k, most = n - (p->num_stages - k);
  double total = 0;
  found->num_free = 0;
  for (i64 item = 0; item < n; item++) total += p->weights[item];
  for (i64 item = 0; item < n; item++) {
    found->places[item] = k == p->num_stages ? ALWAYS : NEVER;
    if (k == 0 || k == p->num_stages) continue;
    const double *sums = p->sums + 4 * item;
    i64 place = rows->places[item];
    int always = place != NEVER;
    if (place >= 0)
      for (i64 index = 0; always && index < rows->count; index++)
        always = has(rows->sets + index * rows->width, place);
    always = always || total - sums[2] < low || (double)n - sums[3] < (double)least ||
             s->latest[item] < k;
    int never = sums[0] > high || sums[1] > (double)most || s->earliest[item] >= k;
    if (always && never) return 0;
    if (always)
      found->places[item] = ALWAYS;
    else if (!never)
      found->places[item] = found->num_free++;
  }
  return 1;
}

static int read_tensors(const Search *s, Boundary *found, Reading *r) {
  const Problem *p = s->p;
  i64 num_tensors = s->bare ? 0 : p->num_tensors, width = found->width;
  found->tensors = malloc((num_tensors + 1) * sizeof(i64));
  r->made_by = malloc((num_tensors + 1) * sizeof(i64));
  r->unread = calloc(num_tensors + 1, 1);
  r->may_enter = calloc(num_tensors + 1, 1);
  r->readers = calloc((num_tensors + 1) * width, sizeof(u64));
  r->entering = 0;
  found->num_tensors = 0;
  if (!found->tensors || !r->made_by || !r->unread || !r->may_enter || !r->readers) return 0;
  for (i64 tensor = 0; tensor < num_tensors; tensor++) {
    i64 maker = p->makers[tensor], count = found->num_tensors;
    int is_read = 0, is_left = 0, unread = 0;
    u64 *readers = r->readers + count * width;
    for (i64 row = p->reader_starts[tensor]; row < p->reader_starts[tensor + 1]; row++) {
      i64 place = found->places[p->readers[row]];
      is_read |= place == ALWAYS;
      is_left |= place != ALWAYS;
      unread |= place == NEVER;
      if (place >= 0) put(readers, place);
    }
    if (maker < 0 && is_read) r->entering += p->sizes[tensor];
    if (is_left && (maker < 0 || found->places[maker] != NEVER)) {
      found->tensors[count] = tensor;
      r->made_by[count] = maker >= 0 ? found->places[maker] : ALWAYS;
      r->may_enter[count] = maker < 0 && !is_read;
      r->unread[count] = unread;
      found->num_tensors++;
    } else {
      memset(readers, 0, width * sizeof(u64));
    }
  }
  return 1;
}

static int build_tree(const Problem *p, const Boundary *found, Tree *t) {
  i64 num_free = found->num_free, width = found->width;
  t->items = malloc((num_free + 1) * sizeof(i64));
  t->needs = calloc((num_free + 1) * width, sizeof(u64));
  t->roots = calloc(width, sizeof(u64));
  t->lost = malloc((num_free + 1) * sizeof(double));
  memset(&t->base, 0, sizeof t->base);
  if (!t->items || !t->needs || !t->roots || !t->lost) return 0;
  for (i64 item = 0; item < p->num_items; item++) {
    if (found->places[item] >= 0)
      t->items[found->places[item]] = item;
    else if (found->places[item] == ALWAYS)
      add(p, item, &t->base);
  }
  for (i64 place = 0; place < num_free; place++) t->lost[place] = p->weights[t->items[place]];
  for (i64 place = num_free - 1; place >= 0; place--) {
    i64 item = t->items[place], last = -1;
    for (i64 row = p->before_starts[item]; row < p->before_starts[item + 1]; row++) {
      i64 other = found->places[p->before[row]];
      if (other < 0) continue;
      put(t->needs + place * width, other);
      last = larger(last, other);
    }
    if (last >= 0)
      t->lost[last] += t->lost[place];
    else
      put(t->roots, place);
  }
  return 1;
}

/* Fill in what waits after the last ideal; returns bytes of the model's inputs read in it. */
static double describe(const Problem *p, Boundary *found, const Reading *r) {
  const u64 *set = found->sets + found->count * found->width;
  u64 *waiting = found->waiting + found->count * found->tensor_width;
  Numbers *numbers = &found->numbers[found->count];
  double entering = r->entering;
  memset(waiting, 0, found->tensor_width * sizeof(u64));
  numbers->waiting = numbers->leaving = 0;
  for (i64 number = 0; number < found->num_tensors; number++) {
    i64 tensor = found->tensors[number], made_by = r->made_by[number];
    const u64 *readers = r->readers + number * found->width;
    if (r->may_enter[number])
      for (i64 word = 0; word < found->width; word++)
        if (readers[word] & set[word]) {
          entering += p->sizes[tensor];
          break;
        }
    if (made_by >= 0 && !has(set, made_by)) continue;
    if (!r->unread[number] && is_within(readers, set, found->width)) continue;
    put(waiting, number);
    numbers->waiting += p->sizes[tensor];
    if (p->leaves[tensor]) numbers->leaving += p->sizes[tensor];
  }
  return entering;
}

/* Whether what is before an ideal's boundary, and what is after it, can keep the limit: as one stage
   each, they cost no more than all their stages together. */
static int is_near(const Search *s, const Numbers *numbers, double entering, i64 k,
                   const Numbers *all) {
  const Problem *p = s->p;
  double before = cost_of(p, numbers->op_costs, entering, numbers->leaving + numbers->outputs);
  double after = cost_of(p, all->op_costs - numbers->op_costs, numbers->waiting,
                         all->outputs - numbers->outputs);
  if (p->is_sum) return before + after <= s->limit;
  return before <= (double)k * s->limit && after <= (double)(p->num_stages - k) * s->limit;
}

static int has_light(const u64 *set, i64 width, const i64 *items, const double *weights,
                     double most) {
  for (i64 word = 0; word < width; word++)
    for (u64 bits = set[word]; bits; bits &= bits - 1)
      if (weights[items[(word << 6) + __builtin_ctzll(bits)]] <= most) return 1;
  return 0;
}

static int make_room(Search *s, Boundary *b) {
  if (b->count < b->capacity) return 1;
  i64 capacity = larger(64, 2 * b->capacity);
  i64 bytes = capacity * (i64)(8 * (b->width + b->tensor_width) + sizeof(Numbers));
  if (bytes > 2 * s->max_bytes || is_late(s)) return 0;
  u64 *sets = realloc(b->sets, capacity * b->width * sizeof(u64));
  if (sets) b->sets = sets;
  u64 *waiting = realloc(b->waiting, capacity * b->tensor_width * sizeof(u64));
  if (waiting) b->waiting = waiting;
  Numbers *numbers = realloc(b->numbers, capacity * sizeof(Numbers));
  if (numbers) b->numbers = numbers;
  if (!sets || !waiting || !numbers) return 0;
  b->capacity = capacity;
  return 1;
}

/* List the ideals, each one once: items are added in ascending order, and an item that could have
   been added and was passed over stays out for good, and so does all that needs it. What can still
   be added bounds the weight from above: branches that cannot get heavy enough end early. */
static i64 walk(Search *s, const Boundary *rows, i64 k, double low, double high, const Tree *t,
                const Reading *r, Stack *stack, Boundary *found) {
  const Problem *p = s->p;
  i64 width = found->width, most = p->num_items - (p->num_stages - k), depth = 0, steps = 0;
  i64 step_work = STEP + 2 * width, look = STEP + found->num_tensors * (1 + width) / 2;
  int is_end = k == 0 || k == p->num_stages, is_new = 1;
  double held_from = -INFINITY, held_to = 0, held_total = 0;
  Numbers all = {0};
  for (i64 item = 0; item < p->num_items; item++) add(p, item, &all);
  held_total = all.held;
  for (i64 j = 0; j < k; j++) held_to += p->rooms[j];
  for (i64 j = k; j < p->num_stages; j++) held_from = j == k ? p->rooms[j] : held_from + p->rooms[j];
  held_from = is_end ? -INFINITY : held_total - held_from;
  memcpy(stack->ready, t->roots, width * sizeof(u64));
  memcpy(stack->addable, t->roots, width * sizeof(u64));
  stack->sums[0] = t->base;
  stack->reaches[0] = t->base.weight;
  for (i64 place = 0; place < found->num_free; place++)
    stack->reaches[0] += p->weights[t->items[place]];
  while (depth >= 0) {
    Numbers *here = &stack->sums[depth];
    u64 *path = stack->path + depth * width, *ready = stack->ready + depth * width;
    u64 *addable = stack->addable + depth * width;
    if (is_new) {
      if (is_over(s, step_work) || (++steps % LOOK_EVERY == 0 && is_late(s))) return GAVE_UP;
      int is_wanted = here->weight >= low && k <= here->count && here->count <= most;
      if (is_wanted && s->bare && here->count < most && !is_end) {
        double room = rows->numbers[0].weight + s->limit - here->weight;
        is_wanted = !has_light(addable, width, t->items, p->weights, room);
      }
      if (is_wanted) {
        s->work += look;
        if (!make_room(s, found)) return GAVE_UP;
        found->numbers[found->count] = *here;
        memcpy(found->sets + found->count * width, path, width * sizeof(u64));
        double entering = describe(p, found, r);
        const Numbers *numbers = &found->numbers[found->count];
        if (is_end || (is_near(s, numbers, entering, k, &all) && held_from <= numbers->held &&
                       numbers->held <= held_to))
          found->count++;
      }
    }
    is_new = 0;
    i64 word = 0;
    while (word < width && !ready[word]) word++;
    if (word == width || here->count == most || stack->reaches[depth] < low) {
      depth--;
      continue;
    }
    i64 place = (word << 6) + __builtin_ctzll(ready[word]), item = t->items[place];
    double reach = stack->reaches[depth];
    drop(ready, place);
    stack->reaches[depth] -= t->lost[place];
    if (here->weight + p->weights[item] > high) continue;
    memcpy(path + width, path, width * sizeof(u64));
    memcpy(ready + width, ready, width * sizeof(u64));
    memcpy(addable + width, addable, width * sizeof(u64));
    stack->sums[depth + 1] = *here;
    stack->reaches[depth + 1] = reach;
    put(path + width, place);
    drop(addable + width, place);
    add(p, item, &stack->sums[depth + 1]);
    for (i64 row = p->after_starts[item]; row < p->after_starts[item + 1]; row++) {
      i64 other = found->places[p->after[row]];
      if (other >= 0 && is_within(t->needs + other * width, path + width, width)) {
        put(ready + width, other);
        put(addable + width, other);
      }
    }
    depth++;
    is_new = 1;
  }
  return FOUND;
}

/* The ideals that a schedule within a cost limit can have before boundary `k`, where those of the
   boundary before it are `rows`, by weight. */
i64 list_candidates(Search *s, const Boundary *rows, i64 k, Boundary *found) {
  const Problem *p = s->p;
  double low = -INFINITY, high = INFINITY, total = 0;
  memset(found, 0, sizeof *found);
  found->places = malloc(p->num_items * sizeof(i64));
  if (!found->places) return NO_MEMORY;
  for (i64 item = 0; item < p->num_items; item++) total += p->weights[item];
  if (k > 0 && k < p->num_stages && !p->is_sum) {
    double next = rows->numbers[0].weight, last = rows->numbers[rows->count - 1].weight + s->limit;
    low = total - (double)(p->num_stages - k) * s->limit;
    high = (double)k * s->limit;
    if (next > low) low = next;
    if (last < high) high = last;
  }
  if (!find_places(s, rows, k, low, high, found)) return NOTHING_FOUND;
  found->width = words(found->num_free);
  Tree t = {0};
  Reading r = {0};
  Stack stack = {0};
  i64 depth = found->num_free + 1, width = found->width, result = NO_MEMORY;
  stack.path = calloc(depth * width, sizeof(u64));
  stack.ready = calloc(depth * width, sizeof(u64));
  stack.addable = calloc(depth * width, sizeof(u64));
  stack.sums = malloc(depth * sizeof(Numbers));
  stack.reaches = malloc(depth * sizeof(double));
  if (stack.path && stack.ready && stack.addable && stack.sums && stack.reaches &&
      read_tensors(s, found, &r) && build_tree(p, found, &t)) {
    found->tensor_width = words(found->num_tensors);
    result = walk(s, rows, k, low, high, &t, &r, &stack, found);
  }
  free(stack.path);
  free(stack.ready);
  free(stack.addable);
  free(stack.sums);
  free(stack.reaches);
  free(t.items);
  free(t.needs);
  free(t.roots);
  free(t.lost);
  free(r.made_by);
  free(r.unread);
  free(r.may_enter);
  free(r.readers);
  return result;
}
