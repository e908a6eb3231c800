"""The command line as a program of its own: exit status, standard error, closed pipes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = "import metabook.cli, sys; sys.exit(metabook.cli.main())"  # what the installed command does


@pytest.mark.parametrize("program", [["-m", "metabook"], ["-c", SCRIPT]], ids=["module", "script"])
def test_as_a_program_errors_are_one_line_and_status_2(program, tmp_path):
    result = subprocess.run(
        [sys.executable, *program, "train", "mamal", "--tasks", "glyphs"], capture_output=True, text=True, cwd=tmp_path
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("metabook: error: system: 'mamal' given") and "did you mean maml?" in result.stderr
    assert result.stderr.count("\n") == 1 and not any(tmp_path.iterdir())


def test_output_into_a_closed_pipe_does_not_crash():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        result = subprocess.run(
            [sys.executable, "-m", "metabook", "systems"], stdout=pipe, stderr=subprocess.PIPE, text=True
        )
    assert (result.returncode, result.stderr) == (0, "")
