"""Operations that move numbers and compute none: the way back moves the gradient where they came from."""

from __future__ import annotations

import numpy as np

from minidl.hardware.machine import is_on_gpu
from minidl.ops import gpu
from minidl.ops.op import Op, normalise_axis, size


class Reshape(Op):
    """The same numbers in the same order, under another shape: a view, wherever memory allows it."""

    name = "reshape"
    runs_on_gpu = True

    def forward(self, x, shape):
        """Keep the old shape."""
        return x.reshape(shape), (x.shape,)

    def vjp(self, g, saved, needs, shape):
        """Reshape it back."""
        return (g.reshape(saved[0]),)

    def shape(self, x, shape):
        """Fill in the -1, if there is one."""
        if sum(n == -1 for n in shape) > 1:
            raise ValueError(f"only one dimension may be -1, got {shape}")
        if None in x:
            if -1 not in shape and sum(n is None for n in x) == 1 and size(shape) % size(x) == 0:
                return shape  # the one unknown dimension must be what is left over
            rest = [n for n in shape if n != -1]
            if x.count(None) == 1 and rest and size(rest) == size(x):
                return tuple(None if n == -1 else n for n in shape)
            return tuple(None if n == -1 else n for n in shape)
        known = size([n for n in shape if n != -1])
        if (-1 in shape and (known == 0 or size(x) % known)) or (-1 not in shape and known != size(x)):
            raise ValueError(f"{size(x)} elements of shape {x} do not fill the shape {shape}")
        return tuple(size(x) // known if n == -1 else n for n in shape)


def _transposed(x, axes):
    if not is_on_gpu(x):
        return x.transpose(axes)
    axes = tuple(reversed(range(x.ndim))) if axes is None else normalise_axis(axes, x.ndim)
    if axes[:-2] != tuple(range(x.ndim - 2)):
        raise ValueError(f"on the GPU only the last two axes can be swapped, got the order {axes}")
    return x if axes == tuple(range(x.ndim)) else gpu.transpose(x)


class Transpose(Op):
    """The axes in another order: a view that walks the same memory with other strides."""

    name = "transpose"
    runs_on_gpu = True

    def forward(self, x, axes=None):
        """Keep nothing: the order is a parameter."""
        return _transposed(x, axes), ()

    def vjp(self, g, saved, needs, axes=None):
        """The inverse order."""
        inverse = None if axes is None else tuple(np.argsort(normalise_axis(axes, g.ndim)).tolist())
        return (_transposed(g, inverse),)

    def shape(self, x, axes=None):
        """The dimensions in that order."""
        if axes is None:
            return x[::-1]
        axes = normalise_axis(axes, len(x))
        if len(axes) != len(x):
            raise ValueError(f"axes {axes} must name each of the {len(x)} axes of shape {x} once")
        return tuple(x[a] for a in axes)


class BroadcastTo(Op):
    """Repeat along axes of length 1, and along new ones in front. On the way back they are summed."""

    name = "broadcast_to"
    writes_out = True
    runs_on_gpu = True

    def forward(self, x, shape, out=None):
        """Keep nothing."""
        if is_on_gpu(x):
            return gpu.repeat(x, shape), ()
        y = np.empty(shape, x.dtype) if out is None else out
        y[...] = x
        return y, ()

    def vjp(self, g, saved, needs, shape):
        """Hand it on."""
        return (g,)

    def shape(self, x, shape):
        """What was asked for, if x fits."""
        lead = len(shape) - len(x)
        if lead < 0 or any(n not in (1, None, m) for n, m in zip(x, shape[lead:], strict=True)):
            raise ValueError(f"shape {x} does not broadcast to {shape}")
        return tuple(shape)


class GetItem(Op):
    """x[index]: slices, integers, `...`, None, and arrays of integers or booleans, as in NumPy."""

    name = "slice"

    def forward(self, x, index):
        """Keep the old shape. Slices are views; an index array makes a copy."""
        return x[index], (x.shape,)

    def vjp(self, g, saved, needs, index):
        """Zero everywhere else; an element taken several times sums what comes back."""
        gradient = np.zeros(saved[0], g.dtype)
        if _takes_each_once(index):
            gradient[index] = g
        else:
            np.add.at(gradient, index, g)
        return (gradient,)

    def shape(self, x, index):
        """Ask NumPy, with an array that takes no memory."""
        unknown = [axis for axis, n in enumerate(x) if n is None]
        try:
            result = self._try(x, index, 7919)
        except IndexError as error:
            raise ValueError(f"{error}, for shape {x}") from None
        if not unknown:
            return result
        other = self._try(x, index, 7927)  # where a size depends on what is not known, it is not known
        return tuple(n if n == m else None for n, m in zip(result, other, strict=True))

    @staticmethod
    def _try(x, index, unknown):
        return np.broadcast_to(np.int8(0), [unknown if n is None else n for n in x])[index].shape


def _takes_each_once(index):
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer))
        or (isinstance(part, np.ndarray) and part.dtype == bool)
        for part in parts
    )  # fmt: skip


class Concatenate(Op):
    """Arrays laid end to end along one axis; the way back cuts the gradient where they met."""

    name = "concatenate"
    writes_out = True

    def forward(self, *arrays, axis=0, out=None):
        """Keep where to cut."""
        sizes = [a.shape[axis] for a in arrays]
        return np.concatenate(arrays, axis=axis, out=out), (np.cumsum(sizes)[:-1],)

    def vjp(self, g, saved, needs, axis=0):
        """One view of it for each."""
        return tuple(np.split(g, saved[0], axis=axis))

    def shape(self, *shapes, axis=0):
        """All dimensions agree but the one that adds up."""
        (axis,) = normalise_axis(axis, len(shapes[0]))
        rest = {s[:axis] + s[axis + 1 :] for s in shapes}
        if len(rest) > 1 or len({len(s) for s in shapes}) > 1:
            raise ValueError(f"shapes {' and '.join(map(str, shapes))} differ in more than axis {axis}")
        total = [s[axis] for s in shapes]
        return shapes[0][:axis] + (None if None in total else sum(total),) + shapes[0][axis + 1 :]


class Embedding(Op):
    """Rows of a table, chosen by integer indices: weight (V, D), indices (…) → (…, D)."""

    name = "embedding"

    def forward(self, weight, indices):
        """Keep the indices and the table's shape."""
        if not np.issubdtype(indices.dtype, np.integer):
            raise TypeError(f"indices must be integers, got {indices.dtype}")
        if indices.size and not 0 <= indices.min() <= indices.max() < len(weight):
            raise ValueError(
                f"indices must be from 0 to {len(weight) - 1}, got {indices.min()} to {indices.max()}"
            )
        return weight[indices], (weight.shape, indices)

    def vjp(self, g, saved, needs):
        """Each row collects the gradients of all its uses."""
        shape, indices = saved
        gradient = np.zeros(shape, g.dtype)
        np.add.at(gradient, indices, g)
        return gradient, None

    def shape(self, weight, indices):
        """One row for each index."""
        return (*indices, weight[1])

    def dtype(self, weight, indices):
        """That of the table."""
        return weight


reshape = Reshape()
transpose = Transpose()
broadcast_to = BroadcastTo()
getitem = GetItem()
concatenate = Concatenate()
embedding = Embedding()
