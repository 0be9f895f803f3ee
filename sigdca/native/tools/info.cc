#include "dca_run.h"
#include "output.h"

namespace dca_run {
namespace {

void print_layers(const Network &network, Output *output) {
  output->begin_list("layers");
  for (uint32_t i = 0; i < network.info.num_operators; ++i) {
    sigdca_operator_info info{};
    if (sigdca_model_get_operator(network.model, i, &info) != SIGDCA_OK || *info.name == 0)
      continue;
    output->begin_item();
    output->text("name", info.name);
    output->text("kind", info.kind);
    output->numbers("output_shape", info.output_shape, 3);
    output->number("num_weights", info.num_weights);
    output->number("bytes", info.bytes);
    output->end_item();
  }
  output->end_list();
}

}  // namespace

int run_info(const Options &options) {
  Network network;
  const int code = network.open(options);
  if (code != kDone) return code;
  const sigdca_model_info &info = network.info;
  const uint32_t input[] = {info.input_channels, info.input_height, info.input_width};
  Output output(options.json);
  output.text("file", options.file);
  output.number("container_bytes", info.container_bytes);
  output.number("dense_bytes", info.dense_bytes);
  output.real("compression_ratio",
              static_cast<double>(info.dense_bytes) / static_cast<double>(info.container_bytes),
              4);
  output.numbers("input_shape", input, 3);
  output.number("num_classes", info.num_classes);
  output.number("num_operators", info.num_operators);
  output.number("num_tensors", info.num_tensors);
  print_layers(network, &output);
  output.words("isas", sigdca_isa_name);  // that are here and this processor can run, best first
  output.end();
  return kDone;
}

}  // namespace dca_run
