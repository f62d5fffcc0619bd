"""The report on an experiment: health first, then what is known of each arm, and a verdict."""

from serve.core.report.document import Report, look
from serve.core.report.evaluating import evaluate
from serve.core.report.rows import Guard, GuardrailRow

__all__ = ["Guard", "GuardrailRow", "Report", "evaluate", "look"]
