/* Which layers find no room on chip: the twin of `run_left_out` of `device/_tiles.py`. */
#include "plain.h"

/* Put a block into the tile that has most room: the first of a heap. */
static void put_block(double *used, i64 num_tiles, double size) {
  double value = used[0] + size;
  i64 place = 0;
  for (;;) {
    i64 child = 2 * place + 1;
    if (child >= num_tiles) break;
    if (child + 1 < num_tiles && used[child + 1] < used[child]) child++;
    if (used[child] >= value) break;
    used[place] = used[child];
    place = child;
  }
  used[place] = value;
}

/* The first layer from `first` on that asks for no more than is left; layers ask for less and less. */
static i64 next_layer(const i64 *sizes, i64 first, i64 last, double left, i64 num_tiles) {
  while (first < last) {
    i64 middle = first + (last - first) / 2;
    if ((double)(sizes[middle] * num_tiles) > left) first = middle + 1;
    else last = middle;
  }
  return first;
}

/* Stages that are intervals of an order, of layers with a block in each tile: bytes of a block of
   layers in the order of asking, ascending never; their places in the order; first place and end of
   each stage; room in each tile of each; amounts of each layer; then sums of the amounts of those
   that find room, [num_stages, num_amounts], which are filled in; and the number of tiles. */
EXPORT i64 respect_run_kept_sums(const Array *a, const double *numbers) {
  const i64 *sizes = a[0].data, *places = a[1].data, *starts = a[2].data, *stops = a[3].data;
  const double *tile_bytes = a[4].data, *amounts = a[5].data;
  double *sums = a[6].data;
  i64 num_layers = a[0].rows, columns = a[6].columns, num_tiles = (i64)numbers[0];
  for (i64 stage = 0; stage < a[6].rows; stage++, sums += columns) {
    double room = tile_bytes[stage], used = 0;
    for (i64 column = 0; column < columns; column++) sums[column] = 0;
    for (i64 layer = 0; layer < num_layers; layer++) {
      if (places[layer] < starts[stage] || places[layer] >= stops[stage]) continue;
      if (used + sizes[layer] > room) {
        layer = next_layer(sizes, layer + 1, num_layers, num_tiles * (room - used), num_tiles) - 1;
        continue;
      }
      used += sizes[layer];
      for (i64 column = 0; column < columns; column++)
        sums[column] += amounts[layer * columns + column];
    }
  }
  return FOUND;
}

/* Arrays: blocks and bytes of a block of layers in the order of asking, [num_stages, num_layers] the
   layers that each stage has, room in each tile of each stage, and which layers are left out, which
   is filled in; then the number of tiles. */
EXPORT i64 respect_run_left_out(const Array *a, const double *numbers) {
  const i64 *blocks = a[0].data, *sizes = a[1].data;
  const uint8_t *inside = a[2].data;
  const double *tile_bytes = a[3].data;
  uint8_t *result = a[4].data;
  i64 num_layers = a[0].rows, num_tiles = (i64)numbers[0];
  double *used = malloc(2 * num_tiles * sizeof(double)), *trial = used + num_tiles;
  if (!used) return NO_MEMORY;
  for (i64 stage = 0; stage < a[3].rows; stage++, inside += num_layers, result += num_layers) {
    double room = tile_bytes[stage], left = num_tiles * room;
    for (i64 tile = 0; tile < num_tiles; tile++) used[tile] = 0;
    for (i64 layer = 0; layer < num_layers; layer++) {
      result[layer] = 0;
      if (!inside[layer]) continue;
      double size = (double)sizes[layer];
      i64 count = blocks[layer];
      if ((count + num_tiles) * size <= left) {
        /* The tile with most room is never fuller than the average: this much always fits. */
        for (i64 block = 0; block < count; block++) put_block(used, num_tiles, size);
        left -= count * size;
        continue;
      }
      result[layer] = 1;
      if (size > room || count * size > left) continue;
      memcpy(trial, used, num_tiles * sizeof(double));
      i64 block = 0;
      for (; block < count && trial[0] + size <= room; block++) put_block(trial, num_tiles, size);
      if (block < count) continue;
      memcpy(used, trial, num_tiles * sizeof(double));
      left -= count * size;
      result[layer] = 0;
    }
  }
  free(used);
  return FOUND;
}
