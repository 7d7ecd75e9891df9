"""Settings of the documentation; what is not set here comes from sphinx-astropy."""

import os
import sys
import tomllib
from datetime import datetime
from pathlib import Path

from sphinx_astropy.conf.v2 import *  # noqa: F403
from sphinx_astropy.conf.v2 import (
    exclude_patterns,
    extensions,
    html_theme_options,
    intersphinx_mapping,
    numpydoc_xref_ignore,
)

import cosmiq_astro

_docs = Path(__file__).resolve().parent
sys.path.insert(0, str(_docs / "_ext"))
_metadata = tomllib.loads((_docs.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _metadata["name"]
author = _metadata["authors"][0]["name"]
project_copyright = f"{datetime.now().year}, {author}"
release = cosmiq_astro.__version__
version = ".".join(release.split(".")[:2])
needs_sphinx = "8.0"

extensions += ["committed", "myst_nb"]
exclude_patterns += ["_build", "_plots", "_templates", "**.ipynb_checkpoints"]
default_role = "py:obj"
nitpicky = False

# Warnings are errors, and an inventory that cannot be fetched is a warning. The build must pass
# without a network, so links to other projects are made only where one is known to be there.
if os.environ.get("READTHEDOCS") == "True" or os.environ.get("COSMIQ_DOCS_INTERSPHINX"):
    intersphinx_mapping |= {
        "ccdproc": ("https://ccdproc.readthedocs.io/en/stable/", None),
        "photutils": ("https://photutils.readthedocs.io/en/stable/", None),
        "torch": ("https://pytorch.org/docs/stable/", None),
    }
    for _unused in ("pythonloc", "h5py", "astropy.org"):
        intersphinx_mapping.pop(_unused, None)
else:
    intersphinx_mapping.clear()

numpydoc_xref_ignore |= {"path-like", "array-like", "array_like"}
numpydoc_class_members_toctree = False
# Signatures stay short: the tables of parameters have the types.
autodoc_typehints = "none"
automodapi_toctreedirnm = "api"
# Each class and function once, with its docstring: no diagrams of two boxes.
automodapi_inheritance_diagram = False
automodsumm_inherited_members = False

plot_formats = [("png", 150)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = False

# Notebooks are text, executed at each build; an error, or a word on stderr, fails it.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "error"

html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options |= {
    "logo": {"text": project},
    "header_links_before_dropdown": 6,
    "icon_links": [
        {
            "name": "Source (a placeholder until there is a public address)",
            "url": _metadata["urls"]["Source"],
            "icon": "fa-solid fa-code-branch",
        }
    ],
    "navbar_persistent": ["search-button"],
    "navigation_with_keys": False,
    "show_nav_level": 1,
    "navigation_depth": 3,
    "show_toc_level": 1,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
# Pages without a section of their own have nothing to list at their left.
html_sidebars = {page: [] for page in ("index", "faq")}

linkcheck_anchors = False
linkcheck_ignore = [r"https://cosmiq-astro\.example\.org"]  # placeholders
