from __future__ import annotations

from tests.conftest import REPOSITORY
from tools.settings_page import settings_page


def test_page_of_settings_is_that_of_the_code():
    written = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == settings_page(), "python tools/settings_page.py > docs/settings.md"
