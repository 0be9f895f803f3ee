// exp, log and pow in double, from + - * / and bits alone: the same result wherever they run,
// which libm's are not. Accurate far beyond the float32 that their results are rounded to.
#pragma once

#include <stdint.h>
#include <string.h>

namespace sigdca {

// 2^n for n in -1022..1023.
static inline double fixed_power_of_two(int64_t n) {
  const uint64_t bits = static_cast<uint64_t>(n + 1023) << 52;
  double result;
  memcpy(&result, &bits, sizeof(result));
  return result;
}

// e^x; 0 below -700, infinite above 700 (float32 overflows at 89). NaN stays NaN.
static inline double fixed_exp(double x) {
  if (x != x) return x;
  if (x < -700) return 0;
  if (x > 700) return __builtin_inf();
  // x = n ln 2 + r with |r| <= 0.35; ln 2 in two parts, the first short enough that n times it is
  // exact.
  const double quotient = x * 1.4426950408889634;
  const int64_t n = static_cast<int64_t>(quotient + (quotient < 0 ? -0.5 : 0.5));
  const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double sum = 1.0 / 6227020800;  // 1 / 13!
  sum = sum * r + 1.0 / 479001600;
  sum = sum * r + 1.0 / 39916800;
  sum = sum * r + 1.0 / 3628800;
  sum = sum * r + 1.0 / 362880;
  sum = sum * r + 1.0 / 40320;
  sum = sum * r + 1.0 / 5040;
  sum = sum * r + 1.0 / 720;
  sum = sum * r + 1.0 / 120;
  sum = sum * r + 1.0 / 24;
  sum = sum * r + 1.0 / 6;
  sum = sum * r + 0.5;
  sum = sum * r + 1;
  sum = sum * r + 1;
  return sum * fixed_power_of_two(n);
}

// ln x for finite normal x > 0.
static inline double fixed_log(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof(bits));
  int64_t n = static_cast<int64_t>(bits >> 52) - 1023;
  bits = (bits & 0xfffffffffffff) | uint64_t{1023} << 52;
  double m;
  memcpy(&m, &bits, sizeof(m));
  if (m > 1.4142135623730951) m *= 0.5, ++n;
  // ln m = 2 artanh((m - 1) / (m + 1)); the quotient is at most 0.172.
  const double s = (m - 1) / (m + 1), square = s * s;
  double sum = 1.0 / 23;
  for (int odd = 21; odd >= 1; odd -= 2) sum = sum * square + 1.0 / odd;
  return 2 * s * sum + n * 0.6931471805599453;
}

// base^exponent of a float32 base >= 0 and an exponent >= 0.
static inline double fixed_pow(float base, double exponent) {
  if (exponent == 0) return 1;
  if (base == 0 || base != base || base > 3.4028234663852886e38f) return base;  // 0, NaN, inf
  return fixed_exp(exponent * fixed_log(base));
}

}  // namespace sigdca
