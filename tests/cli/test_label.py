"""``chordfast label``: arguments, exit codes, and what is said."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from chordfast.annotations import read_parquet
from chordfast.cli import cli
from chordfast.cli.label import command_words
from chordfast.cli.label import label as label_command
from chordfast.labelling import recognise
from chordfast.labelling.manifest import NAME, read
from chordfast.labelling.shards import Shard
from chordfast.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "labelling"))
from labelling_fakes import TemplateRecogniser


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognise, "_load", lambda *_: TemplateRecogniser())


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Two triads of 4 s: C major, then G major below a subfolder; and a text with the name of a song."""
    for name, root in (("c.wav", 0), ("sub/g.flac", 7)):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        t = np.arange(4 * 22050) / 22050
        notes = [261.6256 * 2 ** ((root + step) / 12) for step in (0, 4, 7)]
        soundfile.write(path, 0.2 * sum(np.sin(2 * np.pi * f * t) for f in notes), 22050)
    (tmp_path / "music" / "text.mp3").write_text("this is no music")
    return tmp_path / "music"


def invoke(*arguments: Any, **settings: Any) -> Result:
    return CliRunner().invoke(cli, ["label", *map(str, arguments)], **settings)


def test_a_folder(music: Path, tmp_path: Path) -> None:
    result = invoke(music, "-o", tmp_path / "out", "--jobs", 1, "--format", "lab", "--format", "json")
    assert result.exit_code == 1  # text.mp3
    assert result.stdout == ""
    assert "2 ok, 1 unreadable" in result.stderr
    assert "x real time" in result.stderr
    assert "text.mp3: unreadable" in result.stderr
    assert "--retry-failed tries again" in result.stderr
    assert (tmp_path / "out/c.lab").read_text() == "0.000000\t4.000000\tC:maj\n"
    assert (tmp_path / "out/sub/g.lab").read_text() == "0.000000\t4.000000\tG:maj\n"
    meta = json.loads((tmp_path / "out/sub/g.json").read_text())["meta"]
    assert (meta["model"], meta["outcome"], meta["file"]) == ("templates", "ok", "g.flac")
    assert len(read(tmp_path / "out" / NAME)) == 3


def test_exit_code_is_0_when_all_is_fine(music: Path, tmp_path: Path) -> None:
    (music / "text.mp3").unlink()
    result = invoke(music, "-o", tmp_path / "out", "-j", 1, "-q")
    assert (result.exit_code, result.output) == (0, "")
    result = invoke(music, "-o", tmp_path / "out", "-j", 1)
    assert (result.exit_code, result.stderr) == (0, "outcomes  2 ok (2 from earlier runs)\n")


def test_one_file_to_stdout(music: Path) -> None:
    result = invoke(music / "c.wav", "-o", "-")
    assert (result.exit_code, result.stdout) == (0, "0.000000\t4.000000\tC:maj\n")
    segments = json.loads(invoke(music / "c.wav", "-o", "-", "--format", "json").stdout)["segments"]
    assert len(segments) == 1
    assert invoke(music / "c.wav", "-o", "-", "-f", "csv").stdout.count("C:maj") == 1


def test_one_file_to_a_file(music: Path, tmp_path: Path) -> None:
    assert invoke(music / "c.wav", "-o", tmp_path / "mine.lab").exit_code == 0
    assert (tmp_path / "mine.lab").read_text() == "0.000000\t4.000000\tC:maj\n"
    assert not (tmp_path / NAME).exists()
    result = invoke(music / "c.wav", "-o", tmp_path / "none" / "mine.lab")
    assert result.exit_code == 1
    assert "cannot write" in result.stderr


def test_one_file_to_a_folder(music: Path, tmp_path: Path) -> None:
    assert invoke(music / "c.wav", "-o", tmp_path / "out", "-q").exit_code == 0
    assert (tmp_path / "out" / "c.lab").exists()


def test_a_list_on_stdin(music: Path, tmp_path: Path) -> None:
    listed = f"{music / 'c.wav'}\n{music / 'sub' / 'g.flac'}\n{music / 'gone.wav'}\n"
    result = invoke("-", "-o", tmp_path / "out", "-j", 1, input=listed)
    assert result.exit_code == 1
    assert "2 ok, 1 unreadable" in result.stderr
    assert (tmp_path / "out/sub/g.lab").exists()
    assert read(tmp_path / "out" / NAME)["gone.wav"].outcome == "unreadable"


def test_dry_run(music: Path, tmp_path: Path) -> None:
    result = invoke(music, "-o", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout == "c.wav: new\nsub/g.flac: new\ntext.mp3: new\n"
    assert result.stderr == "3 to label (3 new), 0 done before\n"
    assert not (tmp_path / "out").exists()


def test_dry_run_names_what_is_kept(music: Path, tmp_path: Path) -> None:
    invoke(music, "-o", tmp_path / "out", "-q", "-j", 1)
    (tmp_path / "out/c.lab").unlink()
    result = invoke(music, "-o", tmp_path / "out", "--dry-run", "-v", "--retry-failed")
    assert result.stdout == (
        "c.wav: label file missing: c.lab\nsub/g.flac: kept, ok\ntext.mp3: failed before: unreadable\n"
    )
    assert result.stderr == "2 to label (1 label file missing, 1 failed before), 1 done before\n"


def test_shards_and_status(music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (music / "text.mp3").unlink()
    mine = [index for index in range(2) if Shard(index, 2).holds("c.wav")]
    common = ("music", "-o", "out", "-q", "-j", 1, "--timeout", 60.5, "--num-shards", 2)
    assert invoke(*common, "--shard", mine[0]).exit_code == 0
    both = Shard(mine[0], 2).holds("sub/g.flac")
    result = invoke("--status", "-o", "out")
    assert result.exit_code == (0 if both else 1)
    assert f"done      {2 if both else 1} files, 0.00 h of audio" in result.stdout
    found = json.loads(invoke("--status", "-o", "out", "--json").stdout)
    assert (found["num_shards"], found["missing"], found["array"]) == (
        2,
        0 if both else 1,
        "" if both else f"{1 - mine[0]}",
    )
    words = f"-o {tmp_path}/out --jobs 1 --timeout 60.5 --num-shards 2 --quiet {tmp_path}/music"
    assert found["command"] == f'chordfast label {words} --shard "$SLURM_ARRAY_TASK_ID"'.replace("-o ", "--output ")
    again = found["command"].replace('"$SLURM_ARRAY_TASK_ID"', str(1 - mine[0]))
    assert invoke(*shlex.split(again)[2:]).exit_code == 0
    assert invoke("--status", "-o", "out", "music/sub").exit_code == 0
    assert invoke("--status", "-o", "out", "-", input="music/c.wav\n").stdout.startswith("done      1 files")
    assert (tmp_path / "out/c.lab").exists()
    assert (tmp_path / "out/sub/g.lab").exists()


def test_progress_as_asked(music: Path, tmp_path: Path) -> None:
    result = invoke(music, "-o", tmp_path / "out", "-j", 1, "--progress", "json")
    events = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    assert (events[-1]["event"], events[-1]["files"], events[-1]["failed"]) == ("end", 3, 1)
    result = invoke(music, "-o", tmp_path / "out", "-j", 1, "--progress", "none", "--force")
    assert not [line for line in result.stderr.splitlines() if line.startswith("{")]
    assert "2 ok, 1 unreadable" in result.stderr


def test_profile(music: Path, tmp_path: Path) -> None:
    result = invoke(music, "-o", tmp_path / "out", "-j", 1, "--profile")
    for words in ("audio decoding", "mix-down and resampling", "constant-Q transform", "model", "rest"):
        assert words in result.stderr


def test_decoder_options_reach_the_decoding(music: Path, tmp_path: Path) -> None:
    hashes = set()
    for extra in ([], ["--decoder", "argmax"], ["--min-duration", "0.5"]):
        invoke(music / "c.wav", "-o", tmp_path / "out", "-q", *extra)
        hashes.add(read(tmp_path / "out" / NAME)["c.wav"].options_hash)
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.mp3", "-o", "out"], "no such file or folder: nowhere.mp3"),
        (["nowhere.mp3", "-o", "-"], "no such file or folder: nowhere.mp3"),
        ([".", "-o", "-"], "-o - takes one recording and one format"),
        ([".", "-o", "out", "--format", "mp4"], "unknown format 'mp4'; choose from lab, json, jams, csv, audacity"),
        ([".", "-o", "out", "--jobs", "0"], "0 is not in the range"),
        ([".", "-o", "out", "--timeout", "0"], "0.0 is not in the range"),
        (["."], "Missing option"),
        ([], "Missing option"),
        (["-o", "out"], "Missing argument 'INPUT...'"),
        (
            [".", "-o", "out", "--shard", "3"],
            "--shard needs --num-shards too: shard I of N is",
        ),
        (
            [".", "-o", "out", "--num-shards", "4", "--shard", "4"],
            "--shard 4 is not one of 4",
        ),
        ([".", "-o", "out", "--json"], "--json goes with --status"),
        ([".", "-o", "out", "-v"], "--verbose goes with --dry-run or --status"),
        (["x.wav", "-o", "x.lab", "--store", "s"], "--store goes with an output folder; x.lab names one label file"),
        (["x.wav", "-o", "-", "--precision", "bf16"], "--precision goes with an output folder"),
        ([".", "-o", "out", "--device", "tpu"], "unknown device 'tpu'; choose cpu, cuda or cuda:N"),
        ([".", "-o", "out", "--precision", "fp8"], "'fp8' is not one of 'fp32', 'bf16'"),
        ([".", "-o", "out", "--store-posteriors", "most"], "'most' is not one of 'topk', "),
        ([".", "-o", "out", "--progress", "loud"], "'loud' is not one of 'auto', 'rich', 'json', 'plain', 'none'"),
        (["-o", "out", "--status"], "out holds no run.json"),
        (["-o", "out", "--status", "--shard", "1"], "--status looks at all shards"),
    ],
)
def test_usage_errors_are_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_output_that_is_a_file(music: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    result = invoke(music, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: cannot write to the output folder {tmp_path / 'out'}: ")
    assert result.stderr.count("\n") == 1


def test_help_needs_neither_torch_nor_numpy() -> None:
    program = (
        "import sys; from chordfast.cli import cli\n"
        "try: cli(['label', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--retry-failed" in done.stdout


def test_binary_formats(music: Path, tmp_path: Path) -> None:
    (music / "text.mp3").unlink()
    assert invoke(music, "-o", tmp_path / "out", "-j", 1, "-q", "-f", "midi").exit_code == 0
    assert (tmp_path / "out/c.mid").read_bytes()[:4] == b"MThd"
    assert invoke(music / "c.wav", "-o", tmp_path / "c.mid", "-f", "midi").exit_code == 0
    assert (tmp_path / "c.mid").read_bytes() == (tmp_path / "out/c.mid").read_bytes()
    refused = invoke(music / "c.wav", "-o", "-", "-f", "midi")
    assert (refused.exit_code, refused.stderr) == (2, "Error: The format 'midi' is not text; write it to a file.\n")


def test_parquet(music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        result = invoke(music, "-o", tmp_path / "out", "-f", "parquet")
    assert (result.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert "pip install 'chordfast[parquet]'" in result.stderr
    pytest.importorskip("pyarrow")
    assert invoke(music / "sub", "-o", tmp_path / "out", "-j", 1, "-q", "-f", "parquet").exit_code == 0
    assert read_parquet(tmp_path / "out/g.parquet")["g"].labels == ["G:maj"]


def test_shifted_versions(music: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("python_stretch")
    (music / "text.mp3").unlink()
    out, store, split = tmp_path / "out", tmp_path / "store", tmp_path / "split.json"
    split.write_text('{"train": ["sub/g"], "val": ["c"]}')
    arguments = (music, "-o", out, "-j", 1, "--store", store, "--pitch-shift", "-1..1", "--shift-only", split)
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert "outcomes  4 ok (2 pitch-shifted)" in result.stderr and "pitch shifting" in result.stderr
    assert {row.id for row in Store(store).rows} == {"c.wav", "sub/g.flac", "sub/g.flac#-1", "sub/g.flac#+1"}
    assert invoke(*arguments).stderr == "outcomes  4 ok (2 pitch-shifted, 4 from earlier runs)\n"
    shown = invoke("--status", "-o", out)
    assert shown.stdout.startswith("done      4 files, 2 of them pitch-shifted, ")
    words = json.loads((out / "run.json").read_text())["command"]
    assert shlex.join(words).endswith(f"--pitch-shift -1..1 --shift-only {split} {music}")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--pitch-shift", "-5..6"], "--pitch-shift makes songs to train on; name the --store that they go into"),
        (["--pitch-shift", "many", "--store", "s"], "'many' is no pitch shift; give semitones from -12 to 12"),
        (["--pitch-shift", "-13..2", "--store", "s"], "'-13..2' is no pitch shift"),
        (["--shift-only", "none.json"], "none.json cannot be read"),
    ],
)
def test_wrong_shifts(music: Path, tmp_path: Path, given: list[str], said: str) -> None:
    result = invoke(music, "-o", tmp_path / "out", *given)
    assert (result.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert said in result.stderr and result.stderr.count("\n") == 1
    alone = invoke(music / "c.wav", "-o", "-", "--pitch-shift", "1")
    assert "--pitch-shift goes with an output folder" in alone.stderr


def test_words_of_a_command_name_checkpoints_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.pt", "net@2.pt"):
        Path(name).touch()
    for given, wanted in {
        "net.pt": f"{tmp_path}/net.pt",
        "net.pt@0.5": f"{tmp_path}/net.pt@0.5",
        "net@2.pt": f"{tmp_path}/net@2.pt",
        "net@2.pt@0.5": f"{tmp_path}/net@2.pt@0.5",
        "btc@0.5": "btc@0.5",
        "btc": "btc",
    }.items():
        context = label_command.make_context("label", ["x.wav", "-o", "out", "--model", given])
        words = command_words(context)
        assert words[words.index("--model") + 1] == wanted
