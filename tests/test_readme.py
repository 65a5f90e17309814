"""What the README tells people to type exists and is understood."""

import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CODE_BLOCKS = re.findall(r"^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SHELL_LINES = [line for block in CODE_BLOCKS for line in block.replace("\\\n", " ").splitlines()]
SNIPPETS = SHELL_LINES + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL))
COMMANDS = [snippet for snippet in SNIPPETS if snippet.startswith("python -m rhonet.")]
LINKS = [link for link in re.findall(r"\]\(([^)\s]+)\)", README) if "://" not in link]


def test_readme_is_short():
    assert len(README.splitlines()) < 150


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_understood(command):
    _, _, module, *arguments = shlex.split(command, comments=True)
    if ">" in arguments:
        arguments = arguments[: arguments.index(">")]
    importlib.import_module(module).build_parser().parse_args(arguments)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(SNIPPETS)))))
def test_make_target_exists(target):
    done = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert re.search(rf"^  {target}\b", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("link", LINKS)
def test_link_leads_to_a_file(link):
    assert (REPOSITORY / link.partition("#")[0]).exists()


def test_readme_gives_the_two_commands_and_the_paper():
    assert "make train" in SHELL_LINES[0]
    assert "make test" in SHELL_LINES[1]
    assert "arXiv:2510.13207" in README
