/* How twins of plain Python loops are called: arrays in the order of the arguments, results last, and
   then all numbers. */
#ifndef RESPECT_TF_PLAIN_H
#define RESPECT_TF_PLAIN_H

#include "problem.h"

typedef struct {
  void *data;
  i64 rows, columns; /* columns is 1 for arrays of one dimension */
} Array;

#endif
