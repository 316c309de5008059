// The steps of Adam, AdamW and SGD, of up to MOST parameters in one launch.
//
// Each block takes a chunk of one parameter, found by counting chunks, and walks it with its
// gradient and its state side by side, 16 bytes of each at a time where they are aligned: of
// float32, Adam moves 28 bytes for some 15 operations and SGD 12 for 2, so memory sets the pace.
// Coefficients are worked out once a block, in float64, from scalars that are on the device; the
// block that finishes last counts the step, which the others have read by then.
//
// Not measured yet on a card.

constexpr int THREADS = 256, MOST = 64;

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
struct Parameters {
    T* p[MOST];
    const T* g[MOST];
    T* states[2][MOST];  // null where there are none
    double* step[MOST];
    long long size[MOST];
    long long end[MOST];  // how many chunks there are up to its last
};

struct Penalties {
    bool decays, shrinks;
    double decay, lasso;  // weight decay and L1: an absent 0 meets no infinity

    __device__ Penalties(const double* weight_decay, const double* l1)
        : decays(weight_decay), shrinks(l1), decay(decays ? *weight_decay : 0),
          lasso(shrinks ? *l1 : 0) {}
};

// The gradient plus that of decay/2 * p^2 + lasso * |p|.
template <class T>
__device__ T penalised(T p, T g, bool decays, T decay, bool shrinks, T lasso) {
    if (decays) g += decay * p;
    // A nan is no sign, and stays.
    if (shrinks) g += lasso * (p > 0 ? T(1) : p < 0 ? T(-1) : p);
    return g;
}

template <class T>
struct Adam {
    static constexpr int STATES = 2;
    T keep1, take1, keep2, take2, rate, epsilon, left, decay, lasso;
    bool decays, shrinks;

    __device__ void operator()(T& p, T g, T& m, T& v) const {
        g = penalised(p, g, decays, decay, shrinks, lasso);
        m = keep1 * m + take1 * g;
        v = keep2 * v + take2 * (g * g);
        p = left * p - rate * m / (sqrt(v) + epsilon);
    }
};

template <class T, bool MOVING>
struct Sgd {
    static constexpr int STATES = MOVING ? 1 : 0;
    T rate, inertia, share, decay, lasso;
    bool decays, shrinks, nesterov;

    __device__ void operator()(T& p, T g, T& velocity, T&) const {
        g = penalised(p, g, decays, decay, shrinks, lasso);
        if (MOVING) {
            velocity = inertia * velocity + share * g;
            g = nesterov ? g + inertia * velocity : velocity;
        }
        p -= rate * g;
    }
};

template <class T>
__device__ bool is_aligned(const T* array) {
    return reinterpret_cast<unsigned long long>(array) % 16 == 0;
}

// Steps one element of a parameter, with its gradient and what is kept of it.
template <class T, class Step>
__device__ void move(const Step& step, T& p, T g, T& first, T& second) {
    Wide<T> moved = p, kept[2] = {first, second};
    step(moved, g, kept[0], kept[1]);
    p = moved;
    first = kept[0];
    second = kept[1];
}

// By which steps are limited. In float16 a square is 0 up to 2^-13, and so is an eps of 1e-8.
template <class T>
__device__ double epsilon(double given) {
    return sizeof(T) == 2 ? fmax(given, 1.0 / 4096) : given;
}

// Steps elements from start up to stop of a parameter.
template <class T, class Step>
__device__ void walk(const Parameters<T>& all, int k, long long start, long long stop, Step step) {
    constexpr int SIZE = Vector<T>::SIZE, STATES = Step::STATES;
    T* const p = all.p[k];
    const T* const g = all.g[k];
    T* const states[2] = {all.states[0][k], all.states[1][k]};
    bool aligned = is_aligned(p) && is_aligned(g);
    for (int s = 0; s < STATES; ++s) aligned = aligned && is_aligned(states[s]);
    if (aligned) {
        for (long long i = start + threadIdx.x * SIZE; i + SIZE <= stop; i += THREADS * SIZE) {
            Vector<T> moved = *reinterpret_cast<Vector<T>*>(p + i), kept[2] = {};
            const Vector<T> slope = *reinterpret_cast<const Vector<T>*>(g + i);
#pragma unroll
            for (int s = 0; s < STATES; ++s) kept[s] = *reinterpret_cast<Vector<T>*>(states[s] + i);
#pragma unroll
            for (int j = 0; j < SIZE; ++j)
                move(step, moved.values[j], slope.values[j], kept[0].values[j], kept[1].values[j]);
            *reinterpret_cast<Vector<T>*>(p + i) = moved;
#pragma unroll
            for (int s = 0; s < STATES; ++s) *reinterpret_cast<Vector<T>*>(states[s] + i) = kept[s];
        }
        start = stop - (stop - start) % SIZE;
    }
    for (long long i = start + threadIdx.x; i < stop; i += THREADS) {
        T kept[2] = {};
        for (int s = 0; s < STATES; ++s) kept[s] = states[s][i];
        move(step, p[i], g[i], kept[0], kept[1]);
        for (int s = 0; s < STATES; ++s) states[s][i] = kept[s];
    }
}

// Steps this block's chunk by what make(the number of this step) returns, and counts the step.
template <class T, class Make>
__device__ void update(const Parameters<T>& all, int count, long long chunk, unsigned* counter,
                       Make make) {
    using Step = decltype(make(1.0));
    alignas(Step) __shared__ unsigned char memory[sizeof(Step)];
    Step& step = *reinterpret_cast<Step*>(memory);
    int k = 0;
    while (k < count && blockIdx.x >= all.end[k]) ++k;
    if (k < count) {
        if (threadIdx.x == 0) step = make(all.step[k] ? *all.step[k] + 1 : 1);
        __syncthreads();
        const long long first = k ? all.end[k - 1] : 0, start = (blockIdx.x - first) * chunk;
        const long long stop = start + chunk < all.size[k] ? start + chunk : all.size[k];
        walk(all, k, start, stop, step);
    }
    __shared__ bool is_last;
    if (threadIdx.x == 0) is_last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
    __syncthreads();
    if (is_last)
        for (int i = threadIdx.x; i < count; i += THREADS)
            if (all.step[i]) *all.step[i] += 1;
}

#define ADAM(NAME, T)                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME(                                    \
        const __grid_constant__ Parameters<T> all, long long count, long long chunk,               \
        unsigned* counter, const double* lr, const double* beta1, const double* beta2,             \
        const double* eps, const double* weight_decay, const double* l1, bool decoupled) {         \
        update(all, int(count), chunk, counter, [&](double step) {                                 \
            const Penalties found(weight_decay, l1);                                               \
            /* makes v unbiased, once instead of in each element */                                \
            const double root = sqrt(1 - pow(*beta2, step));                                       \
            using W = Wide<T>;                                                                     \
            return Adam<W>{                                                                        \
                W(*beta1),                                                                         \
                W(1 - *beta1),                                                                     \
                W(*beta2),                                                                         \
                W(1 - *beta2),                                                                     \
                W(*lr * root / (1 - pow(*beta1, step))),                                           \
                W(epsilon<T>(*eps) * root),                                                        \
                W(decoupled ? 1 - *lr * found.decay : 1),                                          \
                W(found.decay),                                                                    \
                W(found.lasso),                                                                    \
                found.decays && !decoupled,                                                        \
                found.shrinks,                                                                     \
            };                                                                                     \
        });                                                                                        \
    }

#define SGD(NAME, T, MOVING)                                                                       \
    extern "C" __global__ void __launch_bounds__(THREADS) NAME(                                    \
        const __grid_constant__ Parameters<T> all, long long count, long long chunk,               \
        unsigned* counter, const double* lr, const double* momentum, const double* dampening,      \
        const double* weight_decay, const double* l1, bool nesterov) {                             \
        update(all, int(count), chunk, counter, [&](double step) {                                 \
            const Penalties found(weight_decay, l1);                                               \
            /* the first step is not dampened */                                                   \
            const double share = step == 1 ? 1 : 1 - *dampening;                                   \
            using W = Wide<T>;                                                                     \
            return Sgd<W, MOVING>{                                                                 \
                W(*lr),         W(*momentum), W(share),      W(found.decay),                       \
                W(found.lasso), found.decays, found.shrinks, nesterov,                             \
            };                                                                                     \
        });                                                                                        \
    }

ADAM(adam_update_half, half)
ADAM(adam_update_float, float)
ADAM(adam_update_double, double)
SGD(sgd_update_half, half, false)
SGD(sgd_update_float, float, false)
SGD(sgd_update_double, double, false)
SGD(sgd_update_moving_half, half, true)
SGD(sgd_update_moving_float, float, true)
SGD(sgd_update_moving_double, double, true)
