// A product of matrices with bias and activation, to be read beside cuBLAS, which layers call.
//
// out = act(a @ b + bias) of (m, k), (k, n) and (n,) makes 2 m k n operations of m k + k n + m n
// numbers: all the arithmetic that a card can do, if what was loaded is used often enough while it
// is near (Volkov and Demmel, Benchmarking GPUs to tune dense linear algebra, 2008). Two tiles see
// to that. A block makes TILE x TILE numbers of out. For each DEPTH of k it brings DEPTH x TILE
// numbers of either factor into shared memory, where each is used TILE times: with 64, that is 16
// operations for each byte of float32 that comes from memory, or from the second-level cache, since
// blocks in the same row or column of tiles read the same. And a thread makes PER x PER of these
// numbers in registers: per level of k it loads PER numbers of either factor from shared memory, in
// 16 bytes at a time, for PER² products, 16 for 8 numbers.
//
// Memory is slow to answer. So the next tiles are asked for before the present ones are multiplied,
// wait in registers, and go into a second pair of tiles; one barrier a step parts those who write a
// pair from those who read it. At the end bias and activation cost no pass over memory, which after
// cuBLAS they do: that reads and writes m n numbers once more.
//
// What is missing for large matrices: 8 x 8 numbers a thread, which use what is loaded twice as
// often, but leave small matrices too few blocks to fill a card; copies that go past the registers;
// tensor cores.
//
// Not measured yet on a card.

constexpr int TILE = 64, DEPTH = 16, PER = 4;
constexpr int SIDE = TILE / PER, THREADS = SIDE * SIDE;
static_assert(DEPTH * TILE == PER * THREADS, "a thread brings four numbers of each factor");

// Neighbours in memory, which move 16 bytes at a time.
template <class T>
struct alignas(16) Four {
    T values[PER];
};

// DEPTH levels of TILE numbers. One Four more than they need has the levels begin in other banks:
// of a warp that writes a tile turned, two threads meet in a bank, not four.
template <class T>
using Tile = Four<T>[DEPTH][SIDE + 1];

// Four numbers, of which the row has `room` left; beyond it they are 0.
template <class T>
__device__ Four<T> loaded(const T* from, long long room, bool vectors) {
    Four<T> found = {};
    if (vectors && room >= PER) {
        found = *reinterpret_cast<const Four<T>*>(from);
    } else {
#pragma unroll
        for (int e = 0; e < PER; ++e)
            if (e < room) found.values[e] = from[e];
    }
    return found;
}

// One of the factors as (lines, depth): the rows of a, or the columns of b.
template <class T>
struct Factor {
    const T* data;
    long long lines, depth;
    bool by_lines;  // neighbours in memory are of one line; otherwise of one level of depth
    bool vectors;

    // Which four numbers of a tile are this thread's: neighbours in memory, near its neighbours'.
    __device__ int line() const {
        return by_lines ? threadIdx.x / (DEPTH / PER) : threadIdx.x % SIDE * PER;
    }
    __device__ int level() const {
        return by_lines ? threadIdx.x % (DEPTH / PER) * PER : threadIdx.x / SIDE;
    }

    // This thread's numbers of the tile that starts at a line and a level. Beyond the depth they
    // are 0 in both factors, so that they add nothing, whatever else is inf or nan.
    __device__ Four<T> read(long long first_line, long long first_level) const {
        const long long i = first_line + line(), k = first_level + level();
        const long long row = by_lines ? i : k, rows = by_lines ? lines : depth;
        const long long column = by_lines ? k : i, columns = by_lines ? depth : lines;
        if (row >= rows) return {};
        return loaded(data + row * columns + column, columns - column, vectors);
    }

    __device__ void write(const Four<T>& found, Tile<T>& tile) const {
        const int place = line() / PER;
        if (by_lines) {
#pragma unroll
            for (int e = 0; e < PER; ++e)
                tile[level() + e][place].values[line() % PER] = found.values[e];
        } else {
            tile[level()][place] = found;
        }
    }
};

// Adds to a thread's sums what DEPTH levels contribute.
template <class T>
__device__ void multiply(const Tile<T>& a, const Tile<T>& b, Four<T> (&sums)[PER]) {
#pragma unroll
    for (int k = 0; k < DEPTH; ++k) {
        const Four<T> left = a[k][threadIdx.x / SIDE], right = b[k][threadIdx.x % SIDE];
#pragma unroll
        for (int i = 0; i < PER; ++i)
#pragma unroll
            for (int j = 0; j < PER; ++j) sums[i].values[j] += left.values[i] * right.values[j];
    }
}

struct none {
    template <class T>
    static __device__ T value(T x) { return x; }
};

struct relu {
    template <class T>
    static __device__ T value(T x) { return x <= 0 ? T(0) : x; }
};

struct sigmoid {
    template <class T>
    static __device__ T value(T x) {
        const T small = exp(-fabs(x));  // at most 1: exp(-x) would overflow
        return (x >= 0 ? T(1) : small) / (1 + small);
    }
};

struct hyperbolic {
    template <class T>
    static __device__ T value(T x) { return tanh(x); }
};

struct silu {
    template <class T>
    static __device__ T value(T x) { return x * sigmoid::value(x); }
};

struct gelu {
    template <class T>
    static __device__ T value(T x) { return x * (T(0.5) * erfc(x * T(-0.7071067811865476))); }
};

// A block for each tile of out, row after row; bias may be null, and so may z, which gets what the
// activation is of.
template <class Act, class T>
__device__ void product(const Factor<T>& a, const Factor<T>& b, const T* bias, bool vectors, T* z,
                        T* out) {
    __shared__ Tile<T> left[2], right[2];
    const long long depth = a.depth, rows = a.lines, columns = b.lines;
    const long long across = (columns + TILE - 1) / TILE;
    const long long top = blockIdx.x / across * TILE, start = blockIdx.x % across * TILE;
    Four<T> sums[PER] = {};

    a.write(a.read(top, 0), left[0]);
    b.write(b.read(start, 0), right[0]);
    __syncthreads();
    int now = 0;
    for (long long k = 0; k < depth; k += DEPTH) {
        const Four<T> next_a = a.read(top, k + DEPTH), next_b = b.read(start, k + DEPTH);
        multiply(left[now], right[now], sums);
        now = 1 - now;
        a.write(next_a, left[now]);
        b.write(next_b, right[now]);
        __syncthreads();
    }

    const long long row = top + threadIdx.x / SIDE * PER, column = start + threadIdx.x % SIDE * PER;
    const long long room = columns - column;
    const auto store = [&](T* to) {
        if (vectors && room >= PER) {
            // Counted in fours: NVRTC 12.9 takes them apart where both ways share an address.
            Four<T>* fours = reinterpret_cast<Four<T>*>(to);
#pragma unroll
            for (int i = 0; i < PER; ++i)
                if (row + i < rows) fours[((row + i) * columns + column) / PER] = sums[i];
        } else {
#pragma unroll
            for (int i = 0; i < PER; ++i)
#pragma unroll
                for (int j = 0; j < PER; ++j)
                    if (row + i < rows && j < room)
                        to[(row + i) * columns + column + j] = sums[i].values[j];
        }
    };
    const Four<T> offset = bias ? loaded(bias + column, room, false) : Four<T>{};
#pragma unroll
    for (int i = 0; i < PER; ++i)
#pragma unroll
        for (int j = 0; j < PER; ++j) sums[i].values[j] += offset.values[j];
    if (z) store(z);
#pragma unroll
    for (int i = 0; i < PER; ++i)
#pragma unroll
        for (int j = 0; j < PER; ++j) sums[i].values[j] = Act::value(sums[i].values[j]);
    store(out);
}

#define GEMM(NAME, ACT, T)                                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS) gemm_##NAME##_##T(                       \
        const T* a, bool a_by_lines, bool a_vectors, const T* b, bool b_by_lines, bool b_vectors,  \
        const T* bias, long long m, long long n, long long k, bool vectors, T* z, T* out) {        \
        product<ACT, T>({a, m, k, a_by_lines, a_vectors}, {b, n, k, b_by_lines, b_vectors}, bias,  \
                        vectors, z, out);                                                          \
    }

#define EVERYWHERE(NAME, ACT)                                                                      \
    GEMM(NAME, ACT, float)                                                                         \
    GEMM(NAME, ACT, double)

EVERYWHERE(none, none)
EVERYWHERE(relu, relu)
EVERYWHERE(sigmoid, sigmoid)
EVERYWHERE(tanh, hyperbolic)
EVERYWHERE(silu, silu)
EVERYWHERE(gelu, gelu)
