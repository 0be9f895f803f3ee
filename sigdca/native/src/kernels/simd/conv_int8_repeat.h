// Loops that are unrolled before anything else is done to them, so that arrays indexed by them
// become registers.
#pragma once

namespace sigdca::SIGDCA_ISA_NAMESPACE {
namespace {

template <int kValue>
struct Constant {
  static constexpr int value = kValue;
};

// function(Constant<0>()), function(Constant<1>()), ...
template <int kCount, class Function>
SIGDCA_INLINE void repeat(Function function) {
  if constexpr (kCount > 0) {
    repeat<kCount - 1>(function);
    function(Constant<kCount - 1>());
  }
}

// function(row, column) for all of both.
template <int kRows, int kColumns, class Function>
SIGDCA_INLINE void repeat(Function function) {
  repeat<kRows * kColumns>([&](auto i) SIGDCA_ALWAYS {
    function(Constant<decltype(i)::value / kColumns>(), Constant<decltype(i)::value % kColumns>());
  });
}

}  // namespace
}  // namespace sigdca::SIGDCA_ISA_NAMESPACE
