"""The page of a song as text: what is in it, escaped, and what it may load."""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from written_pages import HOSTILE, data_of, policy_of

from chordfast.errors import AudioError, ChordfastError, LabelError, UsageError
from chordfast.view import song, song_page, write_song_page
from chordfast.view.page import asset


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    path = tmp_path / "a song #1?.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 261.63 * np.arange(22050) / 22050), 22050)
    return path


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "a.lab"
    path.write_text("0\t0.5\tC:maj\n0.5\t1\tDb:min\n")
    return path


def test_the_policy_allows_only_what_the_page_holds(audio: Path, lab: Path) -> None:
    page = song_page(audio, [lab], folder=audio.parent)
    policy = policy_of(page)
    assert policy.startswith("default-src 'none'; ")
    for kind in ("script", "style"):
        inside = re.search(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?:|//[a-z]+\.", page)
    assert not re.search(r'\bon[a-z]+="|style="', page)


def test_size(audio: Path, lab: Path) -> None:
    assert sum(len(asset(name)) for name in song.SCRIPTS) <= 40_000
    assert len(song_page(audio, [lab])) < 80_000


def test_data(audio: Path, lab: Path, tmp_path: Path) -> None:
    data = data_of(song_page(audio, [lab], folder=tmp_path))
    assert (data["title"], data["stem"], data["audio"]) == ("a song #1?.wav", "a song #1?", "./a%20song%20%231%3F.wav")
    assert data["duration"] == data["length"] == 1.0
    assert data["picture"]["columns"] == 11
    assert data["strips"] == [
        {"name": "a.lab", "starts": [0.0, 0.5], "ends": [0.5, 1.0], "labels": ["C:maj", "Db:min"]}
    ]
    assert data["edit"] == {key: value for key, value in data["strips"][0].items() if key != "name"}
    assert data["classes"] == {"C:maj": 1, "Db:min": 14}


def test_the_audio_is_found_from_the_page(audio: Path, tmp_path: Path) -> None:
    (tmp_path / "pages" / "deep").mkdir(parents=True)
    data = data_of(song_page(audio, folder=tmp_path / "pages" / "deep"))
    assert data["audio"] == "../../a%20song%20%231%3F.wav"
    assert data["edit"]["labels"] == ["N"]  # something to correct
    assert data["strips"] == []


def test_embedded_audio_is_the_file_as_it_is(audio: Path) -> None:
    page = song_page(audio, embed=True)
    found = re.search(r'id="embedded">([A-Za-z0-9+/=]*)</script>', page)
    assert found is not None
    assert base64.b64decode(found[1]) == audio.read_bytes()
    assert (data_of(page)["audio"], data_of(page)["type"]) == ("", "audio/x-wav")


def test_hostile_names_and_labels_stay_text(tmp_path: Path) -> None:
    path = tmp_path / (HOSTILE.replace("/", "") + ".lab")
    path.write_text(f"0\t1\t{HOSTILE}\n")
    page = song_page(None, [path], title=HOSTILE)
    data = data_of(page)
    assert data["strips"][0]["labels"] == [HOSTILE]
    assert data["strips"][0]["name"] == path.name
    assert f"<h1>{html.escape(HOSTILE)}</h1>" in page
    assert "<img" not in page
    assert page.count("</script>") == 3


def test_names_that_are_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.lab"))
    path.write_text("0 1 C\n")
    assert data_of(song_page(None, [path]))["title"] == "caf�.lab"


def test_labels_alone_and_the_same_name_twice(lab: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "a.lab"
    other.parent.mkdir()
    other.write_text("0 3 G:7\n")
    data = data_of(song_page(None, [lab, other]))
    assert [strip["name"] for strip in data["strips"]] == [f"{tmp_path.name}/", "other/"]
    assert (data["audio"], data["picture"], data["duration"]) == (None, None, 3.0)
    assert data["edit"]["labels"] == ["C:maj", "Db:min", "N"]  # to the end of the longest
    assert [strip["name"] for strip in data_of(song_page(None, [lab, lab]))["strips"]] == ["a.lab 1", "a.lab 2"]


def test_transposed(lab: Path) -> None:
    data = data_of(song_page(None, [lab], transpose=2))
    assert data["strips"][0]["labels"] == ["D", "D#:min"]
    assert data["transpose"] == 2


def test_silent_and_empty_recordings(tmp_path: Path, lab: Path) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(44100), 22050)
    data = data_of(song_page(tmp_path / "s.wav", [lab]))
    assert data["note"].startswith("silent: ")
    assert data["duration"] == 2.0
    soundfile.write(tmp_path / "e.wav", np.zeros(0), 22050)
    data = data_of(song_page(tmp_path / "e.wav"))
    assert (data["duration"], data["picture"]) == (0.0, None)


def test_errors(audio: Path, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="nothing to show"):
        song_page(None)
    with pytest.raises(UsageError, match="no recording to embed"):
        song_page(None, [lab], embed=True)
    with pytest.raises(AudioError, match=r"gone\.mp3 cannot be opened"):
        song_page(tmp_path / "gone.mp3")
    lab.write_text("0 1\n")
    with pytest.raises(LabelError, match=r"a\.lab, line 1: '0 1' has fewer than three fields"):
        song_page(audio, [lab])
    with pytest.raises(ChordfastError, match=r"cannot write .*x\.html: the folder does not exist; create it"):
        write_song_page(audio, [], tmp_path / "none" / "x.html")
    monkeypatch.setattr(song, "EMBED_LIMIT", 1 << 10)
    with pytest.raises(UsageError, match="too much for one page"):
        song_page(audio, embed=True)
