"""The report: contents, links, escaping, a page that needs and may load nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from evaluate_songs import segments

from chordfast.annotations import write
from chordfast.errors import UsageError
from chordfast.evaluate import MEASURES, Evaluation, evaluate, write_report
from chordfast.evaluate.page import page
from chordfast.evaluate.svg import Picture
from chordfast.evaluate.tables import plain_table, quality_rows, score_rows

EVIL = '<script>alert(1)</script>"&'


@pytest.fixture
def result(tmp_path: Path) -> Evaluation:
    for folder, labels in (
        ("ref", ["C:maj", "A:min"]),
        ("one", ["C:maj", "A:min7"]),
        (f"t{EVIL.replace('/', '')}", ["G:7", "A:min"]),
    ):
        for k, song in enumerate(("x/a", f"x/{EVIL.replace('/', '')}", "y/b")):
            (tmp_path / folder / song).parent.mkdir(parents=True, exist_ok=True)
            made = segments([(0, 4, labels[0]), (4, 8 + k, labels[1])])
            made.confidence = np.array([0.9, 0.5], dtype=np.float32)
            write(made, tmp_path / folder / f"{song}.json", "json")
    return evaluate(tmp_path / "ref", [tmp_path / "one", tmp_path / f"t{EVIL.replace('/', '')}"], compat="chordmini")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_json(result: Evaluation, tmp_path: Path) -> None:
    write_report(result.as_dict(), tmp_path / "out/report")
    content = json.loads((tmp_path / "out/report/report.json").read_text())
    assert content["songs"] == 3 and content["seconds"] == 27.0
    first, second = content["estimates"]
    assert list(first["corpus"]) == list(MEASURES)
    assert first["corpus"]["majmin"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "pooled": 1.0}
    assert first["corpus"]["tetrads"]["mean"] == pytest.approx(12 / 27)
    assert second["corpus"]["root"]["mean"] == pytest.approx(15 / 27)
    assert [row["song"] for row in first["per_song"]] == ["x/" + EVIL.replace("/", ""), "x/a", "y/b"]
    assert [f["folder"] for f in first["folders"]] == ["x", "y"]
    assert first["chordmini"]["average"]["majmin"] == pytest.approx(first["corpus"]["majmin"]["mean"], abs=0.05)
    root = content["comparisons"][0]["measures"]["root"]
    assert root["difference"] == pytest.approx(-12 / 27) and root["p"] == 0.25


def test_page(result: Evaluation, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "x").mkdir(parents=True)
    (folder / "x/a.html").write_text("")
    write_report(result.as_dict(), folder)
    text = (folder / "report.html").read_text()
    tags = Tags()
    tags.feed(text)
    names = [tag for tag, _ in tags.seen]
    assert "script" not in names and "img" not in names and "link" not in names
    assert "alert(1)" in text and "<script" not in text
    assert not any(key.startswith("on") for _, attrs in tags.seen for key in attrs)
    policy = next(attrs["content"] for tag, attrs in tags.seen if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert {attrs["href"] for tag, attrs in tags.seen if tag == "a"} == {"./x/a.html"}
    assert not re.search(r"(?:src|href)=['\"](?:https?:|//)", text)
    pictures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(pictures) == 8  # scores 2, qualities 2, confusion 2, calibration, songs
    for picture in pictures:
        ElementTree.fromstring(picture)
    bars = ElementTree.fromstring(pictures[0]).findall("{http://www.w3.org/2000/svg}rect")
    assert len(bars) == 7 * 2 + 2
    assert bars[0].get("height") == "200.0"  # root of the first estimate: 100 % of 200 pixels
    assert float(bars[1].get("height", "")) == pytest.approx(200 * 15 / 27, abs=0.06)


def test_page_without_confidence_or_variant(tmp_path: Path) -> None:
    path = tmp_path / "a.lab"
    path.write_text("0 4 C:maj\n")
    report = evaluate(path, [path]).as_dict()
    text = page(report)
    assert "Calibration" not in text and "ChordMini" not in text and "Nothing was wrong" in text
    assert report["comparisons"] == []
    assert report["estimates"][0]["corpus"]["root"] == {"mean": 1.0, "low": None, "high": None, "pooled": 1.0}
    assert score_rows(report)[1][0] == ["root", "100.0"]


def test_tables(result: Evaluation) -> None:
    head, rows = score_rows(result.as_dict())
    assert head[:2] == ["measure", "one"] and len(head) == 7
    assert rows[5][:2] == ["majmin", "100.0 [100.0, 100.0]"]
    assert rows[0][3] == "-44.4 [-50.0, -40.0]" and rows[0][4] == "0.2500"
    text = plain_table(head, rows)
    assert len(text.splitlines()) == 16 and text.isascii() is False
    _, qualities = quality_rows(result.as_dict())
    assert qualities[0][0] == "min" and qualities[-1][0] == "ACQA"
    assert qualities[-1][2:4] == ["50.0", "50.0"]


def test_a_file_is_no_folder(result: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        write_report(result.as_dict(), tmp_path / "file")


def test_picture_escapes() -> None:
    picture = Picture(10, 10, EVIL)
    picture.text(0, 0, EVIL)
    picture.rect(0, 0, 1, 1, "c0", EVIL)
    picture.dot(0, 0, 1, "c0", EVIL)
    root = ElementTree.fromstring(str(picture))
    assert root.get("aria-label") == EVIL
    assert [e.text for e in root.iter() if e.text] == [EVIL] * 3
