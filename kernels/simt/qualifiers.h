#pragma once
// CUDA's words for where a function runs mean nothing to the simulator.
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
