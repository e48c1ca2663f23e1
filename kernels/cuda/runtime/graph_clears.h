#pragma once

struct CUgraph_st;

namespace scrawl::cuda {

/// Makes kernels of a graph's nodes that clear a few bytes; see graph_clears.cpp for why.
void clear_by_kernels(CUgraph_st* graph);

/// A kernel of one block, (unsigned char* to, unsigned value, unsigned value_bytes): repeats the bytes of
/// `value`, the lowest first, one a thread.
void* set_bytes_kernel();

}  // namespace scrawl::cuda
