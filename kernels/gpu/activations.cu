// Activations, their derivatives, and both within a dense layer, beside the products of cuBLAS.
//
// Alone, each thread takes 16 bytes at a time where they are aligned: of float32, 8 bytes move for
// each number forward and 12 backward, for up to some 40 operations, so memory sets the pace. After
// a layer's product, one pass adds the bias and applies the activation, in place where the tape
// keeps the value alone. Before the products of backward, one pass makes d = g * act' and the parts
// of the sums of its columns, the bias gradient: a block has 32 columns of ROWS rows, of which each
// of eight warps adds up 64 in their own precision; sums.cu adds up the blocks.
//
// Not measured yet on a card.

constexpr int THREADS = 256, WIDTH = 32, ROWS = 512;

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

// Neighbours that a thread reads at once.
template <class T, int N>
struct alignas(N * sizeof(T)) Unit {
    static constexpr int SIZE = N;
    T values[N];
};
template <class T>
using Vector = Unit<T, 16 / sizeof(T)>;

// Each: the value, and the derivative, by what the tape keeps: the value itself, or x.

struct relu {
    template <class T>
    static __device__ T value(T x) { return x <= 0 ? T(0) : x; }
    template <class T>
    static __device__ T pulled(T g, T out) { return out <= 0 ? T(0) : g; }
};

struct sigmoid {
    template <class T>
    static __device__ T value(T x) {
        const T small = exp(-fabs(x));  // at most 1: exp(-x) would overflow
        return (x >= 0 ? T(1) : small) / (1 + small);
    }
    template <class T>
    static __device__ T pulled(T g, T out) { return g * (out * (1 - out)); }
};

struct hyperbolic {
    template <class T>
    static __device__ T value(T x) { return tanh(x); }
    template <class T>
    static __device__ T pulled(T g, T out) { return g * (1 - out * out); }
};

struct silu {
    template <class T>
    static __device__ T value(T x) { return x * sigmoid::value(x); }
    template <class T>
    static __device__ T pulled(T g, T x) {
        const T s = sigmoid::value(x);
        return g * (s * (1 + x * (1 - s)));
    }
};

// Beyond 30 the derivatives of gelu are 0 and 1. A nan stays.
template <class T>
__device__ T limited(T x) {
    return x > 30 ? T(30) : x < -30 ? T(-30) : x;
}

struct gelu {
    template <class T>
    static __device__ T value(T x) { return x * (T(0.5) * erfc(x * T(-0.7071067811865476))); }
    template <class T>
    static __device__ T pulled(T g, T x) {
        x = limited(x);
        const T bell = exp(x * x * T(-0.5)) * T(0.3989422804014327);  // over sqrt(2 pi)
        return g * (T(0.5) * erfc(x * T(-0.7071067811865476)) + x * bell);
    }
};

struct gelu_tanh {
    static constexpr double SLOPE = 1.5957691216057308, CUBE = 0.044715;  // sqrt(8 / pi)
    template <class T>
    static __device__ T value(T x) {
        return x * sigmoid::value(T(SLOPE) * (x + T(CUBE) * (x * x * x)));
    }
    template <class T>
    static __device__ T pulled(T g, T x) {
        x = limited(x);
        const T square = x * x;
        const T s = sigmoid::value(T(SLOPE) * (x + T(CUBE) * (square * x)));
        return g * (s + s * (1 - s) * (T(SLOPE) * (x + T(3 * CUBE) * (square * x))));
    }
};

__device__ long long first() { return (long long)blockIdx.x * THREADS + threadIdx.x; }
__device__ long long stride() { return (long long)gridDim.x * THREADS; }

template <class Act, class T>
__device__ void forward(const T* x, long long size, bool vectors, T* out) {
    constexpr int SIZE = Vector<T>::SIZE;
    long long i = 0;
    if (vectors) {
        for (i = first() * SIZE; i + SIZE <= size; i += stride() * SIZE) {
            Vector<T> found = *reinterpret_cast<const Vector<T>*>(x + i);
#pragma unroll
            for (int k = 0; k < SIZE; ++k)
                found.values[k] = Act::value(Wide<T>(found.values[k]));
            *reinterpret_cast<Vector<T>*>(out + i) = found;
        }
        i = size - size % SIZE;
    }
    for (i += first(); i < size; i += stride()) out[i] = Act::value(Wide<T>(x[i]));
}

template <class Act, class T>
__device__ void backward(const T* g, const T* of, long long size, bool vectors, T* dx) {
    constexpr int SIZE = Vector<T>::SIZE;
    long long i = 0;
    if (vectors) {
        for (i = first() * SIZE; i + SIZE <= size; i += stride() * SIZE) {
            Vector<T> found = *reinterpret_cast<const Vector<T>*>(of + i);
            const Vector<T> slope = *reinterpret_cast<const Vector<T>*>(g + i);
#pragma unroll
            for (int k = 0; k < SIZE; ++k)
                found.values[k] = Act::pulled(Wide<T>(slope.values[k]), Wide<T>(found.values[k]));
            *reinterpret_cast<Vector<T>*>(dx + i) = found;
        }
        i = size - size % SIZE;
    }
    for (i += first(); i < size; i += stride()) dx[i] = Act::pulled(Wide<T>(g[i]), Wide<T>(of[i]));
}

// z of rows of c numbers, to each of which the bias is added in place; out may be z.
template <int SIZE, class Act, class T>
__device__ void finish_layer(T* z, const T* bias, long long size, long long c, T* out) {
    using V = Unit<T, SIZE>;
    // The column follows without a division for each number.
    const long long step = stride() * SIZE % c;
    long long column = first() * SIZE % c;
    for (long long i = first() * SIZE; i < size; i += stride() * SIZE) {
        V found = *reinterpret_cast<const V*>(z + i), made, shift = {};
        if (bias) shift = *reinterpret_cast<const V*>(bias + column);
#pragma unroll
        for (int k = 0; k < SIZE; ++k) {
            if (bias) found.values[k] = Wide<T>(found.values[k]) + Wide<T>(shift.values[k]);
            made.values[k] = Act::value(Wide<T>(found.values[k]));
        }
        if (bias && out != z) *reinterpret_cast<V*>(z + i) = found;
        *reinterpret_cast<V*>(out + i) = made;
        column += step;
        if (column >= c) column -= c;
    }
}

// d = g * act', and the sums of its columns over ROWS rows: parts is (blocks of rows, c).
template <class Act, class T>
__device__ void begin_backward(const T* g, const T* of, long long rows, long long c, T* d,
                               Wide<T>* parts) {
    constexpr int SLICES = THREADS / WIDTH;
    __shared__ double sums[SLICES][WIDTH];
    const long long tiles = (c + WIDTH - 1) / WIDTH, band = blockIdx.x / tiles;
    const int lane = threadIdx.x % WIDTH, slice = threadIdx.x / WIDTH;
    const long long column = blockIdx.x % tiles * WIDTH + lane;
    const long long stop = (band + 1) * ROWS < rows ? (band + 1) * ROWS : rows;
    Wide<T> sum = 0;
    if (column < c) {
        for (long long i = band * ROWS + slice; i < stop; i += SLICES) {
            const long long at = i * c + column;
            const Wide<T> found = Act::pulled(Wide<T>(g[at]), Wide<T>(of[at]));
            d[at] = found;
            sum += found;
        }
    }
    sums[slice][lane] = sum;
    __syncthreads();
    if (slice || column >= c) return;
    double total = 0;
    for (int i = 0; i < SLICES; ++i) total += sums[i][lane];
    parts[band * c + column] = Wide<T>(total);
}

#define ALONE(NAME, ACT, T)                                                                        \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME##_##T(                              \
        const T* x, long long size, bool vectors, T* out) {                                        \
        forward<ACT>(x, size, vectors, out);                                                       \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME##_backward_##T(                     \
        const T* g, const T* of, long long size, bool vectors, T* dx) {                            \
        backward<ACT>(g, of, size, vectors, dx);                                                   \
    }

#define IN_LAYERS(NAME, ACT, T)                                                                    \
    extern "C" __global__ void __launch_bounds__(THREADS) linear_##NAME##_##T(                     \
        T* z, const T* bias, long long size, long long c, bool vectors, T* out) {                  \
        if (vectors)                                                                               \
            finish_layer<Vector<T>::SIZE, ACT>(z, bias, size, c, out);                             \
        else                                                                                       \
            finish_layer<1, ACT>(z, bias, size, c, out);                                           \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) linear_##NAME##_backward_##T(            \
        const T* g, const T* of, long long rows, long long c, T* d, Wide<T>* parts) {              \
        begin_backward<ACT>(g, of, rows, c, d, parts);                                             \
    }

#define EVERYWHERE(NAME, ACT)                                                                      \
    ALONE(NAME, ACT, half)                                                                         \
    ALONE(NAME, ACT, float)                                                                        \
    ALONE(NAME, ACT, double)                                                                       \
    IN_LAYERS(NAME, ACT, half)                                                                     \
    IN_LAYERS(NAME, ACT, float)                                                                    \
    IN_LAYERS(NAME, ACT, double)

EVERYWHERE(relu, relu)
EVERYWHERE(sigmoid, sigmoid)
EVERYWHERE(tanh, hyperbolic)
EVERYWHERE(gelu, gelu)
EVERYWHERE(silu, silu)
ALONE(gelu_tanh, gelu_tanh, half)
ALONE(gelu_tanh, gelu_tanh, float)
ALONE(gelu_tanh, gelu_tanh, double)
