"""Images: what runs is what was tested, so outside development each is given by its digest."""

from collections.abc import Iterator, Sequence

from deploy.checking.kustomize import Manifest
from deploy.checking.objects import pods

# What a committed overlay holds until `deploy/pin.py` writes the digest of a real image there.
PLACEHOLDER = "sha256:" + "0" * 64


def without_digest(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Images that can change behind their name."""
    for where, image in images(manifests):
        if "@sha256:" not in image:
            yield (
                f"{where}: image {image} has no digest: give one under `images` in the overlay's "
                "kustomization.yaml; deploy/pin.py writes it there"
            )


def moving_tags(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Images that are whatever was pushed last."""
    for where, image in images(manifests):
        name, _, tag = image.rpartition("/")[2].partition(":")
        if "@" not in name and tag in ("", "latest") and "@sha256:" not in image:
            what = "the tag latest" if tag else "no tag"
            yield f"{where}: image {image} has {what}: give a version or a digest"


def placeholders(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Images that nobody can pull yet, because their digest is a placeholder."""
    for _, image in images(manifests):
        if image.endswith(PLACEHOLDER):
            yield f"{image.partition('@')[0]}: its digest is a placeholder; deploy/pin.py writes the real one"


def images(manifests: Sequence[Manifest]) -> Iterator[tuple[str, str]]:
    """Where an image is named, and the image: of containers, and of volumes that are images."""
    for pod in pods(manifests):
        for container in pod.containers:
            yield f"{pod.title}, container {container['name']}", container["image"]
        for volume in pod.spec.get("volumes", ()):
            if "image" in volume:
                yield f"{pod.title}, volume {volume['name']}", volume["image"]["reference"]
