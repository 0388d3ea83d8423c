"""Rewrites a kernel so that every access to memory becomes a request, which a scheduler answers.

    def kernel(out, a):            def kernel(_thread_, _path_, _trip_, out, a):
        i = cuda.grid(1)      →        i = _thread_.grid(1)
        if i < a.size:                 if i < a.size:
            out[i] = -a[i]                 yield (WRITE, 2, _trip_, -(yield (READ, 1, _trip_, a, i)), out, i)

`_path_` is the path of calls that led here, `_trip_` the trip of the loops around, and the number after the
operation is a *site*, a row in the table of source positions. A thread is then a generator; to choose an
interleaving of the threads is to choose which generator to resume. No OS threads, no GPU.
"""

from __future__ import annotations

import ast
import inspect

from numba.core import types

from minidl.instruments.tracer.arrays import UnsupportedKernel
from minidl.instruments.tracer.intrinsics import CudaName, host_function, pure_function
from minidl.instruments.tracer.names import UNKNOWN, Names, is_stored
from minidl.instruments.tracer.syntax import (
    ALLOCATE,
    ATOMIC,
    BARRIER,
    READ,
    REFUSED,
    STEP,
    SYMBOLS,
    TRIPS_PER_STEP,
    WARP,
    WRITE,
    call,
    function,
    is_exact,
    load,
    store,
)
from minidl.instruments.tracer.values import SmallInt, number


class Rewriter(ast.NodeTransformer):
    """Rewrites one function of a `Program`, which keeps the sites, the constants and the other functions."""

    def __init__(self, program, function, node, is_kernel):
        self.program = program
        self.function = function
        self.node = node
        self.is_kernel = is_kernel
        self.names = Names(function, node)
        self.trip = "_trip_"  # the variable that holds the trip of the innermost loop
        self.made_names = 0

    def refuse(self, node, what):
        """Raise: `what` cannot be used in a kernel."""
        raise UnsupportedKernel(
            f"{self.function.__name__}, line {node.lineno}: {what} cannot be used in a CUDA kernel, "
            "or is unknown to the tracer"
        )

    def visit(self, node):
        """Rewrite a node; what takes its place stands where it stood."""
        if type(node) in REFUSED:
            self.refuse(node, REFUSED[type(node)])
        made = super().visit(node)
        if "lineno" in node._attributes:
            for item in made if isinstance(made, list) else [made]:
                if item is not None and not hasattr(item, "lineno"):
                    ast.copy_location(item, node)
        return made

    # -- a function ------------------------------------------------------------------------------------------

    def rewrite(self, name) -> ast.FunctionDef:
        """Return the function as a generator called `name`."""
        self.node.name = name
        self.node.decorator_list = []
        return ast.fix_missing_locations(self._generator(self.node))

    def _generator(self, node):
        arguments = node.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
            self.refuse(node, "*args, **kwargs or a keyword-only parameter")
        given = [ast.arg(item.arg) for item in arguments.posonlyargs + arguments.args]
        defaults = [self.visit(item) for item in arguments.defaults] if node is not self.node else []
        given = [ast.arg("_thread_"), ast.arg("_path_"), ast.arg("_trip_"), *given]
        node.args = ast.arguments([], given, None, [], [], None, defaults)
        node.returns = None
        # The first statement makes it a generator, even if nothing else in it yields.
        node.body = [*ast.parse("if 0: yield").body, *self._block(node.body)]
        return node

    def _block(self, statements):
        made = []
        for statement in statements:
            result = self.visit(statement)
            made += result if isinstance(result, list) else [result]
        return made

    def visit_FunctionDef(self, node):
        """A function inside the kernel: its calls become `yield from` too."""
        if node.decorator_list:
            self.refuse(node, "a decorated function inside a kernel")
        trip, was_kernel = self.trip, self.is_kernel
        self.trip, self.is_kernel = "_trip_", False
        node = self._generator(node)
        self.trip, self.is_kernel = trip, was_kernel
        return node

    def visit_Return(self, node):
        """A kernel returns nothing."""
        if node.value is not None:
            if self.is_kernel and not (isinstance(node.value, ast.Constant) and node.value.value is None):
                self.refuse(node, "return with a value")
            node.value = self.visit(node.value)
        return node

    # -- names and constants ---------------------------------------------------------------------------------

    def visit_Name(self, node):
        """A name that is not local is a constant."""
        value = UNKNOWN if is_stored(node) else self.names.resolve(node)
        return node if value is UNKNOWN else self._constant(node, value)

    def visit_Attribute(self, node):
        """`cuda.threadIdx` is the thread's; `math.pi` is a constant; `a.shape` stays."""
        if isinstance(node.ctx, ast.Store):
            self.refuse(node, f"assigning to {ast.unparse(node)}")
        value = self.names.resolve(node)
        if value is not UNKNOWN:
            return self._constant(node, value)
        node.value = self.visit(node.value)
        return node

    def visit_Constant(self, node):
        """2.0 is a float64."""
        return self._constant(node, node.value) if isinstance(node.value, (float, complex)) else node

    def _constant(self, node, value):
        if isinstance(value, CudaName):
            return value.expression or self.refuse(node, f"{value} as a value")
        if value is None or isinstance(value, (bool, str)) or type(value) is int:
            return ast.Constant(value)
        if hasattr(value, "py_func"):
            return load(self.program.add_function(value.py_func))
        if inspect.ismodule(value) or isinstance(value, (list, dict, set)):
            self.refuse(node, f"{ast.unparse(node)}, a {type(value).__name__},")
        if callable(value) and not isinstance(value, (type, types.Type)):
            made = host_function(value, self.program.arithmetic)
            value = value if made is None else made
        return load(self.program.constant(number(value)))

    # -- requests --------------------------------------------------------------------------------------------

    def _request(self, operation, node, what, text, *parts):
        """Return `(yield (operation, site, trip, *parts))`."""
        site = self._code(self.program.add_site(node, what, text, self.function.__name__))
        if operation == WRITE:
            self.program.add_site(node, "read", text, self.function.__name__)  # see `Memory.write`
        return ast.Yield(ast.Tuple([ast.Constant(operation), site, load(self.trip), *parts], ast.Load()))

    def _code(self, site):
        """In a device function the call path stands in the bits above the site."""
        code = ast.Constant(site)
        return code if self.is_kernel else ast.BinOp(load("_path_"), ast.BitOr(), code)

    def _new_name(self):
        self.made_names += 1
        name = f"_value_{self.made_names}_"
        self.names.local.add(name)
        return name

    # -- expressions -----------------------------------------------------------------------------------------

    def visit_Subscript(self, node):
        """`a[i]` is a request; `a.shape[0]` is not."""
        if isinstance(node.value, ast.Attribute) and node.value.attr in ("shape", "strides"):
            return ast.Subscript(self.visit(node.value), self.visit(node.slice), node.ctx)
        text = ast.unparse(node.value)
        return self._request(READ, node, "read", text, self.visit(node.value), self._index(node.slice))

    def _index(self, node):
        if isinstance(node, ast.Slice):
            parts = (node.lower, node.upper, node.step)
            return call(
                "_slice_", *(ast.Constant(None) if part is None else self.visit(part) for part in parts)
            )
        if isinstance(node, ast.Tuple):
            return ast.Tuple([self._index(item) for item in node.elts], ast.Load())
        return self.visit(node)

    def visit_BinOp(self, node):
        """`x + y` is a call, which gives numba's type and counts."""
        return self._operate(node, node.op, self.visit(node.left), self.visit(node.right))

    def _operate(self, node, op, left, right, narrows=False):
        if type(op) not in SYMBOLS:
            self.refuse(node, "the operator @")
        if isinstance(op, ast.Pow) and isinstance(right, ast.Constant) and type(right.value) is int:
            right = load(self.program.constant(SmallInt(right.value)))  # numba multiplies; float32 stays
        site = self.program.add_site(node, "arithmetic", SYMBOLS[type(op)], self.function.__name__)
        site = 0 if narrows and isinstance(op, (ast.Add, ast.Sub, ast.Mult, ast.Div)) else site
        return call(f"_{type(op).__name__}_", left, right, ast.Constant(site))

    def visit_Call(self, node):
        """Calls of numba.cuda become requests, calls of device functions `yield from`."""
        function = self.names.resolve(node.func)
        if isinstance(function, CudaName):
            return self._cuda_call(node, function)
        if any(keyword.arg is None for keyword in node.keywords):
            self.refuse(node, "a call with **")
        arguments = [self.visit(item) for item in node.args]
        keywords = [ast.keyword(item.arg, self.visit(item.value)) for item in node.keywords]
        if function is not UNKNOWN and not hasattr(function, "py_func"):
            return ast.Call(load(self.program.constant(self._stand_in(node, function))), arguments, keywords)
        text = ast.unparse(node.func)
        path = call(
            "_path_of_", load("_path_"), ast.Constant(self.program.add_site(node, "call", text, text))
        )
        head = [load("_thread_"), path, load(self.trip)]
        if function is not UNKNOWN:
            name = self.program.add_function(function.py_func)
            return ast.YieldFrom(ast.Call(load(name), head + arguments, keywords))
        if isinstance(node.func, ast.Name) and node.func.id not in self.names.local:
            self.refuse(node, f"the unknown name {node.func.id}")
        return ast.YieldFrom(ast.Call(load("_call_"), [*head, self.visit(node.func), *arguments], keywords))

    def _stand_in(self, node, function):
        """What is called for a builtin, `math.exp`, a cast such as float32."""
        made = host_function(function, self.program.arithmetic)
        if made is None:
            hint = " (mark it with @cuda.jit(device=True))" if inspect.isfunction(function) else ""
            self.refuse(node, f"{ast.unparse(node.func)}(){hint}")
        return made

    # -- calls of numba.cuda ---------------------------------------------------------------------------------

    def _cuda_call(self, node, name):
        if name.kind is None:
            self.refuse(node, str(name))
        try:
            bound = name.signature.bind(*node.args, **{item.arg: item.value for item in node.keywords})
        except TypeError as wrong:
            self.refuse(node, f"{name} with {wrong.args[0]}:")
        bound.apply_defaults()
        given = [item if isinstance(item, ast.AST) else ast.Constant(item) for item in (*bound.args,)]
        arguments = [self._index(item) for item in given]
        short = name.path.rpartition(".")[2]
        if name.kind == "thread":
            return ast.Call(ast.Attribute(load("_thread_"), short, ast.Load()), arguments, [])
        if name.kind == "pure":
            return call(self.program.constant(pure_function(name.path, self.program.arithmetic)), *arguments)
        if name.kind == "constant":
            return arguments[0]
        if name.kind == "allocate":
            return self._allocate(node, name.path.split(".")[0], given[0], *arguments[:2])
        if name.kind == "barrier" and node.lineno in self.program.without_barriers:
            return ast.Constant(None) if not arguments else arguments[0]
        operation = {"atomic": ATOMIC, "barrier": BARRIER, "warp": WARP}[name.kind]
        text = ast.unparse(given[0]) if name.kind == "atomic" else str(name)
        return self._request(operation, node, name.kind, text, ast.Constant(short), *arguments)

    def _allocate(self, node, space, shape, *arguments):
        name = getattr(node, "assigned_to", space)
        request = self._request(ALLOCATE, node, space, name, ast.Constant(space), *arguments)
        if not self.names.is_constant(shape):
            self.program.dynamic_shapes.append((len(self.program.sites) - 1, ast.unparse(shape)))
        return request

    # -- assignments -----------------------------------------------------------------------------------------

    def visit_Assign(self, node):
        """`a[i] = x` is a request; the target of `s = cuda.shared.array(…)` names the array."""
        target = node.targets[0]
        if len(node.targets) > 1 or isinstance(target, (ast.Tuple, ast.List)):
            name = self._new_name()
            first = ast.Assign([store(name)], self.visit(node.value))
            return [first, *(item for target in node.targets for item in self._assign(target, load(name)))]
        if isinstance(target, ast.Subscript):
            value = node.value
            if isinstance(value, ast.BinOp) and (is_exact(value.left) or is_exact(value.right)):
                sides = self.visit(value.left), self.visit(value.right)
                return ast.Expr(self._store(target, self._operate(value, value.op, *sides, narrows=True)))
            return ast.Expr(self._store(target, self.visit(value)))
        if isinstance(target, ast.Name):
            if target.id in self.names.aliases:
                return ast.Pass()
            if isinstance(node.value, ast.Lambda):
                body = [ast.copy_location(ast.Return(node.value.body), node)]
                return self.visit(ast.copy_location(function(target.id, node.value.args, body), node))
            if isinstance(node.value, ast.Call):
                node.value.assigned_to = target.id
        node.targets = [self.visit(target)]
        node.value = self.visit(node.value)
        return node

    def _assign(self, target, value):
        """Assign to a name, an element, or a tuple of those, from left to right."""
        if isinstance(target, ast.Subscript):
            return [ast.copy_location(ast.Expr(self._store(target, value)), target)]
        if not isinstance(target, (ast.Tuple, ast.List)):
            return [ast.copy_location(ast.Assign([self.visit(target)], value), target)]
        names = [self._new_name() for _ in target.elts]
        unpacked = ast.Assign([ast.Tuple([store(name) for name in names], ast.Store())], value)
        parts = [self._assign(item, load(name)) for name, item in zip(names, target.elts, strict=True)]
        return [ast.copy_location(unpacked, target), *(item for part in parts for item in part)]

    def _store(self, target, value):
        text = ast.unparse(target.value)
        array, index = self.visit(target.value), self._index(target.slice)
        return self._request(WRITE, target, "write", text, value, array, index)

    def visit_AnnAssign(self, node):
        """`x: float = 1` is `x = 1`."""
        plain = ast.copy_location(ast.Assign([node.target], node.value), node)
        return ast.Pass() if node.value is None else self.visit(plain)

    def visit_AugAssign(self, node):
        """`a[i] += x` reads and then writes; the array and the index are worked out once."""
        target = node.target
        if isinstance(target, ast.Name):
            value = self._operate(node, node.op, load(target.id), self.visit(node.value))
            return ast.Assign([store(target.id)], value)
        if not isinstance(target, ast.Subscript):
            self.refuse(node, f"assigning to {ast.unparse(target)}")
        array, index, text = self._new_name(), self._new_name(), ast.unparse(target.value)
        place = load(array), load(index)
        old = self._request(READ, target, "read", text, *place)
        new = self._operate(node, node.op, old, self.visit(node.value), narrows=is_exact(node.value))
        return [
            ast.Assign([store(array)], self.visit(target.value)),
            ast.Assign([store(index)], self._index(target.slice)),
            ast.Expr(self._request(WRITE, target, "write", text, new, *place)),
        ]

    # -- loops -----------------------------------------------------------------------------------------------

    def visit_For(self, node):
        """Count the trips, so that the accesses of one trip can be told from those of the next."""
        setup, node = self._by_index(node)
        setup = self._block(setup)
        node.iter = self.visit(node.iter)
        return [*setup, *self._loop(node)]

    def visit_While(self, node):
        """Count the trips; the condition belongs to the trip."""
        return self._loop(node)

    def _loop(self, node):
        outer, self.trip = self.trip, self._new_name()
        start = ast.parse(f"{self.trip} = ({outer} * 1000003 & 0xFFFFFFFFFF) << 20").body
        site = self.program.add_site(node, "loop", "", self.function.__name__)
        count = f"{self.trip} += 1\nif not {self.trip} & {TRIPS_PER_STEP - 1}: yield ({STEP}, {site})"
        if isinstance(node, ast.While):
            node.test = self.visit(node.test)
        elif any(isinstance(item, (ast.Subscript, ast.Attribute)) for item in ast.walk(node.target)):
            self.refuse(node, f"a loop over {ast.unparse(node.target)}")
        node.body = [*ast.parse(count).body, *self._block(node.body)]
        self.trip = outer
        node.orelse = self._block(node.orelse)
        for item in (*start, *node.body[:2]):
            for part in ast.walk(item):
                ast.copy_location(part, node)
        return [*start, node]

    def _by_index(self, node):
        """`for x in a` → `for n in range(len(a)): x = a[n]`, one read a trip; enumerate and zip likewise."""
        function = self.names.resolve(node.iter.func) if isinstance(node.iter, ast.Call) else None
        if function not in (None, enumerate, zip):
            return [], node  # range and the like
        sequences, start = [node.iter], None
        if function is not None:
            if node.iter.keywords or not node.iter.args:
                self.refuse(node, f"{ast.unparse(node.iter)}")
            sequences = node.iter.args[:1] if function is enumerate else node.iter.args
            start = (*node.iter.args[1:], ast.Constant(0))[0] if function is enumerate else None
        names, counter = [self._new_name() for _ in sequences], self._new_name()
        setup = [
            ast.Assign(
                [store(name)], ast.Tuple(item.elts, ast.Load()) if isinstance(item, ast.List) else item
            )
            for name, item in zip(names, sequences, strict=True)
        ]
        items = [ast.Subscript(load(name), load(counter), ast.Load()) for name in names]
        if start is not None:
            items = [ast.BinOp(load(counter), ast.Add(), start), *items]
        value = items[0] if function is None else ast.Tuple(items, ast.Load())
        lengths = [call("_len_", load(name)) for name in names]
        count = lengths[0] if len(lengths) == 1 else call("_min_", *lengths)
        body = [ast.Assign([node.target], value), *node.body]
        loop = ast.For(store(counter), call("_range_", count), body, node.orelse)
        for item in (*setup, loop):
            ast.fix_missing_locations(ast.copy_location(item, node))
        return setup, loop
