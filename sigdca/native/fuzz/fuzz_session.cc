// The runner: a session in some profile, on some instruction set, with some kernel, and images
// through it. Which, follows from the input.
#include <string.h>

#include "container/model.h"
#include "core/cpu.h"
#include "core/crc32.h"
#include "limits.h"
#include "session/isa.h"
#include "session/testing.h"

using namespace sigdca;

namespace {

constexpr size_t kMemory = 32 << 20;
// Of one image, in multiplications or so: no input may take a second.
constexpr double kMaxWork = 5e5;
constexpr double kMaxWeights = 3e5;

void require(bool holds) {
  if (!holds) abort();
}

// Choices, one behind the other.
struct Choices {
  uint32_t bits;

  uint32_t pick(uint32_t count) {
    bits = bits * 1664525 + 1013904223;
    return (bits >> 16) % count;
  }
};

double work_of(const Graph &graph, const Op &op) {
  const double values = static_cast<double>(op.output.values());
  const double plane = double{1} * op.output.height * op.output.width;
  switch (op.code) {
    case OpCode::kConv:
    case OpCode::kFc: return values + plane * static_cast<double>(num_weights(graph, op));
    case OpCode::kMaxPool:
    case OpCode::kAvgPool: return values * op.window.kernel[0] * op.window.kernel[1];
    case OpCode::kLrn: return values * (8 + op.lrn_size);
    default: return 4 * values;
  }
}

// Whether a run ends soon; the graph was checked by the reader already.
bool is_small(const uint8_t *data, size_t bytes) {
  sigdca_fuzz::Limit limit{kMemory};
  const Context context{limit.allocator(), nullptr};
  Model model;
  model.data = data;
  model.bytes = bytes;
  if (read_model(context, &model) != SIGDCA_OK) return false;
  double work = static_cast<double>(model.graph.input.values()), weights = 0;
  for (const Op &op : model.graph.ops) {
    work += work_of(model.graph, op);
    for (uint32_t input = 0; input < op.num_inputs; ++input)
      work += static_cast<double>(model.graph.shape_of(model.graph.inputs_of(op)[input]).values());
  }
  for (const TensorInfo &tensor : model.tensors) weights += static_cast<double>(tensor.weights);
  return work <= kMaxWork && weights <= kMaxWeights;
}

// A kernel's name to prefer, or null for the session's own choice.
const char *pick_kernel(const Kernels &kernels, Choices *choices) {
  if (choices->pick(3) == 0) return nullptr;
  const char *names[64];
  uint32_t count = 0;
  for (auto kernel = kernels.conv; *kernel != nullptr && count < 32; ++kernel)
    names[count++] = (*kernel)->name;
  for (auto kernel = kernels.fc; *kernel != nullptr && count < 64; ++kernel)
    names[count++] = (*kernel)->name;
  return names[choices->pick(count)];
}

void run(const sigdca_model *model, sigdca_session *session, uint32_t n, Choices *choices) {
  sigdca_model_info info;
  sigdca_model_get_info(model, &info);
  const size_t pixels = size_t{n} * info.input_channels * info.input_height * info.input_width;
  const size_t values = size_t{n} * info.num_classes;
  // Exactly as large as they must be.
  uint8_t *images = static_cast<uint8_t *>(malloc(pixels));
  float *logits = static_cast<float *>(malloc(values * sizeof(float)));
  for (size_t index = 0; index < pixels; ++index)
    images[index] = static_cast<uint8_t>(choices->pick(256));
  sigdca_error error;
  const sigdca_status status = sigdca_session_run(session, images, n, logits, &error);
  require(status == SIGDCA_OK || status == SIGDCA_NOT_FINITE);
  volatile float sum = 0;  // all must have been written: a sanitizer of memory would say
  for (size_t index = 0; index < values; ++index) sum = sum + logits[index];
  free(images);
  free(logits);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  if (!is_small(data, bytes)) return 0;
  Choices choices{crc32(data, bytes)};
  const CpuFeatures cpu = detect_cpu();
  uint32_t num_isas = 0;
  while (available_kernels(cpu, num_isas) != nullptr) ++num_isas;
  const Kernels &kernels = *available_kernels(cpu, choices.pick(num_isas));
  sigdca_session_options options{};
  options.profile = static_cast<sigdca_profile>(choices.pick(3));
  options.threads = choices.pick(16) == 0 ? 2 + choices.pick(2) : 1;  // threads take time to start
  options.max_batch = choices.pick(2) == 0 ? 1 : 1 + choices.pick(20);
  options.isa = kernels.isa;
  const char *kernel = pick_kernel(kernels, &choices);

  sigdca_fuzz::Limit limit{kMemory};
  const sigdca_allocator allocator = limit.allocator();
  sigdca_error error;
  sigdca_model *model = nullptr;
  sigdca_session *session = nullptr;
  require(sigdca_model_open_memory(data, bytes, &allocator, &model, &error) == SIGDCA_OK);
  const sigdca_status status =
      sigdca_testing_session_create(model, &options, kernel, &session, &error);
  require((status == SIGDCA_OK) == (session != nullptr) && status == error.status);
  require(status != SIGDCA_INVALID_ARGUMENT);
  if (status == SIGDCA_OK) run(model, session, 1 + choices.pick(3), &choices);
  sigdca_session_close(session);
  sigdca_model_close(model);
  require(limit.left == kMemory);
  return 0;
}
