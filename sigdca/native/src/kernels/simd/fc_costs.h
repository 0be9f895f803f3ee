// What fully connected kernels cost, in nanoseconds.
#pragma once

namespace sigdca::fc {

struct Costs {
  double pair;         // a weight whose input is not zero, column by column
  double batch[4];     // a weight, for 1, 2, 4 and 8 vectors of images
  double dense_alone;  // a weight of the dense kernel, for one image
  double dense;        // the same, an image of several
  double int8;         // a vector of quads
};

}  // namespace sigdca::fc
