#include "container/model.h"

#include "container/layout.h"
#include "container/metadata.h"
#include "container/text.h"

namespace sigdca {
namespace {

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
  SIGDCA_TRY(read_table(context, model->data, model->bytes, &model->sections));
  const Section *graph = own_section(*model, SectionKind::kGraph);
  if (graph == nullptr)
    return context.fail(SIGDCA_SECTION_MISSING, "container: has no graph section");
  SIGDCA_TRY(check_section(context, *graph, "graph"));
  SIGDCA_TRY(read_graph(context, graph->data, graph->bytes, &model->graph));
  const Section *metadata = own_section(*model, SectionKind::kMetadata);
  if (metadata != nullptr) {
    SIGDCA_TRY(check_section(context, *metadata, "metadata"));
    SIGDCA_TRY(check_metadata(context, metadata->data, metadata->bytes));
  }
  SIGDCA_TRY(list_tensors(context, model));
  SIGDCA_TRY(assign_sections(context, model));
  for (const TensorInfo &tensor : model->tensors) SIGDCA_TRY(check_form(context, *model, tensor));
  // The Python reader does this with each tensor's decoding.
  for (const TensorInfo &tensor : model->tensors)
    SIGDCA_TRY(check_tensor_checksums(context, *model, tensor));
  return SIGDCA_OK;
}

}  // namespace sigdca
