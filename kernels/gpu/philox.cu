// Random bits from a counter, and dropout by them, with the same bits as on every backend.
//
// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// SC'11) makes four words of a key, a stream and a counter, so each thread draws its own and none
// waits. Dropout of whole elements has a thread make four neighbours of one counter, or of float16
// eight of two, of which it reads and writes 16 bytes at a time where they are aligned; where
// neighbours share an element of the mask, a warp has that element. Some 25 operations of integers
// for each element and 9 bytes of float32: on cards with much bandwidth the two take about as
// long.
//
// Not measured yet on a card.

constexpr int THREADS = 256;

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

struct Words {
    unsigned values[4];
};

__device__ Words drawn(const unsigned long long* state, unsigned long long block) {
    const unsigned long long counter = state[2] + block;
    unsigned c0 = unsigned(counter), c1 = unsigned(counter >> 32);
    unsigned c2 = unsigned(state[1]), c3 = unsigned(state[1] >> 32);
    unsigned k0 = unsigned(state[0]), k1 = unsigned(state[0] >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned long long product0 = 0xD2511F53ull * c0, product1 = 0xCD9E8D57ull * c2;
        c0 = unsigned(product1 >> 32) ^ c1 ^ k0;
        c2 = unsigned(product0 >> 32) ^ c3 ^ k1;
        c1 = unsigned(product1);
        c3 = unsigned(product0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// The first thing that this thread does of many, and how far it is to the next.
__device__ long long first() { return (long long)blockIdx.x * THREADS + threadIdx.x; }
__device__ long long stride() { return (long long)gridDim.x * THREADS; }

extern "C" __global__ void __launch_bounds__(THREADS) random_bits(
    unsigned long long* state, unsigned* words, long long size, unsigned* counter) {
    const long long blocks = (size + 3) / 4;
    for (long long block = first(); block < blocks; block += stride()) {
        const Words found = drawn(state, block);
        for (int k = 0; k < 4 && 4 * block + k < size; ++k) words[4 * block + k] = found.values[k];
    }
    // The block that finishes last advances the state, which all others have read by then.
    __syncthreads();
    if (threadIdx.x == 0 && atomicInc(counter, gridDim.x - 1) == gridDim.x - 1) state[2] += blocks;
}

// Neighbours of a thread: those of a counter, or of two where these have 8 bytes.
template <class T>
constexpr int SIZE = sizeof(T) == 2 ? 8 : 4;

template <class T>
struct alignas(16) Some {
    T values[SIZE<T>];
};

template <int N>
struct alignas(N) Bits {
    bool values[N];
};

// What is kept of neighbours: a word's upper 24 bits say so, or the mask that was drawn.
template <bool DRAWS, int N>
__device__ Bits<N> kept_of(const unsigned long long* state, unsigned least_dropped,
                           const bool* mask, long long start, int count) {
    Bits<N> kept = {};
    if (DRAWS) {
        for (int k = 0; k < N; k += 4) {
            const Words words = drawn(state, (start + k) / 4);
            for (int l = 0; l < 4; ++l) kept.values[k + l] = words.values[l] >> 8 < least_dropped;
        }
    } else {
        for (int k = 0; k < count; ++k) kept.values[k] = mask[start + k];
    }
    return kept;
}

// A mask as long as x.
template <class T, bool DRAWS>
__device__ void each(const T* x, const unsigned long long* state, unsigned least_dropped,
                     Wide<T> scale, long long size, bool vectors, T* out, bool* mask) {
    constexpr int N = SIZE<T>;
    for (long long start = N * first(); start < size; start += N * stride()) {
        const int count = size - start < N ? int(size - start) : N;
        if (vectors && count == N) {
            Some<T> found = *reinterpret_cast<const Some<T>*>(x + start);
            Bits<N> kept;
            if (DRAWS) {
                kept = kept_of<true, N>(state, least_dropped, mask, start, N);
                *reinterpret_cast<Bits<N>*>(mask + start) = kept;
            } else {
                kept = *reinterpret_cast<const Bits<N>*>(mask + start);
            }
#pragma unroll
            for (int k = 0; k < N; ++k)
                found.values[k] = kept.values[k] ? found.values[k] * scale : Wide<T>(0);
            *reinterpret_cast<Some<T>*>(out + start) = found;
        } else {
            const Bits<N> kept = kept_of<DRAWS, N>(state, least_dropped, mask, start, count);
            for (int k = 0; k < count; ++k) {
                if (DRAWS) mask[start + k] = kept.values[k];
                out[start + k] = kept.values[k] ? x[start + k] * scale : Wide<T>(0);
            }
        }
    }
}

// A mask of which each element stands for so many neighbours in x, which may be none.
template <class T, bool DRAWS>
__device__ void shared(const T* x, const unsigned long long* state, unsigned least_dropped,
                       Wide<T> scale, long long size, long long neighbours, T* out, bool* mask) {
    for (long long i = first() / 32; i < size; i += stride() / 32) {
        const bool kept =
            DRAWS ? drawn(state, i / 4).values[i % 4] >> 8 < least_dropped : mask[i];
        if (DRAWS && threadIdx.x % 32 == 0) mask[i] = kept;
        for (long long j = threadIdx.x % 32; j < neighbours; j += 32)
            out[i * neighbours + j] = kept ? x[i * neighbours + j] * scale : Wide<T>(0);
    }
}

#define MASKS(T, KIND, LAST, ARGUMENT)                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) dropout_##T##_##KIND(                    \
        const T* x, const unsigned long long* state, unsigned least_dropped, Wide<T> scale,        \
        long long size, LAST ARGUMENT, T* out, bool* mask) {                                       \
        KIND<T, true>(x, state, least_dropped, scale, size, ARGUMENT, out, mask);                  \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) masked_##T##_##KIND(                     \
        const T* x, const unsigned long long* state, unsigned least_dropped, Wide<T> scale,        \
        long long size, LAST ARGUMENT, T* out, bool* mask) {                                       \
        KIND<T, false>(x, state, least_dropped, scale, size, ARGUMENT, out, mask);                 \
    }

MASKS(half, each, bool, vectors)
MASKS(half, shared, long long, neighbours)
MASKS(float, each, bool, vectors)
MASKS(float, shared, long long, neighbours)
MASKS(double, each, bool, vectors)
MASKS(double, shared, long long, neighbours)
