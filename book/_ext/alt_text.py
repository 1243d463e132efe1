"""Sphinx extension: warn about every picture or figure without a text alternative (the strict build then fails).

Without this, docutils would write the file's name into `alt`, which looks fine to a checker and tells a reader
nothing.
"""

from docutils import nodes
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


def check(app, doctree, docname):
    """Warn for each image node whose `alt` is missing or empty."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            LOGGER.warning(
                "a picture has no alt text: give a notebook's cell the metadata "
                '{"mystnb": {"image": {"alt": "..."}}}, a page\'s image the option :alt:',
                location=image if image.line else docname,
                type="tl",
                subtype="alt",
            )


def setup(app):
    app.connect("doctree-resolved", check)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
