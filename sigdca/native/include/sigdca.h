/* libsigdca: runs a network straight from its compressed container (.dca).
 *
 * A model is an opened container; a session is a model made ready to run with one profile, one
 * instruction set and a number of threads. Both are opaque, made and freed by this library, with
 * the caller's allocator if there is one. There is no global state: models may be shared between
 * threads, a session is used by one thread at a time.
 *
 * Every call that can fail returns a sigdca_status and, where `error` is not NULL, one line of text
 * that says where, what is wrong, what was got and the limit. Nothing is ever thrown.
 *
 * Needs libc and libm alone. C99 and C++.
 */
#ifndef SIGDCA_H
#define SIGDCA_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SIGDCA_API __attribute__((visibility("default")))
#else
#define SIGDCA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define SIGDCA_VERSION_MAJOR 0
#define SIGDCA_VERSION_MINOR 2

/* What a call came to. Those from SIGDCA_MAGIC on are a container's, one for each error that
 * sigdca/codec/errors.py names; their numbers never change. */
typedef enum sigdca_status {
  SIGDCA_OK = 0,
  SIGDCA_INVALID_ARGUMENT = 1,
  SIGDCA_OUT_OF_MEMORY = 2,
  SIGDCA_IO = 3,
  SIGDCA_UNSUPPORTED = 4, /* the processor or this build lacks what was asked for */
  SIGDCA_NOT_FINITE = 5,  /* a logit is infinite or not a number */
  SIGDCA_MAGIC = 16,
  SIGDCA_VERSION = 17,
  SIGDCA_FILE_LENGTH = 18,
  SIGDCA_HEADER_CHECKSUM = 19,
  SIGDCA_SECTION_TABLE = 20,
  SIGDCA_SECTION_KIND = 21,
  SIGDCA_SECTION_ORDER = 22,
  SIGDCA_SECTION_LENGTH = 23,
  SIGDCA_SECTION_MISSING = 24,
  SIGDCA_SECTION_OWNER = 25,
  SIGDCA_SECTION_CHECKSUM = 26,
  SIGDCA_VARINT = 27,
  SIGDCA_GRAPH_BYTES = 28,
  SIGDCA_OPERATOR = 29,
  SIGDCA_SHAPE = 30,
  SIGDCA_LIMIT = 31,
  SIGDCA_METADATA = 32,
  SIGDCA_CODEBOOK = 33,
  SIGDCA_VALUE_RANGE = 34,
  SIGDCA_CODE_TABLE = 35,
  SIGDCA_STREAM_END = 36,
  SIGDCA_TRAILING_BITS = 37,
  SIGDCA_SYMBOL_COUNT = 38,
  SIGDCA_GAP_BITS = 39,
  SIGDCA_GAP_OVERRUN = 40,
  SIGDCA_GAP_END = 41,
  SIGDCA_LEVEL = 42,
  SIGDCA_FREQUENCY = 43,
  SIGDCA_RANS_STATE = 44
} sigdca_status;

/* One line, ended by a zero byte, cut if it is longer. */
typedef struct sigdca_error {
  sigdca_status status;
  char message[256];
} sigdca_error;

/* Where memory comes from. `alignment` is a power of two, at most 64; `allocate` returns NULL where
 * there is none. Called by the thread that calls the library, never by a worker. */
typedef struct sigdca_allocator {
  void *context;
  void *(*allocate)(void *context, size_t bytes, size_t alignment);
  void (*release)(void *context, void *memory, size_t bytes);
} sigdca_allocator;

typedef struct sigdca_model sigdca_model;
typedef struct sigdca_session sigdca_session;

/* What a status is called, such as "gap-overrun". Never NULL. */
SIGDCA_API const char *sigdca_status_name(sigdca_status status);

/* Opens a container. Header, graph, metadata and every checksum are checked; weights are decoded by
 * sigdca_session_create, one tensor at a time.
 *
 * data: stays the caller's and must outlive the model. allocator: NULL for malloc's memory; copied.
 */
SIGDCA_API sigdca_status sigdca_model_open_memory(const void *data, size_t bytes,
                                                  const sigdca_allocator *allocator,
                                                  sigdca_model **model, sigdca_error *error);
/* The same from a file, which is mapped and must not change while the model is open. */
SIGDCA_API sigdca_status sigdca_model_open_file(const char *path,
                                                const sigdca_allocator *allocator,
                                                sigdca_model **model, sigdca_error *error);
/* Frees a model; its sessions must be closed before. NULL is allowed. */
SIGDCA_API void sigdca_model_close(sigdca_model *model);

typedef struct sigdca_model_info {
  uint32_t input_channels, input_height, input_width;
  uint32_t num_classes;   /* values of one image's output */
  double input_scale;     /* x = (float)pixel * (float)input_scale */
  uint32_t num_operators;
  uint32_t num_tensors;
  uint64_t container_bytes;
  uint64_t dense_bytes;   /* all parameters as float32; running statistics are none */
  uint64_t memory_bytes;  /* of the model's own tables; the container comes on top */
} sigdca_model_info;

SIGDCA_API void sigdca_model_get_info(const sigdca_model *model, sigdca_model_info *info);

typedef struct sigdca_operator_info {
  const char *kind;         /* "conv", "fc", "max_pool", ... */
  const char *name;         /* the layer's; empty for an operator without parameters */
  uint32_t output_shape[3]; /* channels, height, width; features, 1, 1 */
  uint64_t num_weights;     /* without biases */
  uint64_t bytes;           /* of its sections in the container */
} sigdca_operator_info;

/* index: below num_operators, else SIGDCA_INVALID_ARGUMENT. */
SIGDCA_API sigdca_status sigdca_model_get_operator(const sigdca_model *model, uint32_t index,
                                                   sigdca_operator_info *info);

/* How results are computed.
 * exact: the same bits on every instruction set, for any batch and any number of threads: each sum
 *        runs over its weights in their order, one rounding a product and one a sum. The exception:
 *        where a value between two layers is not finite, weights of 0 may be skipped or not.
 * fast:  float32, with fused multiply-add and whatever order is fastest.
 * int8:  as fast, but layers may quantise their input to 8 bits, one scale an image and layer. */
typedef enum sigdca_profile {
  SIGDCA_PROFILE_EXACT = 0,
  SIGDCA_PROFILE_FAST = 1,
  SIGDCA_PROFILE_INT8 = 2
} sigdca_profile;

typedef struct sigdca_session_options {
  sigdca_profile profile;
  uint32_t threads;   /* 1..64; 0 stands for 1 */
  uint32_t max_batch; /* images computed together, 1..256; 0 stands for 1. Memory grows with it */
  const char *isa;    /* "reference", "sse4.2", "avx2", "avx512", "amx", "neon"; NULL: that of the
                       * environment variable SIGDCA_ISA, else the best that there is */
} sigdca_session_options;

/* Decodes the weights into each layer's own layout and reserves all memory that a run needs.
 * options: NULL for exact, 1 thread, batches of 1. A session of several threads is of no use to a
 * child of fork(), which can only close it. */
SIGDCA_API sigdca_status sigdca_session_create(const sigdca_model *model,
                                               const sigdca_session_options *options,
                                               sigdca_session **session, sigdca_error *error);
/* NULL is allowed. */
SIGDCA_API void sigdca_session_close(sigdca_session *session);

/* Runs the network. Allocates nothing.
 *
 * images: uint8 [n, channels, height, width], raw pixels. logits: float32 [n, num_classes].
 * n: any number; cut into batches of max_batch.
 * Returns SIGDCA_NOT_FINITE, with all logits written, if one is not finite. */
SIGDCA_API sigdca_status sigdca_session_run(sigdca_session *session, const uint8_t *images,
                                            size_t n, float *logits, sigdca_error *error);

typedef struct sigdca_session_info {
  const char *isa;
  sigdca_profile profile;
  uint32_t threads, max_batch;
  uint64_t weight_bytes;     /* of the prepared layers */
  uint64_t activation_bytes; /* of activations and scratch memory */
  uint64_t peak_bytes; /* what the session has held at the most: the above, and the weights of the
                        * layer that was being decoded. Model and container come on top */
} sigdca_session_info;

SIGDCA_API void sigdca_session_get_info(const sigdca_session *session, sigdca_session_info *info);

typedef struct sigdca_layer_info {
  const char *name;      /* of the conv or fc operator */
  const char *kernel;    /* what runs it, such as "sparse-gather" */
  uint64_t num_nonzero;  /* weights that are not zero */
  uint64_t weight_bytes; /* prepared: what the layer holds in memory */
} sigdca_layer_info;

/* index: counts the conv and fc operators; SIGDCA_INVALID_ARGUMENT behind the last. */
SIGDCA_API sigdca_status sigdca_session_get_layer(const sigdca_session *session, uint32_t index,
                                                  sigdca_layer_info *info);

/* The instruction sets that this build has and this processor can run, best first, one a call;
 * NULL behind the last. */
SIGDCA_API const char *sigdca_isa_name(uint32_t index);

#ifdef __cplusplus
}
#endif

#endif
