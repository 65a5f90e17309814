"""Writes docs/settings.md: every setting with its default, from the dataclasses of rhonet.core.config.

python tools/settings_page.py > docs/settings.md
"""

from __future__ import annotations

import dataclasses
import inspect
import re

from rhonet.core.config import Config, config_names

_HEAD = """# Settings

Each can be given to `train` and `study` as `--set section.key=value`, or in a TOML file of your own
(`--config mine.toml`); what is not named keeps its default. `--config` takes a shipped name as well:
{names}. Every run folder holds all of them, resolved, in `config.toml`. A file looks so:

```
[data]
split_by = "formula"

[train]
epochs = 20
ensemble = 5
```

This page is written by `python tools/settings_page.py`.
"""


def settings_page() -> str:
    """The page, as Markdown."""
    parts = [_HEAD.format(names=", ".join(f"`{name}`" for name in config_names()))]
    for section, values in Config().to_dict().items():
        kind = type(getattr(Config(), section))
        about, meanings = _docstring(kind)
        parts.append(f"\n## {section}\n\n{about}\n\n| setting | default | |\n|---|---|---|\n")
        parts += [f"| `{section}.{key}` | {_shown(values[key])} | {meanings[key]} |\n" for key in _keys(kind)]
    return "".join(parts)


def _keys(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _docstring(kind: type) -> tuple[str, dict[str, str]]:
    """First paragraph, and what is said of each setting: lines `name: ...` and those indented below."""
    head, _, rest = inspect.getdoc(kind).partition("\n\n")  # pyright: ignore[reportOptionalMemberAccess]
    found: dict[str, str] = {}
    key = ""
    for line in rest.splitlines():
        if start := re.match(r"([a-z_]+): (.*)", line):
            key, text = start.groups()
            found[key] = text
        elif line.startswith("    "):
            found[key] += " " + line.strip()
        else:
            break
    return " ".join(head.split()), {key: text.replace("|", "\\|") for key, text in found.items()}


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value) or "none"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`" if value != "" else "none"


if __name__ == "__main__":
    print(settings_page(), end="")
