"""The mutants of one file, by the operators of mutmut; what they must not touch is listed in ``docs/testing.md``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.mutators import mutation_operators

SENTENCE = re.compile(r"[A-Za-z,:;.)`] +[A-Za-z`{(]")
"""A text for people: it has words with spaces between them."""
MESSAGES = m.Name("unknown") | m.Attribute(attr=m.Name("unknown"))
MESSAGES |= m.Attribute(attr=m.OneOf(*map(m.Name, ("warn", "warning", "info", "debug", "error", "exception"))))
SKIPPED = (
    m.Annotation(annotation=m.DoesNotMatch(m.Subscript(value=m.Name("Annotated"))))  # options carry limits in theirs
    | m.Import()
    | m.ImportFrom()
    | m.Raise()
    | m.Call(func=MESSAGES)
    | m.Call(func=m.OneOf(m.Name("len"), m.Name("isinstance"), m.Name("cast"), m.Name("TypeVar")))
    | m.Assign(targets=[m.AssignTarget(m.Name("__all__"))])
    | m.Call(func=m.Attribute(attr=m.OneOf(m.Name("kill"), m.Name("killpg"))))  # another process could be hit
    | m.Assert()
    | m.If(test=m.Name("TYPE_CHECKING"))
    | m.ClassDef(bases=[m.ZeroOrMore(), m.Arg(m.Name("Protocol")), m.ZeroOrMore()])
    | m.FunctionDef(decorators=[m.Decorator(m.Name("overload")), m.ZeroOrMore()])
    | m.FunctionDef(name=m.Name("__repr__"))
    | m.Decorator(m.Call(func=m.OneOf(m.Name("dataclass"), m.Name("lru_cache"), m.Name("cache"))))
    | m.SimpleStatementLine(body=[m.Expr(m.SimpleString() | m.ConcatenatedString())])
)
"""Nodes of which nothing is mutated: what no run could tell, or texts for people."""


@dataclass(frozen=True)
class Mutant:
    """One changed file.

    Attributes:
        file: its path from the root of the repository.
        line: where the change is.
        lines: those that a test must run to meet the change.
    """

    file: str
    line: int
    lines: range
    module: cst.Module
    node: cst.CSTNode
    changed: cst.CSTNode

    @cached_property
    def code(self) -> str:
        """The source of the changed file."""
        return self.module.deep_replace(self.node, self.changed).code  # type: ignore[attr-defined]


DEVICE = re.compile(r",?\s*\b(?:device|map_location)=[^,()]*(?:\([^()]*\))?[^,()]*")
"""An argument that changes nothing where there is no accelerator."""


def _without_device(node: cst.CSTNode) -> str:
    code = DEVICE.sub("", cst.Module([]).code_for_node(node))
    return re.sub(r",\s*\)", ")", code)


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider, ParentNodeProvider)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, int, range]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, SKIPPED):
            return False
        if isinstance(node, cst.BaseString) and SENTENCE.search(cst.Module([]).code_for_node(node)):
            return False
        if isinstance(node, cst.FormattedString | cst.ConcatenatedString) and self._inside(node, cst.Raise):
            return False
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                for changed in operator(node):
                    if _without_device(node) != _without_device(changed):
                        self.found.append((node, changed, self._line(node), self._reach(node)))
        return True

    def _inside(self, node: Any, kind: type) -> bool:
        while (node := self.get_metadata(ParentNodeProvider, node, None)) is not None:
            if isinstance(node, kind):
                return True
        return False

    def _lines(self, node: cst.CSTNode) -> range:
        position = self.get_metadata(PositionProvider, node)
        return range(position.start.line, position.end.line + 1)

    def _line(self, node: Any) -> int:
        while self.get_metadata(PositionProvider, node, None) is None:
            node = self.get_metadata(ParentNodeProvider, node)
        return self._lines(node).start

    def _reach(self, node: Any) -> range:
        """The lines of the statement around a node, without the block under it; every line for what runs at import."""
        child, statement = node, None
        while not isinstance(node, cst.Module):
            if statement is None and isinstance(node, cst.BaseStatement):
                statement = node
                if isinstance(node, cst.FunctionDef) and child is not node.body:
                    statement = None  # a default or a decorator: what follows is decided by the function around it
                    if self._function_around(node) is None:
                        return self._lines(node.body)
            if isinstance(node, cst.FunctionDef) and child is node.body and statement is not None:
                whole = self._lines(statement)
                body = getattr(statement, "body", None)
                if isinstance(body, cst.BaseSuite):
                    return range(whole.start, max(self._lines(body).start, whole.start + 1))
                return whole
            child, node = node, self.get_metadata(ParentNodeProvider, node)
        return range(1, 1 << 30)

    def _function_around(self, node: Any) -> Any:
        while not isinstance(node := self.get_metadata(ParentNodeProvider, node), cst.Module):
            if isinstance(node, cst.FunctionDef):
                return node
        return None


def mutants(root: Path, path: Path) -> Iterator[Mutant]:
    """Every mutant of a file, in the order of its source."""
    wrapper = MetadataWrapper(cst.parse_module(path.read_text()))
    visitor = _Visitor()
    wrapper.visit(visitor)
    for node, changed, line, lines in visitor.found:
        yield Mutant(str(path.relative_to(root)), line, lines, wrapper.module, node, changed)
