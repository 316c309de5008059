// Random bits from a counter, and dropout by them, with the same bits as on every backend.
//
// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// SC'11) makes four words of a key, a stream and a counter, so each thread draws its own and none
// waits. Dropout of whole elements has a thread make four neighbours of one counter, of which it
// reads and writes 16 bytes at a time where they are aligned; where neighbours share an element of
// the mask, a warp has that element. Some 25 operations of integers for each element and 9 bytes of
// float32: on cards with much bandwidth the two take about as long.
//
// Not measured yet on a card.

constexpr int THREADS = 256;

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

template <class T>
struct alignas(16) Four {
    T values[4];
};

struct alignas(4) Bits {
    bool values[4];
};

// What is kept of four neighbours: a word's upper 24 bits say so, or the mask that was drawn.
template <bool DRAWS>
__device__ Bits four_kept(const unsigned long long* state, unsigned least_dropped,
                          const bool* mask, long long quad, int count) {
    Bits kept = {};
    if (DRAWS) {
        const Words words = drawn(state, quad);
        for (int k = 0; k < 4; ++k) kept.values[k] = words.values[k] >> 8 < least_dropped;
    } else {
        for (int k = 0; k < count; ++k) kept.values[k] = mask[4 * quad + k];
    }
    return kept;
}

// A mask as long as x.
template <class T, bool DRAWS>
__device__ void each(const T* x, const unsigned long long* state, unsigned least_dropped, T scale,
                     long long size, bool vectors, T* out, bool* mask) {
    const long long quads = (size + 3) / 4;
    for (long long quad = first(); quad < quads; quad += stride()) {
        const int count = size - 4 * quad < 4 ? int(size - 4 * quad) : 4;
        if (vectors && count == 4) {
            Four<T> found = *reinterpret_cast<const Four<T>*>(x + 4 * quad);
            Bits kept;
            if (DRAWS) {
                kept = four_kept<true>(state, least_dropped, mask, quad, 4);
                *reinterpret_cast<Bits*>(mask + 4 * quad) = kept;
            } else {
                kept = *reinterpret_cast<const Bits*>(mask + 4 * quad);
            }
#pragma unroll
            for (int k = 0; k < 4; ++k)
                found.values[k] = kept.values[k] ? found.values[k] * scale : T(0);
            *reinterpret_cast<Four<T>*>(out + 4 * quad) = found;
        } else {
            const Bits kept = four_kept<DRAWS>(state, least_dropped, mask, quad, count);
            for (int k = 0; k < count; ++k) {
                const long long i = 4 * quad + k;
                if (DRAWS) mask[i] = kept.values[k];
                out[i] = kept.values[k] ? x[i] * scale : T(0);
            }
        }
    }
}

// A mask of which each element stands for so many neighbours in x, which may be none.
template <class T, bool DRAWS>
__device__ void shared(const T* x, const unsigned long long* state, unsigned least_dropped, T scale,
                       long long size, long long neighbours, T* out, bool* mask) {
    for (long long i = first() / 32; i < size; i += stride() / 32) {
        const bool kept =
            DRAWS ? drawn(state, i / 4).values[i % 4] >> 8 < least_dropped : mask[i];
        if (DRAWS && threadIdx.x % 32 == 0) mask[i] = kept;
        for (long long j = threadIdx.x % 32; j < neighbours; j += 32)
            out[i * neighbours + j] = kept ? x[i * neighbours + j] * scale : T(0);
    }
}

#define MASKS(T, KIND, LAST, ARGUMENT)                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) dropout_##T##_##KIND(                    \
        const T* x, const unsigned long long* state, unsigned least_dropped, T scale,              \
        long long size, LAST ARGUMENT, T* out, bool* mask) {                                       \
        KIND<T, true>(x, state, least_dropped, scale, size, ARGUMENT, out, mask);                  \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) masked_##T##_##KIND(                     \
        const T* x, const unsigned long long* state, unsigned least_dropped, T scale,              \
        long long size, LAST ARGUMENT, T* out, bool* mask) {                                       \
        KIND<T, false>(x, state, least_dropped, scale, size, ARGUMENT, out, mask);                 \
    }

MASKS(float, each, bool, vectors)
MASKS(float, shared, long long, neighbours)
MASKS(double, each, bool, vectors)
MASKS(double, shared, long long, neighbours)
