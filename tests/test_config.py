"""The configuration: one file, overridden by variables, read once, every mistake named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from serve.config import ConfigError, read_config, settings, tokens_in_force
from serve.core.access import Role
from serve.page_section import PageConfig
from serve.sections import (
    AttemptsConfig,
    BatchingConfig,
    EngineConfig,
    ExperimentsConfig,
    TlsConfig,
    TokenConfig,
    TorchServeConfig,
    TracingConfig,
)
from serve.settings import Config

DIGEST = "0123456789abcdef" * 4
OTHER_DIGEST = DIGEST[::-1]
SECTIONS = (
    Config,
    PageConfig,
    BatchingConfig,
    AttemptsConfig,
    TorchServeConfig,
    EngineConfig,
    TokenConfig,
    TlsConfig,
    ExperimentsConfig,
    TracingConfig,
)


def read(tmp_path: Path, text: str, **environment: str) -> Config:
    """Read a file of that text."""
    path = tmp_path / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    return read_config(path, environment)


def refusal(tmp_path: Path, text: str, **environment: str) -> str:
    """The message with which a file of that text is refused, without the file's name."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text, **environment)
    return str(raised.value).replace(f"{tmp_path / 'gateway.yaml'}: ", "")


def test_without_anything_the_defaults_hold() -> None:
    """Triton's ports on loopback, a supervised TorchServe, no window."""
    config = read_config(None, {"PATH": "/bin"})
    assert config == Config()
    assert (config.host, config.http_port, config.grpc_port, config.metrics_port) == (
        "127.0.0.1",
        8000,
        8001,
        8002,
    )
    assert (config.engines, config.batching.max_queue_delay_ms, config.drain_timeout_s) == ((), 0.0, 8.0)


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    """Sections, lists and numbers; all else keeps its default."""
    config = read(
        tmp_path,
        """
        http_port: 0
        models: [digits_se, digits_eca]
        batching: {max_batch_images: 4}
        engines:
          - {address: "dns:///worker:7070", models: [digits_se]}
        """,
    )
    assert (config.http_port, config.models) == (0, ("digits_se", "digits_eca"))
    assert config.batching == BatchingConfig(max_batch_images=4)
    assert config.engines == (EngineConfig(address="dns:///worker:7070", models=("digits_se",)),)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "batching:\ntokens_file:\n"])
def test_what_has_no_value_is_not_set(tmp_path: Path, text: str) -> None:
    """An empty file, an empty section and an empty variable leave the defaults."""
    assert read(tmp_path, text, ATTNSERVE_HOST="", ATTNSERVE_TOKENS_FILE="") == Config()


def test_variables_override_the_file(tmp_path: Path) -> None:
    """Each by its type; lists as in the file; what others use the prefix for is left alone."""
    config = read(
        tmp_path,
        "http_port: 1\nbatching: {prefetch_batches: 3, max_batch_images: 2}\nmodels: [a]\n",
        ATTNSERVE_HTTP_PORT="9",
        ATTNSERVE_BATCHING_MAX_QUEUE_DELAY_MS="2.5",
        ATTNSERVE_BATCHING_MAX_BATCH_IMAGES="8",
        ATTNSERVE_ALLOW_UNAUTHENTICATED="true",
        ATTNSERVE_MODELS="[digits_se, digits_sk]",
        ATTNSERVE_TOKEN="a client's",  # noqa: S106  no setting
        ATTNSERVE_REQUIRE_GPU="1",
        ATTNSERVE_RECIPE="portable",
    )
    assert (config.http_port, config.allow_unauthenticated) == (9, True)
    assert config.models == ("digits_se", "digits_sk")
    assert config.batching == BatchingConfig(max_queue_delay_ms=2.5, prefetch_batches=3, max_batch_images=8)


def test_the_configuration_cannot_be_changed() -> None:
    """It is read once, and is the same for as long as the process runs."""
    with pytest.raises(ValidationError, match="frozen"):
        Config().http_port = 5


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_says_what_it_is_for(section: type[BaseModel]) -> None:
    """Beside its declaration: a sentence for a value, a docstring for a section."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        described = field.description or (isinstance(kind, type) and kind in SECTIONS and kind.__doc__)
        assert described, f"{section.__name__}.{name} has no description"


def test_every_setting_has_a_variable() -> None:
    """Their names are the paths, and no two settings share one."""
    names = ["_".join(keys) for keys in settings()]
    assert "batching_max_queue_delay_ms" in names
    assert len(set(names)) == len(names)
    assert {name.partition("_")[0] for name in names} >= {"http", "batching", "attempts", "torchserve"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("htp_port: 1", "htp_port: unknown key; did you mean http_port?"),
        (
            "batching: {max_batch_image: 1}",
            "batching.max_batch_image: unknown key; did you mean max_batch_images?",
        ),
        (
            "max_queue_delay_ms: 1",
            "max_queue_delay_ms: unknown key; did you mean batching.max_queue_delay_ms?",
        ),
        (
            "engines: [{adress: a, models: [m], address: 'b:1'}]",
            "engines.0.adress: unknown key; did you mean address?",
        ),
        ("zzzzzz: 1", "zzzzzz: unknown key"),
        (
            f"tokens: [{{name: a, rol: infer, sha256: {DIGEST}}}]",
            "tokens.0.rol: unknown key; did you mean role?",
        ),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, text: str, message: str) -> None:
    """In its own section, or in the one where it belongs."""
    assert refusal(tmp_path, text) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "ATTNSERVE_HTP_PORT",
            "variable ATTNSERVE_HTP_PORT is not a setting; did you mean ATTNSERVE_HTTP_PORT?",
        ),
        ("ATTNSERVE_Q", "variable ATTNSERVE_Q is not a setting"),
    ],
)
def test_an_unknown_variable_names_the_nearest(name: str, message: str) -> None:
    """A misspelt variable is not silently without effect."""
    with pytest.raises(ConfigError) as raised:
        read_config(None, {name: "1"})
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("http_port: 70000", "http_port", "70000"),
        ("grpc_port: -1", "grpc_port", "-1"),
        ("drain_timeout_s: 0", "drain_timeout_s", "0"),
        ("request_timeout_s: .inf", "request_timeout_s", "inf"),
        ("request_timeout_s: .nan", "request_timeout_s", "nan"),
        ("max_request_images: 0", "max_request_images", "0"),
        ("max_request_bytes: many", "max_request_bytes", "'many'"),
        ("batching: {max_queue_delay_ms: -0.1}", "batching.max_queue_delay_ms", "-0.1"),
        ("batching: {max_queue_delay_ms: .inf}", "batching.max_queue_delay_ms", "inf"),
        ("batching: {prefetch_batches: -1}", "batching.prefetch_batches", "-1"),
        ("batching: 3", "batching", "3"),
        ("attempts: {workers: 0}", "attempts.workers", "0"),
        ("attempts: {attempts: 0}", "attempts.attempts", "0"),
        ("attempts: {probe_interval_s: 0}", "attempts.probe_interval_s", "0"),
        ("torchserve: {load_timeout_s: -1}", "torchserve.load_timeout_s", "-1"),
        ("engines: [{address: '', models: [a]}]", "engines.0.address", "''"),
        ("engines: [{address: 'a', models: [a]}]", "engines.0.address", "'a'"),
        ("engines: [{address: 'a:0', models: [a]}]", "engines.0.address", "'a:0'"),
        ("engines: [{address: 'a:1', models: []}]", "engines.0.models", "[]"),
        ("engines: [{address: 'a:1', models: ['a:0']}]", "engines.0.models.0", "['a:0']"),
        ("log_level: loud", "log_level", "'loud'"),
        ("log_format: xml", "log_format", "'xml'"),
        (f"tokens: [{{name: a, role: king, sha256: {DIGEST}}}]", "tokens.0.role", "'king'"),
        ("models: digits_se", "models", "'digits_se'"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named(tmp_path: Path, text: str, key: str, value: str) -> None:
    """Key, rule and value are in the message."""
    message = refusal(tmp_path, text)
    assert (message.partition(": ")[0], message.rpartition(", got ")[2]) == (key, value)


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    """One line each."""
    lines = refusal(tmp_path, "http_port: x\ngrpc_port: y\nbogus_zz: 1").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["http_port", "grpc_port", "bogus_zz"]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org", ""])  # noqa: S104  refused
def test_beyond_loopback_needs_tokens_or_a_word(tmp_path: Path, host: str) -> None:
    """An open port without tokens is refused unless it is asked for by name."""
    text = f"host: '{host}'\n"
    assert "no tokens are set" in refusal(tmp_path, text)
    assert read(tmp_path, text + "allow_unauthenticated: true").host == host
    assert read(tmp_path, text + f"tokens: [{{name: a, sha256: {DIGEST}}}]").host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_open(tmp_path: Path, host: str) -> None:
    """Whoever is on the machine may call."""
    assert read(tmp_path, f"host: '{host}'").tokens == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("grpc_port: 8000", "the ports [8000, 8000, 8002] are not all different"),
        (
            f"tokens: [{{name: a, sha256: {DIGEST}}}, {{name: a, sha256: {DIGEST}}}]",
            "tokens: the sha256 of ['a', 'a'] are not all different",
        ),
        (
            f"tokens: [{{name: a, sha256: {DIGEST}}}, {{name: a, role: admin, sha256: {OTHER_DIGEST}}}]",
            "tokens: those named 'a' must have the same role and max_images_per_s",
        ),
        (
            f"tokens: [{', '.join(f'{{name: a, sha256: {DIGEST[:-1]}{digit}}}' for digit in '012')}]",
            "tokens: 3 have the name 'a', at most 2 may",
        ),
        (
            "engines: [{address: 'a:1', models: [m]}, {address: 'dns:///a:1', models: [n]}]",
            "engines: the addresses ['a:1', 'a:1'] are not all different",
        ),
        (
            "max_request_bytes: 2000\ntorchserve: {max_message_bytes: 1000}",
            "max_request_bytes is 2000, above torchserve.max_message_bytes, 1000",
        ),
        (
            "max_request_bytes: 2000\nmax_inflight_bytes: 3999",
            "max_inflight_bytes is 3999, below 2 x max_request_bytes, 4000",
        ),
        (
            "model_store_watch_s: 2.5\nengines: [{address: 'a:1', models: [m]}]",
            "model_store_watch_s is 2.5, which has no effect on engines that run elsewhere",
        ),
        (
            "keep_versions: 2\nengines: [{address: 'a:1', models: [m]}]",
            "keep_versions is 2, which has no effect on engines that run elsewhere",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """Each rule says which values are in each other's way."""
    assert message in refusal(tmp_path, text)


def test_ports_may_all_be_picked(tmp_path: Path) -> None:
    """0 is not the same port three times."""
    config = read(tmp_path, "http_port: 0\ngrpc_port: 0\nmetrics_port: 0")
    assert config.http_port == config.grpc_port == config.metrics_port == 0


def test_a_file_of_tokens_adds_to_those_of_the_configuration(tmp_path: Path) -> None:
    """Both are in force; the role is a value that can be compared."""
    tokens = tmp_path / "tokens.yaml"
    content = yaml.safe_dump([{"name": "b", "role": "operate", "sha256": OTHER_DIGEST}]).encode()
    tokens.write_bytes(content)
    config = read(tmp_path, f"host: '::'\ntokens: [{{name: a, sha256: {DIGEST}}}]\ntokens_file: {tokens}")
    both = [(token.name, token.kept.role) for token in tokens_in_force(config, content)]
    assert both == [("a", Role.INFER), ("b", Role.OPERATE)]
    from_variable = read_config(None, {"ATTNSERVE_TOKENS_FILE": str(tokens)})
    assert [token.name for token in tokens_in_force(from_variable, content)] == ["b"]


def test_two_tokens_of_one_name_are_in_force_while_one_replaces_the_other(tmp_path: Path) -> None:
    """They allow the same; which may stand in the file, too."""
    one, other = (f"{{name: a, role: operate, sha256: {digest}}}" for digest in (DIGEST, OTHER_DIGEST))
    assert len(read(tmp_path, f"tokens: [{one}, {other}]").tokens) == 2
    (tmp_path / "tokens.yaml").write_text(f"[{other}]")
    config = read(tmp_path, f"tokens: [{one}]\ntokens_file: {tmp_path / 'tokens.yaml'}")
    assert len(tokens_in_force(config, f"[{other}]".encode())) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"{name: a}", "expected a list at the top, got dict"),
        (b"- {name: a", "line 1 is not YAML: expected ',' or '}'"),
        (b"\xff\xfe\xfa", "is not UTF-8"),
        (b"- \x00", "is not YAML"),
        (b"# none\n", "at least 1 item"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Whichever file it is, by its path."""
    tokens = tmp_path / "tokens.yaml"
    if content is not None:
        tokens.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, f"tokens_file: {tokens}")
    assert str(raised.value).startswith(f"{tokens}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "tokens: hunter2",
        "tokens: [hunter2]",
        "tokens: [{name: a, sha256: hunter2}]",
        "tokens: [{name: a, secret: hunter2}]",
        "tokens: [{name: a, sha256: {token: hunter2}}]",
        "tokens: [{name: a, sha256: 'hunter2]",
        "tokens: [{name: a}, : hunter2]",
        "tokens: {hunter: hunter2}\ntokens_file: 5",
        "tokens_file: [hunter2]",
        "tls: {key: [hunter2]}",
        'tls: {certificate: cert.pem, key: "-----BEGIN PRIVATE KEY-----\\nhunter2\\n"}',
    ],
)
def test_a_secret_in_the_wrong_place_is_not_shown(tmp_path: Path, text: str) -> None:
    """Somebody who writes the secret where its digest belongs does not find it in the log."""
    message = refusal(tmp_path, text)
    assert "hunter2" not in message
    assert message


def test_a_list_in_a_variable_that_is_no_yaml_is_named() -> None:
    """By the variable, not by a traceback."""
    with pytest.raises(ConfigError, match="variable ATTNSERVE_MODELS: line 1 is not YAML"):
        read_config(None, {"ATTNSERVE_MODELS": "[digits_se"})


@pytest.mark.parametrize("name", ["digits_se:1", "Digits", "", "a/b"])
def test_a_model_is_named_without_its_version(name: str) -> None:
    """What cannot be a model's name is an error, rather than a model that is never ready."""
    with pytest.raises(ConfigError, match=r"models\.0"):
        read_config(None, {"ATTNSERVE_MODELS": json.dumps([name])})


@pytest.mark.parametrize("character", ["\\0", "\\ud800"])
@pytest.mark.parametrize("key", ["run_dir", "model_store", "audit_file", "tokens_file", "tls.key"])
def test_a_path_that_no_file_can_have(tmp_path: Path, key: str, character: str) -> None:
    """YAML can write what no file system takes; the message names the key."""
    section, _, name = key.rpartition(".")
    value = f'{name}: "run{character}"'
    text = f"{section}: {{{value}, certificate: x}}" if section else value
    assert f"{key}: is no path of a file" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "url", ["http://grafana", "https://grafana.example:3000/d/attnserve?orgId=1", "http://[::1]/"]
)
def test_the_page_links_to_dashboards(url: str) -> None:
    """To an address of the web."""
    assert read_config(None, {"ATTNSERVE_PAGE_GRAFANA_URL": url}).page.grafana_url == url


@pytest.mark.parametrize(
    "url",
    [
        "grafana.example",
        "javascript:alert(1)",
        "http://",
        "https:///d/1",
        "http://user:hunter2@grafana/",
        "ftp://grafana/",
        "http://gra fana/",
        "http://grafana/\t",
        "http://grafana:99999/",
        "//grafana",
        "http://[",
    ],
)
def test_what_the_page_must_not_link_to(url: str) -> None:
    """No script, no password; the value is not shown, since it may hold one."""
    with pytest.raises(ConfigError, match=r"page\.grafana_url: must be http://HOST/PATH") as raised:
        read_config(None, {"ATTNSERVE_PAGE_GRAFANA_URL": url})
    assert "hunter2" not in str(raised.value)


def test_the_tour_shows_its_images_where_no_others_are_set(tmp_path: Path) -> None:
    """On the page, from wherever the gateway was started."""
    config = read_config(None, {})
    assert config.page.samples is None
    assert config.showing(Path("samples")).page.samples == Path("samples").absolute()
    own = read_config(None, {"ATTNSERVE_PAGE_SAMPLES": str(tmp_path)})
    assert own.showing(Path("samples")).page.samples == tmp_path
    assert own.showing(Path("samples")) == own
