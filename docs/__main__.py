"""Build the documentation: `python -m docs`, or `python -m docs FOLDER`.

Into out/docs; open index.html there, no network is needed. A warning is an error: links that lead
nowhere, names that do not exist, pages that nothing links to.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).parent
RESULTS = Path("out") / "docs"


def build(folder: Path = RESULTS) -> Path:
    """Write the pages.

    Args:
        folder: Where to.

    Returns:
        The first page.

    Raises:
        SystemExit: Sphinx has warned of something.
    """
    from sphinx.cmd.build import build_main

    options = ["--fresh-env", "--fail-on-warning", "--keep-going", "--quiet", "--builder", "html"]
    code = build_main([*options, str(SOURCE), str(folder)])
    if code:
        raise SystemExit(code)
    return folder / "index.html"


def main(arguments: Sequence[str]) -> None:
    """Build, and say where."""
    print(build(*map(Path, arguments[:1])))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
