// The float32 convolutions of one instruction set, for its conv.cc, which defines kSparseTuning,
// kDenseTuning, kWinogradTuning and kDepthwiseTuning before. Include a vec_<isa>.h before, too.
#pragma once

#include "kernels/simd/conv_dense.h"
#include "kernels/simd/conv_depthwise_run.h"
#include "kernels/simd/conv_sparse.h"
#include "kernels/simd/conv_winograd_run.h"
#include "kernels/simd/tables.h"

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

ConvTuning sparse_tuning(const Weights &weights) {
  ConvTuning tuning = kSparseTuning;
  if (!has_codes(weights)) tuning.sizes = kRawSizes;
  return tuning;
}

double sparse_cost_ns(const LayerRequest &, const ConvShape &shape, const Weights &weights) {
  return make_plan(sparse_tuning(weights), shape, static_cast<double>(weights.num_nonzero())).total_ns;
}

sigdca_status prepare_sparse(const Context &context, const LayerRequest &request,
                             const ConvShape &shape, const Weights &weights,
                             const Epilogue &epilogue, PreparedLayer **layer) {
  return prepare_sparse_conv(context, sparse_tuning(weights), request, shape, weights, epilogue, layer);
}

double dense_cost_ns(const LayerRequest &, const ConvShape &shape, const Weights &weights) {
  const double all = static_cast<double>(weights.rows) * weights.cols;
  return make_plan(kDenseTuning, shape, all).total_ns;
}

sigdca_status prepare_dense(const Context &context, const LayerRequest &request,
                            const ConvShape &shape, const Weights &weights,
                            const Epilogue &epilogue, PreparedLayer **layer) {
  return prepare_dense_conv(context, kDenseTuning, request, shape, weights, epilogue, layer);
}

double winograd_ns(const LayerRequest &request, const ConvShape &shape, const Weights &) {
  return winograd_cost_ns(kWinogradTuning, request, shape);
}

sigdca_status prepare_winograd(const Context &context, const LayerRequest &,
                               const ConvShape &shape, const Weights &weights,
                               const Epilogue &epilogue, PreparedLayer **layer) {
  return prepare_winograd(context, kWinogradTuning, shape, weights, epilogue, layer);
}

double depthwise_ns(const LayerRequest &, const ConvShape &shape, const Weights &) {
  return depthwise_cost_ns(kDepthwiseTuning, shape);
}

sigdca_status prepare_depthwise(const Context &context, const LayerRequest &request,
                                const ConvShape &shape, const Weights &weights,
                                const Epilogue &epilogue, PreparedLayer **layer) {
  return prepare_depthwise(context, kDepthwiseTuning, request.profile == SIGDCA_PROFILE_EXACT,
                           shape, weights, epilogue, layer);
}

}  // namespace

// Of the whole program: other instruction sets may list them, too.
extern const ConvKernel kSparseConv, kDenseConv, kWinogradConv, kDepthwiseConv;
const ConvKernel kSparseConv = {"sparse", sparse_cost_ns, prepare_sparse, release_conv,
                                conv_weight_bytes, conv_scratch_bytes, sparse_conv_run};
const ConvKernel kDenseConv = {"dense", dense_cost_ns, prepare_dense, release_conv,
                               conv_weight_bytes, conv_scratch_bytes, dense_conv_run};
const ConvKernel kWinogradConv = {"winograd", winograd_ns, prepare_winograd, release_winograd,
                                  winograd_weight_bytes, winograd_scratch_bytes,
                                  winograd_conv_run};
const ConvKernel kDepthwiseConv = {"depthwise", depthwise_ns, prepare_depthwise,
                                   release_depthwise, depthwise_weight_bytes,
                                   depthwise_scratch_bytes, depthwise_conv_run};

}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
