"""What the README and docs/ tell people to type exists and is understood."""

import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from rhonet.data.dataset_toml import declared_properties, read_settings

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = {"README.md": README} | {
    str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8") for path in (REPOSITORY / "docs").glob("*.md")
}
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shell_lines(text):
    return [line for block in FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]


def snippets(text):
    return shell_lines(text) + re.findall(r"`([^`\n]+)`", FENCED.sub("", text))


COMMANDS = sorted({one for text in PAGES.values() for one in snippets(text) if one.startswith("python -m rhonet.")})
LINKS = [
    (page, link) for page, text in PAGES.items() for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link
]


def test_readme_is_short():
    assert len(README.splitlines()) < 150


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_understood(command):
    _, _, module, *arguments = shlex.split(command, comments=True)
    if ">" in arguments:
        arguments = arguments[: arguments.index(">")]
    parser = importlib.import_module(module).build_parser()
    if arguments not in ([], ["--help"]):  # a command that is merely mentioned
        parser.parse_args(arguments)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(snippets(README))))))
def test_make_target_exists(target):
    done = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert re.search(rf"^  {target}\b", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_link_leads_to_a_file(page, link):
    target = link.partition("#")[0]
    assert not target or (REPOSITORY / page).parent.joinpath(target).exists()


@pytest.mark.parametrize(
    "block", [one for text in PAGES.values() for one in re.findall(r"```toml\n(.*?)```", text, re.S)]
)
def test_settings_shown_are_accepted(block, tmp_path):
    (tmp_path / "dataset.toml").write_text(block)
    settings = read_settings(tmp_path / "dataset.toml")
    assert len(declared_properties(tmp_path, settings.properties, ())) == len(settings.properties) > 0


def test_readme_gives_the_two_commands_and_the_paper():
    first, second = shell_lines(README)[:2]
    assert "make train" in first
    assert "make test" in second
    assert "arXiv:2510.13207" in README
