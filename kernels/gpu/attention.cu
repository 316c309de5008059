// Attention, forward and backward, with no matrix of scores in memory.
//
// A block takes some queries of a head and walks over its keys and values, a tile at a time in
// shared memory. It keeps each query's largest score, the sum of the exponentials and the sum of
// the values by these, which shrink when a larger score comes (Milakov and Gimelshein, "Online
// normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022). Backward, from
// each query's logarithm of that sum, blocks of queries make dquery while others, of keys, make
// dkey and dvalue: the scores are made twice, so that nothing is added up across blocks. A thread
// has a few rows by a few columns of each product and reads 16 bytes at a time.
//
// A score costs 2 (E + V) operations forward and 8 E + 6 V backward; keys and values are read once
// for 64 queries of float32, in backward for 32, mostly from the cache. With E = V that is 32
// operations a byte forward and more than 20 backward, so arithmetic sets the pace. Tiles that a
// causal mask hides are read, for what is not finite in them, and left out.
//
// Not measured yet on a card.

constexpr int THREADS = 128;
constexpr int ACROSS = 8, DOWN = THREADS / ACROSS;  // the threads as columns and rows of a product
constexpr unsigned ALL_LANES = 0xffffffffu;
// Rows of numbers below it have products that do not overflow.
constexpr float ORDINARY = 1e18f;

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

// Neighbours that are read at once.
template <class T, int N>
struct alignas(N * sizeof(T)) Unit {
    static constexpr int SIZE = N;
    T values[N];
};
template <class T>
using Vector = Unit<T, 16 / sizeof(T)>;

// Keys of a tile, in backward queries as well, by what is computed with.
template <class A>
constexpr int TILE = 128 / sizeof(A);

// A row in shared memory: 16 bytes longer, so that neighbours do not share banks.
template <class A, int W>
struct alignas(16) Row {
    A values[W + Vector<A>::SIZE];

    __device__ Vector<A>& at(int e) { return *reinterpret_cast<Vector<A>*>(values + e); }
    __device__ const Vector<A>& at(int e) const {
        return *reinterpret_cast<const Vector<A>*>(values + e);
    }
};

template <class T>
struct Matrix {
    T* data;  // null if there is none
    long long by_row, by_column;

    __device__ T& operator()(long long i, long long j) const {
        return data[i * by_row + j * by_column];
    }
};

// A matrix for each head; steps are 0 along what is broadcast.
template <class T>
struct Heads {
    T* data;
    long long by_batch, by_head, by_row, by_column;

    __device__ Matrix<T> of(long long number, long long heads) const {
        return {data + number / heads * by_batch + number % heads * by_head, by_row, by_column};
    }
};

template <class T>
struct Task {
    Heads<T> query, key, value;
    Heads<bool> mask;
    Heads<T> bias;
    Heads<bool> keep;
    Heads<T> out;
    Heads<Wide<T>> logsumexp;
    Heads<T> g, dquery, dkey, dvalue;  // of backward
    long long heads, queries, keys;
    long long size, width;   // of a query or key, and of a value
    long long query_blocks;  // of backward, those that make dquery
    Wide<T> scale, share;
    bool causal;
    bool vectors;  // whether rows can be read and written 16 bytes at a time
};

// What one head's scores meet.
template <class T>
struct Masks {
    Matrix<bool> mask, keep;
    Matrix<T> bias;
    bool causal;

    __device__ Masks(const Task<T>& task, long long number)
        : mask(task.mask.of(number, task.heads)),
          keep(task.keep.of(number, task.heads)),
          bias(task.bias.of(number, task.heads)),
          causal(task.causal) {}
    __device__ Wide<T> masked(Wide<T> score, long long i, long long j) const {
        if (bias.data) score += bias(i, j);
        const bool hidden = (mask.data && !mask(i, j)) || (causal && j > i);
        return hidden ? lowest() : score;
    }
    __device__ bool keeps(long long i, long long j) const { return !keep.data || keep(i, j); }
    static __device__ Wide<T> lowest() { return -1 / Wide<T>(0); }
};

template <class A>
__device__ bool is_ordinary(A x) {
    return fabs(x) < ORDINARY;  // nan is not
}

// The sum of a value of each thread of a row, to all of them.
template <class A>
__device__ A total(A value) {
    for (int offset = ACROSS / 2; offset > 0; offset /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, offset);
    return value;
}

// Copies rows from number first on, times a factor, and 0 where there are no more of them or of
// their numbers; returns whether what this thread copied is ordinary.
template <int N, class T, class A, int W>
__device__ bool load(const Matrix<T>& from, long long first, long long rows, int size, A factor,
                     bool vectors, Row<A, W> (&into)[N]) {
    constexpr int SIZE = Vector<T>::SIZE, A_ROW = W / SIZE;
    bool ordinary = true;
    for (int n = threadIdx.x; n < N * A_ROW; n += THREADS) {
        const int i = n / A_ROW, e = n % A_ROW * SIZE;
        Vector<T> found = {};
        if (first + i < rows && e < size) {
            const T* start = from.data + (first + i) * from.by_row + e;
            if (vectors) {
                found = *reinterpret_cast<const Vector<T>*>(start);
            } else {
                for (int k = 0; k < SIZE; ++k)
                    if (e + k < size) found.values[k] = start[k];
            }
        }
        for (int k = 0; k < SIZE; k += Vector<A>::SIZE) {
            Vector<A> scaled;
            for (int l = 0; l < Vector<A>::SIZE; ++l) {
                scaled.values[l] = found.values[k + l] * factor;
                ordinary = ordinary && is_ordinary(scaled.values[l]);
            }
            into[i].at(e + k) = scaled;
        }
    }
    return ordinary;
}

// Computes this thread's part of rows @ columns^T.
template <class A, int W, int R, int C>
__device__ void multiply(const Row<A, W>* rows, const Row<A, W>* columns, int size,
                         A (&products)[R][C]) {
    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    for (int i = 0; i < R; ++i)
        for (int j = 0; j < C; ++j) products[i][j] = 0;
    for (int e = 0; e < size; e += Vector<A>::SIZE) {
        Vector<A> x[R], y[C];
        for (int i = 0; i < R; ++i) x[i] = rows[down + i * DOWN].at(e);
        for (int j = 0; j < C; ++j) y[j] = columns[across + j * ACROSS].at(e);
        for (int i = 0; i < R; ++i)
            for (int j = 0; j < C; ++j)
                for (int k = 0; k < Vector<A>::SIZE; ++k)
                    products[i][j] += x[i].values[k] * y[j].values[k];
    }
}

// Adds this thread's part of weights @ rows, of which a row is W / ACROSS numbers: a vector for
// each of the threads of the row, and again.
template <class A, int W, int R>
__device__ void add(const Row<A, TILE<A>>* weights, const Row<A, W>* rows,
                    A (&sums)[R][W / ACROSS]) {
    constexpr int SIZE = Vector<A>::SIZE;
    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    for (int j = 0; j < TILE<A>; j += SIZE) {
        Vector<A> x[R];
        for (int i = 0; i < R; ++i) x[i] = weights[down + i * DOWN].at(j);
        for (int k = 0; k < SIZE; ++k)
            for (int c = 0; c < W / ACROSS; c += SIZE) {
                const Vector<A> y = rows[j + k].at(c * ACROSS + across * SIZE);
                for (int i = 0; i < R; ++i)
                    for (int l = 0; l < SIZE; ++l)
                        sums[i][c + l] += x[i].values[k] * y.values[l];
            }
    }
}

// Writes what `add` made, times a factor for each row, from row number first on.
template <class A, class T, int R, int N>
__device__ void store(const A (&sums)[R][N], const A (&factors)[R], const Matrix<T>& into,
                      long long first, long long rows, int size, bool vectors) {
    constexpr int SIZE = Vector<A>::SIZE;
    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    for (int i = 0; i < R; ++i) {
        const long long row = first + down + i * DOWN;
        for (int c = 0; c < N; c += SIZE) {
            const int e = c * ACROSS + across * SIZE;
            if (row >= rows || e >= size) continue;
            T* start = into.data + row * into.by_row + e;
            Unit<T, SIZE> made;
            for (int l = 0; l < SIZE; ++l) made.values[l] = sums[i][c + l] * factors[i];
            if (vectors) {
                *reinterpret_cast<Unit<T, SIZE>*>(start) = made;
            } else {
                for (int l = 0; l < SIZE; ++l)
                    if (e + l < size) start[l] = made.values[l];
            }
        }
    }
}

template <class T, int W>
__device__ void forward(const Task<T>& task) {
    using A = Wide<T>;
    constexpr int ROWS = 2 * TILE<A>, R = ROWS / DOWN, C = TILE<A> / ACROSS;
    __shared__ Row<A, W> q[ROWS], k[TILE<A>], v[TILE<A>];
    __shared__ Row<A, TILE<A>> weights[ROWS];
    __shared__ bool odd;  // whether a value so far is not ordinary
    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    const long long parts = (task.queries + ROWS - 1) / ROWS, number = blockIdx.x / parts;
    const long long first = blockIdx.x % parts * ROWS;
    const Matrix<T> key = task.key.of(number, task.heads);
    const Matrix<T> value = task.value.of(number, task.heads);
    const Masks<T> masks(task, number);
    const A lowest = masks.lowest();
    A peaks[R], totals[R] = {}, means[R][W / ACROSS] = {};
    for (int i = 0; i < R; ++i) peaks[i] = lowest;
    load(task.query.of(number, task.heads), first, task.queries, int(task.size), task.scale,
         task.vectors, q);
    if (threadIdx.x == 0) odd = false;
    for (long long begin = 0; begin < task.keys; begin += TILE<A>) {
        const bool hidden = task.causal && begin >= first + ROWS;
        __syncthreads();  // everybody is done with the tile before
        if (!hidden) load(key, begin, task.keys, int(task.size), A(1), task.vectors, k);
        if (!load(value, begin, task.keys, int(task.width), A(1), task.vectors, v)) odd = true;
        __syncthreads();
        if (hidden && !odd) continue;  // 0 times a value is 0, but not of inf or nan
        A scores[R][C];
        multiply(q, k, int(task.size), scores);
        for (int i = 0; i < R; ++i) {
            const int row = down + i * DOWN;
            A peak = peaks[i], sum = 0;
            for (int j = 0; j < C; ++j) {
                const long long query = first + row, at = begin + across + j * ACROSS;
                const bool inside = query < task.queries && at < task.keys;
                scores[i][j] = inside ? masks.masked(scores[i][j], query, at) : lowest;
                peak = peak < scores[i][j] ? scores[i][j] : peak;
            }
            for (int offset = ACROSS / 2; offset > 0; offset /= 2) {
                const A other = __shfl_xor_sync(ALL_LANES, peak, offset);
                peak = peak < other ? other : peak;
            }
            const A base = peak == lowest ? A(0) : peak;  // all is masked so far
            for (int j = 0; j < C; ++j) {
                const int column = across + j * ACROSS;
                const A weight = exp(scores[i][j] - base);
                const bool inside = first + row < task.queries && begin + column < task.keys;
                const bool kept = inside && masks.keeps(first + row, begin + column);
                sum += weight;
                weights[row].values[column] = kept ? weight : A(0);
            }
            const A shrunk = exp(peaks[i] - base);
            peaks[i] = peak;
            totals[i] = totals[i] * shrunk + total(sum);
            for (int c = 0; c < W / ACROSS; ++c) means[i][c] *= shrunk;
        }
        __syncwarp();  // a warp reads the weights that it wrote
        add(weights, v, means);
    }
    const Matrix<A> logsumexp = task.logsumexp.of(number, task.heads);
    A factors[R];
    for (int i = 0; i < R; ++i) {
        const long long query = first + down + i * DOWN;
        const A sum = totals[i] == 0 ? A(1) : totals[i];
        factors[i] = task.share / sum;
        if (across == 0 && query < task.queries)
            logsumexp(query, 0) = (peaks[i] == lowest ? A(0) : peaks[i]) + log(sum);
    }
    store(means, factors, task.out.of(number, task.heads), first, task.queries, int(task.width),
          task.vectors);
}

template <class A, int W>
struct Shared {
    Row<A, W> q[TILE<A>], g[TILE<A>], k[TILE<A>], v[TILE<A>];
    Row<A, TILE<A>> weights[TILE<A>], slopes[TILE<A>];
    A lows[TILE<A>], inner[TILE<A>];  // of each query: logsumexp, and sum(g * out)
    bool odd;                         // whether something so far is not ordinary
};

// Computes dquery of a block's queries, or dkey and dvalue of its keys. With the weights P and what
// is kept of them D: dvalue = share D^T g; with dS = P * (share g value^T where kept - inner),
// dquery = scale dS key and dkey = scale dS^T query.
template <class T, int W, bool BY_QUERY>
__device__ void backward(const Task<T>& task, long long block, Shared<Wide<T>, W>& shared) {
    using A = Wide<T>;
    constexpr int R = TILE<A> / DOWN, C = TILE<A> / ACROSS;
    const int across = threadIdx.x % ACROSS, down = threadIdx.x / ACROSS;
    const long long own = BY_QUERY ? task.queries : task.keys;
    const long long others = BY_QUERY ? task.keys : task.queries;
    const long long parts = (own + TILE<A> - 1) / TILE<A>, number = block / parts;
    const long long first = block % parts * TILE<A>;
    const Matrix<T> query = task.query.of(number, task.heads);
    const Matrix<T> key = task.key.of(number, task.heads);
    const Matrix<T> value = task.value.of(number, task.heads);
    const Matrix<T> out = task.out.of(number, task.heads);
    const Matrix<A> logsumexp = task.logsumexp.of(number, task.heads);
    const Matrix<T> g = task.g.of(number, task.heads);
    const Masks<T> masks(task, number);
    const int size = int(task.size), width = int(task.width);

    const auto load_keys = [&](long long start) {
        bool ordinary = load(key, start, task.keys, size, A(1), task.vectors, shared.k);
        ordinary = load(value, start, task.keys, width, A(1), task.vectors, shared.v) && ordinary;
        if (!ordinary) shared.odd = true;
    };
    const auto load_queries = [&](long long start) {
        const long long rows = task.queries;
        bool ordinary = load(query, start, rows, size, task.scale, task.vectors, shared.q);
        ordinary = load(g, start, rows, width, task.share, task.vectors, shared.g) && ordinary;
        for (int i = 0; i < R; ++i) {
            const int row = down + i * DOWN;
            A low = 0, sum = 0;
            if (start + row < rows) {
                low = logsumexp(start + row, 0);
                for (int e = across; e < width; e += ACROSS)
                    sum += g(start + row, e) * out(start + row, e);
            }
            sum = total(sum);
            ordinary = ordinary && is_ordinary(low) && is_ordinary(sum);
            if (across == 0) {
                shared.lows[row] = low;
                shared.inner[row] = sum;
            }
        }
        if (!ordinary) shared.odd = true;
    };

    A sums[R][W / ACROSS] = {}, dvalues[R][W / ACROSS] = {};
    if (threadIdx.x == 0) shared.odd = false;
    __syncthreads();
    if constexpr (BY_QUERY) load_queries(first);
    else load_keys(first);
    for (long long begin = 0; begin < others; begin += TILE<A>) {
        const bool hidden = task.causal && (BY_QUERY ? begin > first : begin < first);
        __syncthreads();  // everybody is done with the tile before
        if constexpr (BY_QUERY) load_keys(begin);
        else load_queries(begin);
        __syncthreads();
        if (hidden && !shared.odd) continue;  // 0 times a number is 0, but not of inf or nan
        A scores[R][C], slopes[R][C];
        multiply(BY_QUERY ? shared.q : shared.k, BY_QUERY ? shared.k : shared.q, size, scores);
        multiply(BY_QUERY ? shared.g : shared.v, BY_QUERY ? shared.v : shared.g, width, slopes);
        for (int i = 0; i < R; ++i)
            for (int j = 0; j < C; ++j) {
                const int row = down + i * DOWN, column = across + j * ACROSS;
                const int of_query = BY_QUERY ? row : column;
                const long long at = (BY_QUERY ? first : begin) + of_query;
                const long long seen = BY_QUERY ? begin + column : first + row;
                A weight = 0, slope = 0;
                if (at < task.queries && seen < task.keys) {
                    const bool kept = masks.keeps(at, seen);
                    weight = exp(masks.masked(scores[i][j], at, seen) - shared.lows[of_query]);
                    slope = weight * ((kept ? slopes[i][j] : A(0)) - shared.inner[of_query]);
                    if (!kept) weight = 0;
                }
                shared.slopes[row].values[column] = slope;
                if (!BY_QUERY) shared.weights[row].values[column] = weight;
            }
        __syncwarp();  // a warp reads what it wrote
        add(shared.slopes, BY_QUERY ? shared.k : shared.q, sums);
        if (!BY_QUERY) add(shared.weights, shared.g, dvalues);
    }
    A factors[R];
    for (int i = 0; i < R; ++i) factors[i] = BY_QUERY ? task.scale : A(1);  // q has the scale
    const Heads<T>& into = BY_QUERY ? task.dquery : task.dkey;
    if (into.data) {
        const Matrix<T> rows = into.of(number, task.heads);
        store(sums, factors, rows, first, own, size, task.vectors);
    }
    if (!BY_QUERY && task.dvalue.data) {
        const Matrix<T> rows = task.dvalue.of(number, task.heads);
        store(dvalues, factors, rows, first, own, width, task.vectors);
    }
}

#define ATTENTION(T, W)                                                                            \
    extern "C" __global__ void __launch_bounds__(THREADS) attention_##T##_##W(                     \
        const __grid_constant__ Task<T> task) {                                                    \
        forward<T, W>(task);                                                                       \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(THREADS)                                          \
        attention_backward_##T##_##W(const __grid_constant__ Task<T> task) {                       \
        __shared__ Shared<Wide<T>, W> shared;                                                      \
        if (blockIdx.x < task.query_blocks)                                                        \
            backward<T, W, true>(task, blockIdx.x, shared);                                        \
        else                                                                                       \
            backward<T, W, false>(task, blockIdx.x - task.query_blocks, shared);                   \
    }

ATTENTION(half, 32)
ATTENTION(half, 64)
ATTENTION(float, 32)
ATTENTION(float, 64)
ATTENTION(double, 32)
ATTENTION(double, 64)
