/* Inputs in a row of queues: a twin of the plain loop of `device/_events.py`, with the same results to
   the last bit. */
#include "plain.h"

typedef struct {
  i64 num_servers, last;
  const double *dispatch;
  const i64 *sizes;
  i64 *held, *handed, *started, *left, *blocked;
  double *heads;           /* when the first item that each server is at ends */
  double **starts, **ends; /* of each server by item; starts hold when it is handed over before */
  double *times, now, host_free;
} Row;

static void look(Row *r, i64 server) {
  double *times = r->times + 2 * (r->last - server);
  i64 items = r->started[server] - r->left[server];
  times[0] = items > 0 && !r->blocked[server] ? r->heads[server] : INFINITY;
  times[1] = INFINITY;
  if (items < r->sizes[server] && r->handed[server] > r->started[server]) {
    double given = r->starts[server][r->started[server]];
    times[1] = given > r->now ? given : r->now;
  }
}

static void hand_over(Row *r, i64 server) {
  double given = r->now;
  r->held[server]++;
  if (r->dispatch[server] != 0) {
    given = (r->host_free > r->now ? r->host_free : r->now) + r->dispatch[server];
    r->host_free = given;
  }
  r->starts[server][r->handed[server]++] = given;
  look(r, server);
}

static void leave(Row *r, i64 server) {
  i64 next = ++r->left[server];
  if (r->started[server] > next) {
    double end = r->ends[server][next];
    r->heads[server] = end < r->now ? r->now : end;
  }
  look(r, server);
}

/* busy, alone, bus, dispatch, extra, cores, sizes, limits, arrivals, then filled: when each input entered,
   and when each server began and ended with it, a row for each server. */
EXPORT i64 respect_run_events(const Array *a, const double *numbers) {
  const double *busy = a[0].data, *alone = a[1].data, *bus = a[2].data, *extra = a[4].data;
  const double *cores = a[5].data;
  const i64 *limits = a[7].data;
  const double *arrivals = a[8].data;
  double *entered = a[9].data, bus_free = 0, cores_free = 0;
  i64 n = a[0].rows, num_inputs = a[8].rows, num_entered = 0, result = NO_MEMORY;
  (void)numbers;
  Row r = {.num_servers = n, .last = n - 1, .dispatch = a[3].data, .sizes = a[6].data};
  i64 *counts = calloc(5 * n, sizeof(i64));
  double *values = malloc((3 * n + 1) * sizeof(double));
  double **rows = malloc(2 * n * sizeof(double *));
  if (!counts || !values || !rows) goto end;
  r.held = counts;
  r.handed = counts + n;
  r.started = counts + 2 * n;
  r.left = counts + 3 * n;
  r.blocked = counts + 4 * n;
  r.heads = values;
  r.times = values + n;
  r.starts = rows;
  r.ends = rows + n;
  for (i64 server = 0; server < n; server++) {
    r.starts[server] = (double *)a[10].data + server * num_inputs;
    r.ends[server] = (double *)a[11].data + server * num_inputs;
  }
  for (i64 event = 0; event < 2 * n; event++) r.times[event] = INFINITY;
  r.times[2 * n] = arrivals[0];
  for (;;) {
    i64 event = 0;
    for (i64 other = 1; other <= 2 * n; other++)
      if (r.times[other] < r.times[event]) event = other;
    r.now = r.times[event];
    if (!(r.now < INFINITY)) break;
    i64 server = event < 2 * n ? r.last - event / 2 : -1;
    if (server >= 0 && event % 2 == 0) {
      if (server == r.last) {
        leave(&r, server);
      } else if (r.held[server + 1] < limits[server + 1]) {
        hand_over(&r, server + 1);
        leave(&r, server);
      } else {
        r.blocked[server] = 1;
        look(&r, server);
      }
      continue;
    }
    if (server >= 0) {
      i64 item = r.started[server]++;
      r.held[server]--;
      int crowded = num_entered - r.left[r.last] > 1;
      double end = r.now + (crowded ? busy : alone)[server];
      if (item < r.sizes[server]) end += extra[server];
      if (bus[server] != 0) {
        bus_free = (bus_free > r.now ? bus_free : r.now) + bus[server];
        if (crowded && bus_free > end) end = bus_free;
      }
      if (cores[server] != 0) {
        cores_free = (cores_free > r.now ? cores_free : r.now) + cores[server];
        if (crowded && cores_free > end) end = cores_free;
      }
      if (item > r.left[server]) { /* results keep their order */
        double before = item - 1 == r.left[server] ? r.heads[server] : r.ends[server][item - 1];
        if (before > end) end = before;
      }
      r.starts[server][item] = r.now;
      r.ends[server][item] = end;
      if (item == r.left[server]) r.heads[server] = end;
      look(&r, server);
      if (server > 0 && r.blocked[server - 1]) {
        r.blocked[server - 1] = 0;
        hand_over(&r, server);
        leave(&r, server - 1);
      }
    }
    if (server <= 0) {
      r.times[2 * n] = INFINITY;
      while (num_entered < num_inputs && r.held[0] < limits[0]) {
        if (arrivals[num_entered] > r.now) {
          r.times[2 * n] = arrivals[num_entered];
          break;
        }
        entered[num_entered++] = r.now;
        hand_over(&r, 0);
      }
    }
  }
  result = FOUND;
end:
  free(counts);
  free(values);
  free(rows);
  return result;
}
