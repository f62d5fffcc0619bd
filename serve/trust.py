"""Whom the gateway lets in, and how callers know it: tokens, certificates, and their renewal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry

from serve.certificates import Certificates
from serve.config import ConfigError, tokens_in_force
from serve.core.access import Access, Role, expiries
from serve.experiments.keys import Keys
from serve.ledger.database import Database, LedgerError
from serve.metrics import Metrics
from serve.reloading import Reloader, Source
from serve.sections import TokenConfig
from serve.settings import Config

EXPERIMENT_KEYS = "experiment_keys"


class Trust:
    """What is in force, kept so by `reloader`.

    Attributes:
        access: Who may do what.
        certificates: Of both doors; None without TLS.
        keys: Of experiments; there are none where these are disabled.
        sources: Where all that comes from.
        reloader: Its `load` comes before the first caller.
    """

    def __init__(self, config: Config, metrics: Metrics, on_reload: Callable[[str, str], None]) -> None:
        """Read nothing yet; `on_reload` is that of `Reloader`, for "tokens" and "certificates"."""
        self._config = config
        self._metrics = metrics
        certified = Role[config.tls.client_role.upper()] if config.tls.client_ca else None
        self.keys = Keys()
        self.access = Access(certified=certified)
        self._put_in_force(config.tokens)
        self.certificates = Certificates() if config.tls.certificate else None
        self.sources = tuple(self._sources())
        self.reloader = Reloader(self.sources, config.reload_interval_s, metrics, on_reload)

    def _sources(self) -> Iterable[Source]:
        config, tls = self._config, self._config.tls
        if config.tokens_file:
            yield Source(what="tokens", files=(config.tokens_file,), apply=self._replace_tokens)
        if self.certificates:
            files = tuple(file for file in (tls.certificate, tls.key, tls.client_ca) if file)
            yield Source(what="certificates", files=files, apply=self._replace_certificates)
        if config.experiments.enabled:
            keys = config.experiment_keys_path
            yield Source(what=EXPERIMENT_KEYS, files=(keys,), apply=self._replace_keys)

    def _replace_tokens(self, contents: Sequence[bytes]) -> str:
        (content,) = contents
        self._put_in_force(tokens_in_force(self._config, content))
        return f"tokens of {', '.join(sorted({token.name for token in self.access.tokens}))}"

    def _put_in_force(self, given: Iterable[TokenConfig]) -> None:
        gauge, before = self._metrics.token_expires, expiries(self.access.tokens)
        self.access.tokens = tuple(token.kept for token in given)
        now = expiries(self.access.tokens)
        for name in before.keys() - now.keys():
            gauge.remove(name)
        for name, expires_s in now.items():
            gauge.labels(name).set(expires_s)

    def _replace_keys(self, contents: Sequence[bytes]) -> str:
        (content,) = contents
        self.keys.replace(content, str(self._config.experiment_keys_path))
        return "keys of experiments"

    def _replace_certificates(self, contents: Sequence[bytes]) -> str:
        assert self.certificates is not None  # noqa: S101  the source is there only with them
        now = self.certificates.replace(contents)
        self._metrics.certificate_expires.set(self.certificates.expires_s)
        return now


def check(config: Config) -> None:
    """Read every file that a gateway of this configuration would, and put nothing in force.

    Raises:
        ConfigError: One cannot be used.
    """
    if config.experiments.enabled:
        try:
            Database.connect(config.experiments_url).close()  # which only reads the address
        except LedgerError as error:
            raise ConfigError(f"experiments.store_url: {error.message}") from None
    metrics = Metrics(CollectorRegistry())
    sources = Trust(config, metrics, lambda _what, _reason: None).sources
    # A gateway makes that file itself where none is named.
    named = [one for one in sources if one.what != EXPERIMENT_KEYS or config.experiments.keys_file]
    try:
        Reloader(named, config.reload_interval_s, metrics).load()
    except ValueError as error:
        raise ConfigError(str(error)) from None
