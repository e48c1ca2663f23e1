#pragma once
// Atomic operations under CUDA's names, on integers only: float atomics would add in an order of the
// moment's, and two runs would differ.  Also __threadfence().  A block must never wait for another block:
// the simulator may run them one after another.
#include "kernels/cuda/device/backend.cuh"
#ifndef __CUDACC__
#include "kernels/simt/atomics.h"
#endif
