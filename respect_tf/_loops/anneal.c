/* Simulated annealing over schedules. */
#include "layout.h"

enum { MOST_TOGETHER = 16, TRIES = 4 };

/* An item and what has to move with it, in an order in which they can move one by one: the last
   first on the way forward, the first first back. Their number; 0 if they are too many. */
static i64 gather(const Layout *s, i64 item, i64 step, i64 *found) {
  const Problem *p = s->p;
  const i64 *starts = step > 0 ? p->after_starts : p->before_starts;
  const i64 *others = step > 0 ? p->after : p->before;
  i64 stage = s->items[item].stage, count = 1;
  found[0] = item;
  for (i64 done = 0; done < count; done++)
    for (i64 row = starts[found[done]]; row < starts[found[done] + 1]; row++) {
      i64 other = others[row], index = 0;
      if (s->items[other].stage != stage) continue;
      while (index < count && found[index] != other) index++;
      if (index < count) continue;
      if (count == MOST_TOGETHER) return 0;
      found[count++] = other;
    }
  for (i64 index = 1; index < count; index++) {
    i64 moved = found[index], place = index;
    for (; place > 0 && (found[place - 1] - moved) * step < 0; place--)
      found[place] = found[place - 1];
    found[place] = moved;
  }
  return count;
}

static inline double linear(const Problem *p, const Stage *stage) {
  return stage->op_costs + p->enter * stage->entering + p->leave * stage->leaving;
}

static inline double raised(double value, i64 power) {
  for (i64 i = 0; i < power; i++) value *= value;
  return value;
}

/* Cost and crossing bytes of all stages. */
static double quality(const Layout *s, double *crossing) {
  double cost = 0;
  *crossing = 0;
  for (i64 k = 0; k < s->p->num_stages; k++) {
    double value = linear(s->p, &s->stages[k]);
    cost = s->p->is_sum ? cost + value : (value > cost ? value : cost);
    *crossing += s->stages[k].entering + s->stages[k].leaving;
  }
  return cost;
}

/* A move that was drawn: `count` items of stage `here` go to `there`, and `back`, if not -1, comes
   back; how bytes of both stages change by it, about. */
typedef struct {
  i64 found[MOST_TOGETHER], count, here, there, back;
} Move;

/* Draw a move; count is 0 if it is none. */
static Move draw(const Layout *s, i64 *state) {
  const Problem *p = s->p;
  Move m = {.back = -1};
  i64 random = next_random(*state);
  i64 item = s->movable[random * s->num_movable >> 31];
  random = next_random(random);
  i64 kind = random >> 6 & 7;
  const Item *it = &s->items[item];
  m.here = it->stage;
  int forward = it->ahead == 0 && m.here < p->latest[item];
  int backward = it->behind == 0 && m.here > p->earliest[item];
  if (forward && backward) forward = (random >> 9 & 1) == 0;
  m.there = m.here + (forward ? 1 : -1);
  m.count = 1;
  m.found[0] = item;
  i64 drawn = random;
  if (kind == 7) { /* begin further inside */
    const i64 *starts = forward ? p->before_starts : p->after_starts;
    const i64 *others = forward ? p->before : p->after;
    i64 times = 1 + (random >> 22) % 3;
    for (i64 i = 0; i < times; i++) {
      i64 width = starts[item + 1] - starts[item];
      if (width == 0) break;
      random = next_random(random);
      i64 other = others[starts[item] + random % width];
      if (s->items[other].stage != m.here) break;
      item = other;
    }
    m.count = gather(s, item, forward ? 1 : -1, m.found);
  }
  for (i64 index = 0; index < m.count; index++)
    if (p->earliest[m.found[index]] > m.there || p->latest[m.found[index]] < m.there) {
      m.count = 0;
      break;
    }
  if (kind >= 5 && m.count > 0)
    for (i64 i = 0; i < TRIES; i++) {
      random = next_random(random);
      i64 other = s->movable[random * s->num_movable >> 31];
      const Item *one = &s->items[other];
      if ((forward ? one->behind : one->ahead) == 0 && one->stage == m.there &&
          p->earliest[other] <= m.here && m.here <= p->latest[other]) {
        m.back = other;
        break;
      }
    }
  state[0] = random;
  state[1] = drawn;
  return m;
}

/* The energy after a move of one item, looked at before it is made: most moves are refused. Where
   another one comes back, it is a guess, for both may share tensors. */
static double foreseen(const Layout *s, const Move *m, double energy, double scale, i64 power) {
  const Problem *p = s->p;
  i64 item = m->found[0];
  Effect e = effect(s, item, m->there);
  double cost = p->op_costs[item] + p->leave * p->outputs[item];
  double here = p->enter * e.enter_here + p->leave * e.leave_here - cost;
  double there = p->enter * e.enter_there + p->leave * e.leave_there + cost;
  if (m->back >= 0) {
    e = effect(s, m->back, m->here);
    cost = p->op_costs[m->back] + p->leave * p->outputs[m->back];
    here += p->enter * e.enter_there + p->leave * e.leave_there + cost;
    there += p->enter * e.enter_here + p->leave * e.leave_here - cost;
  }
  const Stage *from = &s->stages[m->here], *to = &s->stages[m->there];
  return energy - from->value - to->value + raised((linear(p, from) + here) / scale, power) +
         raised((linear(p, to) + there) / scale, power);
}

/* Make a move; returns whether `back` came back: what went there may need it, or be needed. */
static void make(Layout *s, Move *m) {
  for (i64 index = 0; index < m->count; index++) shift(s, m->found[index], m->there);
  if (m->back < 0) return;
  const Item *it = &s->items[m->back];
  if ((m->there > m->here ? it->behind : it->ahead) == 0)
    shift(s, m->back, m->here);
  else
    m->back = -1;
}

static void undo(Layout *s, const Move *m) {
  if (m->back >= 0) shift(s, m->back, m->there);
  for (i64 index = m->count - 1; index >= 0; index--) shift(s, m->found[index], m->here);
}

/* Simulated annealing over schedules.

   A move takes an item to the next stage or the one before, or an item together with what has to go
   along, or an item there and another one back. The energy is the sum over stages of
   (cost / scale) ** 2 ** power, which comes close to the dearest stage.

   stages: [num_items], a valid schedule; is filled with the best one found.
   scale: the unit of costs in the energy. bound: what costs no more is not improved.
   heats: the first temperature, as a part of the energy, and the last; they fall linearly.
   powers: the power at first, and at last.
   draws: exponentially distributed numbers, a power of two of them.
   random: state of the random numbers. quality_out: cost and crossing bytes of the best. */
EXPORT i64 respect_anneal(const Problem *p, i64 *stages, double scale, double bound, i64 num_steps,
                   i64 moves_per_step, const double *heats, const i64 *powers, const double *draws,
                   i64 num_draws, i64 random, double *quality_out) {
  Layout layout, *s = &layout;
  if (!lay_out(s, p, stages)) {
    clear(s);
    return NO_MEMORY;
  }
  i64 state[2] = {random, random};
  double best_crossing, best = quality(s, &best_crossing);
  for (i64 step = 0; step < num_steps; step++) {
    double part = (double)step / (double)larger(1, num_steps - 1);
    i64 power = powers[0] + (i64)(part * (double)(powers[1] + 1 - powers[0]) * 0.999);
    double temperature = (heats[0] + (heats[1] - heats[0]) * part) * (double)((i64)1 << power);
    double energy = 0;
    for (i64 k = 0; k < p->num_stages; k++) {
      s->stages[k].value = raised(linear(p, &s->stages[k]) / scale, power);
      energy += s->stages[k].value;
    }
    if (s->num_movable == 0 || best <= bound) break;
    for (i64 i = 0; i < moves_per_step && best > bound; i++) {
      Move m = draw(s, state);
      double allowed = energy * (1.0 + temperature * draws[state[1] >> 10 & (num_draws - 1)]);
      if (m.count == 0) continue;
      Stage *from = &s->stages[m.here], *to = &s->stages[m.there];
      if (m.count == 1 && (foreseen(s, &m, energy, scale, power) > allowed ||
                           (m.back < 0 && from->count == 1)))
        continue;
      make(s, &m);
      double value_here = raised(linear(p, from) / scale, power);
      double value_there = raised(linear(p, to) / scale, power);
      double after = energy - from->value - to->value;
      after += value_here + value_there;
      if (from->count == 0 || to->count == 0 || from->filled > p->rooms[m.here] ||
          to->filled > p->rooms[m.there] || !(after <= allowed)) {
        undo(s, &m);
        continue;
      }
      from->value = value_here;
      to->value = value_there;
      energy = after;
      double crossing, cost = quality(s, &crossing);
      if (cost < best || (cost == best && crossing < best_crossing)) {
        best = cost;
        best_crossing = crossing;
        for (i64 item = 0; item < p->num_items; item++) stages[item] = s->items[item].stage;
      }
    }
  }
  quality_out[0] = best;
  quality_out[1] = best_crossing;
  clear(s);
  return FOUND;
}
