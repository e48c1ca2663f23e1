#pragma once
// Every kernel file is compiled twice: by nvcc for the GPU, and by the C++ compiler for the simulator.  Its
// code stands in namespace scrawl::SCRAWL_GPU, which is scrawl::cuda in the first case and scrawl::simt in
// the second, so that one program can hold both.
#ifdef __CUDACC__
#include <cuda_runtime.h>
#define SCRAWL_GPU cuda
#else
#include "kernels/simt/qualifiers.h"
#define SCRAWL_GPU simt
#endif
