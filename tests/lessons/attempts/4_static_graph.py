"""Attempts at the lesson, each a cell: wrong ones with the words that they must get, and right ones."""
# ruff: noqa: F811, F821, SIM102

import numpy as np

from minidl.graph.building import VARIABLE
from minidl.graph.passes import keep

# %% by_hand wrong: computed for nobody
needed, folded, shared = 8, 5, 4

# %% by_hand wrong: the constants themselves are needed by nobody
needed, folded, shared = 7, 6, 5

# %% by_hand wrong: The folded product is still a node
needed, folded, shared = 7, 4, 3

# %% by_hand wrong: still adds two things
needed, folded, shared = 7, 5, 3

# %% by_hand right
needed, folded, shared = 7.0, 5, np.int32(4)

# %% needed wrong: is missing, and it is needed


def needed_for(fetches):
    return [*fetches[0].inputs, fetches[0]]


# %% needed wrong: once is enough


def needed_for(fetches):
    found = []
    for node in fetches:
        found += needed_for(list(node.inputs)) + [node]
    return found


# %% needed wrong: which needs it


def needed_for(fetches):
    found, waiting = [], list(fetches)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.append(node)
            waiting.extend(node.inputs)
    return found


# %% needed wrong: is listed, but no fetch needs it


def needed_for(fetches):
    return list(fetches[0].graph.nodes)


# %% needed wrong: it was still running


def needed_for(fetches):
    found = []

    def visit(node):
        for parent in node.inputs:
            visit(parent)
        if node not in found:
            found.append(node)

    for node in fetches:
        visit(node)
    return found


# %% needed wrong: expected a list of nodes


def needed_for(fetches):
    return {node.name for node in fetches}


# %% needed right


def needed_for(fetches):
    """A graph keeps its nodes in the order in which they were made; that is an order as well."""
    wanted = set(fetches)
    for node in reversed(fetches[0].graph.nodes):
        if node in wanted:
            wanted.update(node.inputs)
    return [node for node in fetches[0].graph.nodes if node in wanted]


# %% fold wrong: could be folded: all its inputs are constants


def fold(node, inputs, graph):
    return keep(node, inputs, graph)


# %% fold wrong: Look at `inputs`, the rebuilt ones


def fold(node, inputs, graph):
    if inputs and node.op.pure and all(parent.op is CONSTANT for parent in node.inputs):
        return static.constant(
            node.op(*[p.params["value"] for p in node.inputs], **node.params), dtype=node.dtype
        )
    return keep(node, inputs, graph)


# %% fold wrong: of no inputs everything is true


def fold(node, inputs, graph):
    if all(parent.op is CONSTANT for parent in inputs):
        return static.constant(node.op(*[p.params["value"] for p in inputs], **node.params), dtype=node.dtype)
    return keep(node, inputs, graph)


# %% fold wrong: a sum along one axis of a constant


def fold(node, inputs, graph):
    if inputs and node.op.pure and all(parent.op is CONSTANT for parent in inputs):
        return static.constant(node.op(*[p.params["value"] for p in inputs]), dtype=node.dtype)
    return keep(node, inputs, graph)


# %% fold wrong: A variable is no constant


def fold(node, inputs, graph):
    if node.op is VARIABLE:
        return static.constant(node.value, dtype=node.dtype)
    if inputs and node.op.pure and all(parent.op is CONSTANT for parent in inputs):
        return static.constant(node.op(*[p.params["value"] for p in inputs], **node.params), dtype=node.dtype)
    return keep(node, inputs, graph)


# %% fold wrong: the noise has been frozen


def fold(node, inputs, graph):
    if inputs and all(parent.op is CONSTANT for parent in inputs):
        return static.constant(node.op(*[p.params["value"] for p in inputs], **node.params), dtype=node.dtype)
    return keep(node, inputs, graph)


# %% fold wrong: a rule returns a node


def fold(node, inputs, graph):
    if inputs and node.op.pure and all(parent.op is CONSTANT for parent in inputs):
        return static.constant(node.op(*[p.params["value"] for p in inputs], **node.params), dtype=node.dtype)


# %% fold right


def fold(node, inputs, graph):
    kinds = {parent.op.name for parent in inputs}
    if kinds != {"constant"} or not node.op.pure:
        return keep(node, inputs, graph)
    values = [parent.params["value"] for parent in inputs]
    with graph:
        result, _ = node.op.forward(*values, **node.params)
        return static.constant(np.asarray(result), node.dtype)


# %% share wrong: the order of the inputs counts


def key(node, inputs):
    if not inputs or not node.op.pure:
        return None
    return node.op, frozenset(inputs), repr(node.params)


# %% share wrong: They differ in their parameters


def key(node, inputs):
    if not inputs or not node.op.pure:
        return None
    return node.op, inputs


# %% share wrong: Is the operation part of the key?


def key(node, inputs):
    if not inputs or not node.op.pure:
        return None
    return inputs, repr(node.params)


# %% share wrong: What is not `pure` gives something else each time


def key(node, inputs):
    if not inputs:
        return None
    return node.op, inputs, repr(node.params)


# %% share wrong: leave it alone


def key(node, inputs):
    if not node.op.pure and inputs:
        return None
    return node.op.name, inputs, repr(node.params)


# %% share wrong: their *rebuilt* inputs are the same nodes


def key(node, inputs):
    if not inputs or not node.op.pure:
        return None
    return node.op, node.inputs, repr(node.params)


# %% share wrong: which no dictionary takes


def key(node, inputs):
    if not inputs or not node.op.pure:
        return None
    return node.op, inputs, node.params


# %% share wrong: multiply is computed 2 times


def key(node, inputs):
    return None


# %% share right


def key(node, inputs):
    if node.op.pure and len(inputs) > 0:
        params = tuple(sorted(node.params.items()))
        return f"{node.op.name}{params}", *[id(parent) for parent in inputs]


# %% peak wrong: Nothing is ever freed


def peak(steps, sizes, fetches):
    return sum(sizes.values())


# %% peak wrong: free them after it, not before


def peak(steps, sizes, fetches):
    last = {used: i for i, (name, inputs) in enumerate(steps) for used in (name, *inputs)}
    alive, most = 0, 0
    for i, (name, inputs) in enumerate(steps):
        alive -= sum(sizes[used] for used in set(inputs) if last[used] == i and used not in fetches)
        alive += sizes[name]
        most = max(most, alive)
        if last[name] == i and name not in fetches:
            alive -= sizes[name]
    return most


# %% peak wrong: Fetches have to stay until the end


def peak(steps, sizes, fetches):
    last = {used: i for i, (name, inputs) in enumerate(steps) for used in (name, *inputs)}
    alive, most = 0, 0
    for i, (name, inputs) in enumerate(steps):
        alive += sizes[name]
        most = max(most, alive)
        alive -= sum(sizes[used] for used in {name, *inputs} if last[used] == i)
    return most


# %% peak wrong: the largest single result


def peak(steps, sizes, fetches):
    return max(sizes.values())


# %% peak wrong: a node that uses another twice


def peak(steps, sizes, fetches):
    last = {used: i for i, (name, inputs) in enumerate(steps) for used in (name, *inputs)}
    alive, most = 0, 0
    for i, (name, inputs) in enumerate(steps):
        alive += sizes[name]
        most = max(most, alive)
        alive -= sum(sizes[used] for used in (name, *inputs) if last[used] == i and used not in fetches)
    return most


# %% peak wrong: a large result that nobody uses


def peak(steps, sizes, fetches):
    last = {used: i for i, (name, inputs) in enumerate(steps) for used in inputs}
    alive, most = 0, 0
    for i, (name, inputs) in enumerate(steps):
        alive += sizes[name]
        most = max(most, alive)
        alive -= sum(sizes[used] for used in set(inputs) if last[used] == i and used not in fetches)
    return most


# %% peak right


def peak(steps, sizes, fetches):
    """Step by step: what is in memory is what was made before and is used now or later."""
    most = 0
    for i in range(len(steps)):
        made = [name for name, _ in steps[: i + 1]]
        later = {used for _, inputs in steps[i:] for used in inputs} | set(fetches) | {steps[i][0]}
        most = max(most, sum(sizes[name] for name in made if name in later))
    return most


# %% simplify wrong: operations are left


def simplify(node, inputs, graph):
    return keep(node, inputs, graph)


# %% simplify wrong: expected float32 of shape (4, 3)


def simplify(node, inputs, graph):
    neutral = {"multiply": 1, "add": 0, "subtract": 0, "divide": 1}.get(node.op.name)
    if neutral is not None:
        for x, other in (inputs, inputs[::-1]):
            if other.op is CONSTANT and np.all(other.params["value"] == neutral):
                if other is inputs[1] or node.op.name in ("multiply", "add"):
                    return x
    return keep(node, inputs, graph)


# %% simplify wrong: with 0 - x


def simplify(node, inputs, graph):
    neutral = {"multiply": 1, "add": 0, "subtract": 0, "divide": 1}.get(node.op.name)
    for x, other in (inputs, inputs[::-1]) if neutral is not None else ():
        if other.op is CONSTANT and np.all(other.params["value"] == neutral) and x.shape == node.shape:
            return x
    return keep(node, inputs, graph)


# %% simplify wrong: with x · 0, where x has holes


def simplify(node, inputs, graph):
    neutral = {"multiply": 1, "add": 0, "subtract": 0, "divide": 1}.get(node.op.name)
    for x, other in (inputs, inputs[::-1]) if neutral is not None else ():
        if other.op is CONSTANT and x.shape == node.shape:
            if np.all(other.params["value"] == neutral) and (
                other is inputs[1] or node.op.name in "multiply add"
            ):
                return x
            if node.op.name == "multiply" and np.all(other.params["value"] == 0):
                return static.relu(-static.relu(x))
    return keep(node, inputs, graph)


# %% simplify wrong: with x · (1, 2, 1)


def simplify(node, inputs, graph):
    neutral = {"multiply": 1, "add": 0, "subtract": 0, "divide": 1}.get(node.op.name)
    for x, other in (inputs, inputs[::-1]) if neutral is not None else ():
        if other.op is CONSTANT and x.shape == node.shape and np.any(other.params["value"] == neutral):
            if other is inputs[1] or node.op.name in ("multiply", "add"):
                return x
    return keep(node, inputs, graph)


# %% simplify right


def simplify(node, inputs, graph):
    def is_all(parent, number):
        return parent.op is CONSTANT and np.array_equal(parent.params["value"], np.full(parent.shape, number))

    name, same = node.op.name, None
    if name in ("multiply", "add"):
        neutral = float(name == "multiply")
        same = inputs[0] if is_all(inputs[1], neutral) else inputs[1] if is_all(inputs[0], neutral) else None
    elif (name == "divide" and is_all(inputs[1], 1)) or (name == "subtract" and is_all(inputs[1], 0)):
        same = inputs[0]
    if same is not None and (same.shape, same.dtype) == (node.shape, node.dtype):
        return same
    return keep(node, inputs, graph)
