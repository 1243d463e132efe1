"""Sphinx extension: make the one repository address of _config.yml available to every page as `{{ repository }}`."""


def add_substitutions(app, config):
    """Add `repository` (a link) and `install_in_colab` (a notebook's first cell) to the MyST substitutions."""
    url = config.html_theme_options["repository_url"].rstrip("/")
    config.myst_substitutions = {
        **config.myst_substitutions,
        "repository": f"[{url.removeprefix('https://')}]({url})",
        "install_in_colab": f'```text\nbook = "git+{url}"\n%pip install -q {{book}}\n```',
    }


def setup(app):
    app.connect("config-inited", add_substitutions, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
