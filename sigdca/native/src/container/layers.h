// Sections of version 2 that hold a layer's tensors; mirrors sigdca/codec/layers.py.
#pragma once

#include "container/model.h"

namespace sigdca {

// Decodes one tensor of a layer. `weights->rows` and `cols` are set by the caller.
sigdca_status read_member(const Context &context, const Model &model, const TensorInfo &tensor,
                          Weights *weights);

}  // namespace sigdca
