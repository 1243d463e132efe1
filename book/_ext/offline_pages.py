"""Sphinx extension: leave out the scripts that would fetch something from another host, and scripts included twice.

Jupyter Book puts thebe on every page, which loads itself from elsewhere; myst-nb may add one inline script many times.
"""


def keep_own_scripts(app, pagename, templatename, context, doctree):
    """Filter the page's scripts: no thebe, and each inline script once."""
    seen, keep = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body", "") or ""
        name = str(getattr(script, "filename", "") or "")
        if "THEBE_JS_URL" in body or name.endswith("sphinx-thebe.js"):
            continue
        if body and (name, body) in seen:
            continue
        seen.add((name, body))
        keep.append(script)
    context["script_files"] = keep
    context["css_files"] = [
        sheet for sheet in context.get("css_files", []) if "thebe" not in str(getattr(sheet, "filename", "") or "")
    ]


def setup(app):
    app.connect("html-page-context", keep_own_scripts, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
