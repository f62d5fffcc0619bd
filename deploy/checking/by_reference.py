"""The Secrets that pods refer to and that stand in no file here: whoever runs the cluster makes them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A Secret by reference.

    Attributes:
        holds: What it is for, and how its content is made.
        keys: Each key that must be in it -> an example of the right form.
    """

    holds: str
    keys: Mapping[str, str]


SECRETS: Mapping[str, Secret] = {
    "gateway-tokens": Secret(
        holds="who may call the gateway: a list of what `attnserve token NAME` prints",
        keys={"tokens.yaml": f'[{{name: example, role: infer, sha256: "{"0" * 64}"}}]'},
    ),
    "gateway-store": Secret(
        holds="the database of experiments, as PostgreSQL's operators write it",
        keys={"uri": "postgresql://attnserve:password@database:5432/attnserve"},
    ),
    "gateway-experiment-keys": Secret(
        holds="the keys of assignment and of feedback tokens, the same for every gateway",
        keys={"keys.yaml": "{unit_key: example, token_keys: [example]}"},
    ),
    "gateway-tls": Secret(
        holds="the certificate of the gateway's own ports, as cert-manager writes it",
        keys={"tls.crt": "PEM", "tls.key": "PEM", "ca.crt": "PEM"},
    ),
    "experiment-token": Secret(
        holds="a token, role operate, with which the Job of an experiment creates it",
        keys={"token": "example"},
    ),
    "loadtest-token": Secret(
        holds="a token with which the load test calls the gateway",
        keys={"token": "example"},
    ),
}
