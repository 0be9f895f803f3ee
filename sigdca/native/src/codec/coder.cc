// Arithmetic streams for programs that write containers or take them apart.
#include <string.h>

#include "codec/weights_sink.h"
#include "core/object.h"

using sigdca::Context;

struct sigdca_coder {
  sigdca_allocator allocator{};
  bool encodes = false;
  sigdca::ArithmeticEncoder encoder;
  sigdca::ArithmeticDecoder decoder{nullptr, 0};
};

namespace sigdca {
namespace {

constexpr uint32_t kMaxLimit = 65535;
constexpr size_t kBitsOfLevel = 64;  // at most: whether, sign, size, and what is below
constexpr size_t kBitsOfSparseLevel = 128;  // at most: the gap's length and bits, and those
constexpr uint32_t kLevelsAtOnce = 1024;

Context context_of(const sigdca_coder &coder, sigdca_error *error) {
  if (error != nullptr) {
    error->status = SIGDCA_OK;
    error->message[0] = 0;
  }
  return Context{coder.allocator, error};
}

sigdca_status check_levels(const Context &context, const int32_t *line, uint32_t columns,
                           Limits limits, uint32_t row) {
  for (uint32_t column = 0; column < columns; ++column) {
    const int32_t level = line[column];
    const uint32_t most = level < 0 ? limits.negative : limits.positive;
    if (size_of(level) > most) {
      return context.fail(SIGDCA_LEVEL, "levels: level %d at row %u, column %u is beyond %u",
                          level, row, column, most);
    }
  }
  return SIGDCA_OK;
}

}  // namespace
}  // namespace sigdca

sigdca_status sigdca_coder_create(const void *data, size_t bytes,
                                  const sigdca_allocator *allocator, sigdca_coder **coder,
                                  sigdca_error *error) {
  const Context context{allocator == nullptr ? sigdca::default_allocator() : *allocator, error};
  if (coder == nullptr)
    return context.fail(SIGDCA_INVALID_ARGUMENT, "coder: must not be NULL");
  SIGDCA_TRY(sigdca::make(context, coder));
  (*coder)->allocator = context.allocator;
  (*coder)->encodes = data == nullptr;
  if (data != nullptr)
    (*coder)->decoder = sigdca::ArithmeticDecoder(static_cast<const uint8_t *>(data), bytes);
  return SIGDCA_OK;
}

void sigdca_coder_free(sigdca_coder *coder) {
  if (coder != nullptr) sigdca::destroy(coder->allocator, coder);
}

sigdca_status sigdca_coder_plain(sigdca_coder *coder, uint32_t num_bits, uint32_t *value,
                                 sigdca_error *error) {
  const Context context = sigdca::context_of(*coder, error);
  if (num_bits > 32)
    return context.fail(SIGDCA_INVALID_ARGUMENT, "coder: %u bits, limit 32", num_bits);
  if (!coder->encodes) {
    *value = coder->decoder.plain(0, num_bits);
    return SIGDCA_OK;
  }
  SIGDCA_TRY(coder->encoder.reserve(context, num_bits));
  coder->encoder.plain(*value, num_bits);
  return SIGDCA_OK;
}

sigdca_status sigdca_coder_levels(sigdca_coder *coder, int32_t *levels, uint32_t rows,
                                  uint32_t columns, uint32_t stride, uint32_t negative,
                                  uint32_t positive, sigdca_error *error) {
  const Context context = sigdca::context_of(*coder, error);
  if (negative > sigdca::kMaxLimit || positive > sigdca::kMaxLimit || stride == 1 ||
      stride > sigdca::kMaxStride) {
    return context.fail(SIGDCA_INVALID_ARGUMENT,
                        "coder: limits %u and %u, limit %u; stride %u, must be 0 or 2..%u",
                        negative, positive, sigdca::kMaxLimit, stride, sigdca::kMaxStride);
  }
  sigdca::LevelModel model;
  const sigdca::Limits limits{negative, positive};
  SIGDCA_TRY(model.open(context, columns, stride, limits));
  sigdca::Array<int32_t> buffer;
  SIGDCA_TRY(buffer.allocate(context, size_t{model.front()} + columns));
  memset(buffer.data(), 0, buffer.bytes());
  int32_t *const line = buffer.data() + model.front();
  const size_t row_bytes = size_t{columns} * sizeof(int32_t);
  for (uint32_t row = 0; row < rows; ++row, levels += columns) {
    bool within = true;
    if (coder->encodes) {
      SIGDCA_TRY(sigdca::check_levels(context, levels, columns, limits, row));
      SIGDCA_TRY(coder->encoder.reserve(context, sigdca::kBitsOfLevel * (size_t{columns} + 1)));
      memcpy(line, levels, row_bytes);
      model.code_row(&coder->encoder, line, &within);
      continue;
    }
    if (model.code_row(&coder->decoder, line, &within)) {
      if (!within)
        return context.fail(SIGDCA_LEVEL, "levels: a level is beyond its tensor's values");
      memcpy(levels, line, row_bytes);
      memset(line, 0, row_bytes);
    } else {
      memset(levels, 0, row_bytes);
    }
  }
  return SIGDCA_OK;
}

sigdca_status sigdca_coder_sparse(sigdca_coder *coder, const uint32_t *places,
                                  const int32_t *levels, size_t count, uint32_t size,
                                  uint32_t negative, uint32_t positive, sigdca_error *error) {
  const Context context = sigdca::context_of(*coder, error);
  if (!coder->encodes || negative > sigdca::kMaxLimit || positive > sigdca::kMaxLimit)
    return context.fail(SIGDCA_INVALID_ARGUMENT, "coder: sparse levels, for an encoder alone");
  sigdca::SparseModel model(sigdca::Limits{negative, positive});
  uint64_t cursor = 0;
  for (size_t index = 0; index < count; ++index) {
    const int32_t level = levels[index];
    if (places[index] < cursor || places[index] >= size || level == 0 ||
        sigdca::size_of(level) > (level < 0 ? negative : positive)) {
      return context.fail(SIGDCA_LEVEL, "levels: level %d at %u must not follow", level,
                          places[index]);
    }
    if (index % sigdca::kLevelsAtOnce == 0) {
      SIGDCA_TRY(coder->encoder.reserve(
          context, sigdca::kBitsOfSparseLevel * size_t{sigdca::kLevelsAtOnce}));
    }
    model.code_gap(&coder->encoder, places[index] - static_cast<uint32_t>(cursor));
    bool within = true;
    model.code_level(&coder->encoder, level, &within);
    cursor = uint64_t{places[index]} + 1;
  }
  return SIGDCA_OK;
}

sigdca_status sigdca_coder_sparse_weights(sigdca_coder *coder, uint32_t count,
                                          const sigdca_chunk *chunk, const char *where,
                                          sigdca_error *error) {
  const Context context = sigdca::context_of(*coder, error);
  if (coder->encodes || count > chunk->size || chunk->negative > sigdca::kMaxLimit ||
      chunk->positive > sigdca::kMaxLimit) {
    return context.fail(SIGDCA_INVALID_ARGUMENT, "coder: %u of %u weights, for a decoder", count,
                        chunk->size);
  }
  sigdca::WeightsSink sink(*chunk);
  const sigdca::Limits limits{chunk->negative, chunk->positive};
  return sigdca::read_sparse(context, &coder->decoder, count, chunk->size, limits, where, &sink);
}

sigdca_status sigdca_coder_finish(sigdca_coder *coder, const void **data, size_t *bytes,
                                  sigdca_error *error) {
  const Context context = sigdca::context_of(*coder, error);
  if (!coder->encodes) return coder->decoder.finish(context, "stream");
  SIGDCA_TRY(coder->encoder.reserve(context, 0));
  coder->encoder.finish();
  *data = coder->encoder.data();
  *bytes = coder->encoder.bytes();
  return SIGDCA_OK;
}
