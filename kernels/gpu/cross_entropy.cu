// Softmax and cross-entropy of labelled rows, loss and gradient in one launch.
//
// A group of threads, one warp or a whole block, takes a row at a time and reads it for its
// maximum, for the sum of its exponentials and to write the gradient. The second and the third
// reading come from the cache, so memory moves each logit once in and each gradient once out, with
// some 40 operations between them: 5 for a byte of float32, which leaves it to memory to set the
// pace. Neighbours read neighbours, 16 bytes each where rows allow. The block that finishes last
// adds up the losses, in an order that depends on the shape alone, and notes the first label that
// is no class.
//
// Not measured yet on a card.

constexpr int THREADS = 128;
constexpr unsigned ALL_LANES = 0xffffffffu;
enum Reduction { NONE, SUM, MEAN };

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

template <class T>
struct Task {
    const T* logits;          // (n, c)
    const long long* labels;  // (n,)
    const T* weight;          // (c,), or null: 1
    long long n, c, ignored;
    Wide<T> hit, share;  // a target is weight * (hit at the label, plus share everywhere)
    T* loss;             // (n,), or of one number if it is reduced
    T* dlogits;          // (n, c)
    Wide<T>* total;      // by what the sum of the losses was divided

    __device__ Wide<T> weight_of(long long j) const {
        return weight ? Wide<T>(weight[j]) : Wide<T>(1);
    }
    __device__ Wide<T> target(long long j, long long label) const {
        return (j == label ? hit : Wide<T>(0)) * weight_of(j) + share * weight_of(j);
    }
};

struct Sums {
    double loss, weight;
    long long first_bad;  // the first row whose label is no class, or the number of rows
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

// Calls use(j, row[j]) for this thread's share of a row.
template <int LANES, class T, class Use>
__device__ void each(const T* row, long long c, bool vectors, Use use) {
    const int lane = threadIdx.x % LANES;
    if (vectors) {
        for (long long j = lane * Vector<T>::SIZE; j < c; j += LANES * Vector<T>::SIZE) {
            const Vector<T> found = *reinterpret_cast<const Vector<T>*>(row + j);
#pragma unroll
            for (int k = 0; k < Vector<T>::SIZE; ++k) use(j + k, found.values[k]);
        }
    } else {
        for (long long j = lane; j < c; j += LANES) use(j, row[j]);
    }
}

// Writes value(j, row[j]) to out[j] for this thread's share of a row.
template <int LANES, class T, class Value>
__device__ void write(T* out, const T* row, long long c, bool vectors, Value value) {
    const int lane = threadIdx.x % LANES;
    if (vectors) {
        for (long long j = lane * Vector<T>::SIZE; j < c; j += LANES * Vector<T>::SIZE) {
            Vector<T> found = *reinterpret_cast<const Vector<T>*>(row + j);
#pragma unroll
            for (int k = 0; k < Vector<T>::SIZE; ++k)
                found.values[k] = value(j + k, found.values[k]);
            *reinterpret_cast<Vector<T>*>(out + j) = found;
        }
    } else {
        for (long long j = lane; j < c; j += LANES) out[j] = value(j, row[j]);
    }
}

// Writes a row's gradient and returns its loss.
template <class T, int WARPS>
__device__ Wide<T> differentiated(const Task<T>& task, long long i, long long label,
                                  bool vectors) {
    using W = Wide<T>;
    constexpr int LANES = 32 * WARPS;
    const T* row = task.logits + i * task.c;
    T* out = task.dlogits + i * task.c;
    W top = row[0];
    each<LANES>(row, task.c, vectors, [&](long long, W x) { top = Max()(top, x); });
    top = combined<WARPS>(top, Max());
    // A row of nothing but -inf has inf - inf here, which makes it nan.
    W weights = 0, mass = 0;
    each<LANES>(row, task.c, vectors, [&](long long j, W x) {
        weights += exp(x - top);
        mass += task.target(j, label);
    });
    weights = combined<WARPS>(weights, Sum());
    mass = combined<WARPS>(mass, Sum());
    const W log_weights = log(weights);
    W loss = 0;
    write<LANES>(out, row, task.c, vectors, [&](long long j, W x) {
        const W target = task.target(j, label);
        // What is not wanted costs nothing, even if it is impossible.
        if (target != 0) loss += target * (log_weights - (x - top));
        return mass * (exp(x - top) / weights) - target;
    });
    return combined<WARPS>(loss, Sum());
}

// Adds what the blocks found in the order of the blocks, and writes what is wanted of all rows.
template <class T>
__device__ void finish(const Task<T>& task, int reduction, const volatile Sums* parts,
                       long long* slot, long long code) {
    Sums all = {0, 0, task.n};
    for (unsigned b = threadIdx.x; b < gridDim.x; b += THREADS) {
        all.loss += parts[b].loss;
        all.weight += parts[b].weight;
        if (parts[b].first_bad < all.first_bad) all.first_bad = parts[b].first_bad;
    }
    constexpr int WARPS = THREADS / 32;
    all.loss = combined<WARPS>(all.loss, Sum());
    all.weight = combined<WARPS>(all.weight, Sum());
    all.first_bad = -combined<WARPS>(-all.first_bad, Max());
    if (threadIdx.x > 0) return;
    double total = 1;
    // In the dtype of the losses, as the result that says it is.
    if (reduction == MEAN && all.weight != 0) total = Wide<T>(all.weight);
    if (reduction != NONE) *task.loss = T(all.loss / total);
    *task.total = Wide<T>(total);
    if (all.first_bad < task.n && slot[0] == 0) {
        slot[0] = 1;
        slot[1] = code;
        slot[2] = all.first_bad;
        slot[3] = task.labels[all.first_bad];
    }
}

template <class T, int WARPS>
__device__ void rows(const Task<T>& task, int reduction, bool vectors, Sums* parts,
                     unsigned* counter, long long* slot, long long code) {
    constexpr int LANES = 32 * WARPS, GROUPS = THREADS / LANES;
    Sums own = {0, 0, task.n};  // those of a group are all in its first thread
    const bool first = threadIdx.x % LANES == 0;
    const long long start = blockIdx.x * GROUPS + threadIdx.x / LANES;
    for (long long i = start; i < task.n; i += gridDim.x * GROUPS) {
        const long long label = task.labels[i];
        Wide<T> loss = 0;
        if (label == task.ignored) {
            T* out = task.dlogits + i * task.c;
            for (long long j = threadIdx.x % LANES; j < task.c; j += LANES) out[j] = 0;
        } else {
            loss = differentiated<T, WARPS>(task, i, label, vectors);
            if (label < 0 || label >= task.c) {
                loss = Wide<T>(nan(""));
                if (first && i < own.first_bad) own.first_bad = i;
            } else if (first) {
                own.weight += task.weight_of(label);
            }
        }
        if (first) {
            own.loss += loss;
            if (reduction == NONE) task.loss[i] = loss;
        }
    }
    own.loss = combined<THREADS / 32>(own.loss, Sum());
    own.weight = combined<THREADS / 32>(own.weight, Sum());
    own.first_bad = -combined<THREADS / 32>(-own.first_bad, Max());

    __shared__ bool is_last;
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = own;
        __threadfence();  // the others see it before they see this block counted
        is_last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (is_last) {
        __threadfence();
        finish(task, reduction, parts, slot, code);
    }
}

#define ROWS(NAME, T, WARPS)                                                                       \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME(                                    \
        const T* logits, const long long* labels, const T* weight, long long n, long long c,       \
        long long ignored, Wide<T> hit, Wide<T> share, T* loss, T* dlogits, Wide<T>* total,        \
        long long reduction, bool vectors, Sums* parts, unsigned* counter, long long* slot,        \
        long long code) {                                                                          \
        const Task<T> task = {logits, labels, weight,  n,    c, ignored, hit, share,               \
                              loss,   dlogits, total};                                             \
        rows<T, WARPS>(task, int(reduction), vectors, parts, counter, slot, code);                 \
    }

ROWS(softmax_cross_entropy_half_warp, half, 1)
ROWS(softmax_cross_entropy_half_block, half, 4)
ROWS(softmax_cross_entropy_float_warp, float, 1)
ROWS(softmax_cross_entropy_float_block, float, 4)
ROWS(softmax_cross_entropy_double_warp, double, 1)
ROWS(softmax_cross_entropy_double_block, double, 4)
