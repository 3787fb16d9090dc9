/* A schedule whose sums are kept up to date while items move across stage borders. */
#ifndef RESPECT_TF_LAYOUT_H
#define RESPECT_TF_LAYOUT_H

#include "problem.h"

typedef struct {
  i64 stage, behind, ahead; /* its stage; items of it that it needs; and that need it */
  i64 place;                /* where it is in the list of movable items, or -1 */
} Item;

typedef struct {
  double op_costs, entering, leaving, filled, value;
  i64 count;
} Stage;

/* A schedule, the sums that its cost consists of, and which items can change their stage while all
   others stay. `reading` is [num_tensors, num_stages + 1]: items of each stage that read each
   tensor, and last the items in stages after the maker's. */
typedef struct {
  const Problem *p;
  Item *items;
  Stage *stages;
  int32_t *reading;
  i64 *movable, num_movable;
} Layout;

static void mark(Layout *s, i64 item) {
  const Problem *p = s->p;
  Item *it = &s->items[item];
  int can_move = (it->ahead == 0 && it->stage < p->latest[item]) ||
                 (it->behind == 0 && it->stage > p->earliest[item]);
  if (can_move && it->place < 0) {
    it->place = s->num_movable;
    s->movable[s->num_movable++] = item;
  } else if (!can_move && it->place >= 0) {
    i64 other = s->movable[--s->num_movable];
    s->movable[it->place] = other;
    s->items[other].place = it->place;
    it->place = -1;
  }
}

static int lay_out(Layout *s, const Problem *p, const i64 *stages) {
  i64 n = p->num_items, width = p->num_stages + 1;
  s->p = p;
  s->items = calloc(n, sizeof(Item));
  s->stages = calloc(p->num_stages, sizeof(Stage));
  s->reading = calloc(p->num_tensors * width + 1, sizeof(int32_t));
  s->movable = malloc((n + 1) * sizeof(i64));
  s->num_movable = 0;
  if (!s->items || !s->stages || !s->reading || !s->movable) return 0;
  for (i64 item = 0; item < n; item++) {
    Item *it = &s->items[item];
    Stage *stage = &s->stages[stages[item]];
    it->stage = stages[item];
    it->place = -1;
    stage->op_costs += p->op_costs[item];
    stage->leaving += p->outputs[item];
    stage->filled += p->held[item];
    stage->count++;
    for (i64 row = p->before_starts[item]; row < p->before_starts[item + 1]; row++)
      it->behind += stages[p->before[row]] == stages[item];
    for (i64 row = p->after_starts[item]; row < p->after_starts[item + 1]; row++)
      it->ahead += stages[p->after[row]] == stages[item];
  }
  for (i64 tensor = 0; tensor < p->num_tensors; tensor++) {
    i64 maker = p->makers[tensor], made_in = maker >= 0 ? stages[maker] : -1;
    int32_t *reading = s->reading + tensor * width;
    for (i64 row = p->reader_starts[tensor]; row < p->reader_starts[tensor + 1]; row++) {
      i64 stage = stages[p->readers[row]];
      if (stage > made_in) {
        if (reading[stage] == 0) s->stages[stage].entering += p->sizes[tensor];
        reading[width - 1]++;
      }
      reading[stage]++;
    }
    if (p->leaves[tensor] && reading[width - 1] > 0 && made_in >= 0)
      s->stages[made_in].leaving += p->sizes[tensor];
  }
  for (i64 item = 0; item < n; item++) mark(s, item);
  return 1;
}

static void clear(Layout *s) {
  free(s->items);
  free(s->stages);
  free(s->reading);
  free(s->movable);
}

typedef struct {
  double enter_here, leave_here, enter_there, leave_there;
} Effect;

/* How bytes change if an item moves to another stage, the model's outputs apart. No other stages'
   bytes change: what it reads and what reads it is not between the two. */
static Effect effect(const Layout *s, i64 item, i64 there) {
  const Problem *p = s->p;
  i64 width = p->num_stages + 1, here = s->items[item].stage;
  Effect e = {0, 0, 0, 0};
  for (i64 row = p->read_starts[item]; row < p->read_starts[item + 1]; row++) {
    i64 tensor = p->read[row], maker = p->makers[tensor];
    const int32_t *reading = s->reading + tensor * width;
    i64 made_in = maker >= 0 ? s->items[maker].stage : -1;
    double size = p->sizes[tensor];
    if (made_in < here && reading[here] == 1) e.enter_here -= size;
    if (made_in < there && reading[there] == 0) e.enter_there += size;
    if (p->leaves[tensor]) {
      if (made_in == here && reading[width - 1] == 0)
        e.leave_here += size;
      else if (made_in == there && reading[width - 1] == 1)
        e.leave_there -= size;
    }
  }
  for (i64 row = p->made_starts[item]; row < p->made_starts[item + 1]; row++) {
    i64 tensor = p->made[row];
    const int32_t *reading = s->reading + tensor * width;
    double size = p->sizes[tensor];
    i64 later = reading[width - 1];
    if (p->leaves[tensor] && later > 0) e.leave_here -= size;
    if (there > here) {
      if (reading[there] > 0) e.enter_there -= size;
      later -= reading[there];
    } else {
      if (reading[here] > 0) e.enter_here += size;
      later += reading[here];
    }
    if (p->leaves[tensor] && later > 0) e.leave_there += size;
  }
  return e;
}

static void touch(Layout *s, i64 item, i64 other, i64 here, i64 there, int is_before) {
  Item *it = &s->items[other];
  i64 *column = is_before ? &it->ahead : &it->behind;
  if (it->stage == here) {
    *column -= 1;
    mark(s, other);
  } else if (it->stage == there) {
    *column += 1;
    *(is_before ? &s->items[item].behind : &s->items[item].ahead) += 1;
    mark(s, other);
  }
}

/* Move an item to another stage, and keep all sums. Its edges must allow it. */
static void shift(Layout *s, i64 item, i64 there) {
  const Problem *p = s->p;
  Item *it = &s->items[item];
  i64 width = p->num_stages + 1, here = it->stage;
  Stage *from = &s->stages[here], *to = &s->stages[there];
  Effect e = effect(s, item, there);
  from->op_costs -= p->op_costs[item];
  to->op_costs += p->op_costs[item];
  from->entering += e.enter_here;
  to->entering += e.enter_there;
  from->leaving += e.leave_here - p->outputs[item];
  to->leaving += e.leave_there + p->outputs[item];
  from->filled -= p->held[item];
  to->filled += p->held[item];
  from->count--;
  to->count++;
  for (i64 row = p->read_starts[item]; row < p->read_starts[item + 1]; row++) {
    i64 tensor = p->read[row], maker = p->makers[tensor];
    int32_t *reading = s->reading + tensor * width;
    i64 made_in = maker >= 0 ? s->items[maker].stage : -1;
    reading[here]--;
    reading[there]++;
    if (made_in == here)
      reading[width - 1]++;
    else if (made_in == there)
      reading[width - 1]--;
  }
  for (i64 row = p->made_starts[item]; row < p->made_starts[item + 1]; row++) {
    int32_t *reading = s->reading + p->made[row] * width;
    if (there > here)
      reading[width - 1] -= reading[there];
    else
      reading[width - 1] += reading[here];
  }
  it->stage = there;
  it->behind = it->ahead = 0;
  for (i64 row = p->before_starts[item]; row < p->before_starts[item + 1]; row++)
    touch(s, item, p->before[row], here, there, 1);
  for (i64 row = p->after_starts[item]; row < p->after_starts[item + 1]; row++)
    touch(s, item, p->after[row], here, there, 0);
  mark(s, item);
}

#endif
