// Softmax and log-softmax along the last axis, forward and backward.
//
// A group of threads, one warp or a whole block, takes a row at a time and goes through it for its
// maximum, for the sum of its exponentials and to write the result; backward, for one sum and to
// write. All but the first reading come from the cache, so memory moves each number once in and
// once out, for some 30 operations forward and 5 backward: memory sets the pace. Neighbours read
// neighbours, 16 bytes each where rows allow.
//
// Not measured yet on a card.

constexpr int THREADS = 128;
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

template <class T>
struct alignas(16) Vector {
    static constexpr int SIZE = 16 / sizeof(T);
    T values[SIZE];
};

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

// Calls use(row[j], more[j]...) for this thread's share of rows of c numbers.
template <int LANES, class Use, class T, class... More>
__device__ void each(long long c, bool vectors, Use use, const T* row, const More*... more) {
    const int lane = threadIdx.x % LANES;
    if (vectors) {
        constexpr int SIZE = Vector<T>::SIZE;
        const auto use_all = [&](const Vector<T>& found, const Vector<More>&... others) {
#pragma unroll
            for (int k = 0; k < SIZE; ++k) use(found.values[k], others.values[k]...);
        };
        for (long long j = lane * SIZE; j < c; j += LANES * SIZE)
            use_all(*reinterpret_cast<const Vector<T>*>(row + j),
                    *reinterpret_cast<const Vector<More>*>(more + j)...);
    } else {
#pragma unroll 4
        for (long long j = lane; j < c; j += LANES) use(row[j], more[j]...);
    }
}

// Writes value(row[j], more[j]...) to out[j] for this thread's share of rows of c numbers.
template <int LANES, class Value, class T, class... More>
__device__ void write(T* out, long long c, bool vectors, Value value, const T* row,
                      const More*... more) {
    const int lane = threadIdx.x % LANES;
    if (vectors) {
        constexpr int SIZE = Vector<T>::SIZE;
        const auto made_of = [&](Vector<T> made, const Vector<More>&... others) {
#pragma unroll
            for (int k = 0; k < SIZE; ++k)
                made.values[k] = value(made.values[k], others.values[k]...);
            return made;
        };
        for (long long j = lane * SIZE; j < c; j += LANES * SIZE)
            *reinterpret_cast<Vector<T>*>(out + j) =
                made_of(*reinterpret_cast<const Vector<T>*>(row + j),
                        *reinterpret_cast<const Vector<More>*>(more + j)...);
    } else {
#pragma unroll 4
        for (long long j = lane; j < c; j += LANES) out[j] = value(row[j], more[j]...);
    }
}

// Calls use(i) for this group's share of the rows.
template <int LANES, class Use>
__device__ void each_row(long long rows, Use use) {
    constexpr int GROUPS = THREADS / LANES;
    const long long start = (long long)blockIdx.x * GROUPS + threadIdx.x / LANES;
    for (long long i = start; i < rows; i += (long long)gridDim.x * GROUPS) use(i);
}

template <class T, int WARPS, bool LOG>
__device__ void forward(const T* x, long long rows, long long c, bool vectors, T* out) {
    using W = Wide<T>;
    constexpr int LANES = 32 * WARPS;
    each_row<LANES>(rows, [&](long long i) {
        const T* row = x + i * c;
        W top = row[0], weights = 0;
        each<LANES>(c, vectors, [&](W number) { top = Max()(top, number); }, row);
        top = combined<WARPS>(top, Max());
        // A row of nothing but -inf has inf - inf here, which makes it nan.
        each<LANES>(c, vectors, [&](W number) { weights += exp(number - top); }, row);
        weights = combined<WARPS>(weights, Sum());
        const W log_weights = LOG ? log(weights) : W(0);
        const auto value = [&](W number) {
            const W shifted = number - top;
            return LOG ? shifted - log_weights : exp(shifted) / weights;
        };
        write<LANES>(out + i * c, c, vectors, value, row);
    });
}

template <class T, int WARPS, bool LOG>
__device__ void backward(const T* g, const T* out, long long rows, long long c, bool vectors,
                         T* dx) {
    using W = Wide<T>;
    constexpr int LANES = 32 * WARPS;
    each_row<LANES>(rows, [&](long long i) {
        const T *slopes = g + i * c, *found = out + i * c;
        W sum = 0;
        const auto add = [&](W slope, W y) { sum += LOG ? slope : slope * y; };
        each<LANES>(c, vectors, add, slopes, found);
        sum = combined<WARPS>(sum, Sum());
        const auto value = [&](W slope, W y) {
            return LOG ? slope - exp(y) * sum : y * (slope - sum);
        };
        write<LANES>(dx + i * c, c, vectors, value, slopes, found);
    });
}

#define SOFTMAX(NAME, T, SIZE, WARPS, LOG)                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME##_##T##_##SIZE(                     \
        const T* x, long long rows, long long c, bool vectors, T* out) {                           \
        forward<T, WARPS, LOG>(x, rows, c, vectors, out);                                          \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME##_backward_##T##_##SIZE(            \
        const T* g, const T* out, long long rows, long long c, bool vectors, T* dx) {              \
        backward<T, WARPS, LOG>(g, out, rows, c, vectors, dx);                                     \
    }

#define SOFTMAXES(T)                                                                               \
    SOFTMAX(softmax, T, warp, 1, false)                                                            \
    SOFTMAX(softmax, T, block, 4, false)                                                           \
    SOFTMAX(log_softmax, T, warp, 1, true)                                                         \
    SOFTMAX(log_softmax, T, block, 4, true)

SOFTMAXES(half)
SOFTMAXES(float)
SOFTMAXES(double)
