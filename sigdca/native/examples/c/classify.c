/* Classifies one image: the whole of what a program needs to run a container.
 *
 *   classify MODEL.dca IMAGES [NUMBER]
 *
 * IMAGES is an idx file (MNIST's), a .npy file of uint8, or raw pixels; NUMBER counts from 0.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sigdca.h>

/* Reads a file whole; NULL if it cannot. */
static uint8_t *read_file(const char *path, size_t *bytes) {
  uint8_t *data = NULL;
  FILE *file = fopen(path, "rb");
  long end = -1;
  if (file != NULL && fseek(file, 0, SEEK_END) == 0) end = ftell(file);
  if (end > 0 && fseek(file, 0, SEEK_SET) == 0) data = malloc((size_t)end);
  if (data != NULL && fread(data, 1, (size_t)end, file) != (size_t)end) {
    free(data);
    data = NULL;
  }
  if (file != NULL) fclose(file);
  *bytes = data != NULL ? (size_t)end : 0;
  return data;
}

/* Where the pixels begin, behind the header of an idx or .npy file. */
static size_t header_bytes(const uint8_t *data, size_t bytes) {
  if (bytes > 4 && data[0] == 0 && data[1] == 0 && data[2] == 8) return 4 + 4 * (size_t)data[3];
  if (bytes > 10 && memcmp(data, "\x93NUMPY\x01", 7) == 0)
    return 10 + data[8] + 256 * (size_t)data[9];
  return 0;
}

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec * 1e-3;
}

static int classify(const sigdca_model *model, const uint8_t *pixels) {
  sigdca_session_options options = {SIGDCA_PROFILE_FAST, 1, 1, NULL};
  sigdca_session *session = NULL;
  sigdca_model_info info;
  sigdca_error error;
  float *logits = NULL;
  double start, end;
  uint32_t i, best = 0;

  sigdca_model_get_info(model, &info);
  logits = malloc(info.num_classes * sizeof *logits);
  if (logits == NULL || sigdca_session_create(model, &options, &session, &error) != SIGDCA_OK) {
    fprintf(stderr, "classify: %s\n", logits == NULL ? "no memory left" : error.message);
    free(logits);
    return 3;
  }
  sigdca_session_run(session, pixels, 1, logits, NULL); /* the first run touches all memory */
  start = now_us();
  if (sigdca_session_run(session, pixels, 1, logits, &error) != SIGDCA_OK) {
    fprintf(stderr, "classify: %s\n", error.message);
    sigdca_session_close(session);
    free(logits);
    return 3;
  }
  end = now_us();
  for (i = 1; i < info.num_classes; ++i)
    if (logits[i] > logits[best]) best = i;
  printf("class %u, logit %.6f, %.1f us\n", (unsigned)best, logits[best], end - start);
  sigdca_session_close(session);
  free(logits);
  return 0;
}

int main(int count, char **arguments) {
  sigdca_model *model = NULL;
  sigdca_model_info info;
  sigdca_error error;
  size_t bytes, first, image;
  unsigned long number;
  uint8_t *data;
  int code = 2;

  if (count < 3 || count > 4) {
    fprintf(stderr, "usage: classify MODEL.dca IMAGES [NUMBER]\n");
    return 2;
  }
  if (sigdca_model_open_file(arguments[1], NULL, &model, &error) != SIGDCA_OK) {
    fprintf(stderr, "classify: %s: %s\n", arguments[1], error.message);
    return 2;
  }
  sigdca_model_get_info(model, &info);
  image = (size_t)info.input_channels * info.input_height * info.input_width;
  number = count == 4 ? strtoul(arguments[3], NULL, 10) : 0;
  data = read_file(arguments[2], &bytes);
  first = data != NULL ? header_bytes(data, bytes) : 0;
  if (first > bytes || number >= (bytes - first) / image)
    fprintf(stderr, "classify: %s: has no image %lu\n", arguments[2], number);
  else
    code = classify(model, data + first + number * image);
  free(data);
  sigdca_model_close(model);
  return code;
}
