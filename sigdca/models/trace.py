"""From a torch module to the container's graph, by torch.fx."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from sigdca.codec.graph import Attr, Graph, Op, infer_shapes
from sigdca.errors import FormatError, JobError
from sigdca.models.operators import (
    ADDITIONS,
    BATCH,
    CONCATENATIONS,
    FUNCTIONS,
    METHODS,
    PARAMETERED,
    PLAIN_MODULES,
    SUPPORTED,
    Operator,
    UnsupportedError,
)


def trace(model: nn.Module, input_shape: tuple[int, ...], input_scale: float) -> Graph:
    """The operators that `model` runs at inference.

    Modules and the functions and methods that mean the same are read alike; dropout and identity
    vanish. `x += y` is read as `x = x + y`, which is how torch.fx sees it. `lrn` keeps torch's
    meaning, x / (k + alpha / size * sum of squares) ** beta, which is Caffe's too; the AlexNet
    paper does not divide alpha by the size.

    Args:
        model: takes one float32 batch [n, C, H, W] and returns one tensor; it is left as it is.
        input_shape: (C, H, W).
        input_scale: what a pixel is multiplied by before the model sees it.

    Raises:
        JobError: torch.fx cannot follow the model's code, or the model does what a container
            cannot hold; one line that names the node.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()  # what branches on self.training must take inference's branch
    try:
        nodes = list(fx.Tracer().trace(model).nodes)
    except Exception as error:  # the model's code may raise anything
        reason = str(error).partition("\n")[0]
        raise JobError(
            f"model: torch.fx cannot trace {type(model).__name__}: {reason}; its forward may not "
            "branch on the values of tensors"
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    modules = dict(model.named_modules(remove_duplicate=False))
    walk = _Walk(modules, input_shape, input_scale)
    live = _live(nodes, modules)
    for node in nodes:
        if node in live:
            walk.visit(node)
    return walk.graph()


class _Value:
    """A tensor in the walk: a value of the graph and its shape without the batch axis."""

    def __init__(self, index: int, shape: tuple[int, ...]) -> None:
        self.index = index
        self.shape = shape

    def __repr__(self) -> str:
        return "a tensor"


class _Walk:
    """Reads nodes in order; what a node stands for is a `_Value` or a plain Python object."""

    def __init__(
        self, modules: Mapping[str, nn.Module], input_shape: tuple[int, ...], input_scale: float
    ) -> None:
        self.modules = modules
        self.input_shape = input_shape
        self.input_scale = input_scale
        self.ops: list[Op] = []
        self.env: dict[fx.Node, Any] = {}
        self.output: _Value | None = None

    def visit(self, node: fx.Node) -> None:
        """Reads one node.

        Raises:
            JobError: it is not supported.
        """
        try:
            self.env[node] = self._read(node)
        except (UnsupportedError, FormatError) as error:
            raise JobError(f"model: {_describe(node, self.modules)}: {error}") from error
        except (TypeError, ValueError) as error:
            raise JobError(
                f"model: {_describe(node, self.modules)}: has arguments that are not supported: "
                f"{error}"
            ) from error

    def graph(self) -> Graph:
        """All that was read, without what the output does not need."""
        if self.output is None or self.output.index == 0:
            raise JobError("model: its output is its input: there is nothing to compress")
        needed = {self.output.index}
        for index in range(len(self.ops), 0, -1):
            if index in needed:
                needed.update(self.ops[index - 1].inputs)
        kept = sorted(needed - {0})
        renumbered = {0: 0} | {old: new for new, old in enumerate(kept, start=1)}
        ops = [
            Op(op.kind, op.name, tuple(renumbered[value] for value in op.inputs), op.attrs)
            for op in (self.ops[index - 1] for index in kept)
        ]
        return Graph(self.input_shape, self.input_scale, tuple(ops))

    def _read(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self._read_input(node)
        args: Any = fx.map_arg(node.args, self.env.__getitem__)
        kwargs: Any = dict(fx.map_arg(node.kwargs, self.env.__getitem__))
        if node.op == "output":
            return self._read_output(args[0])
        if node.op == "call_module":
            return self._read_module(node, *args, **kwargs)
        if node.op == "get_attr":
            raise UnsupportedError("a parameter or buffer used outside its layer")
        if node.target in ADDITIONS and any(isinstance(arg, _Value) for arg in args):
            return self._add(node, args, kwargs)
        if node.target in CONCATENATIONS:
            return self._concat(*args, **kwargs)
        return self._read_call(node, args, kwargs)

    def _read_input(self, node: fx.Node) -> _Value:
        if any(isinstance(value, _Value) for value in self.env.values()):
            raise UnsupportedError("a second input; a network has one")
        return _Value(0, self.input_shape)

    def _read_output(self, value: Any) -> _Value:
        if not isinstance(value, _Value):
            raise UnsupportedError(f"must be one tensor, got {type(value).__name__}")
        self.output = value
        return value

    def _read_module(self, node: fx.Node, *args: Any, **kwargs: Any) -> _Value:
        name = str(node.target)
        module = self.modules[name]
        values = [*args, *kwargs.values()]
        if len(values) != 1 or not isinstance(values[0], _Value):
            raise UnsupportedError("a module called with anything but one tensor")
        taken = values[0]
        if type(module) in PARAMETERED:
            if any(op.name == name for op in self.ops):
                raise UnsupportedError("used a second time; a container's layers run once each")
            if computed := sorted({"weight", "bias"} - module._parameters.keys()):
                raise UnsupportedError(
                    f"its {computed[0]} is computed (weight_norm, spectral_norm, prune); make it "
                    "permanent first"
                )
            reader, takes = PARAMETERED[type(module)]
            kind, attrs = reader(module)
            if taken.shape[0] != getattr(module, takes):
                raise UnsupportedError(
                    f"has {takes} {getattr(module, takes)}, but gets {list(taken.shape)} where "
                    f"images are {list(self.input_shape)}"
                )
            return self._emit(kind, (taken,), attrs, name)
        if type(module) not in PLAIN_MODULES:
            raise UnsupportedError(f"is not supported; supported are {SUPPORTED}")
        plain, names = PLAIN_MODULES[type(module)]
        read = plain(taken.shape, **{name: getattr(module, name) for name in names})
        return self._apply(node, taken, read)

    def _read_call(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A function or method of one tensor, or of its sizes."""
        named = kwargs.pop("input", None)
        taken, *rest = args if named is None else (named, *args)
        if not isinstance(taken, _Value):
            return _fold(node.target, taken, *rest)
        sizes = (BATCH, *taken.shape)
        if node.target is getattr and rest == ["shape"]:
            return sizes
        if node.target == "size":
            axes = [*rest, *kwargs.values()]
            return _fold(operator.getitem, sizes, *axes) if axes else sizes
        table: Mapping[Any, Any] = METHODS if node.op == "call_method" else FUNCTIONS
        if node.target not in table:
            raise UnsupportedError(f"is not supported; supported are {SUPPORTED}")
        return self._apply(node, taken, table[node.target](taken.shape, *rest, **kwargs))

    def _apply(self, node: fx.Node, taken: _Value, read: Operator | None) -> _Value:
        if read is None:
            return taken
        kind, attrs = read
        flat = kind.endswith("+flatten")
        result = self._emit(kind.removesuffix("+flatten"), (taken,), attrs)
        if flat:
            result = self._emit("flatten", (result,), {})
        if _in_place(node, self.modules):
            self._overwrite(taken, result)
        return result

    def _add(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Value:
        terms = [*args, *([kwargs["other"]] if "other" in kwargs else [])]
        if len(terms) != 2 or kwargs.keys() - {"other"}:
            raise UnsupportedError("only the plain sum of two tensors")
        if not all(isinstance(term, _Value) for term in terms):
            raise UnsupportedError("a tensor plus a number; only the sum of two tensors")
        result = self._emit("add", tuple(terms), {})
        if _in_place(node, self.modules):
            self._overwrite(terms[0], result)
        return result

    def _concat(self, tensors: Any, dim: int = 0, axis: int | None = None) -> _Value:
        values, dim = tuple(tensors), dim if axis is None else axis
        if not all(isinstance(value, _Value) for value in values):
            raise UnsupportedError("joins something that is not a tensor")
        if dim % (len(values[0].shape) + 1) != 1:
            raise UnsupportedError(f"along axis {dim}; only along axis 1")
        return self._emit("concat", values, {})

    def _emit(
        self, kind: str, taken: tuple[_Value, ...], attrs: Mapping[str, Attr], name: str = ""
    ) -> _Value:
        self.ops.append(Op(kind, name, tuple(value.index for value in taken), attrs))
        graph = Graph(self.input_shape, self.input_scale, tuple(self.ops))
        return _Value(len(self.ops), infer_shapes(graph)[-1])

    def _overwrite(self, old: _Value, new: _Value) -> None:
        """What an operator changes in place is changed for all who use it later."""
        for node, value in self.env.items():
            if isinstance(value, _Value) and value.index == old.index:
                self.env[node] = new


def _fold(function: object, *args: Any) -> Any:
    """What is computed from sizes, all of which but the batch's are known."""
    if function is operator.getitem and isinstance(args[0], tuple):
        try:
            return args[0][args[1]]
        except IndexError as error:
            raise UnsupportedError(f"a tensor of {len(args[0])} axes has no {args[1]}") from error
    if function is operator.mul and all(isinstance(arg, int) for arg in args):
        return args[0] * args[1]
    raise UnsupportedError(f"is not supported for {args[0]!r}")


def _live(nodes: list[fx.Node], modules: Mapping[str, nn.Module]) -> set[fx.Node]:
    """The nodes that the output needs, and those that may change in place what it needs."""
    live: set[fx.Node] = set()
    for node in reversed(nodes):
        if node.op == "output" or node in live or _in_place(node, modules):
            live.add(node)
            live.update(node.all_input_nodes)
    return live


def _in_place(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    name = _target_name(node)
    return bool(node.kwargs.get("inplace")) or name == "iadd" or name.endswith("_")


def _target_name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def _describe(node: fx.Node, modules: Mapping[str, nn.Module]) -> str:
    if node.op == "call_module":
        name = str(node.target)
        return f"layer '{name}' ({type(modules[name]).__name__})"
    if node.op in {"placeholder", "output"}:
        return {"placeholder": f"input '{node.name}'", "output": "output"}[node.op]
    what = {"call_method": "method", "get_attr": "attribute"}.get(node.op, "function")
    # boolean_dispatch hides the name of functions such as max_pool2d; the node is named after it.
    name = _target_name(node)
    return f"node '{node.name}' ({what} {node.name if name == 'fn' else name})"
