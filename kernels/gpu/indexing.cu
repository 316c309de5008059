// Rows by their number: taking them, and adding up what was taken of them, with the same bits
// each time.
//
// Taking copies row index[i] of a table to row i. A group of threads, a power of two up to a warp,
// has a row at a time, and reads and writes 16 bytes at once where rows allow.
//
// Adding goes the other way: row index[i] of a result gets row i. Were values added by whoever
// comes first, the last bits would show the order. So they are sorted first, by their row in the
// result and then by their place, both in one number of 64 bits. Of a few thousand such numbers
// each thread finds the rank of one by counting those below it: their square in comparisons, but
// one launch, for which nobody waits. More are sorted by the library. Then the group of threads
// that has the first number of a row adds to that row what belongs there, in the order of the
// indices, as a loop on the host would. Where more than SHORT belong to a row, the groups of the
// block take turns, and their sums are added up as a tree whose form depends on the indices and the
// shape alone. A row that gets a large share of millions is the work of a few blocks, and slow.
// What is left out or out of range is sorted to the end, where nobody adds it.
//
// float16 is added up in float32 and rounded at the end.
//
// Of arithmetic there is one addition for 4 bytes (float32) of values, and for 8 more of sums where
// a row is named once: memory sets the pace, and sorting.
//
// Not measured yet on a card.

constexpr int THREADS = 256, SHORT = 32;
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

// Neighbours that a thread reads at once.
template <class T, int N>
struct alignas(sizeof(T) * N) Unit {
    static constexpr int SIZE = N;
    T values[N];

    Unit() = default;
    template <class V>
    __device__ Unit(const Unit<V, N>& other) {
#pragma unroll
        for (int k = 0; k < N; ++k) values[k] = other.values[k];
    }
    template <class V>
    __device__ void operator+=(const Unit<V, N>& other) {
#pragma unroll
        for (int k = 0; k < N; ++k) values[k] = values[k] + other.values[k];
    }
};

// Notes the first index that is out of range, unless something was noted before.
__device__ void note(long long* slot, long long code, long long position, long long index) {
    if (slot[0]) return;
    slot[0] = 1;
    slot[1] = code;
    slot[2] = position;
    slot[3] = index;
}

// The least of what the threads of a block have; the first thread gets it.
__device__ long long least(long long value) {
    __shared__ long long parts[THREADS / 32];
    for (int offset = 16; offset > 0; offset /= 2) {
        const long long other = __shfl_xor_sync(ALL_LANES, value, offset);
        if (other < value) value = other;
    }
    __syncthreads();  // everybody has read what was compared before
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    for (int i = 0; i < THREADS / 32; ++i)
        if (parts[i] < value) value = parts[i];
    return value;
}

// Copies this thread's share of the rows, and returns its first index that is out of range, or n.
template <class U>
__device__ long long take(const long long* index, long long n, const U* table, long long rows,
                          long long columns, int lanes, U* out) {
    const int group = threadIdx.x / lanes, groups = THREADS / lanes;
    U nothing;
    for (int k = 0; k < U::SIZE; ++k) nothing.values[k] = nan("");
    long long first_bad = n;
    for (long long i = (long long)blockIdx.x * groups + group; i < n;
         i += (long long)gridDim.x * groups) {
        const long long row = index[i];
        const bool is_bad = row < 0 || row >= rows;
        if (is_bad && i < first_bad) first_bad = i;
        for (long long j = threadIdx.x % lanes; j < columns; j += lanes)
            out[i * columns + j] = is_bad ? nothing : table[row * columns + j];
    }
    return first_bad;
}

// The block that finishes last notes the first index of all that is out of range.
__device__ void finish(const long long* index, long long n, long long first_bad,
                       volatile long long* parts, unsigned* counter, long long* slot,
                       long long code) {
    __shared__ bool is_last;
    first_bad = least(first_bad);
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = first_bad;
        __threadfence();  // the others see it before they see this block counted
        is_last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    first_bad = n;
    for (unsigned b = threadIdx.x; b < gridDim.x; b += THREADS)
        if (parts[b] < first_bad) first_bad = parts[b];
    first_bad = least(first_bad);
    if (threadIdx.x == 0 && first_bad < n) note(slot, code, first_bad, index[first_bad]);
}

// What is sorted: the row that index[i] names, and i. Row `rows` stands for what is left out, and
// the one after it for what is out of range.
__device__ long long pair_of(const long long* index, long long i, long long rows,
                             long long left_out) {
    const long long given = index[i];
    long long row = given < 0 ? given + rows : given;
    if (row < 0 || row >= rows)
        row = rows + 1;
    else if (given == left_out)
        row = rows;
    return row << 32 | i;
}
__device__ long long row_of(long long pair) { return pair >> 32; }
__device__ long long place_of(long long pair) { return pair & 0xffffffffll; }

// How many of the sorted pairs are of rows before a row.
__device__ long long count_before(const long long* pairs, long long n, long long row) {
    long long low = 0;
    while (low < n) {
        const long long middle = low + (n - low) / 2;
        if (row_of(pairs[middle]) < row)
            low = middle + 1;
        else
            n = middle;
    }
    return low;
}

extern "C" __global__ void __launch_bounds__(THREADS) list_pairs(
    const long long* index, long long n, long long rows, long long left_out, long long* pairs) {
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (i < n) pairs[i] = pair_of(index, i, rows, left_out);
}

extern "C" __global__ void __launch_bounds__(THREADS) rank_pairs(
    const long long* index, long long n, long long rows, long long left_out, long long* pairs) {
    __shared__ long long others[THREADS];
    const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
    const long long own = i < n ? pair_of(index, i, rows, left_out) : 0;
    int rank = 0;
    for (long long start = 0; start < n; start += THREADS) {
        const long long other = start + threadIdx.x;
        if (other < n) others[threadIdx.x] = pair_of(index, other, rows, left_out);
        __syncthreads();
        const int count = n - start < THREADS ? int(n - start) : THREADS;
#pragma unroll 8
        for (int k = 0; k < count; ++k) rank += others[k] < own;
        __syncthreads();
    }
    if (i < n) pairs[rank] = own;
}

// v (outer, n, columns), out (outer, rows, columns)
template <class T, int N>
__device__ void add(const long long* pairs, long long n, const Unit<T, N>* v, long long outer,
                    long long rows, long long columns, int lanes, Unit<T, N>* out) {
    using U = Unit<T, N>;
    using S = Unit<Wide<T>, N>;
    __shared__ S parts[THREADS];
    __shared__ long long starts[THREADS / SHORT + 1];  // of rows with more than SHORT
    __shared__ int count;
    const int groups = THREADS / lanes, group = threadIdx.x / lanes;
    const long long tiles = (n + groups - 1) / groups, bands = (columns + lanes - 1) / lanes;
    for (long long task = blockIdx.x; task < outer * bands * tiles; task += gridDim.x) {
        const long long j = task / tiles % bands * lanes + threadIdx.x % lanes;
        const long long o = task / tiles / bands;
        const bool is_inside = j < columns;
        const U* values = v + o * n * columns + j;
        U* sums = out + o * rows * columns + j;
        if (threadIdx.x == 0) count = 0;
        __syncthreads();

        const long long start = task % tiles * groups + group;
        const long long row = start < n ? row_of(pairs[start]) : rows;
        if (row < rows && (start == 0 || row_of(pairs[start - 1]) != row)) {
            const long long most = n - start < SHORT ? n : start + SHORT;
            S sum = {};
            if (is_inside) sum = sums[row * columns];
            long long p = start;
            for (; p < most && row_of(pairs[p]) == row; ++p)
                if (is_inside) sum += values[place_of(pairs[p]) * columns];
            if (p < n && row_of(pairs[p]) == row) {
                // Whichever comes first: no sum depends on it.
                if (threadIdx.x % lanes == 0) starts[atomicAdd(&count, 1)] = start;
            } else if (is_inside) {
                sums[row * columns] = sum;
            }
        }
        __syncthreads();

        for (int k = 0; k < count; ++k) {
            const long long row = row_of(pairs[starts[k]]);
            const long long end = count_before(pairs, n, row + 1);
            S sum = {};
            if (is_inside) {
#pragma unroll 4
                for (long long p = starts[k] + group; p < end; p += groups)
                    sum += values[place_of(pairs[p]) * columns];
            }
            parts[threadIdx.x] = sum;
            for (int left = groups / 2; left > 0; left /= 2) {
                __syncthreads();
                if (group < left) parts[threadIdx.x] += parts[threadIdx.x + left * lanes];
            }
            if (group == 0 && is_inside) sums[row * columns] += parts[threadIdx.x];
            __syncthreads();
        }
        __syncthreads();  // everybody has read the count
    }
}

#define ROWS(T)                                                                                    \
    extern "C" __global__ void __launch_bounds__(THREADS) take_##T(                                \
        const long long* index, long long n, const T* table, long long rows, long long columns,    \
        long long lanes, bool vectors, T* out, long long* parts, unsigned* counter,                \
        long long* slot, long long code) {                                                         \
        using V = Unit<T, 16 / sizeof(T)>;                                                         \
        using S = Unit<T, 1>;                                                                      \
        const long long first_bad =                                                                \
            vectors ? take(index, n, reinterpret_cast<const V*>(table), rows, columns,           \
                           int(lanes), reinterpret_cast<V*>(out))                                  \
                    : take(index, n, reinterpret_cast<const S*>(table), rows, columns,             \
                           int(lanes), reinterpret_cast<S*>(out));                                 \
        finish(index, n, first_bad, parts, counter, slot, code);                                   \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS) add_##T(                                 \
        const long long* index, const long long* pairs, long long n, const T* v, long long outer,  \
        long long rows, long long columns, long long lanes, bool vectors, T* out,                  \
        long long* slot, long long code) {                                                         \
        using V = Unit<T, 16 / sizeof(T)>;                                                         \
        using S = Unit<T, 1>;                                                                      \
        if (vectors)                                                                               \
            add(pairs, n, reinterpret_cast<const V*>(v), outer, rows, columns, int(lanes),         \
                reinterpret_cast<V*>(out));                                                        \
        else                                                                                       \
            add(pairs, n, reinterpret_cast<const S*>(v), outer, rows, columns, int(lanes),         \
                reinterpret_cast<S*>(out));                                                        \
        if (slot && blockIdx.x == 0 && threadIdx.x == 0 && row_of(pairs[n - 1]) > rows) {          \
            const long long first_bad = place_of(pairs[count_before(pairs, n, rows + 1)]);         \
            note(slot, code, first_bad, index[first_bad]);                                         \
        }                                                                                          \
    }

ROWS(half)
ROWS(float)
ROWS(double)
