// Lets a C++ compiler build a .cu file, unchanged but for inline PTX, whose instructions are
// functions here, and runs its kernels on the CPU.
//
// Each thread of a block is a fibre, with a stack of its own, that runs until it waits for others
// at a barrier; blocks run one after the other. So a run is deterministic, in one of two orders:
// threads and blocks from first to last, or from last to first. A kernel that gives other bits in
// the other order lacks a barrier. What would hang or be undefined on a card is an error instead: a
// barrier that some thread of the block or warp never reaches, an index outside of an array in
// shared memory, a vector at an address that is not aligned.

#pragma once

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ thread_local  // one for all fibres, which are of one thread

struct dim3 {
    unsigned x, y, z;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cpu {

constexpr unsigned WARP = 32, MOST_THREADS = 1024;
constexpr size_t STACK = 1 << 17;

enum State { NEW, READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

struct Fibre {
    jmp_buf place;
    State state;
    unsigned mask;  // the lanes that it waits for
};

static Fibre fibres[MOST_THREADS];
static char* stacks;
static unsigned count, current;
static ucontext_t begun, beginning;
static jmp_buf scheduler;
static unsigned long long lanes[MOST_THREADS / WARP][WARP];  // what a warp exchanges
static char error[256];
static const char* kernel_name;
static void (*body)(void*);
static void* argument;

inline void fail(const char* what) {
    snprintf(error, sizeof error, "%s, block %u: %s", kernel_name, blockIdx.x, what);
}

inline void enter() {
    body(argument);
    fibres[current].state = DONE;
    _longjmp(scheduler, 1);
}

inline void wait(State state, unsigned mask) {
    Fibre& own = fibres[current];
    own.state = state;
    own.mask = mask;
    // A fibre begins by makecontext; to go on, a jump takes a tenth of swapcontext's time.
    if (!_setjmp(own.place)) _longjmp(scheduler, 1);
}

inline void go_on(unsigned fibre) {
    current = fibre;
    if (_setjmp(scheduler)) return;
    if (fibres[fibre].state == READY) _longjmp(fibres[fibre].place, 1);
    getcontext(&begun);
    begun.uc_stack.ss_sp = stacks + fibre * STACK;
    begun.uc_stack.ss_size = STACK;
    fibres[fibre].state = READY;
    makecontext(&begun, enter, 0);
    swapcontext(&beginning, &begun);
}

inline void on_signal(int) {
    fail("an index out of bounds of an array, or an address that is not aligned");
    _longjmp(scheduler, 1);
}

// Lets the fibres of a warp go on whose lanes are all at the same barrier.
inline bool release_warp(unsigned first) {
    bool released = false;
    for (unsigned i = first; i < first + WARP && i < count; ++i) {
        if (fibres[i].state != AT_WARP_BARRIER) continue;
        const unsigned mask = fibres[i].mask;
        bool complete = true;
        for (unsigned lane = 0; lane < WARP; ++lane) {
            if (!(mask >> lane & 1)) continue;
            const unsigned other = first + lane;
            if (other >= count || fibres[other].state == DONE) {
                fail("a thread waits for one of its warp that has finished");
                return false;
            }
            const bool is_there = fibres[other].state == AT_WARP_BARRIER;
            complete = complete && is_there && fibres[other].mask == mask;
        }
        if (!complete) continue;
        for (unsigned lane = 0; lane < WARP; ++lane)
            if (mask >> lane & 1) fibres[first + lane].state = READY;
        released = true;
    }
    return released;
}

inline bool release_block() {
    unsigned waiting = 0, done = 0;
    for (unsigned i = 0; i < count; ++i) {
        waiting += fibres[i].state == AT_BLOCK_BARRIER;
        done += fibres[i].state == DONE;
    }
    if (waiting == 0 || waiting + done < count) return false;
    if (done) {
        fail("__syncthreads waits for threads that have finished");
        return false;
    }
    for (unsigned i = 0; i < count; ++i) fibres[i].state = READY;
    return true;
}

inline void run_block(bool backwards) {
    for (unsigned i = 0; i < count; ++i) fibres[i].state = NEW;
    for (;;) {
        bool moved = false, left = false;
        for (unsigned k = 0; k < count; ++k) {
            const unsigned i = backwards ? count - 1 - k : k;
            if (fibres[i].state == NEW || fibres[i].state == READY) {
                threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y,
                             i / (blockDim.x * blockDim.y)};
                go_on(i);
                if (*error) return;
                moved = true;
            }
            left = left || fibres[i].state != DONE;
        }
        if (!left) return;
        for (unsigned first = 0; first < count; first += WARP) moved = release_warp(first) || moved;
        moved = (!*error && release_block()) || moved;
        if (*error) return;
        if (!moved) {
            fail("no thread can go on: they wait at different barriers");
            return;
        }
    }
}

// Runs a kernel; returns null, or what was wrong.
inline const char* run(const char* name, const unsigned* grid, const unsigned* block,
                       bool backwards) {
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    count = block[0] * block[1] * block[2];
    kernel_name = name;
    *error = 0;
    if (count == 0 || count > MOST_THREADS || grid[0] * grid[1] * grid[2] == 0) {
        blockIdx = {0, 0, 0};
        fail("a launch without blocks or threads, or with more threads than 1,024");
        return error;
    }
    if (!stacks) stacks = static_cast<char*>(malloc(MOST_THREADS * STACK));
    // What a sanitizer traps at, and vectors moved by instructions that need them aligned.
    const int signals[] = {SIGILL, SIGTRAP, SIGSEGV};
    struct sigaction action, usual[3];
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_NODEFER;  // the handler does not return
    for (int i = 0; i < 3; ++i) sigaction(signals[i], &action, &usual[i]);
    const unsigned blocks = grid[0] * grid[1] * grid[2];
    for (unsigned k = 0; k < blocks && !*error; ++k) {
        const unsigned b = backwards ? blocks - 1 - k : k;
        blockIdx = {b % grid[0], b / grid[0] % grid[1], b / (grid[0] * grid[1])};
        run_block(backwards);
    }
    for (int i = 0; i < 3; ++i) sigaction(signals[i], &usual[i], nullptr);
    return *error ? error : nullptr;
}

template <int... I>
struct Places {};
template <class, int... I>
using Counted = Places<I...>;

template <class... A>
struct Call {
    void (*kernel)(A...);
    void** args;

    template <int... I>
    void at(Places<I...>) const {
        kernel(*static_cast<A*>(args[I])...);
    }
    static void start(void* self) {
        static_cast<Call*>(self)->at(__make_integer_seq<Counted, int, sizeof...(A)>());
    }
};

template <class... A>
const char* call(const char* name, void (*kernel)(A...), const unsigned* grid,
                 const unsigned* block, void** args, const int* sizes, int given, bool backwards) {
    const int wanted[] = {int(sizeof(A))...};
    if (given != sizeof...(A)) {
        snprintf(error, sizeof error, "%s takes %d arguments, not %d", name, int(sizeof...(A)),
                 given);
        return error;
    }
    for (int i = 0; i < given; ++i) {
        if (sizes[i] != wanted[i]) {
            snprintf(error, sizeof error, "%s: argument %d has %d bytes, not %d", name, i,
                     wanted[i], sizes[i]);
            return error;
        }
    }
    Call<A...> started = {kernel, args};
    body = Call<A...>::start;
    argument = &started;
    return run(name, grid, block, backwards);
}

template <class T>
T exchanged(unsigned mask, T value, unsigned from) {
    static_assert(sizeof(T) <= 8, "shuffles move up to 8 bytes");
    unsigned long long* warp = lanes[current / WARP];
    memcpy(&warp[current % WARP], &value, sizeof value);
    wait(AT_WARP_BARRIER, mask);
    memcpy(&value, &warp[from], sizeof value);
    wait(AT_WARP_BARRIER, mask);
    return value;
}

}  // namespace cpu

// What a kernel can be called from Python by.
#define CUDA_ON_CPU_EXPORT(NAME)                                                                   \
    extern "C" const char* run_##NAME(const unsigned* grid, const unsigned* block, void** args,   \
                                      const int* sizes, int given, bool backwards) {               \
        return cpu::call(#NAME, NAME, grid, block, args, sizes, given, backwards);                 \
    }

inline void __syncthreads() { cpu::wait(cpu::AT_BLOCK_BARRIER, 0); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { cpu::wait(cpu::AT_WARP_BARRIER, mask); }
inline void __threadfence() {}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
    return cpu::exchanged(mask, value, unsigned(lane) % cpu::WARP);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
    return cpu::exchanged(mask, value, (cpu::current % cpu::WARP) ^ unsigned(lane_mask));
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
    const unsigned lane = cpu::current % cpu::WARP;
    return cpu::exchanged(mask, value, lane + delta < cpu::WARP ? lane + delta : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
    unsigned found = 0;
    for (unsigned lane = 0; lane < cpu::WARP; ++lane)
        if (mask >> lane & 1) found |= unsigned(cpu::exchanged(mask, !!predicate, lane)) << lane;
    return found;
}

template <class T>
T atomicAdd(T* address, T value) {
    const T old = *address;
    *address = old + value;
    return old;
}

inline unsigned atomicInc(unsigned* address, unsigned most) {
    const unsigned old = *address;
    *address = old >= most ? 0 : old + 1;
    return old;
}

// Conversions of float16, rounding to the nearest, of two to the even one.
inline void cvt_f32_f16(float& x, unsigned short bits) {
    _Float16 found;
    memcpy(&found, &bits, sizeof bits);
    x = found;
}

inline void cvt_rn_f16_f32(unsigned short& bits, float x) {
    const _Float16 made = x;
    memcpy(&bits, &made, sizeof bits);
}

// CUDA overloads C's functions of double for float.
inline float exp(float x) { return expf(x); }
inline float log(float x) { return logf(x); }
inline float sqrt(float x) { return sqrtf(x); }
inline float tanh(float x) { return tanhf(x); }
inline float erfc(float x) { return erfcf(x); }
inline float pow(float x, float y) { return powf(x, y); }
inline float fabs(float x) { return fabsf(x); }
