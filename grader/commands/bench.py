"""`nox -s bench -- SECTION`: measurements that README quotes. A section is a module with a main(argv)."""

import argparse
import importlib
import sys

SECTIONS = {"claims": "grader.bench.claims", "quality": "grader.bench.quality"}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__.splitlines()[0])
    parser.add_argument("section", choices=SECTIONS)
    options, rest = parser.parse_known_args(argv)
    return importlib.import_module(SECTIONS[options.section]).main(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
