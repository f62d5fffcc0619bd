"""Writes the rules as plain files, for promtool and for a Prometheus without the operator.

`python deploy/monitoring/rules_of.py FOLDER` takes what is in rules/, objects that the operator reads, and
writes of each the part that Prometheus reads into a file of the same name.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

RULES = Path(__file__).resolve().parent / "rules"


def write_rules(folder: Path) -> list[Path]:
    """Write the rules of every PrometheusRule into a folder, which is made; gives the files.

    Raises:
        ValueError: A file in rules/ holds something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(source, folder / source.name) for source in sorted(RULES.glob("*.yaml"))]


def _write(source: Path, target: Path) -> Path:
    manifest = yaml.safe_load(source.read_text(encoding="utf-8"))
    if not isinstance(manifest, dict) or manifest.get("kind") != "PrometheusRule":
        raise ValueError(f"{source}: must hold one object of kind PrometheusRule")
    target.write_text(yaml.safe_dump(manifest["spec"], sort_keys=False, width=1000), encoding="utf-8")
    return target


def main() -> int:
    """Read the one argument, a folder."""
    if len(sys.argv) != 2:  # noqa: PLR2004  the program's name, and the folder
        print("usage: rules_of.py FOLDER", file=sys.stderr)  # noqa: T201  a program's answer
        return 2
    for file in write_rules(Path(sys.argv[1])):
        print(file)  # noqa: T201  a program's answer
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
