"""The documentation site: `sphinx-build docs docs/_build`. Nothing in it is fetched."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

from faeval import __version__  # noqa: E402

project = "faeval"
author = "the authors of faeval"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "api", "mathml", "notebooks", "examples", "methods", "published",
              "catalogue"]  # fmt: skip
exclude_patterns = ["_build", "studies", "_ext"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False
python_maximum_signature_line_length = 80

smartquotes = False  # quotes in docstrings are those of code

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"faeval {release}"
html_static_path = ["_static"]
html_css_files = ["faeval.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    # The colours of state and credit in every report.
    "light_css_variables": {"color-brand-primary": "#0066a6", "color-brand-content": "#0066a6"},
    "dark_css_variables": {"color-brand-primary": "#5bb5ec", "color-brand-content": "#5bb5ec"},
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
