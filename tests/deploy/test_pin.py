"""Pinning writes digests and sums into an overlay, leaves the rest as it is, and refuses what can change."""

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploy import pin

DIGEST = hashlib.sha256(b"an image").hexdigest()
GATEWAY = f"attnserve-gateway=registry.test:5000/team/gateway@sha256:{DIGEST}"
ZEROS = "0" * 64


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """A copy of the overlays."""
    shutil.copytree(pin.DEPLOY / "overlays", tmp_path / "overlays")
    return tmp_path


def lines(path: Path) -> list[str]:
    """The lines of a file."""
    return path.read_text(encoding="utf-8").splitlines()


def sums(folder: Path, names: list[str]) -> Path:
    """A list of sums such as `attnserve build` writes, with one archive more than those named."""
    path = folder / "given"
    listed = [*names, "other.mar"]
    text = "".join(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in listed)
    path.write_text(text, encoding="utf-8")
    return path


def test_an_image_is_pinned_and_nothing_else_changes(
    deploy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two lines differ, comments and all others are what they were; what is not pinned yet is named."""
    path = deploy / "overlays" / "staging" / "kustomization.yaml"
    before = lines(path)
    assert pin.main(["staging", GATEWAY], deploy) == 0
    differing = [
        (old.strip(), new.strip()) for old, new in zip(before, lines(path), strict=True) if old != new
    ]
    assert differing == [
        ("newName: registry.example/attnserve/attnserve-gateway", "newName: registry.test:5000/team/gateway"),
        (f"digest: sha256:{ZEROS}", f"digest: sha256:{DIGEST}"),
    ]
    said = capsys.readouterr().out
    assert "attnserve-worker: still a placeholder" in said
    assert "digits_se.mar: still a placeholder" in said
    assert "attnserve-gateway" not in said


def test_all_of_an_overlay_can_be_pinned(
    deploy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With every image and the sums nothing is left to say; of the sums only its own archives' are taken."""
    folder = deploy / "overlays" / "production-gpu"
    names = [line.split()[1] for line in lines(folder / pin.SUMS)]
    images = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["images"]
    wanted = [f"{image['name']}=r.test/{image['name']}@sha256:{DIGEST}" for image in images]
    assert pin.main(["production-gpu", *wanted, "--sums", str(sums(tmp_path, names))], deploy) == 0
    assert capsys.readouterr().out == ""
    right = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    assert lines(folder / pin.SUMS) == [f"{right[name]}  {name}" for name in names]
    again = ["production-gpu", "--sums", str(sums(tmp_path, names)), *wanted]  # as deploy/README.md writes it
    assert pin.main(again, deploy) == 0, "what is pinned can be pinned anew"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["staging", "attnserve-gateway=registry.test/gateway:1.0"], "a tag can change"),
        (["staging", f"attnserve-gateway=registry.test/gateway:1.0@sha256:{DIGEST}"], "no tag before it"),
        (
            ["staging", f"attnserve-gateway=registry.test/gateway@sha256:{DIGEST[1:]}"],
            "64 hexadecimal digits",
        ),
        (["staging", f"attnserve-gateway=registry.test/gateway@sha256:{DIGEST.upper()}"], "64 hexadecimal"),
        (["staging", f"attnserve-gateway=registry.test/gateway@sha256:{ZEROS}"], "is the placeholder"),
        (["staging", f"gateway=registry.test/gateway@sha256:{DIGEST}"], "it has attnserve-gateway, "),
        (["staging", f"registry.test/gateway@sha256:{DIGEST}"], "write NAME=REPOSITORY@sha256:DIGEST"),
        (["prod", GATEWAY], "'prod' is no overlay: there are dev-cpu, production-gpu, staging"),
        (["dev-cpu", GATEWAY], "only images by digest are pinned"),
        (["staging", GATEWAY, "--sums", "/missing"], "/missing: cannot be read: No such file"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    arguments: list[str], says: str, deploy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence names what was given and what is wanted; no file of any overlay has changed."""
    before = {path: path.read_bytes() for path in deploy.rglob("*") if path.is_file()}
    assert pin.main(arguments, deploy) == 1
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
    assert {path: path.read_bytes() for path in deploy.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("given_sums", "says"),
    [
        (f"{DIGEST}  digits_eca.mar\n", "digits_se.mar: the sums have no line for it"),
        ("digits_se.mar\n", "'digits_se.mar' is no line of sha256sum"),
        (f"{ZEROS}  digits_eca.mar\n", "digits_eca.mar: its sum is the placeholder"),
    ],
)
def test_sums_that_do_not_suit_are_refused(
    given_sums: str, says: str, deploy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every archive of the overlay must be in the list, with a sum of its own."""
    path = tmp_path / "sums"
    path.write_text(given_sums, encoding="utf-8")
    assert pin.main(["staging", "--sums", str(path)], deploy) == 1
    assert says in capsys.readouterr().err


def test_nothing_to_pin_is_a_wrong_call(deploy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the usage, as programs do."""
    with pytest.raises(SystemExit, match="2"):
        pin.main(["staging"], deploy)
    assert "nothing to pin" in capsys.readouterr().err


@given(
    repository=st.from_regex(
        r"[a-z0-9.-]{1,20}(:[0-9]{1,5})?(/[a-z0-9]{1,9}([._-][a-z0-9]{1,9})?){1,4}", fullmatch=True
    ),
    digest=st.integers(min_value=1, max_value=2**256 - 1),
)
def test_a_pinned_reference_is_kept_as_it_was(repository: str, digest: int) -> None:
    """What is read from REPOSITORY@sha256:DIGEST are these two, for every digest but the placeholder."""
    name, image = pin.image_of(f"name={repository}@sha256:{digest:064x}")
    assert (name, image.repository, image.digest) == ("name", repository, f"{digest:064x}")
