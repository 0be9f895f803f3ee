// A weight's levels chunk by chunk (SPEC.md, "Chunks"); mirrors sigdca/codec/chunks.py.
#pragma once

#include "container/levels.h"
#include "container/model.h"
#include "container/varint.h"

namespace sigdca {

// Reads all chunks of a section.
//
// head: behind the weight's values. chunks: what follows the head. is_rans: coder 2, not 4.
// weights: has its rows and columns; gets all but the codebook.
sigdca_status read_chunks(const Context &context, ArithmeticDecoder *head, Bytes chunks,
                          bool is_rans, Limits limits, const char *where, Weights *weights);

}  // namespace sigdca
