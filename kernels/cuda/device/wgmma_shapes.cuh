#pragma once
// The instructions behind start_product(): D[64, N] (+)= A · B with A in registers or in shared memory, for
// the N that kernels use.  PTX names each register, so that every N is written out.
#include "kernels/cuda/device/wgmma.cuh"

namespace scrawl::SCRAWL_GPU {

/// D[64, 64] (+)= A · B, A in registers: wgmma.mma_async.m64n64k16.
template <Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[8], const FragmentA& a, TileOperand b,
                                              bool accumulate = true) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
      "{%32,%33,%34,%35}, %36, p, 1, 1, %38;\n}"
      : "+f"(d[0].values[0]), "+f"(d[0].values[1]), "+f"(d[0].values[2]), "+f"(d[0].values[3]),
        "+f"(d[1].values[0]), "+f"(d[1].values[1]), "+f"(d[1].values[2]), "+f"(d[1].values[3]),
        "+f"(d[2].values[0]), "+f"(d[2].values[1]), "+f"(d[2].values[2]), "+f"(d[2].values[3]),
        "+f"(d[3].values[0]), "+f"(d[3].values[1]), "+f"(d[3].values[2]), "+f"(d[3].values[3]),
        "+f"(d[4].values[0]), "+f"(d[4].values[1]), "+f"(d[4].values[2]), "+f"(d[4].values[3]),
        "+f"(d[5].values[0]), "+f"(d[5].values[1]), "+f"(d[5].values[2]), "+f"(d[5].values[3]),
        "+f"(d[6].values[0]), "+f"(d[6].values[1]), "+f"(d[6].values[2]), "+f"(d[6].values[3]),
        "+f"(d[7].values[0]), "+f"(d[7].values[1]), "+f"(d[7].values[2]), "+f"(d[7].values[3])
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "l"(b.descriptor),
        "r"(int{accumulate}), "n"(static_cast<int>(of_b)));
}
/// D[64, 104] (+)= A · B, A in registers: wgmma.mma_async.m64n104k16.
template <Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[13], const FragmentA& a, TileOperand b,
                                              bool accumulate = true) {
  static_assert(of_b == Major::k, "operands are one tile wide");
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %57, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n104k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,"
      "%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,"
      "%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51}, "
      "{%52,%53,%54,%55}, %56, p, 1, 1, 0;\n}"
      : "+f"(d[0].values[0]), "+f"(d[0].values[1]), "+f"(d[0].values[2]), "+f"(d[0].values[3]),
        "+f"(d[1].values[0]), "+f"(d[1].values[1]), "+f"(d[1].values[2]), "+f"(d[1].values[3]),
        "+f"(d[2].values[0]), "+f"(d[2].values[1]), "+f"(d[2].values[2]), "+f"(d[2].values[3]),
        "+f"(d[3].values[0]), "+f"(d[3].values[1]), "+f"(d[3].values[2]), "+f"(d[3].values[3]),
        "+f"(d[4].values[0]), "+f"(d[4].values[1]), "+f"(d[4].values[2]), "+f"(d[4].values[3]),
        "+f"(d[5].values[0]), "+f"(d[5].values[1]), "+f"(d[5].values[2]), "+f"(d[5].values[3]),
        "+f"(d[6].values[0]), "+f"(d[6].values[1]), "+f"(d[6].values[2]), "+f"(d[6].values[3]),
        "+f"(d[7].values[0]), "+f"(d[7].values[1]), "+f"(d[7].values[2]), "+f"(d[7].values[3]),
        "+f"(d[8].values[0]), "+f"(d[8].values[1]), "+f"(d[8].values[2]), "+f"(d[8].values[3]),
        "+f"(d[9].values[0]), "+f"(d[9].values[1]), "+f"(d[9].values[2]), "+f"(d[9].values[3]),
        "+f"(d[10].values[0]), "+f"(d[10].values[1]), "+f"(d[10].values[2]), "+f"(d[10].values[3]),
        "+f"(d[11].values[0]), "+f"(d[11].values[1]), "+f"(d[11].values[2]), "+f"(d[11].values[3]),
        "+f"(d[12].values[0]), "+f"(d[12].values[1]), "+f"(d[12].values[2]), "+f"(d[12].values[3])
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "l"(b.descriptor),
        "r"(int{accumulate}));
}
/// D[64, 32] (+)= A · B: wgmma.mma_async.m64n32k16.
template <Major of_a, Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[4], TileOperand a, TileOperand b,
                                              bool accumulate = true) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %18, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, "
      "%16, %17, p, 1, 1, %19, %20;\n}"
      : "+f"(d[0].values[0]), "+f"(d[0].values[1]), "+f"(d[0].values[2]), "+f"(d[0].values[3]),
        "+f"(d[1].values[0]), "+f"(d[1].values[1]), "+f"(d[1].values[2]), "+f"(d[1].values[3]),
        "+f"(d[2].values[0]), "+f"(d[2].values[1]), "+f"(d[2].values[2]), "+f"(d[2].values[3]),
        "+f"(d[3].values[0]), "+f"(d[3].values[1]), "+f"(d[3].values[2]), "+f"(d[3].values[3])
      : "l"(a.descriptor), "l"(b.descriptor), "r"(int{accumulate}), "n"(static_cast<int>(of_a)),
        "n"(static_cast<int>(of_b)));
}
/// D[64, 8] (+)= A · B: wgmma.mma_async.m64n8k16.
template <Major of_a, Major of_b>
__device__ __forceinline__ void start_product(FragmentD& d, TileOperand a, TileOperand b,
                                              bool accumulate = true) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3}, "
      "%4, %5, p, 1, 1, %7, %8;\n}"
      : "+f"(d.values[0]), "+f"(d.values[1]), "+f"(d.values[2]), "+f"(d.values[3])
      : "l"(a.descriptor), "l"(b.descriptor), "r"(int{accumulate}), "n"(static_cast<int>(of_a)),
        "n"(static_cast<int>(of_b)));
}
/// D[64, 64] (+)= A · B: wgmma.mma_async.m64n64k16.
template <Major of_a, Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[8], TileOperand a, TileOperand b,
                                              bool accumulate = true) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
      "%32, %33, p, 1, 1, %35, %36;\n}"
      : "+f"(d[0].values[0]), "+f"(d[0].values[1]), "+f"(d[0].values[2]), "+f"(d[0].values[3]),
        "+f"(d[1].values[0]), "+f"(d[1].values[1]), "+f"(d[1].values[2]), "+f"(d[1].values[3]),
        "+f"(d[2].values[0]), "+f"(d[2].values[1]), "+f"(d[2].values[2]), "+f"(d[2].values[3]),
        "+f"(d[3].values[0]), "+f"(d[3].values[1]), "+f"(d[3].values[2]), "+f"(d[3].values[3]),
        "+f"(d[4].values[0]), "+f"(d[4].values[1]), "+f"(d[4].values[2]), "+f"(d[4].values[3]),
        "+f"(d[5].values[0]), "+f"(d[5].values[1]), "+f"(d[5].values[2]), "+f"(d[5].values[3]),
        "+f"(d[6].values[0]), "+f"(d[6].values[1]), "+f"(d[6].values[2]), "+f"(d[6].values[3]),
        "+f"(d[7].values[0]), "+f"(d[7].values[1]), "+f"(d[7].values[2]), "+f"(d[7].values[3])
      : "l"(a.descriptor), "l"(b.descriptor), "r"(int{accumulate}), "n"(static_cast<int>(of_a)),
        "n"(static_cast<int>(of_b)));
}
/// D[64, 80] (+)= A · B: wgmma.mma_async.m64n80k16.
template <Major of_a, Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[10], TileOperand a, TileOperand b,
                                              bool accumulate = true) {
  static_assert(of_b == Major::k, "operands are one tile wide");
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %42, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n80k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,"
      "%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39}, "
      "%40, %41, p, 1, 1, %43, 0;\n}"
      : "+f"(d[0].values[0]), "+f"(d[0].values[1]), "+f"(d[0].values[2]), "+f"(d[0].values[3]),
        "+f"(d[1].values[0]), "+f"(d[1].values[1]), "+f"(d[1].values[2]), "+f"(d[1].values[3]),
        "+f"(d[2].values[0]), "+f"(d[2].values[1]), "+f"(d[2].values[2]), "+f"(d[2].values[3]),
        "+f"(d[3].values[0]), "+f"(d[3].values[1]), "+f"(d[3].values[2]), "+f"(d[3].values[3]),
        "+f"(d[4].values[0]), "+f"(d[4].values[1]), "+f"(d[4].values[2]), "+f"(d[4].values[3]),
        "+f"(d[5].values[0]), "+f"(d[5].values[1]), "+f"(d[5].values[2]), "+f"(d[5].values[3]),
        "+f"(d[6].values[0]), "+f"(d[6].values[1]), "+f"(d[6].values[2]), "+f"(d[6].values[3]),
        "+f"(d[7].values[0]), "+f"(d[7].values[1]), "+f"(d[7].values[2]), "+f"(d[7].values[3]),
        "+f"(d[8].values[0]), "+f"(d[8].values[1]), "+f"(d[8].values[2]), "+f"(d[8].values[3]),
        "+f"(d[9].values[0]), "+f"(d[9].values[1]), "+f"(d[9].values[2]), "+f"(d[9].values[3])
      : "l"(a.descriptor), "l"(b.descriptor), "r"(int{accumulate}), "n"(static_cast<int>(of_a)));
}
/// D[64, 128] (+)= A · B, B in two tiles: wgmma.mma_async.m64n128k16.
template <Major of_a, Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[2][8], TileOperand a, TileOperand b,
                                              bool accumulate = true) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
      "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"
      "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
      "%64, %65, p, 1, 1, %67, %68;\n}"
      : "+f"(d[0][0].values[0]), "+f"(d[0][0].values[1]), "+f"(d[0][0].values[2]), "+f"(d[0][0].values[3]),
        "+f"(d[0][1].values[0]), "+f"(d[0][1].values[1]), "+f"(d[0][1].values[2]), "+f"(d[0][1].values[3]),
        "+f"(d[0][2].values[0]), "+f"(d[0][2].values[1]), "+f"(d[0][2].values[2]), "+f"(d[0][2].values[3]),
        "+f"(d[0][3].values[0]), "+f"(d[0][3].values[1]), "+f"(d[0][3].values[2]), "+f"(d[0][3].values[3]),
        "+f"(d[0][4].values[0]), "+f"(d[0][4].values[1]), "+f"(d[0][4].values[2]), "+f"(d[0][4].values[3]),
        "+f"(d[0][5].values[0]), "+f"(d[0][5].values[1]), "+f"(d[0][5].values[2]), "+f"(d[0][5].values[3]),
        "+f"(d[0][6].values[0]), "+f"(d[0][6].values[1]), "+f"(d[0][6].values[2]), "+f"(d[0][6].values[3]),
        "+f"(d[0][7].values[0]), "+f"(d[0][7].values[1]), "+f"(d[0][7].values[2]), "+f"(d[0][7].values[3]),
        "+f"(d[1][0].values[0]), "+f"(d[1][0].values[1]), "+f"(d[1][0].values[2]), "+f"(d[1][0].values[3]),
        "+f"(d[1][1].values[0]), "+f"(d[1][1].values[1]), "+f"(d[1][1].values[2]), "+f"(d[1][1].values[3]),
        "+f"(d[1][2].values[0]), "+f"(d[1][2].values[1]), "+f"(d[1][2].values[2]), "+f"(d[1][2].values[3]),
        "+f"(d[1][3].values[0]), "+f"(d[1][3].values[1]), "+f"(d[1][3].values[2]), "+f"(d[1][3].values[3]),
        "+f"(d[1][4].values[0]), "+f"(d[1][4].values[1]), "+f"(d[1][4].values[2]), "+f"(d[1][4].values[3]),
        "+f"(d[1][5].values[0]), "+f"(d[1][5].values[1]), "+f"(d[1][5].values[2]), "+f"(d[1][5].values[3]),
        "+f"(d[1][6].values[0]), "+f"(d[1][6].values[1]), "+f"(d[1][6].values[2]), "+f"(d[1][6].values[3]),
        "+f"(d[1][7].values[0]), "+f"(d[1][7].values[1]), "+f"(d[1][7].values[2]), "+f"(d[1][7].values[3])
      : "l"(a.descriptor), "l"(b.descriptor), "r"(int{accumulate}), "n"(static_cast<int>(of_a)),
        "n"(static_cast<int>(of_b)));
}

}  // namespace scrawl::SCRAWL_GPU
