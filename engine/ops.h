#pragma once
// Every operation of the model, declarations only.  Each checks its shapes, runs its kernel, and notes on the
// tape how to go back.  All maps are N,H,W,C; K is the number of classes, D the decoder's width.  Gradients
// of weights are computed beside the backward pass: they are there when it ends.
#include <array>

#include "engine/tape.h"

namespace scrawl::ops {

/// x [..., in], weight [out, in], bias [out] or undefined -> [..., out].
Tensor linear(Tape&, const Tensor& x, const Tensor& weight, const Tensor& bias);

/// max(·, 0) of that, and of its sum with an addend of its shape.  NaN stays NaN.
Tensor linear_relu(Tape&, const Tensor& x, const Tensor& weight, const Tensor& bias);
Tensor linear_add_relu(Tape&, const Tensor& x, const Tensor& weight, const Tensor& bias,
                       const Tensor& addend);

/// x in another storage type; x itself when it has that type already.
Tensor cast(Tape&, const Tensor& x, DType dtype);

/// Normalises the last dimension.
Tensor layer_norm(Tape&, const Tensor& x, const Tensor& gamma, const Tensor& beta, float eps);

/// x [N,H,W,C], weight [out, k, k, C], bias [out] -> [N,H',W',out].
Tensor convolution(Tape&, const Tensor& x, const Tensor& weight, const Tensor& bias, int stride, int padding);

/// gelu(depthwise 3×3 of x + bias); x [N,H,W,C], weight [3,3,C], bias [C].
Tensor depthwise_gelu(Tape&, const Tensor& x, const Tensor& weight, const Tensor& bias);

/// Multi-head softmax attention; q [N,Q,C], kv [N,M,2C] with keys ahead of values -> [N,Q,C].
/// Both are differentiated, or neither.
Tensor attention(Tape&, const Tensor& q, const Tensor& kv, int heads);

/// A residual branch, by its end: a linear layer, weight [C, in], bias [C] or undefined, over input
/// [..., in]; or, without a weight, the input [..., C] itself.
struct Branch {
  Tensor input, weight{}, bias{};
};
/// A residual sum, x + branch, the branch dropped per sample with probability `drop_rate` while training; and
/// the layer norm that follows it.  One kernel may compute them together with the branch's linear layer.
struct NormedSum {
  Tensor sum, normed;
};
NormedSum residual_norm(Tape&, const Tensor& x, const Branch& branch, float drop_rate, const Tensor& gamma,
                        const Tensor& beta, float eps);

/// Layer norm twice, as behind an embedding: that of x is the sum with which a residual stream begins, and
/// the norm that follows it is taken along.
struct Norm {
  Tensor gamma, beta;
  float eps;
};
NormedSum norm_pair(Tape&, const Tensor& x, const Norm& first, const Norm& second);

/// Bilinear resize of x [N,H,W,C] to [N,height,width,C].
Tensor upsample(Tape&, const Tensor& x, int height, int width, bool align_corners);

/// What decoder_fuse() makes of its parameters before it meets the maps: G_i = F_i W_i [D, C_i] and Σ_i F_i
/// b_i [D], where F_i are columns of the fuse weight [D, 4D], those of the coarsest level first, as
/// published; weights[i] [D, C_i], biases[i] [D].
struct DecoderProducts {
  std::array<Tensor, 4> weights, biases;
  Tensor fuse;
  std::array<Tensor, 4> g;  // in the maps' type
  Tensor bias;
  std::array<Tensor, 4> z;  // of maps so far; see decoder_project()
  Device::Aside under_way;  // the last of them
};
/// They go aside: begun ahead of the encoder, they cost nothing.
DecoderProducts decoder_products(Device&, const std::array<Tensor, 4>& weights,
                                 const std::array<Tensor, 4>& biases, const Tensor& fuse, DType map_dtype);
/// z_i = x_i G_iᵀ [N,H_i,W_i,D] of a level's map, aside: begun as soon as the encoder has that map, it fills
/// what the next stages leave idle.
void decoder_project(DecoderProducts& products, int level, const Tensor& map);
/// The decoder's four linears and its 1×1 fuse convolution, without the concatenation between them.
/// maps[i] [N,H_i,W_i,C_i] finest first, those that are still to be projected and others -> [N,H_0,W_0,D].
Tensor decoder_fuse(Tape&, const std::array<Tensor, 4>& maps, DecoderProducts products);

/// x [N,H,W,C] normalised over all but the last dimension, rectified, and while training whole channels of a
/// sample zeroed with probability `drop_rate`.  Statistics of the batch while training (and the running ones
/// then move), running statistics otherwise.
Tensor batch_norm_relu(Tape&, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                       const Tensor& running_mean, const Tensor& running_var, float eps, float momentum,
                       float drop_rate);

/// Every pixel feature attends to the prototypes of its image's classes; q [N,P,d], prototypes [N or 1,
/// K·slots, d], present u8 [N,K] -> [N,P,2d] = [attended | q].  q and prototypes are both differentiated, or
/// neither.
Tensor prototype_attention(Tape&, const Tensor& q, const Tensor& prototypes, const Tensor& present);

// Losses [1].  Gradients do not need their values, which therefore go aside: they are there when the backward
// pass ends, or after Device::join().

/// Classes u8 [N,H,W], 255 where there is no label, and how many pixels have one, i32 [1].
struct Labels {
  Tensor map, count;
  Device::Aside under_way;
};
/// Goes aside: begun ahead of the encoder, it costs nothing.
Labels count_labelled(const Tensor& map);
/// Mean cross-entropy over labelled pixels of logits [N,h,w,K] upsampled (align_corners = true) to the
/// labels' size; 0 when no pixel is labelled.
Tensor partial_cross_entropy(Tape&, const Tensor& logits, const Labels& labels);

/// Mean cross-entropy of softmax(a), taken as logits, against softmax(b); a, b [..., K].
Tensor consistency(Tape&, const Tensor& a, const Tensor& b);

/// Σ weight · term.
struct Term {
  Tensor loss;
  float weight;
};
Tensor weighted_sum(Tape&, const std::vector<Term>& terms);

// Not differentiated: what goes in and comes out counts as constant.

/// Unit prototypes [N,K,D] of the classes present u8 [N,K], from features [N,h,w,D] and logits [N,h,w,K].
Tensor extract_prototypes(const Tensor& features, const Tensor& logits, const Tensor& present);

/// Moves bank [K,slots,D] and its counters filled i32 [K] by the prototypes [N,K,D] of classes present.
void update_bank(const Tensor& prototypes, const Tensor& present, float rate, const Tensor& bank,
                 const Tensor& filled);

/// The class of every pixel, u8 [N,height,width], from logits [N,h,w,K] resized with align_corners = true.
Tensor arg_max(const Tensor& logits, int height, int width);

/// Which classes a prediction u8 [N,H,W] shows: tags u8 [N,classes], background always 1.
Tensor predicted_tags(const Tensor& prediction, int classes);

/// counts i64 [K,K] (truth, prediction) += one for every pixel of truth that is labelled.
void count_confusion(const Tensor& prediction, const Tensor& truth, const Tensor& counts);

}  // namespace scrawl::ops
