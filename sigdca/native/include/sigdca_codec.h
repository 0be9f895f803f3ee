/* libsigdca-codec: the streams of a container of version 2 (sigdca/codec/SPEC.md), for programs that
 * write containers or take them apart. What runs a container is libsigdca (sigdca.h). */
#ifndef SIGDCA_CODEC_H
#define SIGDCA_CODEC_H

#include "sigdca.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An arithmetic stream, written or read. */
typedef struct sigdca_coder sigdca_coder;

/* data: NULL for an encoder; for a decoder a stream, which must outlive it. */
SIGDCA_API sigdca_status sigdca_coder_create(const void *data, size_t bytes,
                                             const sigdca_allocator *allocator,
                                             sigdca_coder **coder, sigdca_error *error);
/* NULL is allowed. */
SIGDCA_API void sigdca_coder_free(sigdca_coder *coder);
/* Up to 32 bits, all as likely as not. *value: what an encoder writes; a decoder sets it. */
SIGDCA_API sigdca_status sigdca_coder_plain(sigdca_coder *coder, uint32_t num_bits,
                                            uint32_t *value, sigdca_error *error);
/* A tensor's levels, int32 [rows, columns], each from -negative to positive; a decoder sets them.
 * stride: columns from one line of a row's image to the next, 2 to 2^28, or 0. */
SIGDCA_API sigdca_status sigdca_coder_levels(sigdca_coder *coder, int32_t *levels, uint32_t rows,
                                             uint32_t columns, uint32_t stride, uint32_t negative,
                                             uint32_t positive, sigdca_error *error);
/* Writes a chunk's levels that are not zero. places: ascending, below size; levels: from -negative
 * to positive, none 0. */
SIGDCA_API sigdca_status sigdca_coder_sparse(sigdca_coder *coder, const uint32_t *places,
                                             const int32_t *levels, size_t count, uint32_t size,
                                             uint32_t negative, uint32_t positive,
                                             sigdca_error *error);

/* What a chunk is read into. */
typedef struct sigdca_chunk {
  const float *values; /* of the levels, ascending: negative + positive of them */
  uint32_t negative, positive;
  float *weights; /* zeros before */
  uint32_t size;  /* how many */
  uint8_t *used;  /* one a value: becomes 1 where a weight has it */
} sigdca_chunk;

/* Reads `count` levels that are not zero. where: opens messages. */
SIGDCA_API sigdca_status sigdca_coder_sparse_weights(sigdca_coder *coder, uint32_t count,
                                                     const sigdca_chunk *chunk, const char *where,
                                                     sigdca_error *error);
/* Ends the stream: an encoder gives it, and keeps it until it is freed; a decoder checks that
 * nothing follows. data, bytes: NULL for a decoder. */
SIGDCA_API sigdca_status sigdca_coder_finish(sigdca_coder *coder, const void **data,
                                             size_t *bytes, sigdca_error *error);

/* Lists the weights that are not zero, and their values.
 *
 * values: room for 65,536; the first *num_values are known from calls before. places, ids: room for
 * `size`: where each weight lies that is not zero, and which of the values it has; *count: how many.
 * -0 is zero; no weight may be NaN. Returns SIGDCA_LIMIT for more than 65,535 values. */
SIGDCA_API sigdca_status sigdca_find_values(const float *weights, size_t size, float *values,
                                            uint32_t *num_values, uint32_t *places, uint16_t *ids,
                                            size_t *count, sigdca_error *error);

/* Chooses levels at the best price: for each weight, of the nearest level, the one before that and
 * 0, that of the least (weight - level)^2 + lambda * bits. The bits are those that a stream of the
 * levels takes, with all that it has learnt so far.
 *
 * weights: float32 [rows, columns] in units of the step, finite. levels: int32, the same; set.
 * negative, positive: the limits of levels, at most 65535. bits: what all of them take. */
SIGDCA_API sigdca_status sigdca_assign_levels(const float *weights, int32_t *levels, uint32_t rows,
                                              uint32_t columns, uint32_t stride, uint32_t negative,
                                              uint32_t positive, double lambda, double *bits,
                                              sigdca_error *error);

/* Writes a rANS stream. frequencies: of sum 4096, one for each of `alphabet` <= 256 symbols, above 0
 * where it occurs. out: room for 16 + 2 * count bytes; *bytes: what of it is the stream. */
SIGDCA_API sigdca_status sigdca_rans_encode(const uint8_t *symbols, size_t count,
                                            const int32_t *frequencies, uint32_t alphabet,
                                            void *out, size_t *bytes, sigdca_error *error);

/* Reads a chunk that is coded by rANS.
 * structure: 0: a map, with 256 frequencies; else the bits of a gap symbol, 2 to 8.
 * frequencies, level_frequencies: of sum 4096. allocator: NULL for malloc. */
SIGDCA_API sigdca_status sigdca_rans_decode(const void *data, size_t bytes, uint32_t structure,
                                            const int32_t *frequencies,
                                            const int32_t *level_frequencies,
                                            const sigdca_chunk *chunk, const char *where,
                                            const sigdca_allocator *allocator,
                                            sigdca_error *error);

#ifdef __cplusplus
}
#endif

#endif
