"""Docstrings say what a caller must know: arguments, errors, fields."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
MANY_ARGUMENTS = 3
Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__init__"


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | Function, ast.ClassDef | None]]:
    """Public classes, functions and methods of a module by their names, methods with their class."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | Function) and is_public(node.name):
            yield node.name, node, None
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            for item in node.body:
                if isinstance(item, Function) and is_public(item.name):
                    yield f"{node.name}.{item.name}", item, node


def is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def raises(node: Function) -> bool:
    """Does the function itself raise something that it does not only pass on?"""
    inner = {
        id(item)
        for child in ast.walk(node)
        if isinstance(child, Function) and child is not node
        for item in ast.walk(child)
    }
    return any(
        isinstance(item, ast.Raise) and item.exc is not None and id(item) not in inner for item in ast.walk(node)
    )


def lacking(path: Path) -> list[str]:
    """What the docstrings of a module leave out."""
    wrong = []
    for name, node, owner in definitions(ast.parse(path.read_text(encoding="utf-8"))):
        place = f"{path.relative_to(REPOSITORY)}:{node.lineno}: {name}"
        if isinstance(node, ast.ClassDef):
            text = ast.get_docstring(node) or ""
            fields = [
                item.target.id
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            ]
            fields = [field for field in fields if not field.startswith("_")]
            if is_dataclass(node) and fields:
                section = text.partition("Attributes:\n")[2]
                wrong += [f"{place}: no attribute {field!r}" for field in fields if f"{field}:" not in section]
            continue
        # The constructor is documented where a reader looks for it: at the class.
        described = owner if owner is not None and node.name == "__init__" else node
        text = ast.get_docstring(described) or ""
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments = [item.arg for item in arguments if item.arg not in ("self", "cls")]
        overrides = any("override" in ast.unparse(decorator) for decorator in node.decorator_list)
        if len(arguments) >= MANY_ARGUMENTS and not overrides:
            section = text.partition("Args:\n")[2]
            wrong += [f"{place}: no argument {argument!r}" for argument in arguments if argument not in section]
        # What a method raises may stand at its class, as with layers that Keras builds.
        anywhere = text + ((owner and ast.get_docstring(owner)) or "")
        if raises(node) and node.name != "main" and "Raises" not in anywhere:
            wrong.append(f"{place}: raises, but the docstring says nothing of it")
    return wrong


@pytest.mark.parametrize("folder", ["rhonet", "tfds_builders"])
def test_docstrings_are_complete(folder):
    assert [line for path in sorted((REPOSITORY / folder).rglob("*.py")) for line in lacking(path)] == []
