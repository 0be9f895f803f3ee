// Where the weights that are not zero are; mirrors sigdca/codec/gaps.py.
#pragma once

#include "container/model.h"

namespace sigdca {

// Reads a gap section into weights->columns and row_start; rows and cols are set. It must place
// `expected` weights. Allocates nothing before the stream's bits are known to hold as many.
// tensor: opens the messages.
sigdca_status read_gaps(const Context &context, const Section &section, uint64_t expected,
                        const char *tensor, Weights *weights);

}  // namespace sigdca
