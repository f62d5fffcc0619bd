"""Builds the images where there is neither a container engine nor a registry, and prints how large they are.

    python -m deploy.images.trial [IMAGE...]

buildah executes the Dockerfiles as they are. Their base is not to be had without a registry: a stand-in is
made from Debian's own packages of the same release, with Debian's Python 3.11 instead of python.org's. So
sizes are near those of the real images, but not theirs. Needs root, buildah and mmdebstrap.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

IMAGES: Final = Path(__file__).resolve().parent
ROOT: Final = IMAGES.parent.parent
STAND_IN: Final = "localhost/stand-in-for-python-slim"
# Its Python, with nothing that an image would have to do without.
PACKAGES: Final = ("ca-certificates", "python3-minimal", "python3-venv")
# torch's CUDA build alone is several GB; what is ours in that image is in the worker's, too.
BUILT: Final = ("gateway", "models", "loadtest", "worker")

_NO_DOCUMENTS = [f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("doc", "locale", "man")]
_CERTIFICATES = Path("/etc/ssl/certs")
_PIP_SETTING = re.compile(r"(?:global|:env:)\.(find-links|index-url)='(.*)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Images in a storage of their own.

    Attributes:
        folder: An existing folder, empty at first, for all that is made.
    """

    folder: Path

    def buildah(self, *arguments: str) -> str:
        """Run buildah, which needs neither a daemon nor namespaces here; what it prints.

        Raises:
            subprocess.CalledProcessError: It fails; its words are on standard error.
        """
        storage = [f"--root={self.folder / 'storage'}", f"--runroot={self.folder / 'run'}"]
        done = subprocess.run(  # noqa: S603 - fixed program
            ["buildah", *storage, *arguments],  # noqa: S607 - the user's own
            check=False,
            env=os.environ | {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self.folder)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)  # noqa: T201 - the only trace of why
            done.check_returncode()
        return done.stdout

    def make_base(self) -> None:
        """Make the stand-in; downloads about 40 MB of Debian's packages."""
        tree = self.folder / "base.tar"
        link = '--customize-hook=ln -s python3 "$1/usr/bin/python"'
        subprocess.run(  # noqa: S603 - fixed program
            [
                *("mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}"),
                *(*_NO_DOCUMENTS, link, "bookworm", str(tree)),
            ],
            check=True,
        )
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, str(tree), "/")
        self.buildah("commit", "--quiet", "--rm", container, STAND_IN)
        tree.unlink()

    def build(self, image: str, context: Path = ROOT) -> None:
        """Build deploy/images/IMAGE.Dockerfile as it is, on the stand-in."""
        settings, volumes = self._pip()
        self.buildah(
            *(
                "build",
                "--format=docker",
                "--pull-never",
                f"--build-arg=BASE={STAND_IN}",
                *settings,
                *volumes,
            ),
            *(f"--file={IMAGES / f'{image}.Dockerfile'}", f"--tag=attnserve-{image}", str(context)),
        )

    def size(self, image: str) -> int:
        """Bytes of an image, its base's among them."""
        config = json.loads(self.buildah("images", "--json", image))
        return _bytes(config[0]["size"])

    def config(self, image: str) -> dict[str, Any]:
        """What the image says of how it is to be run: Entrypoint, Env, User and so on."""
        found: dict[str, Any] = json.loads(self.buildah("inspect", "--type=image", image))["Docker"]["config"]
        return found

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The image's files, in a copy that is gone afterwards."""
        container = self.buildah("from", "--pull-never", image).strip()
        try:
            yield Path(self.buildah("mount", container).strip())
        finally:
            self.buildah("rm", container)

    def _pip(self) -> tuple[list[str], list[str]]:
        """What pip is set up with here, an index or a folder of wheels, goes for pip in builds, too."""
        shown = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = dict(_PIP_SETTING.findall(shown.stdout))
        lines = [
            f"cert = {_CERTIFICATES / 'ca-certificates.crt'}",
            *(f"{key} = {value}" for key, value in found.items()),
        ]
        (self.folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
        folders = [folder for folder in found.get("find-links", "").split() if Path(folder).is_dir()]
        bound = {str(_CERTIFICATES): str(_CERTIFICATES), str(self.folder / "pip.conf"): "/etc/pip.conf"}
        bound |= {folder: folder for folder in folders}
        # With torch in such a folder, its own index need not be asked.
        own = ["--build-arg=PIP_EXTRA_INDEX_URL="] if any(map(_has_torch, folders)) else []
        return own, [f"--volume={outside}:{inside}:ro" for outside, inside in bound.items()]


def _has_torch(folder: str) -> bool:
    return any(Path(folder).glob("torch-*"))


def _bytes(shown: str) -> int:
    """Bytes of a size as buildah shows it, such as "1.15 GB"."""
    number, unit = shown.split()
    return round(float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])


def main(images: Sequence[str]) -> None:
    """Build, and print the sizes."""
    with tempfile.TemporaryDirectory(prefix="attnserve-images-") as folder:
        trial = Trial(folder=Path(folder))
        trial.make_base()
        base = trial.size(STAND_IN)
        print(f"{'image':24}{'MB':>8}{'on top of the base':>22}")  # noqa: T201 - a program's answer
        print(f"{'(stand-in base)':24}{base / 1e6:8.0f}")  # noqa: T201 - as above
        for image in images:
            trial.build(image)
            size = trial.size(f"attnserve-{image}")
            print(f"{f'attnserve-{image}':24}{size / 1e6:8.0f}{(size - base) / 1e6:22.0f}", flush=True)  # noqa: T201 - as above


if __name__ == "__main__":
    main(sys.argv[1:] or BUILT)
