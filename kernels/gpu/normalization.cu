// Layer norm and RMS norm: forward, and backward with the gradients of weight and bias.
//
// A group of threads, one warp or eight, takes a row at a time and holds it in registers, ITEMS
// numbers a thread, of which it reads up to 16 bytes at once where rows allow: so each array
// passes through memory once, however often the row is gone through for its mean, its squared
// deviations and its result. That is some 10 operations for 8 bytes of float32 forward and for 12
// backward: memory sets the pace. Backward, each thread adds up, over the rows of its group, what
// the weights of its columns get, and writes that once; a second launch, of sums.cu, adds up the
// groups: 2 numbers for the 192 that 64 rows move.
//
// Not measured yet on a card.

constexpr int THREADS = 256;
constexpr unsigned ALL_LANES = 0xffffffffu;

// float16 in memory, float32 in arithmetic.
struct half {
    unsigned short bits;

    half() = default;
    __device__ half(float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); }
    __device__ operator float() const {
        float x;
        asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
        return x;
    }
};

// What numbers of T are computed with: float for half, otherwise T.
template <class T>
using Wide = decltype(T() + T());

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

// A thread's share of a row of c numbers of T: N neighbours, and N again as far on as all threads
// have numbers, in what they are computed with.
template <class T, int WARPS, int ITEMS>
struct Share {
    static constexpr int LANES = 32 * WARPS, MOST = 16 / sizeof(T), N = ITEMS < MOST ? ITEMS : MOST;
    Wide<T> values[ITEMS];

    struct alignas(N * sizeof(T)) Unit {
        T values[N];
    };

    // Calls use(k, j) for each first number k of N neighbours, which is the row's number j.
    template <class Use>
    static __device__ void each_unit(int c, Use use) {
#pragma unroll
        for (int k = 0; k < ITEMS; k += N) {
            const int j = threadIdx.x % LANES * N + k * LANES;
            if (j < c) use(k, j);
        }
    }
    // Calls use(k, j) for each number k of this thread, which is the row's number j.
    template <class Use>
    static __device__ void each(int c, Use use) {
#pragma unroll
        for (int k = 0; k < ITEMS; ++k) {
            const int j = threadIdx.x % LANES * N + k / N * N * LANES + k % N;
            if (j < c) use(k, j);
        }
    }
    __device__ void load(const T* row, int c, bool vectors) {
        if (vectors) {
            each_unit(c, [&](int k, int j) {
                const Unit found = *reinterpret_cast<const Unit*>(row + j);
                for (int n = 0; n < N; ++n) values[k + n] = found.values[n];
            });
        } else {
            each(c, [&](int k, int j) { values[k] = row[j]; });
        }
    }
    __device__ void store(T* row, int c, bool vectors) const {
        if (vectors) {
            each_unit(c, [&](int k, int j) {
                Unit made;
                for (int n = 0; n < N; ++n) made.values[n] = values[k + n];
                *reinterpret_cast<Unit*>(row + j) = made;
            });
        } else {
            each(c, [&](int k, int j) { row[j] = values[k]; });
        }
    }
};

template <class T, int WARPS, int ITEMS, bool CENTRED>
__device__ void forward(const T* x, const T* weight, const T* bias, long long rows, int c,
                        Wide<T> eps, bool vectors, T* out, Wide<T>* mean, Wide<T>* var) {
    using W = Wide<T>;
    using Row = Share<T, WARPS, ITEMS>;
    constexpr int GROUPS = THREADS / Row::LANES;
    const W count = c ? c : 1;
    const long long start = (long long)blockIdx.x * GROUPS + threadIdx.x / Row::LANES;
    Row row, factor, shift;
    if (weight) factor.load(weight, c, vectors);
    if (bias) shift.load(bias, c, vectors);
    for (long long i = start; i < rows; i += (long long)gridDim.x * GROUPS) {
        row.load(x + i * c, c, vectors);
        W offset = 0, first = 0;
        if constexpr (CENTRED) {
            // Less the first, a large common part costs no digits, and equal numbers give 0.
            first = c ? W(x[i * c]) : W(0);
            W sum = 0;
            Row::each(c, [&](int k, int) { sum += row.values[k] -= first; });
            offset = total<WARPS>(sum) / count;
        }
        W squares = 0;
        Row::each(c, [&](int k, int) {
            row.values[k] -= offset;
            squares += row.values[k] * row.values[k];
        });
        const W variance = total<WARPS>(squares) / count;
        const W inverse = 1 / sqrt(variance + eps);
        Row::each(c, [&](int k, int) {
            row.values[k] *= inverse;
            if (weight) row.values[k] *= factor.values[k];
            if (bias) row.values[k] += shift.values[k];
        });
        row.store(out + i * c, c, vectors);
        if (threadIdx.x % Row::LANES == 0) {
            if (CENTRED) mean[i] = first + offset;
            var[i] = variance;
        }
    }
}

// dx may be null, where it is not wanted, and parts, of shape (groups, 2, c), as well.
template <class T, int WARPS, int ITEMS, bool CENTRED>
__device__ void backward(const T* g, const T* x, const T* weight, const Wide<T>* mean,
                         const Wide<T>* var, long long rows, int c, Wide<T> eps, bool vectors,
                         T* dx, Wide<T>* parts) {
    using W = Wide<T>;
    using Row = Share<T, WARPS, ITEMS>;
    constexpr int GROUPS = THREADS / Row::LANES;
    const W count = c ? c : 1;
    const long long start = (long long)blockIdx.x * GROUPS + threadIdx.x / Row::LANES;
    Row slope, unit, factor;
    W dweight[ITEMS] = {}, dbias[ITEMS] = {};
    if (weight) factor.load(weight, c, vectors);
    for (long long i = start; i < rows; i += (long long)gridDim.x * GROUPS) {
        slope.load(g + i * c, c, vectors);
        unit.load(x + i * c, c, vectors);
        const W middle = CENTRED ? mean[i] : W(0), inverse = 1 / sqrt(var[i] + eps);
        W sum = 0, products = 0;
        Row::each(c, [&](int k, int) {
            unit.values[k] = (unit.values[k] - middle) * inverse;
            dweight[k] += slope.values[k] * unit.values[k];
            dbias[k] += slope.values[k];
            if (weight) slope.values[k] *= factor.values[k];
            sum += slope.values[k];
            products += slope.values[k] * unit.values[k];
        });
        if (dx) {
            const W along = CENTRED ? total<WARPS>(sum) / count : W(0);
            const W across = total<WARPS>(products) / count;
            Row::each(c, [&](int k, int) {
                slope.values[k] = (slope.values[k] - along - unit.values[k] * across) * inverse;
            });
            slope.store(dx + i * c, c, vectors);
        }
    }
    if (parts) {
        W* own = parts + start * 2 * c;
        Row::each(c, [&](int k, int j) {
            own[j] = dweight[k];
            own[c + j] = dbias[k];
        });
    }
}

#define NORMS(T, SIZE, WARPS, ITEMS)                                                               \
    extern "C" __global__ void __launch_bounds__(THREADS) normalize_##T##_##SIZE(                  \
        const T* x, const T* weight, const T* bias, long long rows, long long c, Wide<T> eps,      \
        bool vectors, T* out, Wide<T>* mean, Wide<T>* var) {                                       \
        forward<T, WARPS, ITEMS, true>(x, weight, bias, rows, int(c), eps, vectors, out, mean,     \
                                       var);                                                       \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) rms_normalize_##T##_##SIZE(              \
        const T* x, const T* weight, const T* bias, long long rows, long long c, Wide<T> eps,      \
        bool vectors, T* out, Wide<T>* mean, Wide<T>* square) {                                    \
        forward<T, WARPS, ITEMS, false>(x, weight, bias, rows, int(c), eps, vectors, out, mean,    \
                                        square);                                                   \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) normalize_backward_##T##_##SIZE(         \
        const T* g, const T* x, const T* weight, const Wide<T>* mean, const Wide<T>* var,          \
        long long rows, long long c, Wide<T> eps, bool vectors, T* dx, Wide<T>* parts) {           \
        backward<T, WARPS, ITEMS, true>(g, x, weight, mean, var, rows, int(c), eps, vectors, dx,   \
                                        parts);                                                    \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) rms_normalize_backward_##T##_##SIZE(     \
        const T* g, const T* x, const T* weight, const Wide<T>* mean, const Wide<T>* var,          \
        long long rows, long long c, Wide<T> eps, bool vectors, T* dx, Wide<T>* parts) {           \
        backward<T, WARPS, ITEMS, false>(g, x, weight, mean, var, rows, int(c), eps, vectors, dx,  \
                                         parts);                                                   \
    }

#define ALL_NORMS(T)                                                                               \
    NORMS(T, short, 1, 4)                                                                          \
    NORMS(T, usual, 8, 4)                                                                          \
    NORMS(T, long, 8, 16)

ALL_NORMS(half)
ALL_NORMS(float)
ALL_NORMS(double)
