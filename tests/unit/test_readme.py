"""The README's lines for your own data do what they say."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
def test_three_lines_from_a_folder_to_a_score(tmp_path, monkeypatch, capsys):
    part = README.read_text(encoding="utf-8").partition("## With your own data\n")[2]
    code = re.search(r"^```python\n(.*?)^```", part, re.MULTILINE | re.DOTALL)[1]
    imports, lines, answers = code.strip().split("\n\n")
    assert len(lines.splitlines()) == 3
    rng = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        (tmp_path / "path" / "to" / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(level - 40, level + 40, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "path" / "to" / "pictures" / name / f"{number}.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join((imports, lines, answers)), "README.md", "exec"), known := {})
    said = capsys.readouterr().out
    assert known["task"].classes == ("dark", "light")
    assert "pictures: 24 samples used, 0 files, rows or columns left out" in said
    assert "'accuracy'" in said
    assert known["run"].metrics["accuracy"] == 100.0
