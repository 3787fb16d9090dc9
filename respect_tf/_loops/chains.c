/* The best chains of order ideals up to each candidate of the next boundary. */
#include "ideals.h"

/* What candidates of two boundaries, one after the other, have in common. */
typedef struct {
  i64 width, tensor_width, num_shared;
  u64 *inside, *outside; /* items that the earlier ideal has and the later one may lack, in each */
  u64 *row_waiting, *column_waiting; /* tensors that may wait after both ideals */
  int32_t *row_reads, *column_reads; /* [.., num_shared], how many of its readers an ideal holds */
  i64 *tensors;                      /* [num_shared] */
  uint8_t *is_read;                  /* [num_shared], whether the stage between reads it in any case */
} Joint;

static void release_joint(Joint *j) {
  free(j->inside);
  free(j->outside);
  free(j->row_waiting);
  free(j->column_waiting);
  free(j->row_reads);
  free(j->column_reads);
  free(j->tensors);
  free(j->is_read);
}

/* The same sets over some of the places. */
static u64 *chosen(const u64 *sets, i64 count, i64 width, const i64 *places, i64 num_places) {
  i64 fewer = words(num_places);
  u64 *result = calloc(count * fewer + 1, sizeof(u64));
  for (i64 index = 0; result && index < count; index++)
    for (i64 place = 0; place < num_places; place++)
      if (has(sets + index * width, places[place])) put(result + index * fewer, place);
  return result;
}

static int32_t *reads(const Problem *p, const Boundary *b, const Joint *j) {
  int32_t *result = calloc(b->count * j->num_shared + 1, sizeof(int32_t));
  for (i64 number = 0; result && number < j->num_shared; number++) {
    i64 tensor = j->tensors[number];
    for (i64 row = p->reader_starts[tensor]; row < p->reader_starts[tensor + 1]; row++) {
      i64 place = b->places[p->readers[row]];
      if (place == NEVER) continue;
      for (i64 index = 0; index < b->count; index++)
        result[index * j->num_shared + number] +=
            place == ALWAYS || has(b->sets + index * b->width, place);
    }
  }
  return result;
}

static int join(const Problem *p, const Boundary *rows, const Boundary *columns, Joint *j) {
  i64 n = p->num_items, num_both = 0, most = smaller(rows->num_tensors, columns->num_tensors);
  i64 *places = malloc(2 * n * sizeof(i64)), *numbers = malloc((2 * most + 1) * sizeof(i64));
  memset(j, 0, sizeof *j);
  j->tensors = malloc((most + 1) * sizeof(i64));
  j->is_read = calloc(most + 1, 1);
  int done = places && numbers && j->tensors && j->is_read;
  if (done) {
    for (i64 item = 0; item < n; item++)
      if (rows->places[item] >= 0 && columns->places[item] >= 0) {
        places[num_both] = rows->places[item];
        places[n + num_both++] = columns->places[item];
      }
    /* Tensors that may wait at both, by their numbers in either list; both ascend. */
    for (i64 row = 0, column = 0; row < rows->num_tensors && column < columns->num_tensors;) {
      i64 one = rows->tensors[row], other = columns->tensors[column];
      if (one == other) {
        numbers[j->num_shared] = row;
        numbers[most + j->num_shared] = column;
        j->tensors[j->num_shared++] = one;
      }
      row += one <= other;
      column += other <= one;
    }
    for (i64 number = 0; number < j->num_shared; number++)
      for (i64 row = p->reader_starts[j->tensors[number]];
           row < p->reader_starts[j->tensors[number] + 1]; row++) {
        i64 item = p->readers[row];
        j->is_read[number] |= rows->places[item] == NEVER && columns->places[item] == ALWAYS;
      }
    j->width = words(num_both);
    j->tensor_width = words(j->num_shared);
    j->inside = chosen(rows->sets, rows->count, rows->width, places, num_both);
    j->outside = chosen(columns->sets, columns->count, columns->width, places + n, num_both);
    j->row_waiting =
        chosen(rows->waiting, rows->count, rows->tensor_width, numbers, j->num_shared);
    j->column_waiting = chosen(columns->waiting, columns->count, columns->tensor_width,
                               numbers + most, j->num_shared);
    j->row_reads = reads(p, rows, j);
    j->column_reads = reads(p, columns, j);
    done = j->inside && j->outside && j->row_waiting && j->column_waiting && j->row_reads &&
           j->column_reads;
  }
  free(places);
  free(numbers);
  return done;
}

/* Bytes that enter and that leave the stage between two ideals. What waits before the stage enters
   it, unless it still waits after the stage, which reads it nowhere. What waits after it was made in
   it, unless it waited before. */
static inline void bytes_moved(const Problem *p, const Joint *j, const Numbers *before,
                               const Numbers *after, i64 row, i64 column, double *entering,
                               double *leaving) {
  *entering = before->waiting;
  *leaving = after->leaving + after->outputs - before->outputs;
  const u64 *one = j->row_waiting + row * j->tensor_width;
  const u64 *other = j->column_waiting + column * j->tensor_width;
  for (i64 word = 0; word < j->tensor_width; word++)
    for (u64 bits = one[word] & other[word]; bits; bits &= bits - 1) {
      i64 number = (word << 6) + __builtin_ctzll(bits), tensor = j->tensors[number];
      if (p->leaves[tensor]) *leaving -= p->sizes[tensor];
      if (!j->is_read[number] && j->row_reads[row * j->num_shared + number] ==
                                     j->column_reads[column * j->num_shared + number])
        *entering -= p->sizes[tensor];
    }
}

/* The best chain up to each candidate of the later boundary: it costs least or, `by_crossing`, has
   the fewest crossing bytes of those whose stages keep the limit. */
i64 advance(Search *s, const Boundary *rows, Boundary *columns, i64 k, double limit,
                   int by_crossing) {
  const Problem *p = s->p;
  double room = p->rooms[k];
  Joint joint;
  i64 first = columns->count, last = columns->count, result = FOUND;
  if (!join(p, rows, columns, &joint)) {
    release_joint(&joint);
    return NO_MEMORY;
  }
  for (i64 column = 0; column < columns->count; column++) {
    columns->best[column] = INFINITY;
    columns->origin[column] = 0;
  }
  for (i64 row = rows->count - 1; row >= 0; row--) { /* the heaviest leave least for a stage */
    double so_far = rows->best[row];
    const Numbers *before = &rows->numbers[row];
    if (so_far == INFINITY) continue;
    while (first > 0 && columns->numbers[first - 1].weight >= before->weight) first--;
    while (last > 0 && columns->numbers[last - 1].weight > before->weight + limit) last--;
    if (is_over(s, 1 + last - first) || ((row & 63) == 0 && is_late(s))) {
      result = GAVE_UP;
      break;
    }
    const u64 *inside = joint.inside + row * joint.width;
    for (i64 column = first; column < last; column++) {
      const Numbers *after = &columns->numbers[column];
      /* What is before the stage, or its weight, is too much already. */
      if (columns->best[column] <= so_far ||
          (!by_crossing && columns->best[column] <= after->weight - before->weight) ||
          after->count <= before->count || after->held - before->held > room ||
          !is_within(inside, joint.outside + column * joint.width, joint.width))
        continue;
      double entering, leaving, total;
      bytes_moved(p, &joint, before, after, row, column, &entering, &leaving);
      double cost = cost_of(p, after->op_costs - before->op_costs, entering, leaving);
      if (cost > limit) continue;
      if (by_crossing)
        total = so_far + entering + leaving;
      else if (p->is_sum)
        total = so_far + cost;
      else
        total = cost > so_far ? cost : so_far;
      if (total < columns->best[column] && (by_crossing || total <= limit)) {
        columns->best[column] = total;
        columns->origin[column] = row;
      }
    }
  }
  release_joint(&joint);
  return result;
}
