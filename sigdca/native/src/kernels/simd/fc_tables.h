// The fully connected kernels that all instruction sets have, and what they cost: nanoseconds as
// measured on one core of a server of 2023 with the instruction set (kCosts in <isa>/fc.cc).
#pragma once

#include "kernels/simd/fc_batch.h"
#include "kernels/simd/fc_columns.h"
#include "kernels/simd/fc_dense.h"
#include "kernels/simd/fc_int8.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {

// How many of a layer's inputs are not zero is only known when it runs.
constexpr double kNonzeroInputs = 0.6;
// Of a sparse layer's dense form: what a second-level cache holds.
constexpr double kMostDenseBytes = 1 << 20;

// The time to read `bytes` of weights, which the caches keep from run to run or not.
static double stream_ns(const LayerRequest &request, double bytes) {
  const double near = request.cpu.amd ? 0.012 : 0.006;
  return bytes * (bytes < 1.5e6 ? near : bytes < 48e6 ? 0.038 : 0.12);
}

static double columns_cost(const LayerRequest &request, const Weights &weights) {
  const double of_column = 3 + kCosts.pair * static_cast<double>(weights.num_nonzero()) /
                                   (weights.cols + 1.0);
  return request.max_batch * (20 + weights.cols * (0.15 + kNonzeroInputs * of_column));
}

// Vectors of images that the batch kernel takes at once: 1, 2, 4 or 8; as a power of 2.
static int batch_power(size_t images) {
  int power = 0;
  while (power < 3 && (size_t{kLanes} << power) < images) ++power;
  return power;
}

static double batch_cost(const LayerRequest &request, const Weights &weights) {
  double ns = 0.1 * request.max_batch * (static_cast<double>(weights.cols) + weights.rows);
  const uint32_t pass = static_cast<uint32_t>(kLanes) << batch_power(request.max_batch);
  for (uint32_t image = 0; image < request.max_batch; image += pass)
    ns += 150 + 3.0 * weights.rows + static_cast<double>(weights.num_nonzero()) *
                                        kCosts.batch[batch_power(request.max_batch - image)];
  return ns;
}
static sigdca_status prepare_batch(const Context &context, const LayerRequest &request,
                                   const Weights &weights, const Epilogue &epilogue,
                                   PreparedLayer **layer) {
  const uint32_t pass = static_cast<uint32_t>(kLanes) << batch_power(request.max_batch);
  return fc::prepare_batch(context, request, pass, weights, epilogue, layer);
}

static double dense_cost(const LayerRequest &request, const Weights &weights) {
  const double rows = (weights.rows + kLanes - 1) / kLanes * static_cast<double>(kLanes);
  const double cells = rows * weights.cols;
  // A large layer of few shared weights keeps its size, however fast the dense one would be.
  const bool sparse = static_cast<double>(weights.num_nonzero()) < 0.5 * cells;
  if (weights.shared() && sparse && 4 * cells > kMostDenseBytes) return -1;
  const double compute = cells * (request.max_batch == 1 ? kCosts.dense_alone
                                                         : kCosts.dense * request.max_batch);
  const double stream = stream_ns(request, 4 * cells);
  return 20 + (compute > stream ? compute : stream);
}
static sigdca_status prepare_dense(const Context &context, const LayerRequest &request,
                                   const Weights &weights, const Epilogue &epilogue,
                                   PreparedLayer **layer) {
  return fc::prepare_dense(context, request, kLanes, weights, epilogue, layer);
}

static double int8_cost(const LayerRequest &request, const Weights &weights) {
  if (request.profile != SIGDCA_PROFILE_INT8 || weights.cols > fc::kInt8MostCols) return -1;
  const double vectors = (weights.rows + kLanes - 1) / kLanes;
  const double quads = 0.25 * weights.cols;
  // A byte for every weight: too many where few are left and a cache does not hold them.
  const double cells = static_cast<double>(weights.rows) * weights.cols;
  if (cells > 4e6 && static_cast<double>(weights.num_nonzero()) < 0.3 * cells) return -1;
  const double compute = kCosts.int8 * vectors * quads;
  const double stream = stream_ns(request, vectors * quads * 4 * kLanes);
  return request.max_batch *
         (40 + 0.25 * weights.cols + kNonzeroInputs * (compute > stream ? compute : stream));
}
static sigdca_status prepare_int8(const Context &context, const LayerRequest &request,
                                  const Weights &weights, const Epilogue &epilogue,
                                  PreparedLayer **layer) {
  return fc::prepare_int8(context, request, {kLanes}, weights, epilogue, layer);
}

constexpr FcKernel kColumns = {"sparse-columns",    columns_cost,       fc::prepare_columns,
                               fc::release_columns, fc::columns_bytes,  fc::columns_scratch,
                               run_columns};
constexpr FcKernel kBatch = {"sparse-batch",    batch_cost,      prepare_batch,
                             fc::release_batch, fc::batch_bytes, fc::batch_scratch,
                             run_batch};
constexpr FcKernel kDense = {"dense",           dense_cost,      prepare_dense,
                             fc::release_dense, fc::dense_bytes, fc::dense_scratch,
                             run_dense};
constexpr FcKernel kInt8 = {"int8",           int8_cost,      prepare_int8,
                            fc::release_int8, fc::int8_bytes, fc::int8_scratch,
                            run_int8};

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
