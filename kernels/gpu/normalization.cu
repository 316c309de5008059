// Layer norm and RMS norm: forward, and backward with the gradients of weight and bias.
//
// A group of threads, one warp or eight, takes a row at a time and holds it in registers, ITEMS
// numbers a thread, neighbours with neighbours: so each array passes through memory once, however
// often the row is gone through for its mean, its squared deviations and its result. That is some
// 10 operations for 8 bytes of float32 forward and for 12 backward: memory sets the pace. Backward,
// each thread adds up, over the rows of its group, what the weights of its columns get, and writes
// that once; a second launch, of sums.cu, adds up the groups: 2 numbers for the 192 that 64 rows
// move.
//
// Not measured yet on a card.

constexpr int THREADS = 256;
constexpr unsigned ALL_LANES = 0xffffffffu;

// The sum of a value of each thread of a group of warps, to all of them.
template <int WARPS, class T>
__device__ T total(T value) {
    for (int offset = 16; offset > 0; offset /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, offset);
    if constexpr (WARPS > 1) {
        __shared__ T parts[WARPS];
        __syncthreads();  // everybody has read what was added up before
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
        __syncthreads();
        value = parts[0];
        for (int i = 1; i < WARPS; ++i) value += parts[i];
    }
    return value;
}

// A thread's share of a row of c numbers: those at lane, lane + LANES, ...
template <class T, int WARPS, int ITEMS>
struct Share {
    static constexpr int LANES = 32 * WARPS;
    T values[ITEMS];

    // Calls use(k, j) for each number k of this thread, which is the row's number j.
    template <class Use>
    static __device__ void each(int c, Use use) {
#pragma unroll
        for (int k = 0; k < ITEMS; ++k) {
            const int j = threadIdx.x % LANES + k * LANES;
            if (j < c) use(k, j);
        }
    }
    __device__ void load(const T* row, int c) {
        each(c, [&](int k, int j) { values[k] = row[j]; });
    }
};

template <class T, int WARPS, int ITEMS, bool CENTRED>
__device__ void forward(const T* x, const T* weight, const T* bias, long long rows, int c, T eps,
                        T* out, T* mean, T* var) {
    using Row = Share<T, WARPS, ITEMS>;
    constexpr int GROUPS = THREADS / Row::LANES;
    const T count = c ? c : 1;
    const long long start = (long long)blockIdx.x * GROUPS + threadIdx.x / Row::LANES;
    for (long long i = start; i < rows; i += (long long)gridDim.x * GROUPS) {
        Row row;
        row.load(x + i * c, c);
        T offset = 0, first = 0;
        if constexpr (CENTRED) {
            // Less the first, a large common part costs no digits, and equal numbers give 0.
            first = c ? x[i * c] : T(0);
            T sum = 0;
            Row::each(c, [&](int k, int) { sum += row.values[k] -= first; });
            offset = total<WARPS>(sum) / count;
        }
        T squares = 0;
        Row::each(c, [&](int k, int) {
            row.values[k] -= offset;
            squares += row.values[k] * row.values[k];
        });
        const T variance = total<WARPS>(squares) / count;
        const T inverse = 1 / sqrt(variance + eps);
        Row::each(c, [&](int k, int j) {
            T unit = row.values[k] * inverse;
            if (weight) unit *= weight[j];
            if (bias) unit += bias[j];
            out[i * c + j] = unit;
        });
        if (threadIdx.x % Row::LANES == 0) {
            if (CENTRED) mean[i] = first + offset;
            var[i] = variance;
        }
    }
}

// dx may be null, where it is not wanted, and parts, of shape (groups, 2, c), as well.
template <class T, int WARPS, int ITEMS, bool CENTRED>
__device__ void backward(const T* g, const T* x, const T* weight, const T* mean, const T* var,
                         long long rows, int c, T eps, T* dx, T* parts) {
    using Row = Share<T, WARPS, ITEMS>;
    constexpr int GROUPS = THREADS / Row::LANES;
    const T count = c ? c : 1;
    const long long start = (long long)blockIdx.x * GROUPS + threadIdx.x / Row::LANES;
    Row slope, unit;
    T dweight[ITEMS] = {}, dbias[ITEMS] = {};
    for (long long i = start; i < rows; i += (long long)gridDim.x * GROUPS) {
        slope.load(g + i * c, c);
        unit.load(x + i * c, c);
        const T middle = CENTRED ? mean[i] : T(0), inverse = 1 / sqrt(var[i] + eps);
        T sum = 0, products = 0;
        Row::each(c, [&](int k, int j) {
            unit.values[k] = (unit.values[k] - middle) * inverse;
            dweight[k] += slope.values[k] * unit.values[k];
            dbias[k] += slope.values[k];
            if (weight) slope.values[k] *= weight[j];
            sum += slope.values[k];
            products += slope.values[k] * unit.values[k];
        });
        if (dx) {
            const T along = CENTRED ? total<WARPS>(sum) / count : T(0);
            const T across = total<WARPS>(products) / count;
            Row::each(c, [&](int k, int j) {
                dx[i * c + j] = (slope.values[k] - along - unit.values[k] * across) * inverse;
            });
        }
    }
    if (parts) {
        T* own = parts + start * 2 * c;
        Row::each(c, [&](int k, int j) {
            own[j] = dweight[k];
            own[c + j] = dbias[k];
        });
    }
}

#define NORMS(T, SIZE, WARPS, ITEMS)                                                               \
    extern "C" __global__ void __launch_bounds__(THREADS) normalize_##T##_##SIZE(                  \
        const T* x, const T* weight, const T* bias, long long rows, long long c, T eps, T* out,    \
        T* mean, T* var) {                                                                         \
        forward<T, WARPS, ITEMS, true>(x, weight, bias, rows, int(c), eps, out, mean, var);        \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) rms_normalize_##T##_##SIZE(              \
        const T* x, const T* weight, const T* bias, long long rows, long long c, T eps, T* out,    \
        T* mean, T* square) {                                                                      \
        forward<T, WARPS, ITEMS, false>(x, weight, bias, rows, int(c), eps, out, mean, square);    \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) normalize_backward_##T##_##SIZE(         \
        const T* g, const T* x, const T* weight, const T* mean, const T* var, long long rows,      \
        long long c, T eps, T* dx, T* parts) {                                                     \
        backward<T, WARPS, ITEMS, true>(g, x, weight, mean, var, rows, int(c), eps, dx, parts);    \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) rms_normalize_backward_##T##_##SIZE(     \
        const T* g, const T* x, const T* weight, const T* mean, const T* var, long long rows,      \
        long long c, T eps, T* dx, T* parts) {                                                     \
        backward<T, WARPS, ITEMS, false>(g, x, weight, mean, var, rows, int(c), eps, dx, parts);   \
    }

NORMS(float, short, 1, 4)
NORMS(float, usual, 8, 4)
NORMS(float, long, 8, 16)
NORMS(double, short, 1, 4)
NORMS(double, usual, 8, 4)
NORMS(double, long, 8, 16)
