/* The least cut of a network: the twin of `run_least_cut` of `scheduling/_least_cut.py`.

   A largest flow by shortest paths, all of one length at a time (Dinic). Which flow it is does not
   matter: its amount and the nodes that are left on the side of the start are those of every one. */
#include "plain.h"

typedef struct {
  const int32_t *ends, *heads, *back; /* arcs of each node, where each leads, and its way back */
  int32_t *left, *level, *next, *queue, *path;
  int32_t start, end, num_nodes;
} Flow;

/* How far nodes are from the start by arcs with room left, up to the end; -1 for those that are not
   reached. Returns whether the end is. */
static int measure(Flow *f) {
  i64 first = 0, last = 0;
  memset(f->level, -1, f->num_nodes * sizeof(int32_t));
  f->level[f->start] = 0;
  f->queue[last++] = f->start;
  while (first < last) {
    int32_t node = f->queue[first++];
    for (int32_t arc = f->ends[node]; arc < f->ends[node + 1]; arc++) {
      int32_t head = f->heads[arc];
      if (!f->left[arc] || f->level[head] >= 0) continue;
      f->level[head] = f->level[node] + 1;
      if (head == f->end) return 1;
      f->queue[last++] = head;
    }
  }
  return 0;
}

/* Fill all shortest paths, each from the end back to the start; returns what is sent. */
static i64 fill(Flow *f) {
  i64 sent = 0, length = 0;
  int32_t node = f->end;
  memcpy(f->next, f->ends, f->num_nodes * sizeof(int32_t));
  for (;;) {
    if (node == f->start) {
      int32_t most = INT32_MAX;
      i64 first = 0;
      for (i64 step = 0; step < length; step++)
        if (f->left[f->path[step]] < most) most = f->left[f->path[first = step]];
      for (i64 step = 0; step < length; step++) {
        f->left[f->path[step]] -= most;
        f->left[f->back[f->path[step]]] += most;
      }
      sent += most;
      length = first; /* on from the node that the first full arc leads to */
      node = f->heads[f->path[first]];
      continue;
    }
    int32_t way = f->next[node];
    while (way < f->ends[node + 1] && (f->level[f->heads[way]] != f->level[node] - 1 ||
                                       !f->left[f->back[way]]))
      way++;
    f->next[node] = way;
    if (way < f->ends[node + 1]) {
      f->path[length++] = f->back[way];
      node = f->heads[way];
      continue;
    }
    if (!length) return sent;
    f->level[node] = INT32_MAX; /* nothing more gets through here */
    node = f->heads[f->path[--length]];
    f->next[node]++;
  }
}

/* Arrays: ends of the nodes' arcs, heads and ways back of arcs, their capacities; whether each node
   is on the side of the start, and the flow, which are filled in. Numbers: start and end. */
EXPORT i64 respect_run_least_cut(const Array *a, const double *numbers) {
  i64 num_nodes = a[0].rows - 1, num_arcs = a[1].rows, sent = 0;
  uint8_t *side = a[4].data;
  Flow f = {a[0].data, a[1].data, a[2].data, 0, 0, 0, 0, 0,
            (int32_t)numbers[0], (int32_t)numbers[1], (int32_t)num_nodes};
  int32_t *room = malloc((num_arcs + 4 * num_nodes + 1) * sizeof(int32_t));
  if (!room) return NO_MEMORY;
  f.left = room;
  f.level = room + num_arcs;
  f.next = f.level + num_nodes;
  f.queue = f.next + num_nodes;
  f.path = f.queue + num_nodes;
  memcpy(f.left, a[3].data, num_arcs * sizeof(int32_t));
  while (measure(&f)) sent += fill(&f);
  for (i64 node = 0; node < num_nodes; node++) side[node] = f.level[node] >= 0;
  *(i64 *)a[5].data = sent;
  free(room);
  return FOUND;
}
