"""The page of a song in a real browser: play, seek, keys, corrections, export; nothing on the console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browser import Browser
from written_pages import HOSTILE

from chordfast.annotations import Annotation, read_lab, write
from chordfast.view import write_song_page


def tone(path: Path, seconds: float) -> Path:
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * 8000)) / 8000), 8000)
    return path


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """8 s; student and reference agree but for 4 … 6 s; the student is unsure about 2 … 4 s."""
    student = Annotation(
        np.array([0.0, 2, 4, 6]), np.array([2.0, 4, 6, 8]), ["C:maj", "F:maj", "G:maj", "C:maj"],
        confidence=np.array([0.9, 0.3, 0.8, 0.9]), alternatives=["A:min", "D:min7", "E:min", ""],
        alternative_confidence=np.array([0.1, 0.2, 0.1, np.nan]),
    )  # fmt: skip
    write(student, tmp_path / "student.json", "json")
    (tmp_path / "ref.lab").write_text("0 2 C\n2 4 F\n4 6 E:min\n6 8 C\n")
    out = tmp_path / "song.html"
    audio = tone(tmp_path / "song.wav", 8)
    write_song_page(audio, [tmp_path / "student.json", tmp_path / "ref.lab"], out, embed=True)
    return out


@pytest.fixture
def shown(browser: Browser, page: Path) -> Iterator[Browser]:
    browser.open(page)
    browser.wait("player.element.readyState >= 2 && shown.cqt.length === 1")
    yield browser
    assert browser.complaints == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in browser.requests)
    browser.js("edit.saved = true")


def labels(browser: Browser) -> list[list[object]]:
    found: list[list[object]] = browser.js("edit.segments.map((s) => [s.start, s.end, s.label])")
    return found


def position(browser: Browser) -> float:
    return float(browser.js("player.position"))


def spot(browser: Browser, row: str, time: float) -> tuple[float, float]:
    """Where a time lies within a row, in the window."""
    x, y = browser.js(
        f"(() => {{ const r = shown.rows.find((r) => r.kind === '{row}'), b = byId('view').getBoundingClientRect();"
        f" return [b.left + toX({time}), b.top + r.top + r.height / 2]; }})()"
    )
    return float(x), float(y)


def test_play_pause_and_loop(shown: Browser) -> None:
    shown.key(" ")
    shown.wait("playing() && player.position > 0.2")
    assert shown.js("byId('play').textContent") == "Pause"
    shown.key(" ")
    shown.wait("!playing()")
    shown.js("seek(3.7)")
    shown.key("l")
    assert shown.js("[player.loop.start, player.loop.end]") == [2, 4]
    shown.key(" ")
    shown.wait("playing() && player.position > 2 && player.position < 3.5")  # began again at 2
    shown.key(" ")
    shown.key("l")
    assert shown.js("player.loop") is None


def test_seek_by_key_and_mouse(shown: Browser) -> None:
    shown.key("ArrowRight")
    assert position(shown) == 1
    shown.key("ArrowRight", modifiers=8)
    assert position(shown) == 2
    shown.key("ArrowLeft")
    assert position(shown) == 1
    shown.click(*spot(shown, "cqt", 5.0))
    assert position(shown) == pytest.approx(5.0, abs=0.02)
    shown.wait("Math.abs(player.element.currentTime - player.position) < 0.05")
    assert "G:maj" in shown.js("byId('now').textContent")
    shown.key("End")
    assert position(shown) == 8


def test_next_doubtful(shown: Browser) -> None:
    assert shown.js("byId('left').textContent") == "2 left"
    shown.key("n")
    assert position(shown) == 2  # unsure
    assert "confidence 0.30" in shown.js("byId('status').textContent")
    shown.key("n")
    assert position(shown) == 4  # sources disagree
    assert "sources disagree" in shown.js("byId('status').textContent")
    shown.key("p")
    assert position(shown) == 2
    shown.key("a")
    assert shown.js("byId('left').textContent") == "1 left"
    shown.js("byId('threshold').value = 0.95; byId('threshold').dispatchEvent(new Event('input'))")
    shown.frame()
    assert shown.js("byId('left').textContent") == "3 left"
    assert shown.js("disagreement") == [{"start": 4, "end": 6, "level": 2}]


def test_corrections_and_export(shown: Browser) -> None:
    shown.click(*spot(shown, "edit", 5.0))  # opens the field
    assert shown.js("document.activeElement.id") == "label"
    shown.type("Gmaj")
    shown.key("Enter")
    assert "no chord label" in shown.js("byId('status').textContent")
    shown.js("byId('label').value = ''")
    shown.type("Bb:min7/b3")
    shown.key("Enter")
    assert labels(shown)[2] == [4, 6, "Bb:min7/b3"]
    shown.js("seek(1)")
    shown.key("s")
    shown.key("Enter")
    shown.type("N")
    shown.key("Enter")
    assert labels(shown)[:2] == [[0, 1, "C:maj"], [1, 2, "N"]]
    start, end = spot(shown, "edit", 4.0), spot(shown, "edit", 4.5)
    shown.mouse(("mousePressed", *start), ("mouseMoved", *end), ("mouseReleased", *end))
    moved = float(str(labels(shown)[2][1]))
    assert moved == pytest.approx(4.5, abs=0.03)
    shown.js("seek(6.25)")
    shown.key("b")
    assert labels(shown)[4] == [6.25, 8, "C:maj"]
    shown.key("e")
    saved = shown.downloads / "song.lab"
    shown.until(saved.is_file, "the download")
    expected = f"0 1 C:maj\n1 2 N\n2 {moved} F:maj\n{moved} 6.25 Bb:min7/b3\n6.25 8 C:maj\n"
    rows = [line.split() for line in expected.splitlines()]
    assert saved.read_text() == "".join(f"{float(a):.6f}\t{float(b):.6f}\t{c}\n" for a, b, c in rows)
    assert len(read_lab(saved, strict=True)) == 5
    saved.unlink()


def test_merge_undo_redo_and_choices(shown: Browser) -> None:
    before = labels(shown)
    shown.key("m")
    assert labels(shown)[0] == [0, 4, "C:maj"]
    shown.key("u")
    assert labels(shown) == before
    shown.key("z", modifiers=10)  # ctrl shift
    assert len(labels(shown)) == 3
    shown.key("z", modifiers=2)
    shown.js("seek(4.5); redraw(true)")
    assert shown.js("choices") == ["E:min", "G:maj"]
    shown.key("1")
    assert labels(shown)[2] == [4, 6, "E:min"]
    assert shown.js("edit.doubtful.length") == 1
    shown.js("byId('undo').click()")
    assert labels(shown) == before


def test_zoom_scroll_and_help(shown: Browser) -> None:
    assert shown.js("shown.from") == 0
    shown.js("seek(4)")
    for _ in range(3):
        shown.key("+")
    width = shown.js("plotWidth() / shown.scale")
    assert width == pytest.approx(8 / 1.5**3, rel=1e-3)
    shown.call("Input.dispatchMouseEvent", type="mouseWheel", x=600, y=300, deltaX=0, deltaY=-10000)
    shown.wait("shown.from === 0")
    (x, y), _ = spot(shown, "cqt", 1.0), shown.frame()
    shown.mouse(("mousePressed", x, y), ("mouseMoved", x - 100, y), ("mouseReleased", x - 100, y))
    assert shown.js("shown.from") == pytest.approx(100 / shown.js("shown.scale"), rel=1e-3)
    assert position(shown) == 4  # a drag is no click
    shown.key("0")
    assert shown.js("[shown.from, Math.round(plotWidth() / shown.scale)]") == [0, 8]
    shown.key("?")
    assert shown.js("byId('keys').open")
    shown.key("Escape")
    assert not shown.js("byId('keys').open")


def test_a_policy_that_holds(shown: Browser) -> None:
    """What an injected element would try is refused, and the refusal is seen."""
    shown.js("window.hit = 0; document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"hit = 1\">')")

    def refused() -> bool:
        shown.frame()
        return any("Content Security Policy" in text for text in shown.complaints)

    shown.until(refused, "a refusal on the console")
    assert shown.js("hit") == 0
    shown.complaints.clear()


def test_hostile_labels_and_names(browser: Browser, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "")
    (tmp_path / f"{name}.lab").write_text(f"0\t1\t{HOSTILE}\n1\t2\tC\n")
    write_song_page(None, [tmp_path / f"{name}.lab"], tmp_path / "p.html", title=HOSTILE)
    browser.open(tmp_path / "p.html")
    assert browser.js("document.querySelector('h1').textContent") == HOSTILE
    assert browser.js("document.images.length") == 0
    assert HOSTILE in browser.js("byId('now').textContent")
    assert browser.complaints == []


def test_audio_beside_the_page_and_audio_that_is_gone(browser: Browser, tmp_path: Path) -> None:
    audio = tone(tmp_path / "50% #1.wav", 2)
    write_song_page(audio, [], tmp_path / "p.html")
    browser.open(tmp_path / "p.html")
    browser.wait("player.element.duration === 2")
    browser.key(" ")
    browser.wait("player.position > 0.1")
    assert browser.complaints == []
    audio.unlink()
    browser.open(tmp_path / "p.html")
    browser.wait("byId('status').textContent.includes('is it still there?')")
    assert browser.js("byId('play').disabled")


def test_three_hours(browser: Browser, tmp_path: Path) -> None:
    text = "".join(f"{t} {t + 1} {'CDEFGAB'[t % 7]}\n" for t in range(10800))
    (tmp_path / "long.lab").write_text(text)
    (tmp_path / "other.lab").write_text(text.replace("C", "C:7"))
    write_song_page(None, [tmp_path / "long.lab", tmp_path / "other.lab"], tmp_path / "p.html", transpose=1)
    browser.open(tmp_path / "p.html", dark=True)
    assert browser.js("edit.segments[0].label") == "C#"
    assert browser.js("byId('about').textContent").startswith("3:00:00.0 · labels moved by +1 semitones")
    assert browser.js("edit.doubtful.length") == len(range(0, 10800, 7))
    for key in ("End", "n", "p", "0", "s"):
        browser.key(key)
    took = browser.js("(() => { const t = performance.now(); for (let i = 0; i < 10; i++) draw(); "
                      "return (performance.now() - t) / 10; })()")  # fmt: skip
    assert took < 200  # ms for the whole 3 hours in view
    assert browser.complaints == []


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_hardly_any_song(browser: Browser, tmp_path: Path, seconds: float) -> None:
    write_song_page(tone(tmp_path / "s.wav", seconds), [], tmp_path / "p.html", embed=True)
    browser.open(tmp_path / "p.html")
    for key in ("ArrowRight", "s", "m", "n", "Enter"):
        browser.key(key)
    assert browser.complaints == []
