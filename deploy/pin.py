"""Writes what an overlay runs into it: `python deploy/pin.py OVERLAY NAME=REPOSITORY@sha256:DIGEST ...`.

Every image is given by its digest, as `docker push` and registries show it: a tag can mean another image
tomorrow. With --sums FILE, such as model_store/archives/SHA256SUMS, the sums of the overlay's archives are
written, too. Either all is right and written, or nothing is. Comments and order in the files stay.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parent
PLACEHOLDER = "0" * 64
SUMS = "SHA256SUMS"

# As the OCI distribution specification writes a repository's name, a host and its port before it.
_REFERENCE = re.compile(
    r"(?P<repository>[a-zA-Z0-9.-]+(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+)@sha256:(?P<digest>[0-9a-f]{64})"
)
_SUM = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>\S+)")


class PinError(Exception):
    """What was asked for cannot be written; the message names it and says what to give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that nobody can change behind its name.

    Attributes:
        repository: Registry and path.
        digest: SHA-256 of its manifest, 64 hexadecimal digits.
    """

    repository: str
    digest: str


def image_of(text: str) -> tuple[str, Image]:
    """Read NAME=REPOSITORY@sha256:DIGEST.

    Raises:
        PinError: It is not that, such as a tag, or the placeholder.
    """
    name, separator, reference = text.partition("=")
    if not (name and separator):
        raise PinError(f"{text!r} is no image: write NAME=REPOSITORY@sha256:DIGEST")
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise PinError(
            f"{name}: {reference!r} is not REPOSITORY@sha256: and 64 hexadecimal digits; a tag can change, "
            "so give the digest that `docker push` printed, and no tag before it"
        )
    if match["digest"] == PLACEHOLDER:
        raise PinError(f"{name}: its digest is the placeholder, 64 zeros: give the digest of a pushed image")
    return name, Image(repository=match["repository"], digest=match["digest"])


def with_images(kustomization: str, images: Mapping[str, Image]) -> str:
    """The text of a kustomization.yaml with these images in place of those that it has.

    Raises:
        PinError: It has no digest for one of the names.
    """
    known = {entry["name"]: entry for entry in yaml.safe_load(kustomization).get("images", ())}
    for name, image in images.items():
        if name not in known:
            raise PinError(f"{name}: the overlay has no such image, it has {', '.join(known) or 'none'}")
        entry = re.compile(
            rf"(?m)^(?P<dash> *- )name: {re.escape(name)}\n(?P<new> +newName: ).*\n(?P<digest> +digest: ).*$"
        )
        replacement = rf"\g<dash>name: {name}\n\g<new>{image.repository}\n\g<digest>sha256:{image.digest}"
        kustomization, count = entry.subn(replacement, kustomization)
        if count != 1:
            raise PinError(
                f"{name}: the overlay does not give it as name, newName and digest, in this order, but as "
                f"{known[name]}: only images by digest are pinned"
            )
    return kustomization


def with_sums(wanted: str, given: str) -> str:
    """The sums of the archives that an overlay lists, taken from a list that may have more.

    Args:
        wanted: The overlay's SHA256SUMS.
        given: The list with the right sums.

    Raises:
        PinError: One of the archives is not in the list, or a line is no sum.
    """
    right = _sums(given)
    for name in _sums(wanted):
        if name not in right:
            raise PinError(f"{name}: the sums have no line for it, they have {', '.join(right) or 'none'}")
        if right[name] == PLACEHOLDER:
            raise PinError(
                f"{name}: its sum is the placeholder, 64 zeros: give the SHA256SUMS of a model store"
            )
    return "".join(f"{right[name]}  {name}\n" for name in _sums(wanted))


def pin(folder: Path, images: Mapping[str, Image], sums: Path | None) -> list[str]:
    """Write images and sums into an overlay.

    Args:
        folder: The overlay's folder.
        images: Name in the manifests -> what runs under it.
        sums: File with the sums of its archives; None leaves them.

    Returns:
        What is still a placeholder there.

    Raises:
        PinError: Something is wrong; nothing has been written.
    """
    new = {folder / "kustomization.yaml": with_images(_read(folder / "kustomization.yaml"), images)}
    if sums is not None:
        new[folder / SUMS] = with_sums(_read(folder / SUMS), _read(sums))
    for path, text in new.items():
        path.write_text(text, encoding="utf-8")
    return _placeholders(folder)


def overlay(name: str, deploy: Path = DEPLOY) -> Path:
    """The folder of an overlay or a scenario.

    Raises:
        PinError: There is none of that name.
    """
    folders = {
        path.parent.name: path.parent
        for kind in ("overlays", "scenarios")
        for path in deploy.glob(f"{kind}/*/kustomization.yaml")
    }
    if name not in folders:
        raise PinError(f"{name!r} is no overlay: there are {', '.join(sorted(folders))}")
    return folders[name]


def _placeholders(folder: Path) -> list[str]:
    images = yaml.safe_load(_read(folder / "kustomization.yaml")).get("images", ())
    sums = _sums(_read(folder / SUMS)) if (folder / SUMS).exists() else {}
    return [
        *(entry["name"] for entry in images if str(entry.get("digest")).endswith(PLACEHOLDER)),
        *(name for name, digest in sums.items() if digest == PLACEHOLDER),
    ]


def _sums(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        match = _SUM.fullmatch(line)
        if match is None:
            raise PinError(
                f"{line!r} is no line of sha256sum: 64 hexadecimal digits, two spaces, a file's name"
            )
        found[match["name"]] = match["digest"]
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PinError(f"{path}: cannot be read: {error.strerror}") from None


def main(arguments: Sequence[str] | None = None, deploy: Path = DEPLOY) -> int:
    """Runs the command; the exit code is 1, and a sentence on standard error, where it cannot be done."""
    parser = argparse.ArgumentParser(prog="pin.py", description="Pin the images and archives of an overlay.")
    parser.add_argument("overlay", help="its name, such as staging")
    parser.add_argument("images", nargs="*", metavar="NAME=REPOSITORY@sha256:DIGEST")
    parser.add_argument(
        "--sums", type=Path, help="file with the sums of its archives, as sha256sum writes it"
    )
    given = parser.parse_intermixed_args(arguments)  # --sums may stand before the images
    if not given.images and given.sums is None:
        parser.error("nothing to pin: give images, or --sums, or both")
    try:
        images = dict(image_of(text) for text in given.images)
        missing = pin(overlay(given.overlay, deploy), images, given.sums)
    except PinError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program's answer
        return 1
    for name in missing:
        print(f"{name}: still a placeholder, which no cluster can start")  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main())
