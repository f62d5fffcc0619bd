"""The cluster's DNS, as far as headless Services go: a name stands for the addresses of all ready pods."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.fleet.lan import Host
from tests.programs import find_program

# As short as dnsmasq counts. CoreDNS says 5 s, and kubeadm's configuration of it 30 s.
TTL_S = 1


class Names:
    """A dnsmasq that knows these names and no others."""

    def __init__(self, folder: Path) -> None:
        """Know none yet."""
        self._file = folder / "hosts"
        self._file.write_text("")
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def serve(self, node: Host) -> Iterator[None]:
        """Answer on a host's address."""
        program = find_program("dnsmasq")
        assert program is not None
        options = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--domain-needed", "--user=root"]
        options += ["--log-facility=-", "--pid-file=", "--bind-interfaces", f"--local-ttl={TTL_S}"]
        options += [f"--listen-address={node.address}", f"--addn-hosts={self._file}"]
        with node.entered():
            self._process = subprocess.Popen([program, *options], stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            self._process.kill()
            self._process.wait(10)

    def point(self, names: Mapping[str, Sequence[str]]) -> None:
        """From now on these are all names, with their addresses."""
        lines = [f"{address} {name}" for name, addresses in names.items() for address in addresses]
        fresh = self._file.with_suffix(".new")
        fresh.write_text("".join(f"{line}\n" for line in lines))
        fresh.replace(self._file)
        assert self._process is not None
        assert self._process.poll() is None, "the name server has ended"
        self._process.send_signal(signal.SIGHUP)
