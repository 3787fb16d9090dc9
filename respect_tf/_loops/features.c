/* What the network sees of each op: the twin of `run_op_features`, with the same results to the last
   bit. */
#include "plain.h"

static const double USUAL_DEGREE = 4; /* see `_USUAL_DEGREE` */

static inline float share(double part, double rest) {
  return part + rest > 0 ? (float)(part / (part + rest)) : 0;
}

/* order, own, sent, before, after, level, height, in_degree, out_degree, orders [num_orders, n],
   features [n, num_features], which are filled in; cost of a stage, number of stages. */
EXPORT i64 respect_run_op_features(const Array *a, const double *scalars) {
  const i64 *order = a[0].data, *in_degree = a[7].data, *out_degree = a[8].data;
  const double *own = a[1].data, *sent = a[2].data, *before = a[3].data, *after = a[4].data;
  const double *level = a[5].data, *height = a[6].data;
  double stage_cost = scalars[0], num_stages = scalars[1], longest = 1;
  i64 n = a[0].rows, width = a[10].columns, ranks = width - a[9].rows;
  for (i64 op = 0; op < n; op++) longest = level[op] > longest ? level[op] : longest;
  for (i64 op = 0; op < n; op++) {
    float *f = (float *)a[10].data + order[op] * width;
    *f++ = share(own[op], stage_cost);
    *f++ = share(sent[op], stage_cost);
    *f++ = share(sent[op], own[op]);
    *f++ = (float)before[op];
    *f++ = (float)after[op];
    *f++ = (float)(before[op] * num_stages / 4);
    *f++ = (float)(after[op] * num_stages / 4);
    *f++ = (float)(level[op] / longest);
    *f++ = (float)(height[op] / longest);
    *f++ = share((double)in_degree[op], USUAL_DEGREE);
    *f++ = share((double)out_degree[op], USUAL_DEGREE);
    *f++ = own[op] > 0;
    *f++ = in_degree[op] > 1;
    *f++ = out_degree[op] > 1;
  }
  for (i64 number = 0; number < a[9].rows; number++) {
    const i64 *places = (const i64 *)a[9].data + number * n;
    float *column = (float *)a[10].data + ranks + number;
    for (i64 place = 0; place < n; place++)
      column[order[places[place]] * width] = (float)(((double)place + 0.5) / (double)n);
  }
  return FOUND;
}
