"""Reading a design from a document; what is wrong with it is said by field, value and rule."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from serve.core.errors import InvalidRequestError
from serve.core.experiment import Arm, Design, Guardrail, KeepImages, Override

Path = tuple[int | str, ...]

_PARTS: Mapping[str, type[BaseModel]] = {
    "arms": Arm,
    "guardrails": Guardrail,
    "keep_images": KeepImages,
    "overrides": Override,
}
# What pydantic calls the two choices of a field that is a name or empty; the name's rule says enough.
_CHOICES = ("constrained-str", "literal['']")
# What a message shows at most: characters of a value, characters of a key, broken rules.
_LONGEST_VALUE = 200
_LONGEST_KEY = 80
_MOST_RULES = 20


def design_of(document: object) -> Design:
    """Read a design.

    Args:
        document: Plain values, as JSON or YAML give them.

    Raises:
        InvalidRequestError: It breaks rules; the message names every field, its value and the rule.
    """
    if not isinstance(document, Mapping):
        raise InvalidRequestError(
            f"experiment: is {_shown(document)}, must be an object with name, mode and arms"
        )
    try:
        return Design.model_validate(document)
    except ValidationError as error:
        raise InvalidRequestError("; ".join(_explained(error.errors(include_url=False)))) from None


def _explained(details: Sequence[ErrorDetails]) -> list[str]:
    details = [detail for detail in details if detail["loc"][1:] != _CHOICES[1:]]
    paths = {_path(detail) for detail in details}
    # A list whose items are wrong is said to be too short as well, because they do not count.
    outer = {other[:end] for other in paths for end in range(1, len(other))}
    found = [_explain(detail) for detail in details if _path(detail) not in outer]
    more = len(found) - _MOST_RULES
    return [*found[:_MOST_RULES], f"and {more} more"] if more > 0 else found


def _explain(detail: ErrorDetails) -> str:
    path = _path(detail)
    where = ".".join(str(key)[:_LONGEST_KEY] for key in path)
    rule = detail["msg"].removeprefix("Value error, ")
    match detail["type"]:
        case "missing":
            return f"{where}: is missing"
        case "extra_forbidden":
            return f"{where}: is not known{_nearest(path)}"
        case "value_error":  # of a whole part; it names fields and values itself
            return f"{where}: {rule}" if where else rule
        case _:
            return f"{where}: is {_shown(detail['input'])}. {rule}"


def _path(detail: ErrorDetails) -> Path:
    return (*detail["loc"][:1], *(key for key in detail["loc"][1:] if key not in _CHOICES))


def _nearest(path: Path) -> str:
    part = Design if len(path) == 1 else _PARTS[str(path[0])]
    close = difflib.get_close_matches(str(path[-1]), part.model_fields, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(part.model_fields)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
