// The command line.
#pragma once

#include "dca_run.h"

namespace dca_run {

// Fills `options` from the arguments behind the verb, `verb` being 't', 'b' or 'i'. Returns kDone
// or has complained.
int read_arguments(char verb, int count, char **arguments, Options *options);

}  // namespace dca_run
