"""A static graph made into a program: a straight line of Python, and memory that is planned."""

from __future__ import annotations

import keyword
import re
import time
from math import isfinite

import numpy as np

from minidl.graph.building import ASSIGN, CONSTANT, PLACEHOLDER, VARIABLE, nodes_below
from minidl.graph.fusion import Fused
from minidl.graph.node import NotANumber
from minidl.graph.symbolic import Backward, Part
from minidl.ops import Elementwise


class Program:
    """What a session runs: one line for each node.

    Parameters
    ----------
    fetches : list of Node
        What to return.
    feeds : list of Node
        The placeholders, in the order in which `run` takes their values.
    plan : bool
        Whether results shall share memory as soon as it is no longer needed.
    later : list of Node
        If given, the program stops after as many results, and takes the values of these to compute the
        others. It can stop like this many times at once, so its memory is not planned.

    Attributes
    ----------
    nodes : list of Node
    source : str
        The program.
    planned, unplanned : int
        Bytes of memory that the results between take with the plan, and that they would take without.
    """

    def __init__(self, fetches, feeds, plan=True, later=()):
        self.fetches, self.feeds, self.later = list(fetches), list(feeds), list(later)
        self.nodes = nodes_below(fetches)
        self._stop = len(nodes_below(fetches[: len(later)]))  # those come first
        self._assigned = [node for node in self.nodes if node.op is ASSIGN]
        self.kept = {node.inputs[0] for node in self.nodes if isinstance(node.op, Backward)}
        self._names = _names(self.nodes)
        self.buffers, self.planned, self.unplanned = {}, 0, 0
        self._rehearsed = not plan or bool(later)
        self.source, self._run = self._write()

    def run(self, *values):
        """Run it: arrays of the right shapes and dtypes in, a list of arrays out."""
        try:
            return self._run(*values) if self._rehearsed else self._rehearse(values)
        except Exception as error:
            raise self._named(error) from None

    def start(self, *values):
        """Run it to the first results; return these, and a function from what comes later to the others."""
        program = self._run(*values)
        first = next(program)
        return first, lambda *later: program.send(later)

    def _named(self, error):
        """Return an error that names the node at whose line it was raised."""
        trace = error.__traceback__
        while trace and trace.tb_frame.f_code.co_filename != "<program>":
            trace = trace.tb_next
        if trace is None or not isinstance(error, (ValueError, TypeError)):
            return error
        node = self._lines.get(trace.tb_lineno)
        return error if node is None else type(error)(f"node {node.name!r}: {error}")

    # --------------------------------------------------------------------------------------------- writing it

    def _write(self, everything=False, clock=False):
        """Write the program, and compile it; return both.

        With `everything`, it returns all values and all that was kept, by node. With `clock`, it also notes
        the time after each line.
        """
        names, space = self._names, {"array": np.array}
        body, self._lines = [], {}
        last = {} if everything else self._last_uses()
        for position, node in enumerate(self.nodes):
            if self.later and position == self._stop:
                takes = ", ".join(names[node] for node in self.later)
                gives = ", ".join(self._result(node) for node in self.fetches[: len(self.later)])
                body.append(f"{takes}, = yield [{gives}]")
            line = self._line(node, space)
            if line:
                body.append(line)
                self._lines[len(body) + 1] = node
            if clock:
                space["clock"], space["times"] = time.perf_counter, (times := [])
                body.append("times.append(clock())")
                self._times = times
            if gone := last.get(position):
                body.append(f"del {', '.join(gone)}")
        if everything:
            kept = ", ".join(f"'{names[n]}': {names[n]}_kept" for n in self.nodes if n in self.kept)
            values = ", ".join(f"'{names[n]}': {names[n]}" for n in self.nodes)
            body.append(f"return {{{values}}}, {{{kept}}}")
        else:
            rest = ", ".join(self._result(node) for node in self.fetches[len(self.later) :])
            body.append(f"results = [{rest}]")
            if self._assigned:
                space["assign"] = self._assign
                body.append(f"assign([{', '.join(names[node] for node in self._assigned)}])")
            body.append(f"{'yield' if self.later else 'return'} results")
        feeds = ", ".join(names[node] for node in self.feeds)
        source = f"def program({feeds}):\n" + "".join(f"    {line}\n" for line in body)
        exec(compile(source, "<program>", "exec"), space)
        return source, space["program"]

    def _assign(self, values):
        """Store new values in their variables; they are copied first, as one may lie in another's memory."""
        for node, value in zip(self._assigned, [np.array(value) for value in values], strict=True):
            node.inputs[0].params["tensor"].data[...] = value

    def _line(self, node, space):
        """Return the line that computes a node, and put what it needs into `space`."""
        name = self._names[node]
        inputs = [self._names[parent] for parent in node.inputs]
        if node.op is PLACEHOLDER:
            return None
        if node.op is CONSTANT:
            space[f"{name}_value"] = node.params["value"]
            return f"{name} = {name}_value"
        if node.op is VARIABLE:
            space[f"{name}_tensor"] = node.params["tensor"]
            return f"{name} = {name}_tensor.data"
        if isinstance(node.op, Part):
            return f"{name} = {inputs[0]}[{node.params['index']}]"
        params = "".join(f", {key}={_literal(name, key, value, space)}" for key, value in node.params.items())
        function = f"op_{_identifier(node.op.name)}"
        if isinstance(node.op, Backward):
            space[f"{name}_vjp"] = node.op.op.vjp
            gradients = inputs[1] if len(inputs) == 2 else f"({', '.join(inputs[1:])})"
            return f"{name} = {name}_vjp({gradients}, {inputs[0]}_kept, {node.op.needs}{params})"
        while space.get(function, node.op.forward) != node.op.forward:
            function += "_"
        space[function] = node.op.forward
        if node in self.buffers:
            space[f"{name}_buffer"] = self.buffers[node]
            params += f", out={name}_buffer"
        call = f"{function}({', '.join(inputs)}{params})"
        return f"{name}, {name}_kept = {call}" if node in self.kept else f"{name} = {call}[0]"

    def _result(self, node):
        """Return the expression for a fetched value: a copy, where the memory belongs to someone else."""
        shared = node.op in (PLACEHOLDER, CONSTANT, VARIABLE) or node in self._aliased or node.op is ASSIGN
        return f"array({self._names[node]})" if shared else self._names[node]

    _aliased = frozenset()  # fetched nodes found, in the rehearsal, to share memory with a source

    def _last_uses(self):
        """Return for each position the names that are used there for the last time."""
        last = {}
        for position, node in enumerate(self.nodes):
            last[self._names[node]] = position
            for parent in node.inputs:
                last[self._names[parent]] = position
                if isinstance(node.op, Backward) and parent is node.inputs[0]:
                    last[f"{self._names[parent]}_kept"] = position
        stay = {self._names[node] for node in (*self.fetches, *self.buffers)}
        for node in self.nodes:
            if node.op is ASSIGN:
                stay |= {self._names[node], self._names[node.inputs[0]]}
            elif node.op in (CONSTANT, VARIABLE):
                stay.add(self._names[node])
        gone = {}
        for name, position in last.items():
            if name not in stay:
                gone.setdefault(position, []).append(name)
        return gone

    # --------------------------------------------------------------------------------------- planning its
    # memory

    def _rehearse(self, values):
        """Run once with fresh memory for every value, see which memory each one uses, and for how long.

        Looking is simpler than knowing: whether an operation returns a view, or keeps its input for the way
        back, shows in where its arrays lie.
        """
        _, everything = self._write(everything=True)
        results, kept = everything(*values)
        home = {node: _storage(results[self._names[node]]) for node in self.nodes}
        used = {}  # storage → the last position at which it is used
        for position, node in enumerate(self.nodes):
            for parent in node.inputs:
                used[home[parent]] = position
                if isinstance(node.op, Backward) and parent is node.inputs[0]:
                    for array in _arrays(kept[self._names[parent]]):
                        used[_storage(array)] = position
            used.setdefault(home[node], position)
        sources = {home[n] for n in self.nodes if n.op in (PLACEHOLDER, CONSTANT, VARIABLE)} | {None}
        sources |= {_storage(value) for value in values}
        escapes = {home[node] for node in self.fetches} | {home[n] for n in self.nodes if n.op is ASSIGN}
        self._aliased = {node for node in self.fetches if home[node] in sources}
        twice = [
            node for i, node in enumerate(self.fetches) if home[node] in {home[n] for n in self.fetches[:i]}
        ]
        self._aliased |= set(twice)
        self._assign_buffers(results, home, used, sources | escapes)
        outputs = [results[self._names[node]] for node in self.fetches]
        outputs = [np.array(v) if n in self._aliased or n.op is ASSIGN else v
                   for n, v in zip(self.fetches, outputs, strict=True)]  # fmt: skip
        self._assign([results[self._names[node]] for node in self._assigned])
        self.source, self._run = self._write()
        self._rehearsed = True
        return outputs

    def _assign_buffers(self, results, home, used, fixed):
        """Give each result a block of memory that no other result needs at the same time."""
        blocks, owner, free = [], [], []  # each block's size; the storage that has it; those that none has
        block_of, shapes, ends = {}, {}, {}
        for storage, position in used.items():
            ends.setdefault(position, []).append(storage)
        for position, node in enumerate(self.nodes):
            value, storage = results[self._names[node]], home[node]
            fresh = storage not in fixed and storage not in block_of and value.base is None and value.size
            if fresh and node.op.writes_out and value.flags.c_contiguous:
                block = self._in_place(node, value, results, home, used, position, block_of)
                if block is None:
                    fits = [b for b in free if blocks[b] >= value.nbytes]
                    if fits:
                        block = min(fits, key=blocks.__getitem__)
                        free.remove(block)
                    else:
                        block = len(blocks)
                        blocks.append(value.nbytes)
                        owner.append(None)
                block_of[storage], owner[block], shapes[node] = block, storage, (block, value)
                self.unplanned += value.nbytes
            for over in ends.get(position, ()):
                block = block_of.get(over)
                if block is not None and owner[block] == over:
                    owner[block] = None
                    free.append(block)
        memory = [np.empty(n, np.uint8) for n in blocks]
        self.planned = sum(blocks)
        self.buffers = {
            node: memory[block][: value.nbytes].view(value.dtype).reshape(value.shape)
            for node, (block, value) in shapes.items()
        }

    def _in_place(self, node, value, results, home, used, position, block_of):
        """Return the block of an input that an elementwise result may be written over, or None."""
        if not isinstance(node.op, (Elementwise, Fused)):
            return None
        for parent in node.inputs:
            old, storage = results[self._names[parent]], home[parent]
            if (
                storage in block_of
                and used[storage] == position
                and old.shape == value.shape
                and old.dtype == value.dtype
                and old.flags.c_contiguous
                and not any(home[p] == storage and p is not parent for p in node.inputs)
            ):
                return block_of[storage]
        return None

    # ---------------------------------------------------------------------------------------- looking at it

    def watch(self, *values):
        """Run it and raise `NotANumber`, naming the node, if a node made a NaN out of numbers."""
        _, everything = self._write(everything=True)
        results, _ = everything(*values)

        def has_nan(node):
            value = results[self._names[node]]
            return any(a.dtype.kind == "f" and np.isnan(a).any() for a in _arrays((value,)))

        for node in self.nodes:
            if has_nan(node) and not any(has_nan(parent) for parent in node.inputs):
                if node.inputs:
                    shapes = " and ".join(f"{parent.name} {parent.shape}" for parent in node.inputs)
                    raise NotANumber(
                        f"node {node.name!r}, {node.op.name} of {shapes}, made a NaN out of numbers"
                    )
                raise NotANumber(f"the value of {node.name!r} holds a NaN")
        outputs = [np.array(results[self._names[node]]) for node in self.fetches]
        self._assign([results[self._names[node]] for node in self._assigned])
        return outputs

    def time(self, *values, repeat=20):
        """Return the median time of each node, in seconds, over several runs."""
        self.run(*values)
        _, timed = self._write(clock=True)
        rows = []
        for _ in range(repeat):
            self._times.clear()
            start = time.perf_counter()
            timed(*values)
            rows.append(np.diff([start, *self._times]))
        self.source, self._run = self._write()
        return dict(zip(self.nodes, np.median(rows, axis=0).tolist(), strict=True))


def _identifier(name):
    name = re.sub(r"\W", "_", name.partition("(")[0])
    return f"{name}_" if keyword.iskeyword(name) or not name or name[0].isdigit() else name


def _names(nodes):
    """Return for each node a name of its own that Python accepts."""
    names, taken = {}, {"array", "assign", "clock", "program", "results", "times"}
    for node in nodes:
        name = base = _identifier(node.name)
        count = 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(name)
        names[node] = name
    return names


def _literal(name, key, value, space):
    """Return a parameter as Python, spelled out if it is simple."""
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and isfinite(value)):
        return repr(value)
    if isinstance(value, tuple) and all(isinstance(v, (int, type(None))) for v in value):
        return repr(tuple(value))
    space[f"{name}_{key}"] = value
    return f"{name}_{key}"


def _arrays(values):
    """Yield the arrays in a nest of tuples and lists."""
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _arrays(value)


def _storage(value):
    """Return a number for the memory that an array lies in: views of one array have the same."""
    if not isinstance(value, np.ndarray):
        return None
    while isinstance(value.base, np.ndarray):
        value = value.base
    return value.__array_interface__["data"][0], value.nbytes
