// The C ABI: checks arguments, and hands on.
#include "sigdca.h"

#include <string.h>

#include "container/file.h"
#include "container/model.h"
#include "core/cpu.h"
#include "core/float_mode.h"
#include "core/object.h"
#include "session/isa.h"
#include "session/session.h"
#include "session/testing.h"

struct sigdca_model {
  sigdca::Model model;
};

struct sigdca_session {
  sigdca::Session session;
};

namespace sigdca {
namespace {

// What statuses are called, by their numbers: those before SIGDCA_MAGIC, then the containers'. As one
// text, of which no address must be mended when the library is loaded.
constexpr char kNames[] =
    "ok\0invalid-argument\0out-of-memory\0io\0unsupported\0not-finite\0";
constexpr char kContainerNames[] =
    "magic\0version\0file-length\0header-checksum\0section-table\0section-kind\0"
    "section-order\0section-length\0section-missing\0section-owner\0section-checksum\0"
    "varint\0graph-bytes\0operator\0shape\0limit\0metadata\0codebook\0value-range\0"
    "code-table\0stream-end\0trailing-bits\0symbol-count\0gap-bits\0gap-overrun\0gap-end\0"
    "level\0frequency\0rans-state\0";

Context start(const sigdca_allocator *allocator, sigdca_error *error) {
  if (error != nullptr) {
    error->status = SIGDCA_OK;
    error->message[0] = 0;
  }
  return Context{allocator == nullptr ? default_allocator() : *allocator, error};
}

sigdca_status check_allocator(const Context &context, const sigdca_allocator *allocator) {
  if (allocator == nullptr ||
      (allocator->allocate != nullptr && allocator->release != nullptr))
    return SIGDCA_OK;
  return context.fail(SIGDCA_INVALID_ARGUMENT, "allocator: has a NULL function");
}

sigdca_status open_model(const Context &context, const uint8_t *data, size_t bytes, bool mapped,
                         sigdca_model **result) {
  const StandardFloatMode mode;
  sigdca_model *model = nullptr;
  SIGDCA_TRY(make(context, &model));
  model->model.allocator = context.allocator;
  model->model.memory.start(context.allocator);
  model->model.data = data;
  model->model.bytes = bytes;
  const Context counted{model->model.memory.allocator(), context.error};
  const sigdca_status status = read_model(counted, &model->model);
  if (status != SIGDCA_OK) {
    destroy(context.allocator, model);
    return status;
  }
  model->model.mapped = mapped;
  *result = model;
  return SIGDCA_OK;
}

uint64_t dense_bytes(const Model &model) {
  uint64_t weights = 0;
  for (const TensorInfo &tensor : model.tensors)
    if (tensor.part < 2) weights += tensor.weights;
  return weights * sizeof(float);
}

// Calls `function` with each prepared layer of a conv or fc operator, in the operators' order,
// until it returns true.
template <class Function>
void each_layer(const Session &session, Function function) {
  for (uint32_t i = 0; i < session.plan.num_layers; ++i)
    if (session.layers[i].prepared != nullptr && function(session.layers[i])) return;
}

const char *kernel_of(const Layer &layer) {
  return layer.conv != nullptr ? layer.conv->name : layer.fc->name;
}

uint64_t weight_bytes_of(const Layer &layer) {
  return layer.conv != nullptr ? layer.conv->weight_bytes(layer.prepared)
                               : layer.fc->weight_bytes(layer.prepared);
}

sigdca_status open_session(const sigdca_model *model, const sigdca_session_options *options,
                           const char *kernel, sigdca_session **session, sigdca_error *error) {
  const sigdca_allocator *allocator = model == nullptr ? nullptr : &model->model.allocator;
  const Context context = start(allocator, error);
  if (session != nullptr) *session = nullptr;
  if (model == nullptr || session == nullptr)
    return context.fail(SIGDCA_INVALID_ARGUMENT, "session: model and session must not be NULL");
  static_assert(sizeof(sigdca_session) == sizeof(Session), "a handle is the object itself");
  const sigdca_session_options standard{SIGDCA_PROFILE_EXACT, 1, 1, nullptr};
  const StandardFloatMode mode;  // with subnormal numbers flushed, a weight could pass for 0
  Session *made = nullptr;
  SIGDCA_TRY(create_session(context, model->model, options == nullptr ? standard : *options,
                            kernel, &made));
  *session = reinterpret_cast<sigdca_session *>(made);
  return SIGDCA_OK;
}

}  // namespace
}  // namespace sigdca

extern "C" {

const char *sigdca_status_name(sigdca_status status) {
  const uint32_t number = static_cast<uint32_t>(status);
  const bool of_container = number >= SIGDCA_MAGIC;
  const char *name = of_container ? sigdca::kContainerNames : sigdca::kNames;
  uint32_t left = of_container ? number - SIGDCA_MAGIC : number;
  for (; left > 0 && *name != '\0'; --left) name += strlen(name) + 1;
  return *name != '\0' ? name : "unknown";
}

sigdca_status sigdca_model_open_memory(const void *data, size_t bytes,
                                       const sigdca_allocator *allocator, sigdca_model **model,
                                       sigdca_error *error) {
  const sigdca::Context context = sigdca::start(allocator, error);
  if (model != nullptr) *model = nullptr;
  if (model == nullptr || (data == nullptr && bytes > 0))
    return context.fail(SIGDCA_INVALID_ARGUMENT, "model: data and model must not be NULL");
  SIGDCA_TRY(sigdca::check_allocator(context, allocator));
  return sigdca::open_model(context, static_cast<const uint8_t *>(data), bytes, false, model);
}

sigdca_status sigdca_model_open_file(const char *path, const sigdca_allocator *allocator,
                                     sigdca_model **model, sigdca_error *error) {
  const sigdca::Context context = sigdca::start(allocator, error);
  if (model != nullptr) *model = nullptr;
  if (model == nullptr || path == nullptr)
    return context.fail(SIGDCA_INVALID_ARGUMENT, "model: path and model must not be NULL");
  SIGDCA_TRY(sigdca::check_allocator(context, allocator));
  const uint8_t *data = nullptr;
  size_t bytes = 0;
  SIGDCA_TRY(sigdca::map_file(context, path, &data, &bytes));
  const sigdca_status status = sigdca::open_model(context, data, bytes, true, model);
  if (status != SIGDCA_OK) sigdca::unmap_file(data, bytes);
  return status;
}

void sigdca_model_close(sigdca_model *model) {
  if (model == nullptr) return;
  if (model->model.mapped) sigdca::unmap_file(model->model.data, model->model.bytes);
  sigdca::destroy(model->model.allocator, model);
}

void sigdca_model_get_info(const sigdca_model *model, sigdca_model_info *info) {
  const sigdca::Model &m = model->model;
  const sigdca::Graph &graph = m.graph;
  *info = sigdca_model_info{};
  info->input_channels = graph.input.channels;
  info->input_height = graph.input.height;
  info->input_width = graph.input.width;
  const uint32_t num_ops = static_cast<uint32_t>(graph.ops.size());
  info->num_classes = static_cast<uint32_t>(graph.shape_of(num_ops).values());
  info->input_scale = graph.input_scale;
  info->num_operators = num_ops;
  info->num_tensors = static_cast<uint32_t>(m.tensors.size());
  info->container_bytes = m.bytes;
  info->dense_bytes = sigdca::dense_bytes(m);
  info->memory_bytes = sizeof(m) + m.memory.bytes();
}

sigdca_status sigdca_model_get_operator(const sigdca_model *model, uint32_t index,
                                        sigdca_operator_info *info) {
  const sigdca::Model &m = model->model;
  if (index >= m.graph.ops.size()) return SIGDCA_INVALID_ARGUMENT;
  const sigdca::Op &op = m.graph.ops[index];
  *info = sigdca_operator_info{};
  info->kind = sigdca::op_name(op.code);
  info->name = op.num_tensors > 0 ? m.graph.name_of(op) : "";
  info->output_shape[0] = op.output.channels;
  info->output_shape[1] = op.output.height;
  info->output_shape[2] = op.output.width;
  for (uint32_t part = 0; part < op.num_tensors; ++part) {
    const sigdca::TensorInfo &tensor = m.tensors[static_cast<uint32_t>(op.first_tensor) + part];
    if (part == 0) info->num_weights = tensor.weights;
    if (m.version == 2 && part > 0) continue;  // a section holds the whole layer
    for (uint32_t i = 0; i < tensor.num_sections; ++i)
      info->bytes += m.sections[tensor.first_section + i].bytes;
  }
  return SIGDCA_OK;
}

sigdca_status sigdca_session_create(const sigdca_model *model,
                                    const sigdca_session_options *options,
                                    sigdca_session **session, sigdca_error *error) {
  return sigdca::open_session(model, options, nullptr, session, error);
}

sigdca_status sigdca_testing_session_create(const sigdca_model *model,
                                            const sigdca_session_options *options,
                                            const char *kernel, sigdca_session **session,
                                            sigdca_error *error) {
  return sigdca::open_session(model, options, kernel, session, error);
}

const char *sigdca_testing_kernel_name(const char *isa, uint32_t operator_code, uint32_t index) {
  const sigdca::CpuFeatures cpu = sigdca::detect_cpu();
  const sigdca::Kernels *kernels = nullptr;
  for (uint32_t i = 0; (kernels = sigdca::available_kernels(cpu, i)) != nullptr; ++i)
    if (strcmp(kernels->isa, isa) == 0) break;
  if (kernels == nullptr) return nullptr;
  const auto name = [index](const auto *const *list) -> const char * {
    for (uint32_t i = 0; i < index && *list != nullptr; ++i) ++list;
    return *list == nullptr ? nullptr : (*list)->name;
  };
  return operator_code == 1 ? name(kernels->conv) : name(kernels->fc);
}

void sigdca_session_close(sigdca_session *session) {
  sigdca::close_session(reinterpret_cast<sigdca::Session *>(session));
}

sigdca_status sigdca_session_run(sigdca_session *session, const uint8_t *images, size_t n,
                                 float *logits, sigdca_error *error) {
  if (session == nullptr || (n > 0 && (images == nullptr || logits == nullptr)))
    return sigdca::start(nullptr, error)
        .fail(SIGDCA_INVALID_ARGUMENT, "run: session, images and logits must not be NULL");
  const sigdca::Context context = sigdca::start(&session->session.allocator, error);
  return sigdca::run_session(context, &session->session, images, n, logits);
}

void sigdca_session_get_info(const sigdca_session *session, sigdca_session_info *info) {
  const sigdca::Session &s = session->session;
  *info = sigdca_session_info{};
  info->isa = s.kernels->isa;
  info->profile = s.profile;
  info->threads = s.threads;
  info->max_batch = s.max_batch;
  sigdca::each_layer(s, [&](const sigdca::Layer &layer) {
    info->weight_bytes += sigdca::weight_bytes_of(layer);
    return false;
  });
  info->activation_bytes =
      s.arenas.bytes() + s.scratch.bytes() + s.batch[0].bytes() + s.batch[1].bytes();
  info->peak_bytes = sizeof(s) + s.memory.peak_bytes();
}

sigdca_status sigdca_session_get_layer(const sigdca_session *session, uint32_t index,
                                       sigdca_layer_info *info) {
  const sigdca::Session &s = session->session;
  sigdca_status status = SIGDCA_INVALID_ARGUMENT;
  sigdca::each_layer(s, [&](const sigdca::Layer &layer) {
    if (index-- > 0) return false;
    info->name = s.model->graph.name_of(s.model->graph.ops[layer.op]);
    info->kernel = sigdca::kernel_of(layer);
    info->num_nonzero = layer.num_nonzero;
    info->weight_bytes = sigdca::weight_bytes_of(layer);
    status = SIGDCA_OK;
    return true;
  });
  return status;
}

const char *sigdca_isa_name(uint32_t index) {
  const sigdca::Kernels *kernels = sigdca::available_kernels(sigdca::detect_cpu(), index);
  return kernels == nullptr ? nullptr : kernels->isa;
}

}  // extern "C"
