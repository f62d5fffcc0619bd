"""What README.md says of the settings is what serve/settings.py says."""

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from serve.settings import Config

README = Path(__file__).parent.parent / "README.md"


def _fields(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, tuple):
        return " ".join(f"`{part}`" for part in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _table() -> str:
    rows = [f"| `{name}` | {_default(field)} | {field.description} |" for name, field in _fields(Config)]
    return "\n".join(["| key | default | what it is |", "|---|---|---|", *rows])


def test_every_setting_stands_in_the_readme_as_it_is_declared() -> None:
    """The table between the markers is the one that the configuration itself gives; else it is printed."""
    text = README.read_text(encoding="utf-8")
    found = re.search(r"<!-- settings -->\n(.*?)\n<!-- /settings -->", text, re.DOTALL)
    assert found is not None
    assert found.group(1) == _table(), f"put this between the markers in README.md:\n{_table()}"
