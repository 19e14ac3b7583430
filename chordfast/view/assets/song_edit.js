// Corrections by mouse and text field: pointer on the canvases, the field over a segment, the export.

const field = byId("label");
let editing = -1;

function openField(at) {
  const s = edit.segments[at], row = shown.rows.find((r) => r.kind === "edit");
  if (!s) return;
  reveal(Math.max(s.start, Math.min(player.position, s.end)));
  redraw(true);
  editing = at;
  field.value = s.label;
  field.hidden = false;
  field.setAttribute("aria-invalid", "false");
  field.style.left = `${Math.min(Math.max(toX(s.start), GUTTER), GUTTER + plotWidth() - 130)}px`;
  field.style.top = `${byId("view").offsetTop + row.top + 3}px`;
  field.focus();
  field.select();
}
function closeField(keep) {
  if (editing < 0) return;
  const at = editing, label = field.value.trim();
  if (keep && !isChord(label)) {
    field.setAttribute("aria-invalid", "true");
    say(`“${label}” is no chord label; write root:quality/bass, for example C:maj, Bb:min7/b3 or N.`, true);
    return;
  }
  editing = -1;
  field.hidden = true;
  byId("view").focus({ preventScroll: true });
  if (keep) setLabel(at, label);
  redraw();
}
function setLabel(at, label) {
  if (at < 0) return;
  relabel(at, label);
  const s = edit.segments[at];
  say(`${label} from ${clockText(s.start, 2)} to ${clockText(s.end, 2)}.`);
}
field.addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key === "Enter") closeField(true), event.preventDefault();
  if (event.key === "Escape") say(""), closeField(false);
});
field.addEventListener("blur", () => closeField(false));

function fillList() {
  const labels = new Set(strips.flatMap((strip) => strip.segments.map((s) => s.label)));
  for (const root of ["C", "C#", "Db", "D", "D#", "Eb", "E", "F", "F#", "Gb", "G", "G#", "Ab", "A", "A#", "Bb", "B"])
    for (const quality of song.qualities) labels.add(`${root}:${quality}`);
  labels.add("N").add("X");
  for (const label of [...labels].sort()) byId("labels").append(new Option("", label));
}

// What lies under the pointer: its row, time, segment, and the boundary it could drag.
function under(event) {
  const box = byId("view").getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  const row = shown.rows.find((r) => y >= r.top && y < r.top + r.height);
  const spot = { row, x, time: Math.min(Math.max(0, toTime(x)), song.duration), inside: x >= GUTTER, boundary: 0 };
  if (row?.kind === "edit" && spot.inside) {
    const near = nearestBoundary(spot.time);
    if (near && Math.abs(toX(edit.segments[near].start) - x) <= 5) spot.boundary = near;
  }
  return spot;
}
function describe({ row, time, inside }) {
  const segments = row?.kind === "edit" ? edit.segments : row?.kind === "strip" ? row.strip.segments : null;
  const s = inside && segments ? segments[indexAt(segments, time)] : null;
  if (!s) return;
  const sure = s.confidence === null ? "" : ` · confidence ${s.confidence.toFixed(2)}`;
  const other = s.other ? ` · runner-up ${s.other}` : "";
  say(`${s.label} · ${clockText(s.start, 2)} to ${clockText(s.end, 2)}${sure}${other}${s.checked ? " · checked" : ""}`);
}

function watchPointer() {
  const canvas = byId("view");
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const spot = under(event);
    canvas.setPointerCapture(event.pointerId);
    shown.drag = { ...spot, from: shown.from, moved: false, segments: edit.segments };
  });
  canvas.addEventListener("pointermove", (event) => {
    const drag = shown.drag, spot = under(event);
    shown.cursor = spot.inside ? spot.time : null;
    canvas.style.cursor = drag?.moved && !drag.boundary ? "grabbing" : spot.boundary || drag?.boundary ? "ew-resize" : "default";
    if (!drag) describe(spot);
    else if (drag.moved || Math.abs(spot.x - drag.x) > 3) {
      drag.moved = true;
      if (drag.boundary) edit.segments = moved(drag.segments, drag.boundary, toTime(spot.x));
      else setView(drag.from - (spot.x - drag.x) / shown.scale, shown.scale);
    }
    redraw();
  });
  canvas.addEventListener("pointerup", (event) => {
    const drag = shown.drag;
    shown.drag = null;
    if (!drag || !drag.inside) return;
    if (drag.moved && drag.boundary) {
      const result = edit.segments;
      edit.segments = drag.segments;
      change(result);
      say(`Boundary moved to ${clockText(result[drag.boundary].start, 2)}.`);
    } else if (!drag.moved) {
      seek(drag.time);
      if (drag.row?.kind === "edit" && !drag.boundary) openField(indexAt(edit.segments, drag.time));
    }
    redraw();
  });
  canvas.addEventListener("pointercancel", () => {
    if (shown.drag?.boundary) edit.segments = shown.drag.segments;
    shown.drag = null;
    redraw();
  });
  canvas.addEventListener("pointerleave", () => {
    shown.cursor = null;
    redraw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const unit = event.deltaMode ? 30 : 1;
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY * unit * 0.004), under(event).time);
    else setView(shown.from + ((event.deltaX || event.deltaY) * unit) / shown.scale, shown.scale);
    closeField(false);
    redraw();
  }, { passive: false });

  const map = byId("map");
  const go = (event) => {
    const time = (event.offsetX / map.clientWidth) * song.duration;
    setView(time - plotWidth() / shown.scale / 2, shown.scale);
    redraw();
  };
  map.addEventListener("pointerdown", (event) => (map.setPointerCapture(event.pointerId), go(event)));
  map.addEventListener("pointermove", (event) => event.buttons && go(event));
  map.addEventListener("pointerup", (event) => seek((event.offsetX / map.clientWidth) * song.duration));
}

function exportLabels() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([labText()], { type: "text/plain" }));
  link.download = `${song.stem}.lab`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  edit.saved = true;
  say(`${edit.segments.length} segments exported as ${link.download}.`);
}
