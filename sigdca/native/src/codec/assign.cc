// Levels by rate and distortion; mirrors sigdca/codec/assign.py.
#include <math.h>
#include <string.h>

#include "container/levels.h"
#include "sigdca_codec.h"

namespace sigdca {
namespace {

constexpr uint32_t kMaxLimit = 65535;

// What bits cost that are not written.
class Pricer {
 public:
  static constexpr bool kEncodes = true;

  explicit Pricer(bool learns) : learns_(learns) {}

  template <class... Features>
  uint32_t bit(uint32_t bit, Features *...features) {
    const uint32_t probability = probability_of((int64_t{features->logit} + ...));
    bits_ -= log2((bit ? probability : 65536 - probability) / 65536.0);
    const int32_t error = static_cast<int32_t>(bit << 16) - static_cast<int32_t>(probability);
    if (learns_) (features->teach(error), ...);
    return bit;
  }

  uint32_t plain(uint32_t value, uint32_t num_bits) {
    bits_ += num_bits;
    return value;
  }

  double bits() const { return bits_; }

 private:
  bool learns_;
  double bits_ = 0;
};

int32_t nearest(float weight, uint32_t negative, uint32_t positive) {
  const double low = -static_cast<double>(negative), high = positive;
  const double rounded = nearbyint(static_cast<double>(weight));
  return static_cast<int32_t>(rounded < low ? low : rounded > high ? high : rounded);
}

}  // namespace
}  // namespace sigdca

sigdca_status sigdca_assign_levels(const float *weights, int32_t *levels, uint32_t rows,
                                   uint32_t columns, uint32_t stride, uint32_t negative,
                                   uint32_t positive, double lambda, double *bits,
                                   sigdca_error *error) {
  using namespace sigdca;
  if (error != nullptr) {
    error->status = SIGDCA_OK;
    error->message[0] = 0;
  }
  const Context context{default_allocator(), error};
  if (negative > kMaxLimit || positive > kMaxLimit || stride == 1 || stride > kMaxStride ||
      !(lambda >= 0)) {
    return context.fail(SIGDCA_INVALID_ARGUMENT,
                        "assign: limits %u and %u, limit %u; stride %u, must be 0 or 2..%u",
                        negative, positive, kMaxLimit, stride, kMaxStride);
  }
  LevelModel model;
  SIGDCA_TRY(model.open(context, columns, stride, Limits{negative, positive}));
  Array<int32_t> buffer;
  SIGDCA_TRY(buffer.allocate(context, size_t{model.front()} + columns));
  memset(buffer.data(), 0, buffer.bytes());
  int32_t *const line = buffer.data() + model.front();
  Pricer total(true);
  for (uint32_t row = 0; row < rows; ++row, weights += columns, levels += columns) {
    uint32_t any = 0;
    for (uint32_t column = 0; column < columns && !any; ++column)
      any = nearest(weights[column], negative, positive) != 0;
    memset(line, 0, columns * sizeof *line);
    if (model.code_start(&total, any)) {
      for (LevelModel::Place place; place.column < columns;) {
        const float weight = weights[place.column];
        const int32_t full = nearest(weight, negative, positive);
        const int32_t choices[3] = {0, full, full > 0 ? full - 1 : full + 1};
        const int count = full == 0 ? 1 : full == 1 || full == -1 ? 2 : 3;
        int32_t best = 0;
        bool within = true;
        double least = INFINITY;
        for (int choice = 0; choice < count && count > 1; ++choice) {
          Pricer price(false);
          model.code_one(&price, line, place, choices[choice], &within);
          const double off = static_cast<double>(weight) - choices[choice];
          const double cost = off * off + lambda * price.bits();
          if (cost < least) least = cost, best = choices[choice];
        }
        model.code_one(&total, line, place, best, &within);
        line[place.column] = best;
        model.settle(best, &place);
      }
    }
    memcpy(levels, line, columns * sizeof *line);
  }
  *bits = total.bits();
  return SIGDCA_OK;
}
