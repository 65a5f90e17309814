"""Writes docs/settings.md: every setting with its default, from the dataclasses of rhonet.core.config.

python tools/settings_page.py > docs/settings.md
"""

from __future__ import annotations

import dataclasses
import inspect
import re

from rhonet.core.config import Config, config_names
from rhonet.core.text import markdown_table

_HEAD = """# Settings

Each setting can be given to `train` and `study` as `--set section.key=value`, or in a TOML file of your own
(`--config mine.toml`); a setting that is not named keeps its default. `--config` takes a shipped name as well:
{names}. Every run folder holds all settings in `config.toml`. An example of a file:

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
        rows = [[f"`{section}.{key}`", _shown(values[key]), meanings[key]] for key in _keys(kind)]
        parts.append(f"\n## {section}\n\n{about}\n\n{markdown_table(['setting', 'default', ''], rows)}")
    return "".join(parts)


def _keys(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _docstring(kind: type) -> tuple[str, dict[str, str]]:
    """First paragraph, and the meaning of each setting from the section `Attributes:`, whose lines may be wrapped."""
    text = inspect.getdoc(kind) or ""
    summary = text.partition("\n\n")[0]
    section = text.partition("\nAttributes:\n")[2].partition("\n\n")[0]
    meanings: dict[str, str] = {}
    key = ""
    for line in section.splitlines():
        if entry := re.match(r"    ([a-z_]+): (.*)", line):
            key, meanings[key] = entry[1], entry[2]
        else:
            meanings[key] += " " + line.strip()
    return " ".join(summary.split()), {key: meaning.replace("|", "\\|") for key, meaning in meanings.items()}


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value) or "none"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`" if value != "" else "none"


if __name__ == "__main__":
    print(settings_page(), end="")
