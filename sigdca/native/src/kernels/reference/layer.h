// What the plain conv and fc keep of their weights: each that is not zero, with its column.
#pragma once

#include "core/object.h"
#include "kernels/kernels.h"

namespace sigdca::reference {

struct Layer {
  sigdca_allocator allocator{};
  ConvShape shape{};  // conv only
  Epilogue epilogue{};
  uint32_t rows = 0, cols = 0;
  Array<float> values;
  Array<uint32_t> columns;
  Array<uint64_t> row_start;
};

inline sigdca_status make_layer(const Context &context, const Weights &weights,
                                const Epilogue &epilogue, Layer **layer) {
  SIGDCA_TRY(make(context, layer));
  Layer &made = **layer;
  made.allocator = context.allocator;
  made.epilogue = epilogue;
  made.rows = weights.rows, made.cols = weights.cols;
  const size_t count = weights.num_nonzero();
  sigdca_status status = made.values.allocate(context, count);
  if (status == SIGDCA_OK) status = made.columns.allocate(context, count);
  if (status == SIGDCA_OK) status = made.row_start.allocate(context, made.rows + size_t{1});
  if (status != SIGDCA_OK) {
    destroy(context.allocator, *layer);
    return status;
  }
  for (size_t i = 0; i < count; ++i) {
    made.values[i] = weights.value(i);
    made.columns[i] = weights.columns[i];
  }
  for (size_t row = 0; row <= made.rows; ++row) made.row_start[row] = weights.row_start[row];
  return SIGDCA_OK;
}

inline const Layer *of(const PreparedLayer *layer) {
  return reinterpret_cast<const Layer *>(layer);
}

inline void release(const Context &context, PreparedLayer *layer) {
  destroy(context.allocator, reinterpret_cast<Layer *>(layer));
}

inline size_t weight_bytes(const PreparedLayer *layer) {
  return of(layer)->values.bytes() + of(layer)->columns.bytes() + of(layer)->row_start.bytes();
}

inline size_t scratch_bytes(const PreparedLayer *, uint32_t) { return 0; }

// The epilogue for one sum of output channel `row`.
inline float finish(const Epilogue &epilogue, uint32_t row, float sum) {
  if (epilogue.scale != nullptr) sum = sum * epilogue.scale[row];
  if (epilogue.shift != nullptr) sum = sum + epilogue.shift[row];
  sum = epilogue.low > sum ? epilogue.low : sum;  // a NaN stays one
  return epilogue.high < sum ? epilogue.high : sum;
}

}  // namespace sigdca::reference
