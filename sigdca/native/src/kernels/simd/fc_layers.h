// Fully connected layers as their kernels hold them: the same for all instruction sets but for the
// number of lanes. They are made in fc_*.cc, once, and run by fc_*.h, once for each.
#pragma once

#include "core/object.h"
#include "kernels/kernels.h"

namespace sigdca::fc {

// What all of them have.
struct Layer {
  sigdca_allocator allocator{};
  Epilogue epilogue{};
  uint32_t rows = 0, cols = 0;
  uint32_t max_batch = 1;
  bool exact = false;
};

// The values of listed weights: numbers of centroids, or the values themselves.
enum class Coding : uint8_t { kCode8, kCode16, kRaw };

struct Values {
  Coding coding = Coding::kRaw;
  uint32_t num_centroids = 0;
  Array<float> codebook;  // zeros behind it, up to a power of 2, at least 64
  Array<uint8_t> code8;
  Array<uint16_t> code16;
  Array<float> raw;

  // as_they_are: raw even where there are centroids.
  sigdca_status allocate(const Context &context, const Weights &weights, size_t count,
                         bool as_they_are = false);
  // Makes value `to` that of the listed weight `from`.
  void set(size_t to, const Weights &weights, size_t from);
  size_t bytes() const {
    return codebook.bytes() + code8.bytes() + code16.bytes() + raw.bytes();
  }
};

// Of one listed weight.
inline size_t value_bytes(const Weights &weights) {
  if (!weights.shared()) return 4;
  return weights.codebook.size() <= 256 ? 1 : 2;
}

// A codebook with zeros behind it, up to a power of 2, at least 64.
sigdca_status copy_codebook(const Context &context, const Weights &weights, Array<float> *copy);

// Parts of at most `most` things each, as many as there are threads if there are things enough.
inline uint32_t num_parts(uint32_t things, uint32_t most, uint32_t threads) {
  const uint32_t least = (things + most - 1) / most, wanted = threads < things ? threads : things;
  return least > wanted ? least : wanted;
}

// Of a thread's list of up to `count` numbers; a whole vector may be written at its end.
inline size_t list_bytes(uint32_t count) { return (size_t{count} + 31) / 16 * 64; }

// Sets what all layers have.
void describe(const Context &context, const LayerRequest &request, const Weights &weights,
              const Epilogue &epilogue, Layer *layer);

// Column by column, so that those of zero inputs are skipped. Rows are cut into parts of at most
// 65,536, at least one for each thread, each with its own columns.
struct ColumnsLayer : Layer {
  uint32_t num_parts = 0;
  Array<uint32_t> start;  // [part][cols + 1]
  Array<uint16_t> row;    // in its part, ascending in a column
  Values values;

  uint32_t first_row(uint32_t part) const {
    return static_cast<uint32_t>(uint64_t{rows} * part / num_parts);
  }
};

sigdca_status prepare_columns(const Context &context, const LayerRequest &request,
                              const Weights &weights, const Epilogue &epilogue,
                              PreparedLayer **layer);
void release_columns(const Context &context, PreparedLayer *layer);
size_t columns_bytes(const PreparedLayer *layer);
size_t columns_scratch(const PreparedLayer *layer, uint32_t team_size);

// Lanes are rows. A weight is a word: the number of its centroid, and in the lower `gap_bits` how
// many columns it is behind the weight before it in its row (at first: column -1). The largest gap
// is no weight, but only moves so far. Rows are sorted by their number of words, most first, and
// taken in groups of `lanes`, and up to kGroups groups of about the same length in one unit, whose
// rows are filled up to the longest.
struct GatherLayer : Layer {
  uint32_t lanes = 0;
  uint32_t gap_bits = 0;
  uint32_t num_units = 0;
  struct Unit {
    uint64_t first;  // of its words: [step][group][lane]
    uint32_t first_lane;
    uint32_t steps;
    uint32_t groups;
  };
  Array<Unit> units;
  Array<uint16_t> words;
  Array<uint32_t> order;        // of lane i of all units its row; `rows` where there is none
  Array<float> scale, shift;    // in this order; empty: none
  Array<float> codebook;
  size_t bytes = 0;
};
constexpr uint32_t kGroups = 4;

bool can_gather(const Weights &weights);
// Words of one lane's row, about.
double gather_words(const Weights &weights);
sigdca_status prepare_gather(const Context &context, const LayerRequest &request, uint32_t lanes,
                             const Weights &weights, const Epilogue &epilogue,
                             PreparedLayer **layer);
void release_gather(const Context &context, PreparedLayer *layer);
size_t gather_bytes(const PreparedLayer *layer);
inline size_t gather_words(const PreparedLayer *layer) {
  return reinterpret_cast<const GatherLayer *>(layer)->words.size();
}

// Two layouts of the same layer: one takes the same time for all inputs, the other skips the zeros
// among them. Each image takes what is faster for it. A thread may be an image ahead of another: the
// kernels' scratch memory lies side by side, even's first, in whole cache lines, and in both each
// thread has its own.
struct ChoiceLayer : Layer {
  const FcKernel *even_kernel = nullptr, *skip_kernel = nullptr;
  PreparedLayer *even = nullptr, *skip = nullptr;
  uint32_t most_nonzero = 0;  // inputs, for the one that skips
};

struct Choice {
  const FcKernel *even, *skip;
  // Of inputs that are not zero, for the one that skips.
  double (*most_nonzero)(const LayerRequest &request, const Weights &weights,
                         const PreparedLayer *even);
};
sigdca_status prepare_choice(const Context &context, const LayerRequest &request,
                             const Weights &weights, const Epilogue &epilogue,
                             const Choice &choice, PreparedLayer **layer);
void release_choice(const Context &context, PreparedLayer *layer);
size_t choice_bytes(const PreparedLayer *layer);
size_t choice_scratch(const PreparedLayer *layer, uint32_t team_size);

// Lanes are images; weights are listed by block of columns, then by row.
struct BatchLayer : Layer {
  uint32_t pass = 0;  // images at once: a multiple of the lanes
  uint32_t block_cols = 0, num_blocks = 0;
  Array<uint32_t> start;  // [block][rows + 1]
  Array<uint16_t> column;  // in its block
  Values values;

  size_t transposed_floats() const { return size_t{(cols + 3) & ~3u} * pass; }
  // Sums between blocks.
  size_t sum_floats() const { return num_blocks > 1 ? size_t{rows} * pass : 0; }
};

sigdca_status prepare_batch(const Context &context, const LayerRequest &request, uint32_t pass,
                            const Weights &weights, const Epilogue &epilogue,
                            PreparedLayer **layer);
void release_batch(const Context &context, PreparedLayer *layer);
size_t batch_bytes(const PreparedLayer *layer);
size_t batch_scratch(const PreparedLayer *layer, uint32_t team_size);

// Every weight, zeros included: [panel of rows][col][row]. A panel has 4 vectors of rows; the last
// one 1, 2 or 4.
struct DenseLayer : Layer {
  uint32_t lanes = 0;
  Array<float> weights;

  uint32_t panel() const { return 4 * lanes; }
  uint32_t num_panels() const { return (rows + panel() - 1) / panel(); }
  // Vectors of a panel.
  uint32_t width(uint32_t number) const {
    const uint32_t left = rows - number * panel();
    return left > 2 * lanes ? 4 : left > lanes ? 2 : 1;
  }
};

sigdca_status prepare_dense(const Context &context, const LayerRequest &request, uint32_t lanes,
                            const Weights &weights, const Epilogue &epilogue,
                            PreparedLayer **layer);
void release_dense(const Context &context, PreparedLayer *layer);
size_t dense_bytes(const PreparedLayer *layer);
size_t dense_scratch(const PreparedLayer *layer, uint32_t team_size);

// Lanes are rows, whose sums stay in registers; columns of zero inputs are skipped. Every weight
// has a code of 5 bits, 0 where it is zero, else 1 + the number of its centroid: six vectors of
// rows lie in one vector of 32-bit words. Only with lookups of 32 values in registers (AVX-512).
struct RegistersLayer : Layer {
  uint32_t num_vectors = 0, num_panels = 0;
  Array<uint32_t> words;  // [panel][col][group of six vectors][lane]
  float codebook[32] = {};

  uint32_t first_vector(uint32_t panel) const {
    return static_cast<uint32_t>(uint64_t{num_vectors} * panel / num_panels);
  }
};
constexpr uint32_t kCodesPerWord = 6, kMostVectors = 24, kRegisterLanes = 16;
inline uint32_t groups_of(const RegistersLayer &layer, uint32_t panel) {
  const uint32_t vectors = layer.first_vector(panel + 1) - layer.first_vector(panel);
  return (vectors + kCodesPerWord - 1) / kCodesPerWord;
}

bool can_use_registers(const Weights &weights);
sigdca_status prepare_registers(const Context &context, const LayerRequest &request,
                                const Weights &weights, const Epilogue &epilogue,
                                PreparedLayer **layer);
void release_registers(const Context &context, PreparedLayer *layer);
size_t registers_bytes(const PreparedLayer *layer);
size_t registers_scratch(const PreparedLayer *layer, uint32_t team_size);

// 8-bit weights, a scale for each row, and inputs quantised when it is run, a scale for each image.
// Lanes are rows, each with four columns (a quad): [panel][quad][vector][lane][4]. Quads of zero
// inputs are skipped.
struct Int8Layer : Layer {
  uint32_t lanes = 0, num_quads = 0, num_vectors = 0, num_panels = 0;
  Array<int8_t> weights;
  Array<float> row_scale;     // filled up to whole vectors
  Array<int32_t> row_offset;  // 128 * the sum of a row's weights

  uint32_t first_vector(uint32_t panel) const {
    return static_cast<uint32_t>(uint64_t{num_vectors} * panel / num_panels);
  }
};
constexpr uint32_t kInt8Vectors = 8;      // of a panel, at most
constexpr uint32_t kInt8MostCols = 65536;  // so that no sum leaves 32 bits

struct Int8Layout {
  uint32_t lanes;
  uint32_t panel_vectors = kInt8Vectors;  // at most
  uint32_t quad_unit = 1;                 // quads are filled up to a multiple of it
};
sigdca_status prepare_int8(const Context &context, const LayerRequest &request,
                           const Int8Layout &layout, const Weights &weights, const Epilogue &epilogue,
                           PreparedLayer **layer);
void release_int8(const Context &context, PreparedLayer *layer);
size_t int8_bytes(const PreparedLayer *layer);
size_t int8_scratch(const PreparedLayer *layer, uint32_t team_size);

// 8-bit numbers again, but only the weights that are not zero, for byte permutations in registers
// (AVX-512 VBMI). Lanes are 16 rows with four weights each; a step takes its inputs from one block
// of 64 columns: 64 places in the block, then the 64 weights.
struct Int8SparseLayer : Layer {
  uint32_t num_blocks = 0, num_groups = 0;
  Array<uint8_t> steps;          // [step][place or weight][lane][4]
  Array<uint16_t> block;         // of each step
  Array<uint32_t> first_step;    // of each group; one more behind
  Array<float> row_scale;        // filled up to whole vectors
  Array<int32_t> row_offset;     // 128 * the sum of a row's weights
};
constexpr uint32_t kSparseLanes = 16, kSparseBlock = 64;

sigdca_status prepare_int8_sparse(const Context &context, const LayerRequest &request,
                                  const Weights &weights, const Epilogue &epilogue,
                                  PreparedLayer **layer);
void release_int8_sparse(const Context &context, PreparedLayer *layer);
size_t int8_sparse_bytes(const PreparedLayer *layer);
size_t int8_sparse_scratch(const PreparedLayer *layer, uint32_t team_size);

// A row's scale, by its largest weight; 0 where all are too small to matter.
float int8_scale(const Weights &weights, uint32_t row);
int8_t int8_weight(float value, float scale);

}  // namespace sigdca::fc
