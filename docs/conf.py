"""How Sphinx builds the documents: pages in Markdown, the gallery, the reference."""

import importlib
import os
from pathlib import Path

import matplotlib as mpl

import duda
from duda.registry import exported

mpl.use("agg")

HERE = Path(__file__).parent

project = "duda"
author = "the duda authors"
copyright = "the duda authors"  # the name that Sphinx reads
release = version = duda.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "duda"
html_static_path = ["_static"]
html_css_files = ["duda.css"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
default_role = "literal"  # as Markdown has it, and the docstrings


def escape_bars(app, what, name, obj, options, lines: list[str]) -> None:
    """Keep |y - mean| from being taken for a substitution."""
    lines[:] = [line if ">>>" in line else line.replace("|", "\\|") for line in lines]


def setup(app) -> None:
    """Tell Sphinx what to do with docstrings."""
    app.connect("autodoc-process-docstring", escape_bars)


def mode_changed() -> bool:
    """Say whether the pages lie there from the other mode, quick or full, and note this one."""
    mode = "quick" if os.environ.get("DUDA_QUICK") == "1" else "full"
    noted = HERE / "gallery" / ".mode"
    before = noted.read_text() if noted.is_file() else mode
    noted.parent.mkdir(exist_ok=True)
    noted.write_text(mode)
    return before != mode


def write_reference(
    package: str, about: str, first: list[str], *options: str, home: str = "duda"
) -> None:
    """Write the reference of a package, whose names `home` has too: a new one comes by itself."""
    lines = [f"# {package.capitalize()}", "", about, "", "```{eval-rst}"]
    for name in dict.fromkeys([*first, *exported(f"duda.{package}")]):
        value = getattr(importlib.import_module(home), name)
        if isinstance(value, type):
            lines += [f".. autoclass:: {home}.{name}", "   :members:", *options, ""]
        elif callable(value):
            lines += [f".. autofunction:: {home}.{name}", ""]
        else:  # a registry
            lines += [f".. py:data:: {home}.{name}", "", "   Those above, by name.", ""]
    text = "\n".join([*lines, "```", ""])
    path = HERE / "reference" / f"{package}.md"
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


write_reference(
    "methods",
    "What is random: each is a network with `loss` and `predict`.",
    ["UncertainModel", *(method.__name__ for method in duda.METHODS.values())],
)
write_reference(
    "likelihoods",
    "What raw outputs mean: a loss, and how draws become a prediction.",
    ["Likelihood", *(likelihood.__name__ for likelihood in duda.LIKELIHOODS.values())],
)
write_reference(
    "predictions",
    "What `predict` returns: data, and what follows from it.",
    ["Prediction", "ClassPrediction", "GaussianPrediction"],
    "   :inherited-members:",
)
write_reference(
    "detectors",
    "Fitted to in-distribution data, they score other inputs; higher is more out-of-distribution.",
    ["OnNetwork", *(detector.__name__ for detector in duda.detectors.DETECTORS.values())],
    "   :inherited-members:",
    home="duda.detectors",
)

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "run_stale_examples": mode_changed(),  # scripts that did not change are not run again
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "capture_repr": ("_repr_html_",),  # what a cell ends in is shown if it is a picture
    "matplotlib_animations": False,
    "plot_gallery": "True",
}
