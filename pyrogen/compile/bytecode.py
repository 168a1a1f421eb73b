"""The names that a Python function reads, taken from its bytecode: globals, and attributes accessed by name."""

import dis
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType

ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
DYNAMIC = frozenset({"vars", "__dict__", "__getattribute__", "eval", "exec", "globals", "locals"})
"""Names that give a function access to attributes which its bytecode does not mention."""


@dataclass(frozen=True)
class NamesRead:
    """The names that one code object reads, including the functions defined inside it.

    Args:
        chains: global names with the attributes read from them directly, e.g. ``("np", "random", "rand")``.
        imports: the modules that it imports when it runs.
        names: every other attribute accessed by name, and every string constant that could be an attribute name.
        dynamic: whether it can read attributes whose names are not in its bytecode.
    """

    chains: tuple[tuple[str, ...], ...]
    imports: tuple[str, ...]
    names: frozenset[str]
    dynamic: bool


@cache
def names_read(code: CodeType) -> NamesRead:
    """Return the names that ``code`` reads."""
    chains: dict[tuple[str, ...], None] = {}
    imports: dict[str, None] = {}
    names: set[str] = set()
    dynamic = False
    for part in _nested(code):
        names |= {c for c in part.co_consts if isinstance(c, str) and c.isidentifier()}
        chain: list[str] = []
        instructions = [i for i in dis.get_instructions(part) if i.opname != "PRECALL"]
        dynamic |= _computes_names(instructions)
        for instruction in instructions:
            if chain and instruction.opname in ATTRIBUTES:
                chain.append(instruction.argval)
                continue
            if chain:
                chains[tuple(chain)] = None
            if instruction.opname.endswith(("_ATTR", "_METHOD", "IMPORT_FROM")):
                names.add(instruction.argval)
            chain = [instruction.argval] if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") else []
            if instruction.opname == "IMPORT_NAME":
                imports[instruction.argval] = None
    dynamic |= not DYNAMIC.isdisjoint((*names, *(chain[0] for chain in chains)))
    return NamesRead(tuple(chains), tuple(imports), frozenset(names), dynamic)


def _computes_names(instructions: list[dis.Instruction]) -> bool:
    """Whether ``getattr`` or ``setattr`` is passed on, or called with a name that is not a constant."""
    for i, instruction in enumerate(instructions):
        if instruction.argval not in ("getattr", "setattr") or not instruction.opname.startswith("LOAD"):
            continue
        call = next((j for j in range(i, len(instructions)) if instructions[j].opname.startswith("CALL")), None)
        name = instructions[call - (instructions[call].arg or 0) + 1] if call is not None else None
        if name is None or name.opname != "LOAD_CONST" or not isinstance(name.argval, str):
            return True
    return False


def _nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code object and those of the functions, lambdas and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
