/*
 * gatun_kernels.h: the one C ABI between Gatun's Java code and its kernels.
 *
 * Every kernel library exports one function that returns a table of function pointers, struct gatun_kernels:
 *   libgatun_cpu.so   gatun_cpu_kernels()
 * A row of the table is one pass of one op. The same rows mean the same thing in every library.
 *
 * Rules
 *   Argument order   outputs, inputs, saved values, extents, strides, scalars, dtype, workspace, stream.
 *   Pointers         point to memory of the library's device. `stream` is NULL on the CPU, where a call returns when its work is done.
 *   Scalars          of optimizers are double: 1 - beta2 of a float 0.999 is off by 1.3e-5 of itself, and torch computes it in double.
 *   dtype            storage type of activations and weights (`gatun_dtype`). Whatever is declared `float *` is always f32. All sums,
 *                    softmax, norms and losses are computed in f32 or wider, whatever the dtype.
 *   Strides          count elements between consecutive rows; a row itself is contiguous.
 *   Gradients        of activations are overwritten ([out]); of parameters they are accumulated ([in,out], always f32).
 *   Optional         pointers are marked [opt]: NULL leaves that input or output out.
 *   Aliasing         outputs never overlap inputs unless the row says so.
 *   Determinism      results depend on the arguments only: not on the number of threads, not on timing. No floating-point atomics.
 *   Workspace        at least workspace_bytes(rows, columns) bytes, 64-byte aligned, contents undefined before and after.
 *   Result           a `gatun_status`; after anything but GATUN_OK, last_error() of the same thread says what, got, expected.
 */
#ifndef GATUN_KERNELS_H
#define GATUN_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a row changes meaning or place. */
#define GATUN_ABI_VERSION 3

enum gatun_dtype { GATUN_F32 = 0, GATUN_BF16 = 1, GATUN_F16 = 2 /* only as a source or destination of cast */ };

enum gatun_status { GATUN_OK = 0, GATUN_INVALID_ARGUMENT = 1, GATUN_UNSUPPORTED = 2, GATUN_OUT_OF_MEMORY = 3, GATUN_FAILED = 4 };

enum gatun_activation { GATUN_SILU = 0, GATUN_GELU_TANH = 1 };

/* One run of attention: queries [query_begin, +query_length) see keys [key_begin, +key_length), causal, aligned bottom-right: query i sees
 * key j when j <= i + key_length - query_length (and, with a window, j > i + key_length - query_length - window). key_length >= query_length >= 1.
 * Query ranges of the segments of one call are disjoint; in the backward pass their key ranges are disjoint too. */
struct gatun_segment {
  int32_t query_begin;
  int32_t query_length;
  int32_t key_begin;
  int32_t key_length;
};

enum gatun_loss {
  GATUN_LOSS_SIGMOID = 0, /* with label_smoothing e: cDPO, (1-e) softplus(-h) + e softplus(h) */
  GATUN_LOSS_HINGE = 1,
  GATUN_LOSS_IPO = 2,
  GATUN_LOSS_EXO_PAIR = 3,
  GATUN_LOSS_NCA_PAIR = 4,
  GATUN_LOSS_ROBUST = 5,
  GATUN_LOSS_BCO_PAIR = 6,
  GATUN_LOSS_SPPO_HARD = 7,
  GATUN_LOSS_AOT = 8,
  GATUN_LOSS_AOT_UNPAIRED = 9,
  GATUN_LOSS_APO_ZERO = 10,
  GATUN_LOSS_APO_DOWN = 11,
  GATUN_LOSS_DISCOPOP = 12,
  GATUN_LOSS_SFT = 13,
  GATUN_LOSS_SIGMOID_NORM = 14,
  GATUN_LOSS_SIMPO = 15
};

enum gatun_f_divergence { GATUN_REVERSE_KL = 0, GATUN_FORWARD_KL = 1, GATUN_JS_DIVERGENCE = 2, GATUN_ALPHA_DIVERGENCE = 3 };

#define GATUN_MAX_LOSSES 16

/* Elements that share a scale in adamw_8bit. */
#define GATUN_MOMENT_BLOCK 256

/* What `preference` computes; formulas in docs/losses.md. Passed by pointer to host memory. */
struct gatun_preference_options {
  int32_t num_losses;               /* 1..GATUN_MAX_LOSSES */
  int32_t losses[GATUN_MAX_LOSSES]; /* gatun_loss */
  float loss_weights[GATUN_MAX_LOSSES];
  float beta;
  float label_smoothing;
  float discopop_tau;
  float simpo_gamma;
  int32_t f_divergence;   /* gatun_f_divergence */
  float f_alpha;          /* coefficient of GATUN_ALPHA_DIVERGENCE */
  float ld_alpha;         /* weight of the log-probs beyond the shorter answer's length; 1 = plain sums */
  int32_t use_weighting;  /* WPO: the loss of a pair is multiplied by the detached weights of its answers */
  int32_t reference_free; /* reference log-probs count as 0 in the loss */
};

struct gatun_kernels {
  int32_t abi_version; /* GATUN_ABI_VERSION */

  /* Text of the calling thread's last failure; empty if none. Owned by the library, valid until the thread's next call. */
  const char *(*last_error)(void);

  /* Bytes that suffice as workspace of any row called with at most these extents (rows: tokens or predictions; columns: the largest of
   * hidden, intermediate, heads * head_dim, vocabulary). */
  int64_t (*workspace_bytes)(int64_t rows, int64_t columns);

  /* dst[i] = src[i], rounded to nearest even. [dst, src: count] any pair of gatun_dtype. dst == src only if the types are equal. */
  int32_t (*cast)(void *dst, const void *src, int64_t count, int32_t dst_dtype, int32_t src_dtype, void *stream);

  /* dst = (1 - alpha) dst + alpha src. [count] */
  int32_t (*mix)(void *dst, const void *src, int64_t count, double alpha, int32_t dtype, void *stream);

  /* y[t] = scale * table[token_ids[t]] + position_table[positions[t]].
   * y [tokens, hidden], table [vocab, hidden], position_table [opt] [max_positions, hidden], token_ids, positions [tokens]. */
  int32_t (*embedding_forward)(void *y, const void *table, const void *position_table, const int32_t *token_ids, const int32_t *positions,
                               int64_t tokens, int64_t hidden, int64_t vocab, int64_t max_positions, float scale, int32_t dtype, void *stream);
  /* d_table[token_ids[t]] += scale * d_y[t]; d_position_table[positions[t]] += d_y[t], in the order of t. */
  int32_t (*embedding_backward)(float *d_table, float *d_position_table, const void *d_y, const int32_t *token_ids, const int32_t *positions,
                                int64_t tokens, int64_t hidden, int64_t vocab, int64_t max_positions, float scale, int32_t dtype, void *workspace,
                                void *stream);

  /* s = x + delta; rstd = 1 / sqrt(mean(s^2) + eps); y = s * rstd * (weight + weight_offset), over groups of `dim` elements.
   * y, x [tokens, groups, dim] with row strides; delta, sum [opt, both or neither] as x with x_stride; sum may be x or delta;
   * rstd [tokens, groups] [opt]; weight [dim]. */
  int32_t (*rmsnorm_forward)(void *y, void *sum, float *rstd, const void *x, const void *delta, const void *weight, int64_t tokens, int64_t groups,
                             int64_t dim, int64_t y_stride, int64_t x_stride, float eps, float weight_offset, int32_t dtype, void *stream);
  /* d_x = d_residual + gradient through the norm; d_weight[dim] += sum over tokens and groups. x is what was normalized (the sum).
   * d_residual [opt] as d_x, may be d_x itself; d_x may be d_y. */
  int32_t (*rmsnorm_backward)(void *d_x, float *d_weight, const void *d_y, const void *x, const void *weight, const float *rstd,
                              const void *d_residual, int64_t tokens, int64_t groups, int64_t dim, int64_t d_x_stride, int64_t d_y_stride,
                              int64_t x_stride, float weight_offset, int32_t dtype, void *workspace, void *stream);

  /* s = x + delta; y = (s - mean) * rstd * weight + bias. All [tokens, dim] contiguous; mean, rstd [tokens] [opt]; delta, sum as in rmsnorm. */
  int32_t (*layernorm_forward)(void *y, void *sum, float *mean, float *rstd, const void *x, const void *delta, const void *weight, const void *bias,
                               int64_t tokens, int64_t dim, float eps, int32_t dtype, void *stream);
  int32_t (*layernorm_backward)(void *d_x, float *d_weight, float *d_bias, const void *d_y, const void *x, const void *weight, const float *mean,
                                const float *rstd, const void *d_residual, int64_t tokens, int64_t dim, int32_t dtype, void *workspace, void *stream);

  /* y = x + delta. [count]; y may be x or delta. */
  int32_t (*residual_forward)(void *y, const void *x, const void *delta, int64_t count, int32_t dtype, void *stream);

  /* d_bias[c] += sum over rows of d_y[r, c]. d_y [rows, columns]. */
  int32_t (*bias_backward)(float *d_bias, const void *d_y, int64_t rows, int64_t columns, int64_t d_y_stride, int32_t dtype, void *workspace,
                           void *stream);

  /* Rotates q and k by position and files k and v into the rows that attention reads.
   * q_out [tokens, heads, head_dim] (may be q itself); q, k, v: row t at t * stride, heads contiguous.
   * k_out, v_out [key rows, kv_heads * head_dim]: row key_rows[t], and key_copy_rows[t] too where that is >= 0.
   * cos, sin [max_positions, head_dim / 2] f32 [opt, both or neither: NULL = no rotation]; pairs are (i, i + head_dim / 2). */
  int32_t (*rope_forward)(void *q_out, void *k_out, void *v_out, const void *q, const void *k, const void *v, const float *cos, const float *sin,
                          const int32_t *positions, const int32_t *key_rows, const int32_t *key_copy_rows, int64_t tokens, int64_t heads,
                          int64_t kv_heads, int64_t head_dim, int64_t q_out_stride, int64_t q_stride, int64_t kv_stride, int32_t dtype, void *stream);
  /* The transpose: d_q from d_q_out; d_k, d_v from row key_rows[t] plus row key_copy_rows[t]. d_q may be d_q_out. */
  int32_t (*rope_backward)(void *d_q, void *d_k, void *d_v, const void *d_q_out, const void *d_k_out, const void *d_v_out, const float *cos,
                           const float *sin, const int32_t *positions, const int32_t *key_rows, const int32_t *key_copy_rows, int64_t tokens,
                           int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t q_stride, int64_t kv_stride, int64_t q_out_stride,
                           int32_t dtype, void *stream);

  /* s = scale * q . k, then softcap * tanh(s / softcap) if softcap > 0; out = softmax(s) v over the keys the segment shows; lse = log-sum-exp of s
   * (natural log). Query head h reads key head h / (heads / kv_heads). window = 0: no window.
   * out [tokens, heads * head_dim]; lse [tokens, heads] f32 [opt]; q [tokens] rows of q_stride; k, v [key rows, kv_heads * head_dim].
   * Rows of out outside all segments are left alone. host_segments: the values of segments in host memory, read before the call returns;
   * where the device is the host, both may be one array. Elsewhere launches are sized by it, and its lengths may be larger, so that one launch
   * fits several calls. */
  int32_t (*attention_forward)(void *out, float *lse, const void *q, const void *k, const void *v, const struct gatun_segment *segments,
                               const struct gatun_segment *host_segments, int64_t num_segments, int64_t heads, int64_t kv_heads, int64_t head_dim,
                               int64_t q_stride, float scale, float softcap, int64_t window, int32_t dtype, void *workspace, void *stream);
  /* d_q [tokens] rows of d_q_stride; d_k, d_v [key rows, kv_heads * head_dim]: every row inside a segment's key range is overwritten. */
  int32_t (*attention_backward)(void *d_q, void *d_k, void *d_v, const void *d_out, const void *out, const float *lse, const void *q, const void *k,
                                const void *v, const struct gatun_segment *segments, const struct gatun_segment *host_segments, int64_t num_segments,
                                int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t d_q_stride, int64_t q_stride, float scale, float softcap,
                                int64_t window, int32_t dtype, void *workspace, void *stream);

  /* y = activation(gate) * up, gate_up [rows, 2 * width] = [gate | up]; y [rows, width]. SILU: swiglu; GELU_TANH: geglu. */
  int32_t (*swiglu_forward)(void *y, const void *gate_up, int64_t rows, int64_t width, int32_t activation, int32_t dtype, void *stream);
  /* d_gate_up may be gate_up. y [opt]: written again as in the forward pass (saves keeping it). */
  int32_t (*swiglu_backward)(void *d_gate_up, void *y, const void *d_y, const void *gate_up, int64_t rows, int64_t width, int32_t activation,
                             int32_t dtype, void *stream);

  /* y = gelu(x), tanh approximation (GPT-2's gelu_new). [count] */
  int32_t (*gelu_forward)(void *y, const void *x, int64_t count, int32_t dtype, void *stream);
  /* d_x may be d_y or x. y [opt] as in swiglu_backward. */
  int32_t (*gelu_backward)(void *d_x, void *y, const void *d_y, const void *x, int64_t count, int32_t dtype, void *stream);

  /* y[i] = x[rows[i]]. y [num_rows, dim]. */
  int32_t (*gather_forward)(void *y, const void *x, const int32_t *rows, int64_t num_rows, int64_t dim, int32_t dtype, void *stream);
  /* d_x [tokens, dim] = 0, then d_x[rows[i]] = d_y[i]. rows are distinct. */
  int32_t (*gather_backward)(void *d_x, const void *d_y, const int32_t *rows, int64_t num_rows, int64_t tokens, int64_t dim, int32_t dtype,
                             void *stream);

  /* z = logits, or softcap * tanh(logits / softcap) if softcap > 0. One read of the logits gives, per row:
   * lse = log sum exp z; entropy = lse - sum p z; argmax (first of equals); mean = mean z; log_sum_square = log sum p^2 [each opt but lse];
   * and per prediction n in [prediction_begin[r], prediction_begin[r + 1]): log_prob[n] = z[targets[n]] - lse[r].
   * The rows may be a chunk of a batch: prediction_begin[0] need not be 0, and predictions of other rows are neither read nor written.
   * logits [rows, vocab] f32, row stride logits_stride; prediction_begin [rows + 1]; targets, log_prob [predictions]. */
  int32_t (*logprob_forward)(float *log_prob, float *lse, float *entropy, int32_t *argmax, float *mean, float *log_sum_square, const float *logits,
                             const int32_t *prediction_begin, const int32_t *targets, int64_t rows, int64_t vocab, int64_t logits_stride,
                             float softcap, void *stream);
  /* d_logits = sum over the row's predictions of d_log_prob[n] (onehot(targets[n]) - softmax(z)), times dz/dlogits under a softcap.
   * d_logits [rows, vocab] of dtype, row stride d_logits_stride (in its own elements); it may start at the same address as logits if
   * the two row strides are the same number of bytes. */
  int32_t (*logprob_backward)(void *d_logits, const float *logits, const float *lse, const float *d_log_prob, const int32_t *prediction_begin,
                              const int32_t *targets, int64_t rows, int64_t vocab, int64_t d_logits_stride, int64_t logits_stride, float softcap,
                              int32_t dtype, void *stream);

  /* The preference losses of `pairs` pairs, and their gradients in closed form.
   * The pairs may be a chunk of a batch: answer_begin[0] need not be 0, and predictions of other pairs are neither read nor written.
   * Predictions are grouped by answer: pair p has chosen = [answer_begin[2p], answer_begin[2p+1]) and rejected = [answer_begin[2p+1],
   * answer_begin[2p+2]). loss[p] = pair_scale[p] * sum_k weight_k L_k (+ sft_scale[p] * weight * -sum chosen log_prob); its sum over a step is the
   * loss that is logged. sums [pairs, 4]: policy chosen, policy rejected, reference chosen, reference rejected log-probs (after ld_alpha). d_log_prob
   * [predictions]: gradient of sum_p loss[p]. reference_log_prob [opt when no loss reads it] and log_sum_square [opt unless use_weighting]
   * [predictions]. group_begin [groups + 1]: the micro-batches (in pairs) inside which aot and aot_unpaired sort. */
  int32_t (*preference)(float *loss, float *sums, float *d_log_prob, const float *log_prob, const float *reference_log_prob,
                        const float *log_sum_square, const int32_t *answer_begin, const int32_t *group_begin, const float *pair_scale,
                        const float *sft_scale, int64_t pairs, int64_t groups, const struct gatun_preference_options *options, void *workspace,
                        void *stream);

  /* norm_and_scale[0] = sqrt(sum gradient^2); norm_and_scale[1] = min(1, max_norm / (norm + 1e-6)), or 1 if max_norm <= 0. Sums in double. */
  int32_t (*gradnorm)(float *norm_and_scale, const float *gradient, int64_t count, float max_norm, void *workspace, void *stream);

  /* AdamW as torch.optim.AdamW: g = gradient * *gradient_scale; w *= 1 - learning_rate * weight_decay (first decay_count elements only);
   * m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= learning_rate / correction1 * m / (sqrt(v) / sqrt(correction2) + eps), correction = 1 -
   * b^step. weight [count] of dtype. remainder [count] [opt, with bf16]: together with the weight the exact f32 master value, whose bits are (weight
   * << 16) + (int16_t)remainder; weight is the master rounded to nearest, ties away from zero. gradient_scale: device memory.
   * rounding_seed: 0, or, with bf16 and no remainder, the weight is rounded stochastically: away from zero with the probability that is the part
   * cut off, by bits of a hash of seed and index. The same seed gives the same bits; take another one each step. */
  int32_t (*adamw)(void *weight, uint16_t *remainder, float *first_moment, float *second_moment, const float *gradient, const float *gradient_scale,
                   int64_t count, int64_t decay_count, double learning_rate, double beta1, double beta2, double eps, double weight_decay,
                   double correction1, double correction2, uint64_t rounding_seed, int32_t dtype, void *stream);

  /* AdamW with moments of 8 bits: the same formulas on decoded moments, which are then encoded again (Dettmers et al., arXiv 2110.02861: blocks of
   * GATUN_MOMENT_BLOCK elements with one scale, dynamic tree codes; what a code means is in native/src/moments.h). first_moment, second_moment
   * [count] codes, zeros at the start; first_scale, second_scale [ceil(count / GATUN_MOMENT_BLOCK)]. A second moment above zero is never encoded as
   * zero. */
  int32_t (*adamw_8bit)(void *weight, uint16_t *remainder, uint8_t *first_moment, uint8_t *second_moment, float *first_scale, float *second_scale,
                        const float *gradient, const float *gradient_scale, int64_t count, int64_t decay_count, double learning_rate, double beta1,
                        double beta2, double eps, double weight_decay, double correction1, double correction2, uint64_t rounding_seed, int32_t dtype,
                        void *stream);

  /* RMSprop as torch.optim.RMSprop (not centered): g += weight_decay * w; v = alpha v + (1 - alpha) g^2; step = g / (sqrt(v) + eps);
   * buffer = momentum * buffer + step [opt: NULL when momentum is 0]; w -= learning_rate * step. */
  int32_t (*rmsprop)(void *weight, uint16_t *remainder, float *square_average, float *buffer, const float *gradient, const float *gradient_scale,
                     int64_t count, int64_t decay_count, double learning_rate, double alpha, double eps, double momentum, double weight_decay,
                     int32_t dtype, void *stream);

  /* SGD as torch.optim.SGD: g += weight_decay * w; buffer = first_step ? g : momentum * buffer + g [opt: NULL when momentum is 0];
   * w -= learning_rate * (buffer or g). */
  int32_t (*sgd)(void *weight, uint16_t *remainder, float *buffer, const float *gradient, const float *gradient_scale, int64_t count,
                 int64_t decay_count, double learning_rate, double momentum, double weight_decay, int32_t first_step, int32_t dtype, void *stream);

  /* remainder[i] = 0 and weight[i] = source[i] rounded; or, with remainder, the exact split of source that adamw describes.
   * weight, source, remainder [count]; remainder [opt]. The way back is join_master. */
  int32_t (*split_master)(void *weight, uint16_t *remainder, const float *source, int64_t count, int32_t dtype, void *stream);
  int32_t (*join_master)(float *destination, const void *weight, const uint16_t *remainder, int64_t count, int32_t dtype, void *stream);
};

#ifdef __cplusplus
}
#endif

#endif
