"""Broken kernels of many kinds: a line marked `# bug: kind` is where the tracer must find that kind.

A line marked `# bug: kind?` takes part in a bug of that kind, and need not be reported for itself: a race
has two ends, and a finding names both in `lines`. `CASES` collects the launches.
"""

import math

import numpy as np
from numba import float32, int32

from minidl.hardware.cuda import cuda

TPB = 32
TPB_1 = 33
TPB_2 = 34
TILE = 8
THREADS = 8
SUB_SIZE = 3
FULL = 0xFFFFFFFF

CASES = []


def case(build):
    """Collect `build() → (kernel, grid, block, args[, dynamic shared bytes])`."""
    CASES.append(build)
    return build


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def empty(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


# -- a barrier is missing ------------------------------------------------------------------------------------


@cuda.jit
def reverse_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    t = cuda.threadIdx.x
    if t < a.size:
        s[t] = a[t]  # bug: race?
        out[t] = s[a.size - 1 - t]  # bug: race


@case
def no_barrier_after_load():
    return reverse_kernel, 1, TPB, (empty(29), numbers(29))


@cuda.jit
def matmul_kernel(out, a, b):
    left = cuda.shared.array((TILE, TILE), float32)
    right = cuda.shared.array((TILE, TILE), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    j, i = cuda.grid(2)
    total = float32(0)
    for tile in range((a.shape[1] + TILE - 1) // TILE):
        k = tile * TILE
        left[y, x] = a[i, k + x] if i < a.shape[0] and k + x < a.shape[1] else float32(0)  # bug: race
        right[y, x] = b[k + y, j] if k + y < b.shape[0] and j < b.shape[1] else float32(0)  # bug: race
        cuda.syncthreads()
        for n in range(TILE):
            total += left[y, n] * right[n, x]  # bug: race?
    if i < out.shape[0] and j < out.shape[1]:
        out[i, j] = total


@case
def no_barrier_before_next_tile():
    return matmul_kernel, (2, 2), (TILE, TILE), (empty(11, 13), numbers(11, 21), numbers(21, 13))


@cuda.jit
def tree_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    s[t] = a[i] if i < a.size else float32(0)
    cuda.syncthreads()
    step = TPB // 2
    while step:
        if t < step:
            s[t] += s[t + step]  # bug: race
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = s[0]


@case
def no_barrier_in_tree():
    return tree_kernel, 3, TPB, (empty(3), numbers(77))


@cuda.jit
def late_barrier_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    s[t] = a[i] if i < a.size else float32(0)  # bug: race?
    if t == 0:
        total = float32(0)
        for k in range(TPB):
            total += s[k]  # bug: race
        out[cuda.blockIdx.x] = total
    cuda.syncthreads()


@case
def barrier_too_late():
    return late_barrier_kernel, 2, TPB, (empty(2), numbers(50))


@cuda.jit
def scan_kernel(a):
    """One buffer: reading and writing need a barrier between them."""
    s = cuda.shared.array(TPB, float32)
    t = cuda.threadIdx.x
    s[t] = a[t] if t < a.size else float32(0)
    cuda.syncthreads()
    step = 1
    while step < TPB:
        if t >= step:
            s[t] += s[t - step]  # bug: race
        cuda.syncthreads()
        step *= 2
    if t < a.size:
        a[t] = s[t]


@case
def scan_with_one_buffer():
    return scan_kernel, 1, TPB, (numbers(27),)


@cuda.jit
def reused_buffer_kernel(out, a):
    """The buffer is written for the second sum while slow threads still read the first."""
    s = cuda.shared.array(TPB, float32)
    t = cuda.threadIdx.x
    s[t] = a[t] if t < a.size else float32(0)
    cuda.syncthreads()
    total = float32(0)
    for k in range(TPB):
        total += s[k]  # bug: race?
    s[t] = total * total  # bug: race
    cuda.syncthreads()
    if t < a.size:
        out[t] = s[TPB - 1 - t]


@case
def buffer_reused_too_soon():
    return reused_buffer_kernel, 1, TPB, (empty(30), numbers(30))


@cuda.jit
def warp_tree_kernel(out, a):
    """Threads of one warp do not march in step: between them it takes syncwarp."""
    s = cuda.shared.array(TPB, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]
    cuda.syncwarp()
    for k in range(5):
        if t < 16 >> k:
            s[t] += s[t + (16 >> k)]  # bug: race
    if t == 0:
        out[0] = s[0]


@case
def no_syncwarp():
    return warp_tree_kernel, 1, TPB, (empty(1), numbers(32))


@cuda.jit(device=True)
def publish(s, t, value):
    s[t] = value  # bug: race?


@cuda.jit(device=True)
def neighbour(s, t):
    return s[(t + 1) % 20]  # bug: race


@cuda.jit
def helpers_kernel(out, a):
    s = cuda.shared.array(20, float32)
    t = cuda.threadIdx.x
    publish(s, t, a[t])
    out[t] = neighbour(s, t)


@case
def race_inside_device_functions():
    return helpers_kernel, 1, 20, (empty(20), numbers(20))


@cuda.jit
def unsafe_zero_kernel(out, a):
    count = cuda.shared.array(1, int32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    if t == 0:
        count[0] = 0  # bug: race?
    if i < a.size and a[i] > 0:
        cuda.atomic.add(count, 0, 1)  # bug: race
    cuda.syncthreads()
    if t == 0:
        out[cuda.blockIdx.x] = count[0]


@case
def zeroed_beside_atomics():
    return unsafe_zero_kernel, 2, 30, (empty(2, dtype=np.int32), numbers(55))


# -- several threads, one cell -------------------------------------------------------------------------------


@cuda.jit
def histogram_kernel(bins, a):
    i = cuda.grid(1)
    if i < a.size:
        bins[a[i]] += 1  # bug: race


@case
def histogram_without_atomics():
    a = np.random.default_rng(0).integers(0, 10, 100)
    a[:10] = np.arange(10)
    return histogram_kernel, 4, 32, (np.zeros(10, np.int32), a)


@cuda.jit
def sum_kernel(out, a):
    i = cuda.grid(1)
    if i < a.size:
        out[0] += a[i]  # bug: race


@case
def sum_into_one_cell():
    return sum_kernel, 3, 20, (empty(1), numbers(50))


@cuda.jit
def last_writer_kernel(out, a):
    t = cuda.grid(1)
    if a[t] > 0:
        out[0] = t  # bug: race


@case
def who_writes_last():
    return last_writer_kernel, 1, 20, (empty(1), abs(numbers(20)))


@cuda.jit
def smooth_in_place_kernel(a):
    i = cuda.grid(1)
    if i < a.size:
        a[i] = (a[max(i - 1, 0)] + a[min(i + 1, a.size - 1)]) * float32(0.5)  # bug: race


@case
def stencil_in_place():
    return smooth_in_place_kernel, 2, 32, (numbers(50),)


@cuda.jit
def chain_kernel(out, a):
    """Blocks are not ordered: the neighbour's sum may not be there yet."""
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    if t == 0:
        total = float32(0)
        for k in range(i * 8, min(i * 8 + 8, a.size)):
            total += a[k]
        out[i] = total  # bug: race?
    cuda.syncthreads()
    if t == 1 and i > 0:
        out[i] += out[i - 1]  # bug: race


@case
def reads_the_block_before():
    return chain_kernel, 4, 8, (empty(4), numbers(30))


@cuda.jit
def wrong_stride_kernel(out, a):
    i = cuda.grid(1)
    while i < a.size:
        out[i] = a[i] + a[i]  # bug: race
        i += cuda.blockDim.x


@case
def grid_stride_of_one_block():
    return wrong_stride_kernel, 3, 20, (empty(101), numbers(101))


@cuda.jit
def transpose_in_place_kernel(a):
    i, j = cuda.grid(2)
    if i < a.shape[0] and j < a.shape[1]:
        a[i, j], a[j, i] = a[j, i], a[i, j]  # bug: race


@case
def transposed_twice():
    return transpose_in_place_kernel, (2, 2), (4, 4), (numbers(7, 7),)


@cuda.jit
def halo_written_twice_kernel(out, a):
    """Every thread also writes its neighbour's cell."""
    s = cuda.shared.array(TPB_1, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]  # bug: race
    s[t + 1] = a[t] + a[t]  # bug: race
    cuda.syncthreads()
    out[t] = s[t]


@case
def neighbours_cell_written():
    return halo_written_twice_kernel, 1, 30, (empty(30), numbers(30))


# -- nothing was written there -------------------------------------------------------------------------------


@cuda.jit
def no_zero_kernel(out, a):
    total = cuda.shared.array(1, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    if i < a.size:
        cuda.atomic.add(total, 0, a[i])  # bug: uninitialised-read
    cuda.syncthreads()
    if t == 0:
        out[cuda.blockIdx.x] = total[0]


@case
def accumulator_never_zeroed():
    return no_zero_kernel, 2, 20, (empty(2), numbers(35))


@cuda.jit
def no_halo_kernel(out, a):
    s = cuda.shared.array(TPB_2, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    if i < a.size:
        s[t] = a[i]
    cuda.syncthreads()
    if i < out.size:
        out[i] = s[t] + s[t + 1] + s[t + 2]  # bug: uninitialised-read


@case
def halo_never_loaded():
    return no_halo_kernel, 3, TPB, (empty(75), numbers(77))


@cuda.jit
def tail_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    if i < a.size:
        s[t] = a[i]
    cuda.syncthreads()
    step = TPB // 2
    while step:
        if t < step:
            s[t] += s[t + step]  # bug: uninitialised-read
        cuda.syncthreads()
        step //= 2
    if t == 0:
        out[cuda.blockIdx.x] = s[0]


@case
def last_block_not_filled():
    return tail_kernel, 3, TPB, (empty(3), numbers(70))


@cuda.jit
def local_sum_kernel(out, a):
    i = cuda.grid(1)
    sums = cuda.local.array(2, float32)
    if i < a.shape[0]:
        for j in range(a.shape[1]):
            sums[j % 2] += a[i, j]  # bug: uninitialised-read
        out[i] = sums[0] - sums[1]


@case
def local_array_not_zeroed():
    return local_sum_kernel, 2, 16, (empty(30), numbers(30, 5))


@cuda.jit
def partial_warp_kernel(out, a):
    """A block of 21 threads has no lanes 21 to 31."""
    t = cuda.threadIdx.x
    value = a[t]
    for k in (16, 8, 4, 2, 1):
        value += cuda.shfl_down_sync(FULL, value, k)  # bug: uninitialised-read
    if t == 0:
        out[0] = value


@case
def shuffle_from_lanes_that_are_not_there():
    return partial_warp_kernel, 1, 21, (empty(1), numbers(21))


# -- out of bounds -------------------------------------------------------------------------------------------


@cuda.jit
def no_guard_kernel(out, a):
    i = cuda.grid(1)
    out[i] = a[i] + a[i]  # bug: out-of-bounds


@case
def no_tail_guard():
    return no_guard_kernel, 4, 32, (empty(100), numbers(100))


@cuda.jit
def off_by_one_kernel(out, a):
    i = cuda.grid(1)
    if i <= a.size:
        out[i] = a[i]  # bug: out-of-bounds


@case
def off_by_one():
    return off_by_one_kernel, 3, 32, (empty(70), numbers(70))


@cuda.jit
def left_neighbour_kernel(out, a):
    i = cuda.grid(1)
    if i < a.size:
        out[i] = a[i] - a[i - 1]  # bug: out-of-bounds


@case
def negative_index():
    return left_neighbour_kernel, 2, 32, (empty(45), numbers(45))


@cuda.jit
def swapped_axes_kernel(out, a):
    i, j = cuda.grid(2)
    if i < a.shape[1] and j < a.shape[0]:
        out[i, j] = a[i, j]  # bug: out-of-bounds  # bug: unwritten-output


@case
def swapped_axes():
    return swapped_axes_kernel, (2, 3), (8, 4), (empty(9, 13), numbers(9, 13))


@cuda.jit
def row_end_kernel(out, a):
    """The element after a row's end is in memory, but it is the next row's."""
    j, i = cuda.grid(2)
    if i < a.shape[0] and j < a.shape[1]:
        out[i][j] = a[i][j] + a[i][j + 1]  # bug: out-of-bounds


@case
def runs_over_the_end_of_a_row():
    return row_end_kernel, (2, 2), (8, 4), (empty(7, 11), numbers(7, 11))


@cuda.jit
def row_missing_kernel(out, a):
    j, i = cuda.grid(2)
    if i < out.shape[0] and j < out.shape[1]:
        out[i, j] = a[i + 1][j]  # bug: out-of-bounds


@case
def row_that_is_not_there():
    return row_missing_kernel, (2, 2), (8, 4), (empty(7, 11), numbers(7, 11))


@cuda.jit
def small_shared_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    s[t + 1] = a[i]  # bug: out-of-bounds
    if t == 0:
        s[0] = 0
    cuda.syncthreads()
    out[i] = s[t]


@case
def shared_array_too_small():
    return small_shared_kernel, 2, TPB, (empty(64), numbers(64))


@cuda.jit
def dynamic_kernel(out, a):
    s = cuda.shared.array(0, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]  # bug: out-of-bounds
    cuda.syncthreads()
    out[t] = s[t]  # bug: out-of-bounds


@case
def dynamic_shared_memory_too_small():
    return dynamic_kernel, 1, 30, (empty(30), numbers(30)), 30


@cuda.jit
def local_kernel(out, a):
    i = cuda.grid(1)
    mine = cuda.local.array(3, float32)
    if i < a.size:
        for k in range(4):
            mine[k] = a[i]  # bug: out-of-bounds
        out[i] = mine[0] + mine[2]


@case
def local_array_too_small():
    return local_kernel, 2, 16, (empty(25), numbers(25))


@cuda.jit
def atomic_kernel(bins, a):
    i = cuda.grid(1)
    if i < a.size:
        cuda.atomic.add(bins, int32(a[i] * float32(5)), 1)  # bug: out-of-bounds


@case
def atomic_out_of_bounds():
    a = abs(numbers(60))
    a[17] = 1
    return atomic_kernel, 2, 32, (np.zeros(5, np.int32), a)


@cuda.jit
def third_axis_kernel(out, a):
    x, y, z = cuda.grid(3)
    if x < a.shape[2] and y < a.shape[1]:
        out[z, y, x] = a[z, y, x]  # bug: out-of-bounds


@case
def no_guard_along_z():
    return third_axis_kernel, (2, 2, 2), (4, 2, 2), (empty(3, 3, 5), numbers(3, 3, 5))


# -- barriers that not everybody reaches ---------------------------------------------------------------------


@cuda.jit
def early_return_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    if i >= a.size:
        return
    s[t] = a[i]
    cuda.syncthreads()  # bug: divergent-barrier
    out[i] = s[t]


@case
def return_before_a_barrier():
    return early_return_kernel, 3, TPB, (empty(70), numbers(70))


@cuda.jit
def branch_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]
    if t < 16:
        cuda.syncthreads()  # bug: divergent-barrier
    out[t] = s[t]


@case
def barrier_in_a_branch():
    return branch_kernel, 1, TPB, (empty(32), numbers(32))


@cuda.jit
def two_barriers_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]
    if t % 2:
        cuda.syncthreads()  # bug: divergent-barrier
    else:
        cuda.syncthreads()  # bug: divergent-barrier
    out[t] = s[t]


@case
def a_barrier_in_each_branch():
    return two_barriers_kernel, 1, 20, (empty(20), numbers(20))


@cuda.jit
def loop_kernel(out, a):
    t = cuda.threadIdx.x
    total = float32(0)
    for k in range(t, a.size, 20):
        total += a[k]
        cuda.syncthreads()  # bug: divergent-barrier
    out[t] = total


@case
def barrier_in_a_loop_of_different_lengths():
    return loop_kernel, 1, 20, (empty(20), numbers(47))


@cuda.jit
def break_kernel(out, a):
    t = cuda.threadIdx.x
    k = 0
    while True:
        if a[t] < k:
            break
        cuda.syncthreads()  # bug: divergent-barrier
        k += 1
    out[t] = k


@case
def some_leave_the_loop_early():
    return break_kernel, 1, 10, (empty(10), np.arange(10, dtype=np.float32))


@cuda.jit(device=True)
def synchronised_copy(s, t, value):
    s[t] = value
    cuda.syncthreads()  # bug: divergent-barrier


@cuda.jit
def helper_branch_kernel(out, a):
    s = cuda.shared.array(TPB, float32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    if i < a.size:
        synchronised_copy(s, t, a[i])
        out[i] = s[t]


@case
def barrier_of_a_device_function_in_a_branch():
    return helper_branch_kernel, 2, TPB, (empty(50), numbers(50))


@cuda.jit
def half_shuffle_kernel(out, a):
    t = cuda.threadIdx.x
    value = a[t]
    if t < 16:
        value += cuda.shfl_xor_sync(FULL, value, 8)  # bug: divergent-barrier
    cuda.syncthreads()
    out[t] = value


@case
def shuffle_in_a_branch():
    return half_shuffle_kernel, 1, 32, (empty(32), numbers(32))


# -- outputs and inputs --------------------------------------------------------------------------------------


@cuda.jit
def copy_kernel(out, a):
    i = cuda.grid(1)
    if i < a.size:
        out[i] = a[i]  # bug: unwritten-output


@case
def too_few_blocks():
    return copy_kernel, 100 // 32, 32, (empty(100), numbers(100))


@cuda.jit
def every_second_kernel(out, a):
    for i in range(cuda.grid(1), a.size, 2 * cuda.gridsize(1)):
        out[i] = a[i]  # bug: unwritten-output


@case
def stride_too_long():
    return every_second_kernel, 2, 16, (empty(100), numbers(100))


@cuda.jit
def middle_kernel(out, a):
    j, i = cuda.grid(2)
    if 0 < i < out.shape[0] and j < out.shape[1]:
        out[i, j] = a[i, j]  # bug: unwritten-output


@case
def first_row_forgotten():
    return middle_kernel, (2, 2), (8, 8), (empty(9, 11), numbers(9, 11))


@cuda.jit
def clobber_kernel(out, a):
    i = cuda.grid(1)
    if i < a.size:
        a[i] = abs(a[i])  # bug: overwritten-input
        out[i] = math.sqrt(a[i])


@case
def input_overwritten():
    return clobber_kernel, 2, 32, (empty(45), numbers(45))


@cuda.jit
def read_only_kernel(out, a):
    i = cuda.grid(1)
    if i < a.size:
        out[i] = a[i]
        a[i] = 0  # bug: writes-input


@case
def read_only_input():
    a = numbers(45)
    a.flags.writeable = False
    return read_only_kernel, 2, 32, (empty(45), a)


# -- kernels that do not end well ----------------------------------------------------------------------------


@cuda.jit
def raising_kernel(out, a):
    i = cuda.grid(1)
    if i < a.size:
        if a[i] > 40:
            raise ValueError("too large")  # bug: exception
        out[i] = a[i]


@case
def raises():
    return raising_kernel, 2, 32, (empty(50), np.arange(50, dtype=np.float32))


@cuda.jit
def divide_kernel(out, a):
    i = cuda.grid(1)
    if i < a.size:
        out[i] = 100 // a[i]  # bug: exception


@case
def divides_an_integer_by_zero():
    return divide_kernel, 1, 10, (np.zeros(10, np.int32), np.arange(10))


@cuda.jit
def endless_kernel(out, flag):
    i = cuda.grid(1)
    while flag[0] == 0:  # bug: endless-loop
        pass
    out[i] = 1


@case
def waits_for_ever():
    return endless_kernel, 1, 10, (empty(10), np.zeros(1, np.int32))


@cuda.jit
def endless_barrier_kernel(out, a):
    t = cuda.threadIdx.x
    while True:
        cuda.syncthreads()  # bug: endless-loop
        if a[0] < 0:
            break
    out[t] = a[t]


@case
def loops_for_ever_at_a_barrier():
    return endless_barrier_kernel, 1, 16, (empty(16), abs(numbers(16)))


# -- what does not compile -----------------------------------------------------------------------------------


@cuda.jit
def slide_cuda(out, a):
    """The sliding average of the lecture, given a dtype: five bugs in eleven lines."""
    shared = cuda.shared.array(THREADS + SUB_SIZE, float32)  # bug: non-constant-shape
    i = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
    local_idx = cuda.threadIdx.x
    if i + SUB_SIZE < a.size:
        shared[local_idx] = a[i]
        if local_idx < SUB_SIZE and i + THREADS < a.size:
            shared[local_idx + THREADS] = a[i + THREADS]
        cuda.syncthreads()  # bug: divergent-barrier
        temp = 0
        for j in range(SUB_SIZE):
            temp += shared[local_idx + j]  # bug: uninitialised-read
        out[i] = temp / SUB_SIZE  # bug: unwritten-output


@case
def sliding_average_of_the_lecture():
    return slide_cuda, 4, THREADS, (empty(28), numbers(30))


@cuda.jit
def shape_from_block_kernel(out, a):
    s = cuda.shared.array(cuda.blockDim.x, float32)  # bug: non-constant-shape
    t = cuda.threadIdx.x
    s[t] = a[t]
    cuda.syncthreads()
    out[t] = s[a.size - 1 - t]


@case
def shape_only_known_at_launch():
    return shape_from_block_kernel, 1, 20, (empty(20), numbers(20))
