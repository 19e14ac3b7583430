"""``chordfast slurm label``: the script says what was asked, is valid shell, and does the work."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from click.testing import CliRunner, Result

import chordfast
from chordfast.cli import cli
from chordfast.cli.slurm import slurm
from chordfast.labelling.manifest import files, read_all
from chordfast.labelling.shards import Shard
from chordfast.models import BTC

DEMO = Path(chordfast.__file__).parent / "data" / "demo.ogg"


@pytest.fixture
def music(tmp_path: Path) -> Path:
    folder = tmp_path / "my music's"
    folder.mkdir()
    (folder / "a.wav").write_text("")
    return folder


def invoke(*arguments: Any, **settings: Any) -> Result:
    return CliRunner().invoke(cli, ["slurm", "label", *map(str, arguments)], **settings)


def test_the_text(music: Path, tmp_path: Path) -> None:
    out = tmp_path / "the out"
    result = invoke(
        music, "-o", out, "--num-shards", 64, "--cpus", 8, "--mem", "32G", "--time", "1-12", "--partition", "gpu,long",
        "--account", "me", "--at-once", 10, "--sbatch", "--constraint=a100", "--setup", "module load ffmpeg",
        "--program", "chordfast", "--format", "json", "-f", "lab", "--timeout", "90", "--retry-failed",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    script = out / "label.sbatch"
    assert result.stdout == f"sbatch {shlex.quote(str(script))}\n"
    assert f"chordfast label --status -o {shlex.quote(str(out))} says how far they are" in result.stderr
    assert result.stderr.startswith("submits 64 tasks for 1 recordings; ")
    assert script.read_text().splitlines() == [
        "#!/bin/bash",
        "#SBATCH --job-name=chordfast",
        "#SBATCH --array=0-63%10",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=32G",
        "#SBATCH --time=1-12",
        "#SBATCH --partition=gpu,long",
        "#SBATCH --account=me",
        f'#SBATCH --output="{out}/logs/%A_%a.log"',
        "#SBATCH --open-mode=append",
        "#SBATCH --signal=B:TERM@120",
        "#SBATCH --requeue",
        "#SBATCH --constraint=a100",
        "# Every task labels one shard. SIGTERM two minutes before the end lets it finish what it has begun;",
        "# sent again (sbatch --array=... with the list from chordfast label --status) it goes on from there.",
        "set -euo pipefail",
        "module load ffmpeg",
        f"exec chordfast label --jobs=8 --threads=8 --output {shlex.quote(str(out))} --format json --format lab "
        f'--timeout 90.0 --num-shards 64 --retry-failed {shlex.quote(str(music))} --shard "$SLURM_ARRAY_TASK_ID"',
    ]
    assert (out / "logs").is_dir()
    subprocess.run(["bash", "-n", script], check=True)


def test_gpus_are_asked_for_and_used(music: Path, tmp_path: Path) -> None:
    arguments = (music, "-o", tmp_path / "out", "--num-shards", 4, "--gpus", 2, "--precision", "bf16", "--threads", 3)
    assert invoke(*arguments, "--store", tmp_path / "store").exit_code == 0
    text = (tmp_path / "out/label.sbatch").read_text()
    assert "#SBATCH --gres=gpu:2\n" in text
    for words in ("--gpus 2", "--precision bf16", f"--store {tmp_path}/store", "--jobs=4", "--threads 3"):
        assert words in text
    assert "--threads=" not in text


def test_names_with_everything_in_them(tmp_path: Path) -> None:
    """The script's last line, taken apart by bash, is the command that was asked for."""
    folder = tmp_path / os.fsdecode(b"a 'b' \"$c\" `d`\n\xff;e")
    folder.mkdir()
    (folder / "a.wav").write_text("")
    out = tmp_path / "100% out"
    result = invoke(folder, "-o", out, "--num-shards", 2, "--srun", "--root", tmp_path)
    assert result.exit_code == 0, result.output
    text = (out / "label.sbatch").read_bytes()
    assert b'/100%% out/logs/%A_%a.log"' in text
    body = text.replace(b"exec srun", b"show").replace(b"set -euo pipefail", b'show() { printf "%s\\0" "$@"; }')
    done = subprocess.run(["bash", "-c", body], env={"SLURM_ARRAY_TASK_ID": "1"}, capture_output=True, check=True)
    assert [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]] == [
        sys.executable, "-m", "chordfast", "label", "--jobs=4", "--threads=4", "--output", str(out),
        "--root", str(tmp_path), "--num-shards", "2", str(folder), "--shard", "1",
    ]  # fmt: skip


def test_an_existing_script_is_spared(music: Path, tmp_path: Path) -> None:
    arguments = (music, "-o", tmp_path / "out", "--num-shards", 2)
    assert invoke(*arguments).exit_code == 0
    again = invoke(*arguments)
    assert again.exit_code == 2
    assert re.fullmatch(r"Error: .*/label.sbatch exists; --force overwrites it, --script FILE .*\n", again.stderr)
    assert invoke(*arguments, "--script", tmp_path / "jobs" / "mine.sh").exit_code == 0
    assert (tmp_path / "jobs" / "mine.sh").read_text() == (tmp_path / "out/label.sbatch").read_text()
    assert invoke(*arguments, "--cpus", 2, "--force").exit_code == 0
    assert "--force" not in (tmp_path / "out/label.sbatch").read_text()
    assert "--cpus-per-task=2" in (tmp_path / "out/label.sbatch").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say with --num-shards how many tasks"),
        (("--num-shards", 0), "say with --num-shards how many tasks"),
        (("--num-shards", 2, "--time", "soon"), "--time 'soon' is not what sbatch understands; give 4:00:00"),
        (("--num-shards", 2, "--mem", "lots"), "--mem 'lots' is not what sbatch understands; give 16G"),
        (("--num-shards", 2, "--partition", "a\n#SBATCH b"), "is not what sbatch understands; give a name without"),
        (("--num-shards", 2, "--sbatch", "qos=long"), "--sbatch takes one long option of sbatch"),
        (("--num-shards", 2, "--format", "mp4"), "unknown format 'mp4'"),
        (("--num-shards", 2, "--pitch-shift", "up"), "'up' is no pitch shift"),
        (("--num-shards", 2, "nowhere"), "no such file or folder: nowhere"),
        (("--num-shards", 2, "--root", "/nowhere/else"), "does not lie below the root folder"),
        (("--num-shards", 2, "--shard", 1), "No such option"),
    ],
)
def test_usage_errors(arguments: tuple[Any, ...], said: str, music: Path, tmp_path: Path) -> None:
    result = invoke(music, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_sbatch_cannot_name(music: Path, tmp_path: Path) -> None:
    result = invoke(music, "-o", tmp_path / 'a "b"', "--num-shards", 2)
    assert result.exit_code == 2
    assert "choose a folder without quotes or line breaks" in result.stderr


def test_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = invoke(tmp_path / "empty", "-o", tmp_path / "out", "--num-shards", 2)
    assert (result.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert "there is no recording below the inputs" in result.stderr


def test_more_tasks_than_most_clusters_allow(music: Path, tmp_path: Path) -> None:
    assert "MaxArraySize" in invoke(music, "-o", tmp_path / "out", "--num-shards", 2000).stderr


def test_label_options_are_the_same() -> None:
    names = {option for parameter in slurm.commands["label"].params for option in parameter.opts}
    assert {"--model", "--decoder", "--quality", "--memory-limit", "--time", "--timeout"} <= names
    assert not {"--shard", "--status", "--dry-run"} & names


def test_the_tasks_do_the_work(tmp_path: Path) -> None:
    """Both tasks of an array of two, started here by hand, on a list of excerpts of the bundled recording."""
    music, out = tmp_path / "music", tmp_path / "out"
    names = [next(f"{n}.flac" for n in range(99) if Shard(index, 2).holds(f"{n}.flac")) for index in range(2)]
    samples, rate = soundfile.read(DEMO, frames=6 * 22050)
    music.mkdir()
    for name in names:
        soundfile.write(music / name, samples, rate)
    torch.manual_seed(0)
    torch.save({"model": BTC().state_dict(), "mean": -3.5, "std": 2.25}, tmp_path / "btc.pt")
    paths = "\n".join(str(music / name) for name in names)
    arguments = ("-", "-o", out, "--num-shards", 2, "--cpus", 1, "--model", tmp_path / "btc.pt")
    result = invoke(*arguments, input=paths)
    assert result.exit_code == 0, result.output
    for index in range(2):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(index)}
        subprocess.run(["bash", out / "label.sbatch"], env=environment, check=True, capture_output=True, timeout=120)
    assert files(out).keys() == {"0-of-2", "1-of-2"}
    assert {key: row.outcome for key, row in read_all(out).items()} == dict.fromkeys(names, "ok")
    assert len({(out / Path(name).with_suffix(".lab").name).read_text() for name in names}) == 1
    status = CliRunner().invoke(cli, ["label", "--status", "-o", str(out)])
    assert status.exit_code == 0
    assert "shards    2 of 2 have nothing missing" in status.stdout
