// Drawing: a map of the whole song, and the part in view.

const GUTTER = 124, GAP = 6;
const shown = { from: 0, scale: 20, rows: [], dirty: true, cqt: [], cursor: null, drag: null };
const FONT = "system-ui, 'Segoe UI', Roboto, sans-serif";

// Rows from top to bottom: {kind, top, height, strip}.
function layout() {
  const rows = [];
  let top = 0;
  const add = (kind, height, strip) => (rows.push({ kind, top, height, strip }), (top += height + GAP));
  add("axis", 22);
  top -= GAP;
  if (song.picture) add("cqt", 216);
  add("edit", 36);
  if (strips.length > 1 || edit.done.length) for (const strip of strips) add("strip", 28, strip);
  if (strips.length > 1) add("differ", 12);
  if (hasConfidence) add("confidence", 52);
  shown.rows = rows;
  return top + 2;
}

const plotWidth = () => Math.max(50, byId("view").clientWidth - GUTTER - 8);
const toX = (time) => GUTTER + (time - shown.from) * shown.scale;
const toTime = (x) => shown.from + (x - GUTTER) / shown.scale;
const fitScale = () => plotWidth() / Math.max(song.duration, 0.1);

function setView(from, scale) {
  shown.scale = Math.min(Math.max(scale, fitScale()), Math.max(600, fitScale()));
  shown.from = Math.min(Math.max(0, from), Math.max(0, song.duration - plotWidth() / shown.scale));
}
function zoom(factor, time = player.position) {
  const x = toX(time), inside = x >= GUTTER && x <= GUTTER + plotWidth();
  const at = inside ? time : toTime(GUTTER + plotWidth() / 2), share = (toX(at) - GUTTER);
  setView(0, shown.scale * factor);
  setView(at - share / shown.scale, shown.scale);
}
function reveal(time) {
  const width = plotWidth() / shown.scale;
  if (time < shown.from || time > shown.from + 0.9 * width) setView(time - 0.15 * width, shown.scale);
}
// Whole short songs; else so that a usual chord's name can be read.
function firstView() {
  const lengths = edit.segments.map((s) => s.end - s.start).sort((a, b) => a - b);
  const usual = lengths[lengths.length >> 1] || 2;
  setView(0, song.duration <= 60 ? 0 : Math.min(Math.max(52 / usual, 14), 48));
}

// The spectrum's colours, from quiet to loud.
const RAMPS = {
  dark: [[27, 30, 39], [38, 36, 84], [104, 40, 122], [196, 62, 96], [246, 140, 66], [252, 236, 170]],
  light: [[255, 255, 255], [232, 234, 247], [176, 186, 232], [108, 116, 204], [74, 52, 146], [36, 16, 70]],
};
function ramp() {
  const stops = RAMPS[theme.dark ? "dark" : "light"], table = new Uint8Array(768);
  for (let grey = 0; grey < 256; grey++) {
    const at = (grey / 255) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
    for (let c = 0; c < 3; c++)
      table[3 * grey + c] = stops[low][c] + (stops[low + 1][c] - stops[low][c]) * (at - low);
  }
  return table;
}
function colourTile(image) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height), data = pixels.data, table = ramp();
  for (let i = 0; i < data.length; i += 4) {
    const grey = 3 * data[i];
    [data[i], data[i + 1], data[i + 2]] = [table[grey], table[grey + 1], table[grey + 2]];
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}
function loadPicture() {
  song.picture?.tiles.forEach((url, i) => {
    const image = new Image();
    image.onload = () => {
      shown.cqt[i] = { image, canvas: colourTile(image) };
      redraw();
    };
    image.src = url;
  });
}

function drawPicture(c, row) {
  const { period, offset, tile, columns, bins, octave } = song.picture;
  c.imageSmoothingEnabled = true;
  c.imageSmoothingQuality = "high";
  const start = (column) => toX((column - 0.5) * period + offset);
  for (let i = 0; i < shown.cqt.length; i++) {
    const left = start(i * tile), right = start(Math.min((i + 1) * tile, columns));
    if (shown.cqt[i] && right > GUTTER && left < GUTTER + plotWidth())
      c.drawImage(shown.cqt[i].canvas, left, row.top, right - left, row.height);
  }
  for (let bin = 0; bin < bins; bin += octave) {
    const y = Math.round(row.top + row.height * (1 - bin / bins)) - 0.5;
    c.fillStyle = theme.grid;
    if (bin) c.fillRect(GUTTER, y, plotWidth(), 1);
  }
}

const widths = new Map();
function textWidth(c, text) {
  let width = widths.get(text);
  if (width === undefined) widths.set(text, (width = c.measureText(text).width));
  return width;
}
function shortened(c, text, room) {
  if (c.measureText(text).width <= room) return text;
  let keep = text.length;
  while (keep > 2 && c.measureText(text.slice(0, keep >> 1) + "…" + text.slice(-(keep >> 1))).width > room) keep--;
  return text.slice(0, keep >> 1) + "…" + text.slice(-(keep >> 1));
}

function drawStrip(c, row, segments, current) {
  c.font = `${row.kind === "edit" ? 600 : 500} 13px ${FONT}`;
  if (row.kind !== drawStrip.kind) widths.clear(), (drawStrip.kind = row.kind);
  c.textBaseline = "middle";
  const right = GUTTER + plotWidth(), stop = toTime(right);
  let drawn = -1;
  for (let i = firstAfter(segments, shown.from); i < segments.length && segments[i].start < stop; i++) {
    const s = segments[i], x0 = Math.max(GUTTER, toX(s.start)), x1 = Math.min(right, toX(s.end));
    if (x1 < drawn + 0.5) continue; // many in one pixel: the first one stands for them
    drawn = x1;
    const width = Math.max(x1 - x0 - (x1 - x0 > 3 ? 1 : 0), 0.6);
    c.fillStyle = labelColour(s.label);
    c.beginPath();
    c.roundRect(x0, row.top, width, row.height, width > 8 ? 4 : 0);
    c.fill();
    if (i === current) {
      c.strokeStyle = theme.ink;
      c.lineWidth = 1.5;
      c.stroke();
    }
    const chord = chordOf(s.label), fits = [chord.short, chord.brief].find((t) => textWidth(c, t) + 6 <= width);
    if (fits) {
      c.fillStyle = chord.root < 0 ? theme.soft : theme.ink;
      c.fillText(fits, x0 + (width - textWidth(c, fits) > 14 ? 7 : (width - textWidth(c, fits)) / 2), row.top + row.height / 2 + 1);
    }
    if (row.kind === "edit" && s.checked && width > 5) {
      c.fillStyle = theme.ink;
      c.fillRect(x0 + 2, row.top + row.height - 3, width - 4, 2);
    }
  }
}

function drawSpans(c, row, spans, colour) {
  const right = GUTTER + plotWidth(), stop = toTime(right);
  for (let i = firstAfter(spans, shown.from); i < spans.length && spans[i].start < stop; i++) {
    const x0 = Math.max(GUTTER, toX(spans[i].start)), x1 = Math.min(right, toX(spans[i].end));
    c.fillStyle = colour(spans[i]);
    c.fillRect(x0, row.top, Math.max(x1 - x0, 1), row.height);
  }
}

function drawConfidence(c, row) {
  const right = GUTTER + plotWidth(), stop = toTime(right), y = (v) => row.top + row.height * (1 - v);
  c.fillStyle = theme.none;
  c.globalAlpha = 0.45;
  c.fillRect(GUTTER, row.top, plotWidth(), row.height);
  c.globalAlpha = 1;
  const known = strips.filter((strip) => strip.segments.some((s) => s.confidence !== null));
  known.forEach(({ segments }, k) => {
    for (let i = firstAfter(segments, shown.from); i < segments.length && segments[i].start < stop; i++) {
      const s = segments[i];
      if (s.confidence === null) continue;
      const x0 = Math.max(GUTTER, toX(s.start)), x1 = Math.max(Math.min(right, toX(s.end)), x0 + 0.7);
      c.fillStyle = s.confidence < doubt.threshold ? theme.warn : theme.accent;
      if (k === 0) {
        c.globalAlpha = 0.28;
        c.fillRect(x0, y(s.confidence), x1 - x0, row.height * s.confidence);
      }
      c.globalAlpha = 1 - 0.3 * Math.min(k, 2);
      c.fillRect(x0, y(s.confidence) - 1, x1 - x0, 2);
      c.globalAlpha = 1;
    }
  });
  c.fillStyle = theme.soft;
  for (let x = GUTTER; x + 4 < right; x += 8) c.fillRect(x, y(doubt.threshold), 4, 1);
}

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
function drawAxis(c, row, height) {
  const step = STEPS.find((s) => s * shown.scale >= 64) || 7200, right = GUTTER + plotWidth();
  c.font = `12px ${FONT}`;
  c.textBaseline = "middle";
  for (let k = Math.ceil(shown.from / step); k * step <= song.duration; k++) {
    const x = toX(k * step);
    if (x > right) break;
    c.fillStyle = theme.grid;
    c.fillRect(Math.round(x), row.top + row.height, 1, height);
    c.fillStyle = theme.soft;
    const text = clockText(k * step, step < 1 ? 1 : 0);
    c.fillText(text, Math.min(x + (k ? -c.measureText(text).width / 2 : 0), right - c.measureText(text).width), row.top + row.height / 2 + 1);
  }
}

function gutterText(c, row, text, strong) {
  c.font = `${strong ? 600 : 400} 12px ${FONT}`;
  c.textBaseline = "middle";
  c.fillStyle = strong ? theme.ink : theme.soft;
  c.fillText(shortened(c, text, GUTTER - 18), 10, row.top + row.height / 2 + 1);
}

function drawView() {
  const height = layout(), { context: c } = fit(byId("view"), height), current = indexAt(edit.segments, player.position);
  widths.clear();
  for (const row of shown.rows) {
    if (row.kind === "cqt") {
      drawPicture(c, row);
      c.clearRect(0, row.top, GUTTER, row.height);
      c.clearRect(GUTTER + plotWidth(), row.top, 99, row.height);
      c.font = `11px ${FONT}`;
      c.textBaseline = "alphabetic";
      c.fillStyle = theme.soft;
      for (let o = 0; o * song.picture.octave < song.picture.bins; o++)
        c.fillText(`C${o + 1}`, GUTTER - 22, row.top + row.height * (1 - (o * song.picture.octave) / song.picture.bins) - 1);
      gutterText(c, row, "spectrum");
    } else if (row.kind === "edit") {
      drawStrip(c, row, edit.segments, current);
      gutterText(c, row, strips.length > 1 || edit.done.length || !strips.length ? "✎ corrected" : `✎ ${strips[0].name}`, true);
    } else if (row.kind === "strip") {
      drawStrip(c, row, row.strip.segments, -1);
      gutterText(c, row, row.strip.name);
    } else if (row.kind === "differ") {
      c.fillStyle = theme.none;
      c.globalAlpha = 0.45;
      c.fillRect(GUTTER, row.top, plotWidth(), row.height);
      c.globalAlpha = 1;
      drawSpans(c, row, disagreement, (s) => (s.level > 1 ? theme.warn : theme.mild));
      gutterText(c, row, "differ");
    } else if (row.kind === "confidence") {
      drawConfidence(c, row);
      gutterText(c, row, "confidence");
    } else drawAxis(c, row, height);
  }
  const top = shown.rows[0].height, line = (time, colour, width) => {
    const x = toX(time);
    if (x < GUTTER - 1 || x > GUTTER + plotWidth() + 1) return;
    c.fillStyle = colour;
    c.fillRect(x - width / 2, top, width, height - top - GAP);
  };
  if (player.loop) {
    c.globalAlpha = 0.13;
    c.fillStyle = theme.head;
    const x0 = Math.max(GUTTER, toX(player.loop.start)), x1 = Math.min(GUTTER + plotWidth(), toX(player.loop.end));
    if (x1 > x0) c.fillRect(x0, top, x1 - x0, height - top - GAP);
    c.globalAlpha = 1;
  }
  if (shown.cursor !== null) line(shown.cursor, theme.soft, 1);
  line(player.position, theme.head, 2);
}

// All of the song in one line: chords, doubtful places below them, the part in view framed.
function drawMap() {
  const { context: c, width, height } = fit(byId("map")), scale = width / Math.max(song.duration, 0.1);
  let drawn = -1;
  for (const s of edit.segments) {
    if (s.end * scale < drawn + 0.5) continue;
    drawn = s.end * scale;
    c.fillStyle = labelColour(s.label);
    c.fillRect(s.start * scale, 0, Math.max((s.end - s.start) * scale, 0.6), height - 6);
  }
  c.fillStyle = theme.warn;
  for (const s of edit.doubtful) c.fillRect(s.start * scale, height - 5, Math.max((s.end - s.start) * scale, 1), 4);
  const x = shown.from * scale, w = (plotWidth() / shown.scale) * scale;
  if (w < width - 1) {
    c.fillStyle = theme.page;
    c.globalAlpha = 0.5;
    c.fillRect(0, 0, x, height);
    c.fillRect(x + w, 0, width - x - w, height);
    c.globalAlpha = 1;
    c.strokeStyle = theme.ink;
    c.strokeRect(x + 0.5, 0.5, Math.max(w, 3) - 1, height - 1);
  }
  c.fillStyle = theme.head;
  c.fillRect(player.position * scale - 1, 0, 2, height);
}
