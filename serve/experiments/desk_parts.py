"""What the desk and the steward need of the house."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from serve.audit import AuditLog
from serve.experiments.keys import Keys
from serve.experiments.plans import Plans
from serve.experiments.threads import LedgerThreads
from serve.ledger.ledger import Ledger
from serve.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """The objects that they tie together.

    Attributes:
        repository: Knows the models, and so the labels.
        threads: In which the ledger is asked.
        readers: The same for reports and exports: however many are asked for, changes are seen in time.
        plans: What is in force here.
        poll_interval_s: How often gateways look for changes.
        token_life_s: How long after an answer its true label may be told.
        clock: Gives Unix time.
    """

    repository: Repository
    ledger: Ledger
    threads: LedgerThreads
    readers: LedgerThreads
    plans: Plans
    keys: Keys
    audit: AuditLog
    poll_interval_s: float
    token_life_s: float
    clock: Callable[[], float] = time.time
