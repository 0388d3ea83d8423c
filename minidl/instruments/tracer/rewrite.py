"""Rewrites a kernel's source so that every access to memory becomes a request that a scheduler can answer.

    def kernel(out, a):                      def kernel(_t, _p, _k, out, a):
        i = cuda.grid(1)              →          i = _t.grid(1)
        if i < a.size:                           if i < a.size:
            out[i] = a[i] * 2                        yield (WRITE, 3, _k, _mul((yield (READ, 1, _k, a, i)), 2, 2), out, i)

`_t` is the thread, `_p` the path of calls that led here, `_k` the trip of the enclosing loops, and the number
after the operation is a *site*: an entry in the table of source positions. A thread is then a generator, and any
interleaving of the threads of a launch is a choice of which generator to resume: no OS threads, no GPU.

Names that are not local are constants to numba, so they are looked up here, once.
"""

from __future__ import annotations

import ast
import builtins
import inspect
from dataclasses import dataclass

import numpy as np

from minidl.instruments.tracer import intrinsics
from minidl.instruments.tracer.intrinsics import CudaName
from minidl.instruments.tracer.memory import CONSTANT, UnsupportedKernel
from minidl.instruments.tracer.values import number

READ, WRITE, ATOMIC, BARRIER, WARP, ALLOCATE, STEP = range(7)

SYMBOLS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
UNSUPPORTED = {
    ast.ListComp: "a list comprehension",
    ast.SetComp: "a set comprehension",
    ast.DictComp: "a dictionary comprehension",
    ast.GeneratorExp: "a generator expression",
    ast.Dict: "a dictionary",
    ast.Set: "a set",
    ast.List: "a list (use a tuple or cuda.local.array)",
    ast.Try: "try/except",
    ast.With: "with",
    ast.AsyncFor: "async for",
    ast.AsyncWith: "async with",
    ast.AsyncFunctionDef: "an async function",
    ast.Await: "await",
    ast.Yield: "yield",
    ast.YieldFrom: "yield from",
    ast.Global: "global",
    ast.Nonlocal: "nonlocal",
    ast.ClassDef: "a class",
    ast.Import: "import",
    ast.ImportFrom: "import",
    ast.Delete: "del",
    ast.Starred: "a starred expression",
    ast.NamedExpr: "an assignment expression (:=)",
    ast.Match: "match",
    ast.Lambda: "a lambda that is not assigned to a name",
}
FUNCTION_BITS = 16  # a site takes 16 bits; the call path stands above them
TRIP_BITS = 20


@dataclass(frozen=True)
class Site:
    """A place in the source that does something: `file:line:column`, in which function, to what."""

    line: int
    column: int
    what: str  # read, write, atomic, barrier, warp, shared, local, step, arithmetic
    text: str  # the array's source, or the function's name
    function: str


class Program:
    """A kernel and the device functions it calls, rewritten.

    Attributes
    ----------
    start : callable
        `start(thread, *args)` → the generator that is one thread.
    sites : list of Site
    dynamic_shapes : list of (site, str)
        Shared or local arrays whose shape is no compile-time constant: CUDA refuses them.
    file : str
    source : list of (int, str)
        Numbered source lines of the kernel and of its device functions.
    """

    def __init__(self, kernel, arithmetic, memory):
        self.memory = memory
        self.arithmetic = arithmetic
        self.sites: list[Site] = [Site(0, 0, "", "", "")]
        self.dynamic_shapes: list[tuple[int, str]] = []
        self.source: dict[int, str] = {}
        self.files: list[str] = []
        self._functions: dict = {}  # py_func → name in the namespace
        self._paths = {}
        self.namespace = {
            "_path": self._path,
            "_call": _call,
            "_slice": slice,
            "_length": len,
            **{f"_{symbol.__name__}": arithmetic.binary(SYMBOLS[symbol]) for symbol in SYMBOLS},
        }
        self._constants: dict[int, tuple[str, object]] = {}
        function = kernel_function(kernel)
        name = self.add_function(function, is_kernel=True)
        self.function = function
        self._entry = self.namespace[name]
        self.file = self.files[0]

    def start(self, thread, *args):
        """Return the generator that runs `thread`."""
        return self._entry(thread, 0, 0, *args)

    def add_function(self, function, is_kernel=False) -> str:
        """Rewrite one function, unless that was done, and return its name in the namespace."""
        if function in self._functions:
            return self._functions[function]
        name = f"_f{len(self._functions)}_{function.__name__}"
        self._functions[function] = name
        node, lines, first = source_of(function)
        file = inspect.getsourcefile(function) or function.__code__.co_filename
        self.files.append(file)
        self.source.update(enumerate((line.rstrip("\n") for line in lines), first))
        rewriter = _Rewriter(self, function, node, is_kernel)
        node = ast.fix_missing_locations(rewriter.rewrite(name))
        code = compile(ast.Module([node], []), function.__code__.co_filename, "exec")
        exec(code, self.namespace)
        made = self.namespace[name]
        made.__defaults__ = function.__defaults__ and tuple(number(value) for value in function.__defaults__)
        return name

    def add_site(self, node, what, text, function) -> int:
        """Add a row to the table of sites."""
        if len(self.sites) >= 1 << FUNCTION_BITS:
            raise UnsupportedKernel("more than 65,535 source sites")
        self.sites.append(Site(node.lineno, node.col_offset, what, text, function))
        return len(self.sites) - 1

    def site(self, code: int) -> Site:
        """Return the site of a request, whatever call path led to it."""
        return self.sites[code & 0xFFFF]

    def constant(self, value) -> str:
        """Return a name that stands for `value` in the rewritten source."""
        known = self._constants.get(id(value))
        if known is None:
            kept = value  # keeps the object, and so its id, alive
            if isinstance(value, np.ndarray):
                kept = self._constant_array(value)
            known = self._constants[id(value)] = (f"_c{len(self._constants)}", value)
            self.namespace[known[0]] = kept
        return known[0]

    def _constant_array(self, value):
        frozen = value.copy()
        frozen.flags.writeable = False
        array = self.memory.local((), np.dtype(np.int8), "constant").view(frozen)
        array.space, array.name, array.written, array.base = CONSTANT, "constant array", None, 0
        array.start = 0
        return array

    def _path(self, path, site):
        key = (path, site & 0xFFFF)
        return self._paths.setdefault(key, (len(self._paths) + 1) << FUNCTION_BITS)


def _call(thread, path, trip, function, *args, **kwargs):
    """Call a function that is only known at run time: one defined inside the kernel, or passed to it."""
    if getattr(function, "__code__", None) is not None and function.__code__.co_flags & inspect.CO_GENERATOR:
        return (yield from function(thread, path, trip, *args, **kwargs))
    return number(function(*args, **kwargs))


def kernel_function(kernel):
    """Return the Python function behind a `@cuda.jit` kernel.

    Raises
    ------
    TypeError
        If it is no kernel; the message says what it is.
    """
    function = getattr(kernel, "py_func", None) or getattr(kernel, "fn", None)  # the simulator says fn
    if not inspect.isfunction(function):
        got = getattr(kernel, "__name__", None) or repr(kernel)
        hint = "; decorate it with @cuda.jit" if inspect.isfunction(kernel) else ""
        raise TypeError(f"kernel must be a @cuda.jit function, got {got} ({type(kernel).__name__}){hint}")
    options = getattr(kernel, "targetoptions", None) or {}
    if options.get("device"):
        raise TypeError(f"kernel must be a kernel, got the device function {function.__name__}")
    return function


def source_of(function):
    """Return the syntax tree of a function with true line numbers, its source lines and the first one's number."""
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        raise UnsupportedKernel(
            f"the source of {function.__name__} cannot be found: define it in a file or in a notebook cell"
        ) from None
    first = max(first, 1)
    text = "".join(lines)
    indented = text[:1].isspace()
    tree = ast.parse("if True:\n" + text if indented else text)
    ast.increment_lineno(tree, first - 1 - indented)
    node = tree.body[0].body[0] if indented else tree.body[0]
    if not isinstance(node, ast.FunctionDef):
        raise UnsupportedKernel(f"{function.__name__} is not written as a def")
    return node, lines, first


class _Rewriter(ast.NodeTransformer):
    """Rewrites one function; the methods are in the order of a function's parts."""

    def __init__(self, program, function, node, is_kernel):
        self.program = program
        self.function = function
        self.node = node
        self.is_kernel = is_kernel
        self.closure = inspect.getclosurevars(function).nonlocals if function.__closure__ else {}
        self.locals = _assigned_names(node)
        self.inner = {item.name for item in ast.walk(node) if isinstance(item, ast.FunctionDef)} - {node.name}
        self.aliases = self._find_aliases()
        self.key = "_k"  # the name that holds the trip of the innermost loop
        self.temporaries = 0
        self.loops = 0

    # -- the whole ---------------------------------------------------------------------------------------

    def rewrite(self, name):
        node = self.node
        for argument in (node.args.vararg, node.args.kwarg, *node.args.kwonlyargs):
            if argument is not None:
                self._refuse(node, "*args, **kwargs and keyword-only parameters")
        node.name = name
        node.decorator_list = []
        return self._function_body(node)

    def _function_body(self, node):
        arguments = node.args
        arguments.args = [ast.arg(item) for item in ("_t", "_p", "_k")] + [
            ast.arg(item.arg) for item in arguments.posonlyargs + arguments.args
        ]
        arguments.posonlyargs = []
        arguments.defaults = [ast.Constant(None) for _ in arguments.defaults]
        node.returns = None
        never = ast.parse("if 0: yield").body  # makes it a generator even if nothing in it yields
        node.body = never + self._block(node.body)
        return node

    def _block(self, statements):
        result = []
        for statement in statements:
            made = self.visit(statement)
            result.extend(made if isinstance(made, list) else [made] if made is not None else [])
        return result or [ast.Pass()]

    def visit(self, node):
        refusal = UNSUPPORTED.get(type(node))
        if refusal:
            self._refuse(node, refusal)
        made = super().visit(node)
        for item in made if isinstance(made, list) else [made]:
            if isinstance(item, ast.AST) and hasattr(node, "lineno"):
                ast.copy_location(item, node)
                for child in ast.walk(item):
                    if "lineno" in child._attributes and not hasattr(child, "lineno"):
                        ast.copy_location(child, node)
        return made

    def _refuse(self, node, what):
        raise UnsupportedKernel(
            f"{self.function.__name__}, line {node.lineno}: {what} cannot be used in a CUDA kernel, "
            "or is not known to the tracer"
        )

    # -- names -------------------------------------------------------------------------------------------

    def _resolve(self, node):
        """Return (True, value) for a name that numba treats as a constant, (False, None) for a local value."""
        if isinstance(node, ast.Name):
            if node.id in self.aliases:
                return True, self.aliases[node.id]
            if node.id in self.locals:
                return False, None
            for scope in (self.closure, self.function.__globals__, vars(builtins)):
                if node.id in scope:
                    return True, intrinsics.name_of(scope[node.id])
            return False, None
        if isinstance(node, ast.Attribute):
            known, value = self._resolve(node.value)
            if not known:
                return False, None
            if isinstance(value, CudaName):
                return True, value.attribute(node.attr)
            if isinstance(value, np.ndarray) or not hasattr(value, node.attr):
                return False, None
            return True, intrinsics.name_of(getattr(value, node.attr))
        return False, None

    def _find_aliases(self):
        """`sync = cuda.syncthreads` inside a kernel: the name then means the function."""
        self.aliases = {}
        found = {}
        for item in ast.walk(self.node):
            if (
                isinstance(item, ast.Assign)
                and len(item.targets) == 1
                and isinstance(item.targets[0], ast.Name)
            ):
                known, value = self._resolve(item.value)
                name = item.targets[0].id
                if known and (isinstance(value, CudaName) or callable(value)):
                    if not (isinstance(value, CudaName) and value.path in intrinsics.VALUES):
                        found[name] = value
        assigned = [item.id for item in ast.walk(self.node) if isinstance(item, ast.Name) and _stores(item)]
        return {name: value for name, value in found.items() if assigned.count(name) == 1}

    def visit_Name(self, node):
        if _stores(node):
            return node
        known, value = self._resolve(node)
        return self._static(node, value) if known else node

    def visit_Attribute(self, node):
        if _stores(node):
            self._refuse(node, f"assigning to the attribute {ast.unparse(node)}")
        known, value = self._resolve(node)
        if known:
            return self._static(node, value)
        node.value = self.visit(node.value)
        return node

    def _static(self, node, value):
        """Return the source of a value that does not change during the launch."""
        if isinstance(value, CudaName):
            made = value.expression(node)
            if made is None:
                self._refuse(node, str(value))
            return made
        if value is None or isinstance(value, (bool, str)) or type(value) is int:
            return ast.Constant(value)
        if inspect.ismodule(value):
            self._refuse(node, f"the module {value.__name__} as a value")
        if hasattr(value, "py_func"):
            return ast.Name(self.program.add_function(value.py_func), ast.Load())
        if isinstance(value, (list, dict, set)):
            self._refuse(node, f"the {type(value).__name__} {ast.unparse(node)}")
        return ast.Name(self.program.constant(number(value)), ast.Load())

    def visit_Constant(self, node):
        if isinstance(node.value, (float, complex)):
            return ast.Name(self.program.constant(number(node.value)), ast.Load())
        return node

    # -- requests ----------------------------------------------------------------------------------------

    def _site(self, node, what, text):
        number_ = self.program.add_site(node, what, text, self.function.__name__)
        return number_, self._site_code(number_)

    def _site_code(self, number_):
        code = ast.Constant(number_)
        if self.is_kernel:
            return code
        return ast.BinOp(ast.Name("_p", ast.Load()), ast.BitOr(), code)

    def _request(self, operation, node, what, text, *parts):
        _, code = self._site(node, what, text)
        key = ast.Name(self.key, ast.Load())
        return ast.Yield(ast.Tuple([ast.Constant(operation), code, key, *parts], ast.Load()))

    def _temporary(self):
        self.temporaries += 1
        return f"_v{self.temporaries}"

    # -- expressions -------------------------------------------------------------------------------------

    def visit_Subscript(self, node):
        if isinstance(node.value, ast.Attribute) and node.value.attr in ("shape", "strides"):
            return ast.Subscript(self.visit(node.value), self.visit(node.slice), node.ctx)
        text = ast.unparse(node.value)
        return self._request(READ, node, "read", text, self.visit(node.value), self._index(node.slice))

    def _index(self, node):
        if isinstance(node, ast.Slice):
            parts = (node.lower, node.upper, node.step)
            made = [ast.Constant(None) if part is None else self.visit(part) for part in parts]
            return ast.Call(ast.Name("_slice", ast.Load()), made, [])
        if isinstance(node, ast.Tuple):
            return ast.Tuple([self._index(item) for item in node.elts], ast.Load())
        return self.visit(node)

    def visit_BinOp(self, node):
        return self._operate(node, node.op, self.visit(node.left), self.visit(node.right))

    def _operate(self, node, op, left, right):
        if type(op) not in SYMBOLS:
            self._refuse(node, "the operator @")
        site, _ = self._site(node, "arithmetic", SYMBOLS[type(op)])
        return _named_call(f"_{type(op).__name__}", left, right, ast.Constant(site))

    def visit_Call(self, node):
        known, function = self._resolve(node.func)
        if known and isinstance(function, CudaName):
            return self._cuda_call(node, function)
        if any(isinstance(item, ast.Starred) for item in node.args) or any(
            k.arg is None for k in node.keywords
        ):
            self._refuse(node, "a call with * or **")
        arguments = [self.visit(item) for item in node.args]
        keywords = [ast.keyword(item.arg, self.visit(item.value)) for item in node.keywords]
        if known and hasattr(function, "py_func"):
            name = ast.Name(self.program.add_function(function.py_func), ast.Load())
            return self._call_into(node, name, arguments, keywords)
        if known:
            made = self._host_function(node, function)
            return ast.Call(ast.Name(self.program.constant(made), ast.Load()), arguments, keywords)
        function = self.visit(node.func)
        if isinstance(function, ast.Name) and function.id not in self.locals:
            self._refuse(node, f"the unknown name {function.id}")
        where, path = self._path_to(node, ast.unparse(node.func))
        head = [ast.Name("_t", ast.Load()), path, ast.Name(self.key, ast.Load()), function]
        return ast.YieldFrom(ast.Call(ast.Name("_call", ast.Load()), head + arguments, keywords))

    def _path_to(self, node, text):
        site, _ = self._site(node, "call", text)
        return site, _named_call("_path", ast.Name("_p", ast.Load()), ast.Constant(site))

    def _call_into(self, node, name, arguments, keywords):
        _, path = self._path_to(node, ast.unparse(node.func))
        head = [ast.Name("_t", ast.Load()), path, ast.Name(self.key, ast.Load())]
        return ast.YieldFrom(ast.Call(name, head + arguments, keywords))

    def _host_function(self, node, function):
        """Return the stand-in for a function that numba knows: a builtin, `math.exp`, a cast such as float32."""
        made = intrinsics.host_function(function, self.program.arithmetic)
        if made is None:
            name = getattr(function, "__name__", None) or repr(function)
            if inspect.isfunction(function):
                self._refuse(node, f"the plain Python function {name} (mark it @cuda.jit(device=True))")
            self._refuse(node, f"{ast.unparse(node.func)} ({name})")
        return made

    # -- cuda.* ------------------------------------------------------------------------------------------

    def _cuda_call(self, node, name):
        kind = name.kind
        if kind is None:
            self._refuse(node, f"{name}")
        if kind == "grid":
            return ast.Call(
                ast.Attribute(ast.Name("_t", ast.Load()), name.path, ast.Load()),
                [self.visit(a) for a in node.args],
                [],
            )
        arguments, given = self._bind(node, name)
        if kind == "pure":
            function = intrinsics.pure_function(name.path, self.program.arithmetic)
            return ast.Call(ast.Name(self.program.constant(function), ast.Load()), arguments, [])
        short = name.path.rpartition(".")[2]
        text = ast.unparse(given[0]) if kind == "atomic" and given else name.path
        if kind == "atomic":
            return self._request(ATOMIC, node, "atomic", text, ast.Constant(short), *arguments)
        if kind == "barrier":
            return self._request(BARRIER, node, "barrier", name.path, ast.Constant(short), *arguments)
        if kind == "warp":
            return self._request(WARP, node, "warp", name.path, ast.Constant(short), *arguments)
        return self._allocate(node, name, arguments, given)

    def _bind(self, node, name):
        """Put a call's arguments into the order of the intrinsic's parameters."""
        try:
            bound = name.signature.bind(*node.args, **{item.arg: item.value for item in node.keywords})
        except TypeError as wrong:
            raise UnsupportedKernel(
                f"{self.function.__name__}, line {node.lineno}: {name}: {wrong}"
            ) from None
        bound.apply_defaults()
        given = [
            item if isinstance(item, ast.AST) else ast.Constant(item) for item in bound.arguments.values()
        ]
        flat = []
        for item in bound.arguments.values():
            for part in item if isinstance(item, tuple) else (item,):
                flat.append(self._index(part) if isinstance(part, ast.AST) else ast.Constant(part))
        return flat, given

    def _allocate(self, node, name, arguments, given):
        space = name.path.split(".")[0]
        if space == "const":
            return arguments[0]
        target = getattr(node, "target_name", None) or space
        request = self._request(ALLOCATE, node, space, target, ast.Constant(space), *arguments[:2])
        if not self._is_constant(given[0]):
            self.program.dynamic_shapes.append((len(self.program.sites) - 1, ast.unparse(given[0])))
        return request

    def _is_constant(self, node):
        """Whether numba takes this shape: a literal, one constant name, or a tuple of those."""
        if isinstance(node, ast.Tuple):
            return all(self._is_constant(item) for item in node.elts)
        if isinstance(node, ast.Constant):
            return type(node.value) is int
        if isinstance(node, ast.BinOp):  # Python folds 8 + 1 itself, but not TPB + 1
            return all(
                isinstance(item, (ast.BinOp, ast.Constant)) for item in (node.left, node.right)
            ) and all(self._is_constant(item) for item in (node.left, node.right))
        if isinstance(node, ast.Subscript):
            known, value = self._resolve(node.value)
            return known and isinstance(value, tuple) and self._is_constant(node.slice)
        if isinstance(node, ast.Name) and node.id in self.locals:
            values = [
                item.value
                for item in ast.walk(self.node)
                if isinstance(item, ast.Assign)
                and any(isinstance(target, ast.Name) and target.id == node.id for target in item.targets)
            ]
            stores = sum(
                isinstance(i, ast.Name) and i.id == node.id and _stores(i) for i in ast.walk(self.node)
            )
            return (
                stores == len(values) == 1
                and not self._is_parameter(node.id)
                and self._is_constant(values[0])
            )
        known, value = self._resolve(node)
        return known and (
            isinstance(value, (int, np.integer))
            or (isinstance(value, tuple) and all(isinstance(item, int) for item in value))
        )

    def _is_parameter(self, name):
        return any(item.arg == name for item in self.node.args.args)

    # -- statements --------------------------------------------------------------------------------------

    def visit_Assign(self, node):
        first = node.targets[0]
        if len(node.targets) == 1 and isinstance(first, ast.Name):
            if first.id in self.aliases:
                return ast.Pass()
            if isinstance(node.value, ast.Call):
                node.value.target_name = first.id
            if isinstance(node.value, ast.Lambda):
                return self._inner_function(_named_lambda(first.id, node.value))
            node.value = self.visit(node.value)
            return node
        if len(node.targets) == 1 and isinstance(first, ast.Subscript):
            return ast.Expr(self._store(first, self.visit(node.value)))
        name = self._temporary()
        statements = [ast.Assign([ast.Name(name, ast.Store())], self.visit(node.value))]
        for target in node.targets:
            statements += self._assign(target, ast.Name(name, ast.Load()))
        return statements

    def _assign(self, target, value):
        """Assign a value to a name, an element, or a tuple of those, left to right."""
        if isinstance(target, ast.Name):
            return [ast.Assign([target], value)]
        if isinstance(target, ast.Subscript):
            return [ast.Expr(self._store(target, value))]
        if isinstance(target, ast.Tuple):
            names = [self._temporary() for _ in target.elts]
            unpacked = ast.Tuple([ast.Name(name, ast.Store()) for name in names], ast.Store())
            statements = [ast.Assign([unpacked], value)]
            for name, item in zip(names, target.elts, strict=True):
                statements += self._assign(item, ast.Name(name, ast.Load()))
            return statements
        self._refuse(target, f"assigning to {ast.unparse(target)}")

    def _store(self, target, value):
        text = ast.unparse(target.value)
        return self._request(
            WRITE, target, "write", text, value, self.visit(target.value), self._index(target.slice)
        )

    def visit_AnnAssign(self, node):
        if node.value is None:
            return ast.Pass()
        return self.visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_AugAssign(self, node):
        target = node.target
        if isinstance(target, ast.Name):
            value = self._operate(node, node.op, ast.Name(target.id, ast.Load()), self.visit(node.value))
            return ast.Assign([ast.Name(target.id, ast.Store())], value)
        if not isinstance(target, ast.Subscript):
            self._refuse(node, f"assigning to {ast.unparse(target)}")
        array, index = self._temporary(), self._temporary()
        text = ast.unparse(target.value)
        place = [ast.Name(array, ast.Load()), ast.Name(index, ast.Load())]
        old = self._request(READ, target, "read", text, *place)
        new = self._operate(node, node.op, old, self.visit(node.value))
        return [
            ast.Assign([ast.Name(array, ast.Store())], self.visit(target.value)),
            ast.Assign([ast.Name(index, ast.Store())], self._index(target.slice)),
            ast.Expr(self._request(WRITE, target, "write", text, new, *place)),
        ]

    def visit_If(self, node):
        node.test = self.visit(node.test)
        node.body = self._block(node.body)
        node.orelse = self._block(node.orelse) if node.orelse else []
        return node

    def visit_For(self, node):
        """Count the trips; a loop over an array reads one element per trip."""
        setup, node = self._over_elements(node)
        setup = self._block(setup) if setup else []
        node.iter = self.visit(node.iter)
        before, outer = self._enter_loop()
        node.body = self._trip(node) + self._block(node.body)
        self.key = outer
        node.orelse = self._block(node.orelse) if node.orelse else []
        return [*setup, *before, node]

    def visit_While(self, node):
        before, outer = self._enter_loop()
        node.test = self.visit(node.test)
        node.body = self._trip(node) + self._block(node.body)
        self.key = outer
        node.orelse = self._block(node.orelse) if node.orelse else []
        return [*before, node]

    def _enter_loop(self):
        outer, self.loops = self.key, self.loops + 1
        self.key = f"_k{self.loops}"
        return ast.parse(f"{self.key} = ({outer} * 1000003 & 0xFFFFFFFFFF) << {TRIP_BITS}").body, outer

    def _trip(self, node):
        """The head of a loop's body: the next trip, and now and then a chance for the scheduler to step in."""
        site, _ = self._site(node, "step", type(node).__name__.lower())
        return ast.parse(f"{self.key} += 1\nif not {self.key} & 1023: yield ({STEP}, {site})").body

    def _over_elements(self, node):
        """`for x in a` → `for n in range(len(a)): x = a[n]`; enumerate and zip likewise."""
        known, function = self._resolve(node.iter.func) if isinstance(node.iter, ast.Call) else (False, None)
        if known and function not in (enumerate, zip):
            return [], node  # range, np.ndindex, literal_unroll
        sequences = node.iter.args if known else [node.iter]
        if known and node.iter.keywords:
            self._refuse(node, f"keyword arguments of {function.__name__}")
        start = None
        if function is enumerate:
            sequences, start = sequences[:1], (sequences[1:] or [ast.Constant(0)])[0]
        sequences = [
            ast.Tuple(item.elts, ast.Load()) if isinstance(item, ast.List) else item for item in sequences
        ]
        names = [self._temporary() for _ in sequences]
        counter = self._temporary()
        self.locals |= {*names, counter}
        lengths = [_named_call("_length", ast.Name(name, ast.Load())) for name in names]
        shortest = lengths[0] if len(lengths) == 1 else ast.Call(ast.Name("min", ast.Load()), lengths, [])
        items = [
            ast.Subscript(ast.Name(name, ast.Load()), ast.Name(counter, ast.Load()), ast.Load())
            for name in names
        ]
        if start is not None:
            items.insert(0, ast.BinOp(ast.Name(counter, ast.Load()), ast.Add(), start))
        value = items[0] if len(items) == 1 else ast.Tuple(items, ast.Load())
        setup = [
            ast.Assign([ast.Name(name, ast.Store())], item)
            for name, item in zip(names, sequences, strict=True)
        ]
        loop = ast.For(
            ast.Name(counter, ast.Store()),
            ast.Call(ast.Name("range", ast.Load()), [shortest], []),
            [ast.Assign([node.target], value), *node.body],
            node.orelse,
        )
        for item in [*setup, loop]:
            ast.copy_location(item, node)
            ast.fix_missing_locations(item)
        return setup, loop

    def visit_FunctionDef(self, node):
        return self._inner_function(node)

    def _inner_function(self, node):
        if node.decorator_list:
            self._refuse(node, "a decorated function inside a kernel")
        key, self.key = self.key, "_k"
        was_kernel, self.is_kernel = self.is_kernel, False
        defaults = [self.visit(item) for item in node.args.defaults]
        node = self._function_body(node)
        node.args.defaults = defaults
        self.key, self.is_kernel = key, was_kernel
        return node


def _stores(node):
    return isinstance(node.ctx, ast.Store)


def _assigned_names(function):
    """Every name that the function, or a function inside it, assigns or takes as a parameter."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and _stores(node):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef) and node is not function:
            names.add(node.name)
    return names


def _named_call(name, *arguments):
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _named_lambda(name, node):
    made = ast.FunctionDef(name, node.args, [ast.Return(node.body)], [])
    ast.copy_location(made, node)
    return ast.fix_missing_locations(made)
