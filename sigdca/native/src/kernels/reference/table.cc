// Operators value by value, and the table of all plain kernels. Where a result could be -0, a zero
// is added to it (see kernels.h).
#include <math.h>

#include "core/fixed_math.h"
#include "kernels/reference/tables.h"

namespace sigdca {
namespace reference {
namespace {

void from_pixels(const uint8_t *pixels, float scale, float *values, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) values[i] = static_cast<float>(pixels[i]) * scale;
}

void clamp(const float *input, float low, float high, float *output, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) {
    const float value = low > input[i] ? low : input[i];
    output[i] = high < value ? high : value;
  }
}

void add(const float *left, const float *right, float *output, size_t begin, size_t end) {
  for (size_t i = begin; i < end; ++i) output[i] = left[i] + right[i];
}

void scale_shift(const Shape &shape, const float *input, const float *scale, const float *shift,
                 float *output, size_t begin, size_t end) {
  const size_t plane = size_t{shape.height} * shape.width;
  for (size_t channel = begin; channel < end; ++channel)
    for (size_t i = channel * plane; i < (channel + 1) * plane; ++i)
      output[i] = input[i] * scale[channel] + shift[channel];
}

// Torch's window: size / 2 channels before, the rest behind.
void lrn(const Shape &shape, uint32_t size, double alpha, double beta, double k,
         const float *input, float *output, size_t begin, size_t end) {
  const size_t plane = size_t{shape.height} * shape.width;
  const int64_t before = size / 2, behind = (size - 1) / 2, channels = shape.channels;
  const float factor = static_cast<float>(alpha / size), offset = static_cast<float>(k);
  for (int64_t channel = 0; channel < channels; ++channel)
    for (size_t pixel = begin; pixel < end; ++pixel) {
      const int64_t first = channel < before ? 0 : channel - before;
      const int64_t last = channel + behind < channels ? channel + behind : channels - 1;
      float sum = 0;
      for (int64_t c = first; c <= last; ++c) {
        const float value = input[c * plane + pixel];
        sum = sum + value * value;
      }
      const float base = offset + factor * sum;
      float power;
      if (beta == 0.75) {
        const float root = sqrtf(base);
        power = root * sqrtf(root);
      } else {
        power = static_cast<float>(fixed_pow(base, beta));
      }
      output[channel * plane + pixel] = input[channel * plane + pixel] / power + 0.0f;
    }
}

}  // namespace

void softmax(const Shape &shape, const float *input, float *output, size_t begin, size_t end) {
  const size_t plane = size_t{shape.height} * shape.width;
  for (size_t pixel = begin; pixel < end; ++pixel) {
    const float *from = input + pixel;
    float *to = output + pixel;
    float most = -INFINITY;
    for (size_t c = 0; c < shape.channels; ++c)
      most = most > from[c * plane] ? most : from[c * plane];
    float sum = 0;
    for (size_t c = 0; c < shape.channels; ++c) {
      const float power = static_cast<float>(fixed_exp(double{from[c * plane] - most}));
      to[c * plane] = power;
      sum = sum + power;
    }
    for (size_t c = 0; c < shape.channels; ++c) to[c * plane] = to[c * plane] / sum;
  }
}

namespace {

const ConvKernel *const conv_kernels[] = {&kConv, nullptr};
const FcKernel *const fc_kernels[] = {&kFc, nullptr};

}  // namespace
}  // namespace reference

const Kernels kReferenceKernels = {
    "reference",           reference::conv_kernels,    reference::fc_kernels,
    reference::from_pixels, reference::max_pool,        reference::avg_pool,
    reference::global_avg_pool, reference::clamp,       reference::add,
    reference::scale_shift, reference::lrn,             reference::softmax,
};

}  // namespace sigdca
