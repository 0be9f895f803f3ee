// Classifies one image, in C++: handles that close themselves, errors as exceptions of one's own.
//
//   classify MODEL.dca IMAGES [NUMBER]
//
// IMAGES is an idx file (MNIST's), a .npy file of uint8, or raw pixels; NUMBER counts from 0.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <sigdca.h>

namespace {

struct Close {
  void operator()(sigdca_model *model) const { sigdca_model_close(model); }
  void operator()(sigdca_session *session) const { sigdca_session_close(session); }
};
using Model = std::unique_ptr<sigdca_model, Close>;
using Session = std::unique_ptr<sigdca_session, Close>;

// The library's errors, where exceptions are wanted.
template <class Call>
void check(Call call) {
  sigdca_error error{};
  if (call(&error) != SIGDCA_OK) throw std::runtime_error(error.message);
}

Model open_model(const char *path) {
  sigdca_model *model = nullptr;
  check([&](sigdca_error *error) {
    return sigdca_model_open_file(path, nullptr, &model, error);
  });
  return Model(model);
}

Session create_session(const Model &model, const sigdca_session_options &options) {
  sigdca_session *session = nullptr;
  check([&](sigdca_error *error) {
    return sigdca_session_create(model.get(), &options, &session, error);
  });
  return Session(session);
}

// The pixels, without the header of an idx or .npy file.
std::vector<std::uint8_t> read_pixels(const char *path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::uint8_t> data{std::istreambuf_iterator<char>(file), {}};
  std::size_t header = 0;
  if (data.size() > 4 && data[0] == 0 && data[1] == 0 && data[2] == 8)
    header = 4 + 4 * std::size_t{data[3]};
  else if (data.size() > 10 && std::equal(data.begin() + 1, data.begin() + 6, "NUMPY"))
    header = 10 + data[8] + 256 * std::size_t{data[9]};
  data.erase(data.begin(), data.begin() + std::min(header, data.size()));
  return data;
}

void classify(const char *model_path, const char *images_path, std::size_t number) {
  const Model model = open_model(model_path);
  sigdca_model_info info{};
  sigdca_model_get_info(model.get(), &info);
  const std::size_t image = std::size_t{info.input_channels} * info.input_height * info.input_width;
  const std::vector<std::uint8_t> pixels = read_pixels(images_path);
  if (number >= pixels.size() / image)
    throw std::runtime_error(std::string(images_path) + ": has no image " +
                             std::to_string(number));

  const Session session = create_session(model, {SIGDCA_PROFILE_FAST, 1, 1, nullptr});
  std::vector<float> logits(info.num_classes);
  const auto run = [&](sigdca_error *error) {
    return sigdca_session_run(session.get(), pixels.data() + number * image, 1, logits.data(),
                              error);
  };
  check(run);  // the first run touches all memory
  const auto start = std::chrono::steady_clock::now();
  check(run);
  const std::chrono::duration<double, std::micro> time = std::chrono::steady_clock::now() - start;
  const auto best = std::max_element(logits.begin(), logits.end());
  std::printf("class %td, logit %.6f, %.1f us\n", best - logits.begin(), *best, time.count());
}

}  // namespace

int main(int count, char **arguments) {
  if (count < 3 || count > 4) {
    std::fprintf(stderr, "usage: classify MODEL.dca IMAGES [NUMBER]\n");
    return 2;
  }
  try {
    classify(arguments[1], arguments[2], count == 4 ? std::stoul(arguments[3]) : 0);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "classify: %s\n", error.what());
    return 2;
  }
  return 0;
}
