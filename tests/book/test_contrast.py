"""The measure of contrast itself. `test_pages.py` holds every chapter against it, `test_kernel_gone.py` JupyterLab."""

from __future__ import annotations

import pytest
from measures import faint
from playwright.sync_api import Page

pytestmark = pytest.mark.slow

UNREADABLE = """
<div class="cell_output" style="background:#ced6dd"><p style="color:#ced6dd">same</p><p style="color:#000">fine</p>
<svg width="200" height="40"><rect width="200" height="40" fill="#222"/><text x="10" y="25" fill="#000">on a bar</text></svg>
<svg width="200" height="40"><rect width="200" height="40" fill="#222"/><text x="10" y="25" fill="#fff">white</text></svg>
<div style="opacity:.4"><p style="color:#000;background:#fff">faint</p></div><p style="display:none;color:#ced6dd">none</p>
<select style="color:#999;background:#aaa"><option>chosen</option></select></div>
"""


def test_what_cannot_be_read_would_be_found(page: Page):
    page.set_content(UNREADABLE)
    lines, looked = faint(page, ".cell_output")
    assert {line.split("'")[1] for line in lines} == {"same", "on a bar", "faint", "chosen"}
    assert looked == 6
