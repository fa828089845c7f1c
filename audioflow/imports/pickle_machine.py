"""A pickle read as data: nothing that it names is looked up, imported or called.

A pickle is a program for a small stack machine. This one runs the program, but where the program asks for a class or a
function it pushes the *name*, and where it asks for a call it pushes a record of who would have been called with what.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

REBUILT = ("copyreg._reconstructor", "copy_reg._reconstructor")
"""What older protocols call to make an object: the class is its first argument."""


@dataclass(eq=False)
class Name:
    """A class or function that a pickle names.

    Attributes:
        path: module and name, as in ``"torch.Size"``.
    """

    path: str


@dataclass(eq=False)
class Made:
    """What stands for an object that a pickle would have made.

    Attributes:
        kind: path of the class or function.
        arguments: what it would have been called with.
        state: the attributes it would have been given.
        items: what would have been appended to it.
        entries: what would have been put into it by key.
    """

    kind: str
    arguments: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)


class PickleError(ValueError):
    """A pickle that ends early, is malformed, or needs what cannot be had from data alone."""


def ordinary(maker: Name, arguments: tuple[Any, ...]) -> Any:
    """The containers that are safe to make, and a :class:`Made` for everything else."""
    if maker.path == "collections.OrderedDict":
        return dict(*arguments)
    if maker.path in REBUILT and arguments and isinstance(arguments[0], Name):
        return Made(arguments[0].path)
    return Made(maker.path, arguments)


class PickleMachine:
    """Runs the opcodes of one pickle.

    Args:
        make: what a call becomes; :func:`ordinary` by default.
        persistent: what an object becomes that is stored outside of the pickle, given its id.

    Example:
        >>> import io, pickle
        >>> machine = PickleMachine()
        >>> machine.run(io.BytesIO(pickle.dumps({"a": [1, 2.5], "b": print})))
        {'a': [1, 2.5], 'b': Name(path='builtins.print')}
    """

    def __init__(
        self,
        make: Callable[[Name, tuple[Any, ...]], Any] = ordinary,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self.make = make
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        """Read one pickle; the file is left behind its end.

        Raises:
            PickleError: see the class.
        """
        self.stack, self.marks, self.memo = [], [], {}
        try:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "STOP":
                    return self.stack.pop()
                self._step(opcode.name, argument)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, UnicodeError) as error:
            raise PickleError(str(error)) from error
        raise PickleError("it has no end")

    def _step(self, name: str, argument: Any) -> None:
        if name in VALUES:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name]())
        elif name in GATHERED:
            self.stack.append(GATHERED[name](self._since_mark()))
        elif name in SHORT_TUPLES:
            count = SHORT_TUPLES[name]
            self._require(count)
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        else:
            handler = getattr(self, f"_{name.lower()}", None)
            if handler is None:
                raise PickleError(f"it uses {name}, which is not data")
            handler(argument)

    def _require(self, count: int) -> None:
        """The mark divides the stack: what lies below it belongs to somebody else."""
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < count:
            raise PickleError("its stack runs empty")

    def _pop(self) -> Any:
        self._require(1)
        return self.stack.pop()

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _call(self, maker: Any, arguments: Any) -> Any:
        if not isinstance(maker, Name | Made) or not isinstance(arguments, tuple):
            raise PickleError("it calls what is no function")
        # What a call would have given may be called in turn, such as a method that was looked up by getattr.
        return self.make(maker, arguments) if isinstance(maker, Name) else Made(maker.kind, arguments)

    # One method for each of the other opcodes, by its name in pickletools.

    def _proto(self, _: Any) -> None: ...

    def _frame(self, _: Any) -> None: ...

    def _mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _global(self, argument: str) -> None:
        self.stack.append(Name(argument.replace(" ", ".")))

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self.stack.append(Name(f"{module}.{name}"))

    def _inst(self, argument: str) -> None:
        self.stack.append(self._call(Name(argument.replace(" ", ".")), tuple(self._since_mark())))

    def _obj(self, _: Any) -> None:
        maker, *arguments = self._since_mark()
        self.stack.append(self._call(maker, tuple(arguments)))

    def _reduce(self, _: Any) -> None:
        arguments, maker = self._pop(), self._pop()
        self.stack.append(self._call(maker, arguments))

    def _newobj(self, _: Any) -> None:
        self._reduce(None)

    def _newobj_ex(self, _: Any) -> None:
        self._pop()  # keyword arguments
        self._reduce(None)

    def _build(self, _: Any) -> None:
        state, target = self._pop(), self.stack[-1]
        if isinstance(target, Made):
            for part in state if isinstance(state, tuple) else (state,):
                target.state.update(part if isinstance(part, dict) else {})

    def _append(self, _: Any) -> None:
        value = self._pop()
        self._extend([value])

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _additems(self, _: Any) -> None:
        self._extend(self._since_mark())

    def _setitem(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        self._put([key, value])

    def _setitems(self, _: Any) -> None:
        self._put(self._since_mark())

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, set):
            target.update(values)
        else:
            (target.items if isinstance(target, Made) else target).extend(values)

    def _put(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        (target.entries if isinstance(target, Made) else target).update(_pairs(flat))

    def _binpersid(self, _: Any) -> None:
        if self.persistent is None:
            raise PickleError("it refers to objects outside of itself")
        self.stack.append(self.persistent(self._pop()))


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    """``[k, v, k, v] -> {k: v, k: v}``."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


INTEGERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4")
TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
VALUES = {*INTEGERS, *TEXTS, *BYTES, "FLOAT", "BINFLOAT"}
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
}
GATHERED: dict[str, Callable[[list[Any]], Any]] = {
    "LIST": list,
    "TUPLE": tuple,
    "DICT": _pairs,
    "FROZENSET": frozenset,
}
SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
