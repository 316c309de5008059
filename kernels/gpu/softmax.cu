// Softmax and log-softmax along the last axis, forward and backward.
//
// A group of threads, one warp or a whole block, takes a row at a time and goes through it for its
// maximum, for the sum of its exponentials and to write the result; backward, for one sum and to
// write. All but the first reading come from the cache, so memory moves each number once in and
// once out, for some 30 operations forward and 5 backward: memory sets the pace. Neighbours read
// neighbours.
//
// Not measured yet on a card.

constexpr int THREADS = 128;
constexpr unsigned ALL_LANES = 0xffffffffu;

struct Sum {
    template <class T>
    __device__ T operator()(T x, T y) const { return x + y; }
};

struct Max {
    template <class T>
    __device__ T operator()(T x, T y) const { return x < y ? y : x; }
};

// Combines a value of each thread of a group of warps; every thread gets the result.
template <int WARPS, class Combine, class T>
__device__ T combined(T value, Combine combine) {
    for (int offset = 16; offset > 0; offset /= 2)
        value = combine(value, __shfl_xor_sync(ALL_LANES, value, offset));
    if constexpr (WARPS > 1) {
        __shared__ T parts[WARPS];
        __syncthreads();  // everybody has read what was combined before
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
        __syncthreads();
        value = parts[0];
        for (int i = 1; i < WARPS; ++i) value = combine(value, parts[i]);
    }
    return value;
}

// Calls use(j) for this thread's share of c numbers.
template <int LANES, class Use>
__device__ void each(long long c, Use use) {
#pragma unroll 4
    for (long long j = threadIdx.x % LANES; j < c; j += LANES) use(j);
}

// Calls use(i) for this group's share of the rows.
template <int LANES, class Use>
__device__ void each_row(long long rows, Use use) {
    constexpr int GROUPS = THREADS / LANES;
    const long long start = (long long)blockIdx.x * GROUPS + threadIdx.x / LANES;
    for (long long i = start; i < rows; i += (long long)gridDim.x * GROUPS) use(i);
}

template <class T, int WARPS, bool LOG>
__device__ void forward(const T* x, long long rows, long long c, T* out) {
    constexpr int LANES = 32 * WARPS;
    each_row<LANES>(rows, [&](long long i) {
        const T* row = x + i * c;
        T top = row[0], weights = 0;
        each<LANES>(c, [&](long long j) { top = Max()(top, row[j]); });
        top = combined<WARPS>(top, Max());
        // A row of nothing but -inf has inf - inf here, which makes it nan.
        each<LANES>(c, [&](long long j) { weights += exp(row[j] - top); });
        weights = combined<WARPS>(weights, Sum());
        const T log_weights = LOG ? log(weights) : T(0);
        each<LANES>(c, [&](long long j) {
            const T shifted = row[j] - top;
            out[i * c + j] = LOG ? shifted - log_weights : exp(shifted) / weights;
        });
    });
}

template <class T, int WARPS, bool LOG>
__device__ void backward(const T* g, const T* out, long long rows, long long c, T* dx) {
    constexpr int LANES = 32 * WARPS;
    each_row<LANES>(rows, [&](long long i) {
        const T *slope = g + i * c, *found = out + i * c;
        T sum = 0;
        each<LANES>(c, [&](long long j) { sum += LOG ? slope[j] : slope[j] * found[j]; });
        sum = combined<WARPS>(sum, Sum());
        each<LANES>(c, [&](long long j) {
            dx[i * c + j] = LOG ? slope[j] - exp(found[j]) * sum : found[j] * (slope[j] - sum);
        });
    });
}

#define SOFTMAX(NAME, T, SIZE, WARPS, LOG)                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME##_##T##_##SIZE(                     \
        const T* x, long long rows, long long c, T* out) {                                         \
        forward<T, WARPS, LOG>(x, rows, c, out);                                                   \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME##_backward_##T##_##SIZE(            \
        const T* g, const T* out, long long rows, long long c, T* dx) {                            \
        backward<T, WARPS, LOG>(g, out, rows, c, dx);                                              \
    }

SOFTMAX(softmax, float, warp, 1, false)
SOFTMAX(softmax, float, block, 4, false)
SOFTMAX(softmax, double, warp, 1, false)
SOFTMAX(softmax, double, block, 4, false)
SOFTMAX(log_softmax, float, warp, 1, true)
SOFTMAX(log_softmax, float, block, 4, true)
SOFTMAX(log_softmax, double, warp, 1, true)
SOFTMAX(log_softmax, double, block, 4, true)
