"""The project's checks: ``nox`` runs all but ``bench``, ``nox -s tests -- -k zip`` some tests."""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "layers", "types", "docs", "examples", "pure", "tests"]
nox.options.error_on_external_run = True

EVERYTHING = ".[codecs,fast,cli,test]"


@nox.session
def tests(session: nox.Session) -> None:
    """All tests; arguments after ``--`` go to pytest."""
    session.install(EVERYTHING)
    session.run("pytest", *session.posargs)


@nox.session
def pure(session: nox.Session) -> None:
    """What has compiled code, without it: as where no compiler was."""
    session.install(EVERYTHING)
    session.run(
        *("pytest", "tests/dicom", "tests/formats/test_scan.py", "tests/formats/test_arrivals.py"),
        *("tests/test_native.py", "tests/test_open.py", "tests/test_open_errors.py"),
        *("tests/transports/test_zip.py", "tests/transports/test_zip_readers.py"),
        *("tests/transports/test_xnat_unzip.py", "tests/transports/test_xnat_read.py"),
        *session.posargs,
        env={"SERIESIO_PURE": "1"},
    )


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, on the library, its tests and its examples."""
    session.install(EVERYTHING, "mypy", "types-aiofiles", "nox")
    session.run("mypy")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: rules and layout."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def layers(session: nox.Session) -> None:
    """import-linter: which module may import which."""
    session.install(".", "import-linter")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; every warning is an error."""
    session.install(".[cli,docs]")
    session.run(
        *("sphinx-build", "--fail-on-warning", "--keep-going", "--fresh-env"),
        *("--builder", "html", "docs", "docs/_build/html"),
    )


@nox.session
def examples(session: nox.Session) -> None:
    """Run the example scripts as a user would."""
    session.install(EVERYTHING)
    session.run("pytest", "tests/test_examples.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Compare speed and memory with other libraries; ``-- --write-docs`` renews the page."""
    session.install(".[codecs,fast,cli,bench]")
    session.run("python", "-m", "tests.benchmarks", *session.posargs)
