"""Write constraints.txt: the versions that this environment runs and that our requirements lead to.

    python book/_tools/pins.py > constraints.txt

A version that Python 3.10 cannot install carries a marker, so that one file serves every Python of the tests.
"""

from __future__ import annotations

from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name


def needed(name: str, extras: tuple[str, ...], seen: set[tuple[str, str]]) -> set[str]:
    """Names of the installed distributions that ``name`` with ``extras`` leads to, itself among them."""
    found = set()
    for extra in ("", *extras):
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found.add(name)
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            found |= needed(canonicalize_name(requirement.name), tuple(requirement.extras), seen)
    return found


def main() -> None:
    for name in sorted(needed("metabook-torch", ("book", "test"), set()) - {"metabook-torch"}):
        found = metadata.distribution(name)
        version = found.version.partition("+")[0]
        old = next(
            (
                minor
                for minor in range(10, 14)
                if f"3.{minor}.30" in SpecifierSet(found.metadata["Requires-Python"] or "")
            ),
            10,
        )
        print(f"{name}=={version}" + (f'; python_version >= "3.{old}"' if old > 10 else ""))


if __name__ == "__main__":
    main()
