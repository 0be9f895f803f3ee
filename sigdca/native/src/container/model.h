// An opened container: its graph, and its tensors, decoded one at a time.
#pragma once

#include "container/graph.h"
#include "core/counted.h"

namespace sigdca {

// A tensor's number of weights and where they are used.
struct TensorInfo {
  uint32_t op;      // in Graph::ops
  uint32_t part;    // 0 weight, 1 bias, 2 running_mean, 3 running_var
  uint64_t weights;
  uint32_t first_section;  // in Model::sections
  uint32_t num_sections;
};

// The numbers are the container's.
enum class SectionKind : uint8_t {
  kGraph = 0,
  kMetadata = 1,
  kCodebook = 2,
  kIndices = 3,
  kGaps = 4,
  kDense = 5,
  kLayer = 6,  // version 2
};

enum class SectionCoder : uint8_t { kRaw = 0, kHuffman = 1, kRans = 2, kArithmetic = 3, kSparse = 4 };

// "graph", "metadata", ...
const char *kind_name(SectionKind kind);

// One section of the table.
struct Section {
  const uint8_t *data;
  uint32_t bytes;
  uint32_t tensor;  // version 2: layer; 0 for the file's own
  uint32_t crc32;
  SectionKind kind;
  SectionCoder coder;
};

// A weight tensor of conv or fc as rows (output channels or features) of `cols` weights each, flat
// in the container's order. Only weights that are not zero are listed, in ascending order. Either
// shared (codebook and codes) or raw (values); `row_start` has rows + 1 entries.
struct Weights {
  uint32_t rows = 0, cols = 0;
  Array<float> codebook;        // shared: no zero in it, at most 65,536
  Array<uint16_t> codes;        // shared: one a listed weight
  Array<float> values;          // raw: one a listed weight
  Array<uint32_t> columns;      // one a listed weight
  Array<uint64_t> row_start;

  // The codebook may be empty where there are no weights but zeros.
  bool shared() const { return codebook.size() != 0; }
  size_t num_nonzero() const { return columns.size(); }
  float value(size_t index) const { return shared() ? codebook[codes[index]] : values[index]; }
};

struct Model {
  sigdca_allocator allocator{};  // the caller's, for the model itself and its sessions
  Counted memory;                // what lies below, which must go before it
  const uint8_t *data = nullptr;
  size_t bytes = 0;
  unsigned version = 0;
  bool mapped = false;  // by open_file: unmapped on close
  Graph graph;
  Array<TensorInfo> tensors;
  Array<Section> sections;
};

class Text;

// A tensor as messages say it: its layer, and which part if not the weights. (container/text.h)
Text describe_tensor(const Model &model, const TensorInfo &tensor);

// Reads header, table, graph and metadata, checks every checksum and that every tensor has its
// sections. `model->data` and `bytes` are set by the caller.
sigdca_status read_model(const Context &context, Model *model);

// Decodes tensor `number` of a conv or fc's weights.
sigdca_status read_weights(const Context &context, const Model &model, uint32_t number,
                           Weights *weights);

// Decodes tensor `number` into plain float32 (biases, batch norm).
sigdca_status read_vector(const Context &context, const Model &model, uint32_t number,
                          Array<float> *values);

}  // namespace sigdca
