"""``chordfast convert``: one file, trees, tables, dialects, mending, exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chordfast.annotations import FORMATS, parquet, read, read_lab
from chordfast.cli import cli

LAB = "0\t1.5\tN\n1.5\t4\tBb:min7/b3\n"


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["convert", *map(str, arguments)])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.lab").write_text(LAB)
    (folder / "sub/b.lab").write_text(LAB.replace("Bb", "C"))
    (folder / "readme.pdf").write_text("")
    (folder / ".hidden.lab").write_text("nonsense")
    return folder


@pytest.mark.parametrize("name", [*FORMATS, "midi"])
def test_one_file(tree: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "out" / f"song{FORMATS.get(name, '.mid')}"
    result = invoke(tree / "a.lab", target)
    assert result.exit_code == 0, result.stderr
    assert result.output == ""
    assert read(target).labels == ["N", "Bb:min7/b3"]
    back = invoke(target, tmp_path / "back.lab")
    assert back.exit_code == 0
    assert read_lab(tmp_path / "back.lab").ends.tolist() == pytest.approx([1.5, 4.0], abs=3e-4)


def test_a_tree(tree: Path, tmp_path: Path) -> None:
    result = invoke(tree, tmp_path / "out", "--to", "jams")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "2 converted, 0 failed\n"
    found = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*"))
    assert found == ["a.jams", "sub/b.jams"]
    assert read(tmp_path / "out/sub/b.jams").labels == ["N", "C:min7/b3"]


def test_into_the_same_tree(tree: Path) -> None:
    assert invoke(tree, tree, "--to", "csv").exit_code == 0
    assert (tree / "sub/b.csv").exists() and (tree / "sub/b.lab").exists()
    clash = invoke(tree, tree, "--to", "svl")  # .lab and .csv now share their names
    assert clash.exit_code == 2 and "would both become" in clash.stderr
    assert invoke(tree, tree, "--from", "csv", "--to", "svl").exit_code == 0


@pytest.mark.parametrize(
    ("dialect", "label"), [("lead-sheet", "Bbm7/Db"), ("chordmini", "A#:min7/C#"), ("majmin", "A#:min")]
)
def test_dialects(tree: Path, tmp_path: Path, dialect: str, label: str) -> None:
    assert invoke(tree / "a.lab", tmp_path / "a.csv", "--dialect", dialect).exit_code == 0
    assert read(tmp_path / "a.csv").labels[1] == label
    assert invoke(tmp_path / "a.csv", tmp_path / "b.lab", "--dialect", "harte").exit_code == 0


def test_mending_and_strict(tree: Path, tmp_path: Path) -> None:
    (tree / "a.lab").write_text("0 1 C\n2 4 G\n3 5 D\n")
    result = invoke(tree / "a.lab", tmp_path / "a.lab")
    assert result.exit_code == 0
    assert [line.split("a.lab: ")[1] for line in result.stderr.splitlines()] == [
        "overlap from 3 to 4 s; the later segment wins",
        "gap from 1 to 2 s; filled with N",
    ]
    assert list(read_lab(tmp_path / "a.lab")) == [(0, 1, "C"), (1, 2, "N"), (2, 3, "G"), (3, 5, "D")]
    strict = invoke(tree / "a.lab", tmp_path / "b.lab", "--strict")
    assert strict.exit_code == 1 and "overlap from 3 to 4 s" in strict.stderr
    assert not (tmp_path / "b.lab").exists()


def test_bad_files_are_named_and_the_others_done(tree: Path, tmp_path: Path) -> None:
    (tree / "c.lab").write_text("0 1 C\n1 x G\n")
    (tree / "d.lab").write_text("0 1 H\n")
    result = invoke(tree, tmp_path / "out", "--to", "lab", "--dialect", "harte")
    assert result.exit_code == 1
    assert "c.lab, line 2: " in result.stderr and "d.lab: " in result.stderr
    assert result.stderr.splitlines()[-1] == "2 converted, 2 failed"
    assert (tmp_path / "out/sub/b.lab").exists() and not (tmp_path / "out/c.lab").exists()


def test_usage(tree: Path, tmp_path: Path) -> None:
    for arguments, words in (
        ((tree, tmp_path / "out"), "name the format of its copies with --to"),
        ((tree / "a.lab", tmp_path), "name the format with --to"),
        ((tree / "a.lab", tmp_path / "a.pdf"), "of no known format"),
        ((tree / "a.lab", tmp_path / "a.lab", "--to", "pdf"), "unknown format 'pdf'"),
        ((tree / "a.lab", tmp_path / "a.lab", "--dialect", "nashville"), "unknown chord dialect"),
        ((tree / "none.lab", tmp_path / "a.lab"), "no such file or folder"),
        ((tree, tmp_path / "out", "--from", "svl", "--to", "lab"), "there are no label files (.svl)"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2, result.output
        assert words in result.stderr
    assert invoke(tree / "a.lab", tmp_path, "--to", "svl").exit_code == 0
    assert (tmp_path / "a.svl").exists()


def test_tables(tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table = tmp_path / "all.parquet"
    result = invoke(tree, table)
    assert result.exit_code == 0 and result.stderr == f"2 songs in {table}\n"
    assert invoke(table, tmp_path / "back", "--dialect", "lead-sheet").exit_code == 0
    assert read_lab(tmp_path / "back/sub/b.lab").labels == ["N.C.", "Cm7/Eb"]
    table.write_bytes(parquet({"../out": read_lab(tree / "a.lab")}))
    escape = invoke(table, tmp_path / "back")
    assert escape.exit_code == 1 and "leads out of" in escape.stderr
    assert not (tmp_path / "out.lab").exists()
