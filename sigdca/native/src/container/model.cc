#include "container/model.h"

#include "container/coded_bytes.h"
#include "container/layout.h"
#include "container/metadata.h"
#include "container/text.h"

namespace sigdca {
namespace {

// Of version 2, where a few bytes may stand for many.
constexpr size_t kMaxGraphBytes = 65536, kMaxMetadataBytes = 65536;

constexpr unsigned bit_of(SectionKind kind) { return 1u << static_cast<uint8_t>(kind); }

constexpr unsigned kDenseForm = bit_of(SectionKind::kDense);
constexpr unsigned kSharedForm = bit_of(SectionKind::kCodebook) | bit_of(SectionKind::kIndices);
constexpr unsigned kSparseForm = kSharedForm | bit_of(SectionKind::kGaps);

const Section *own_section(const Model &model, SectionKind kind) {
  for (const Section &section : model.sections) {
    if (!is_of_file(section.kind)) break;
    if (section.kind == kind) return &section;
  }
  return nullptr;
}

// Checks one of the file's own sections, decodes it if need be, and gives it to `read`.
template <class Read>
sigdca_status read_own(const Context &context, const Model &model, const Section &section,
                       const char *where, size_t limit, Read read) {
  SIGDCA_TRY(check_section(context, section, where));
  if (model.version == 1) return read(section.data, size_t{section.bytes});
  Array<uint8_t> bytes;
  SIGDCA_TRY(read_coded_bytes(context, section.data, section.bytes, where, limit, &bytes));
  return read(bytes.data(), bytes.size());
}

sigdca_status list_tensors(const Context &context, Model *model) {
  const Graph &graph = model->graph;
  SIGDCA_TRY(model->tensors.allocate(context, graph.num_tensors));
  TensorInfo *next = model->tensors.data();
  for (uint32_t index = 0; index < graph.ops.size(); ++index) {
    const Op &op = graph.ops[index];
    for (uint32_t part = 0; part < op.num_tensors; ++part) {
      *next = TensorInfo{};
      next->op = index;
      next->part = part;
      next->weights = part == 0 ? num_weights(graph, op) : op.output.channels;
      ++next;
    }
  }
  return SIGDCA_OK;
}

// Version 2: gives each layer's tensors the layer's section.
sigdca_status assign_layers(const Context &context, Model *model) {
  uint32_t next = 0;
  while (next < model->sections.size() && is_of_file(model->sections[next].kind)) ++next;
  const uint32_t first = next;
  uint32_t num_layers = 0;
  for (const Op &op : model->graph.ops) {
    if (op.num_tensors == 0) continue;
    ++num_layers;
    if (next == model->sections.size()) {
      return context.fail(SIGDCA_SECTION_MISSING, "layer '%s': has no section",
                          model->graph.name_of(op));
    }
    for (uint32_t part = 0; part < op.num_tensors; ++part) {
      TensorInfo &tensor = model->tensors[static_cast<uint32_t>(op.first_tensor) + part];
      tensor.first_section = next;
      tensor.num_sections = 1;
    }
    ++next;
  }
  if (next == model->sections.size()) return SIGDCA_OK;
  return context.fail(SIGDCA_SECTION_OWNER,
                      "container: has %zu layer sections, the graph has %u layers",
                      model->sections.size() - first, num_layers);
}

// Version 2: checks the layers' checksums.
sigdca_status check_layer_checksums(const Context &context, const Model &model) {
  for (const TensorInfo &tensor : model.tensors) {
    if (tensor.part != 0) continue;
    Text where;
    where.add("layer '%s'", model.graph.name_of(model.graph.ops[tensor.op]));
    SIGDCA_TRY(check_section(context, model.sections[tensor.first_section], where.get()));
  }
  return SIGDCA_OK;
}

// Gives each tensor its sections: they lie one behind the other.
sigdca_status assign_sections(const Context &context, Model *model) {
  const Array<Section> &sections = model->sections;
  for (uint32_t number = 0; number < sections.size(); ++number) {
    const Section &section = sections[number];
    if (is_of_file(section.kind)) continue;
    if (section.tensor >= model->tensors.size()) {
      return context.fail(SIGDCA_SECTION_OWNER,
                          "container: %s section of tensor %u, the graph has %zu tensors",
                          kind_name(section.kind), section.tensor, model->tensors.size());
    }
    TensorInfo &tensor = model->tensors[section.tensor];
    if (tensor.num_sections++ == 0) tensor.first_section = number;
  }
  return SIGDCA_OK;
}

sigdca_status check_form(const Context &context, const Model &model, const TensorInfo &tensor) {
  unsigned form = 0;
  Text got;
  for (uint32_t index = 0; index < tensor.num_sections; ++index) {
    const SectionKind kind = model.sections[tensor.first_section + index].kind;
    form |= bit_of(kind);
    got.add(index == 0 ? "%s" : " and %s", kind_name(kind));
  }
  if (form == kDenseForm || form == kSharedForm || form == kSparseForm) return SIGDCA_OK;
  return context.fail(SIGDCA_SECTION_MISSING,
                      "%s: must have codebook and indices, perhaps gaps, or dense alone, got %s",
                      describe_tensor(model, tensor).get(), form != 0 ? got.get() : "nothing");
}

sigdca_status check_tensor_checksums(const Context &context, const Model &model,
                                     const TensorInfo &tensor) {
  for (uint32_t index = 0; index < tensor.num_sections; ++index) {
    const Section &section = model.sections[tensor.first_section + index];
    Text where = describe_tensor(model, tensor);
    where.add(": %s", kind_name(section.kind));
    SIGDCA_TRY(check_section(context, section, where.get()));
  }
  return SIGDCA_OK;
}

}  // namespace

Text describe_tensor(const Model &model, const TensorInfo &tensor) {
  static const char *const kParts[] = {"", ": bias", ": running_mean", ": running_var"};
  Text text;
  text.add("layer '%s'%s", model.graph.name_of(model.graph.ops[tensor.op]), kParts[tensor.part]);
  return text;
}

sigdca_status read_model(const Context &context, Model *model) {
  SIGDCA_TRY(read_table(context, model->data, model->bytes, &model->version, &model->sections));
  const Section *graph = own_section(*model, SectionKind::kGraph);
  if (graph == nullptr)
    return context.fail(SIGDCA_SECTION_MISSING, "container: has no graph section");
  SIGDCA_TRY(read_own(context, *model, *graph, "graph", kMaxGraphBytes, [&](const uint8_t *data, size_t bytes) {
    return read_graph(context, data, bytes, &model->graph);
  }));
  const Section *metadata = own_section(*model, SectionKind::kMetadata);
  if (metadata != nullptr) {
    SIGDCA_TRY(read_own(context, *model, *metadata, "metadata", kMaxMetadataBytes,
                        [&](const uint8_t *data, size_t bytes) {
                          return check_metadata(context, data, bytes);
                        }));
  }
  SIGDCA_TRY(list_tensors(context, model));
  if (model->version == 2) {
    SIGDCA_TRY(assign_layers(context, model));
    return check_layer_checksums(context, *model);
  }
  SIGDCA_TRY(assign_sections(context, model));
  for (const TensorInfo &tensor : model->tensors) SIGDCA_TRY(check_form(context, *model, tensor));
  // The Python reader does this with each tensor's decoding.
  for (const TensorInfo &tensor : model->tensors)
    SIGDCA_TRY(check_tensor_checksums(context, *model, tensor));
  return SIGDCA_OK;
}

}  // namespace sigdca
