// Adds up the parts of a sum that other kernels have made: those of their blocks, or of groups.
//
// A block has 32 neighbouring columns, which eight warps go through side by side and add up in
// float64, in an order that depends on the shape alone. Each number is read once, for one addition;
// what is read is a small part of what the parts were made from.
//
// Not measured yet on a card.

constexpr int THREADS = 256, WIDTH = 32;

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
__device__ void add_up(const Wide<T>* parts, long long count, long long columns, long long split,
                       T* first, T* second) {
    constexpr int SLICES = THREADS / WIDTH;
    __shared__ double sums[SLICES][WIDTH];
    const int lane = threadIdx.x % WIDTH, slice = threadIdx.x / WIDTH;
    const long long column = (long long)blockIdx.x * WIDTH + lane;
    double sum = 0;
    if (column < columns)
        for (long long i = slice; i < count; i += SLICES) sum += parts[i * columns + column];
    sums[slice][lane] = sum;
    __syncthreads();
    if (slice || column >= columns) return;
    for (int i = 1; i < SLICES; ++i) sum += sums[i][lane];
    if (column < split && first) first[column] = T(sum);
    if (column >= split && second) second[column - split] = T(sum);
}

#define ADD_UP(T)                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS) add_up_##T(                              \
        const Wide<T>* parts, long long count, long long columns, long long split, T* first,       \
        T* second) {                                                                               \
        add_up(parts, count, columns, split, first, second);                                       \
    }

ADD_UP(half)
ADD_UP(float)
ADD_UP(double)
