// The index of a labelled folder: sorted, filtered, only the rows in view exist.

const gallery = JSON.parse(byId("data").textContent);
const ROW = 34, CELL = Object.fromEntries(gallery.columns.map((name, i) => [name, i]));
const value = (row, name) => row[CELL[name]];
const COLUMNS = [
  { name: "path", title: "song" }, { name: "strip", title: "chords", fixed: true },
  { name: "seconds", title: "length", number: true }, { name: "confidence", title: "confidence" },
  { name: "outcome", title: "outcome" }, { name: "differ", title: "differ" }, { name: "note", title: "note" },
].filter((column) => column.name !== "differ" || gallery.compared !== null);
const FAILED = new Set(["unreadable", "crashed", "timeout"]);
const state = { sort: "path", down: false, rows: gallery.rows, first: -1, last: -1 };
const words = new Intl.Collator(undefined, { numeric: true });
const searched = gallery.rows.map((row) => `${value(row, "path")}\n${value(row, "note")}`.toLowerCase());

function arrange() {
  const wanted = byId("filter").value.trim().toLowerCase(), outcome = byId("outcome").value;
  const rows = gallery.rows.filter((row, i) =>
    searched[i].includes(wanted) && (!outcome || value(row, "outcome") === outcome));
  const at = CELL[state.sort], sign = state.down ? -1 : 1;
  rows.sort((one, other) => {
    const a = one[at], b = other[at];
    if (a === null || b === null || a === "" || b === "") return (a === null || a === "") - (b === null || b === "");
    return sign * (typeof a === "number" ? a - b : words.compare(a, b));
  });
  state.rows = rows;
  byId("space").style.height = `${rows.length * ROW}px`;
  byId("scroll").scrollTop = 0;
  const seconds = rows.reduce((sum, row) => sum + (value(row, "seconds") || 0), 0);
  const all = rows.length === gallery.rows.length ? "" : ` of ${gallery.rows.length.toLocaleString("en")}`;
  const compared = gallery.compared === null ? "" : ` · compared with ${gallery.compared}`;
  byId("count").textContent = `${rows.length.toLocaleString("en")}${all} songs · ${clockText(seconds)}${compared}`;
  document.querySelector("[role=table]").setAttribute("aria-rowcount", rows.length + 1);
  for (const cell of byId("head").children) {
    if (cell.dataset.name === state.sort) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
    const mark = cell.dataset.name !== state.sort ? "" : state.down ? " ↓" : " ↑";
    cell.firstElementChild.textContent = cell.dataset.title + mark;
  }
  show(true);
}

function show(force) {
  const box = byId("scroll"), first = Math.max(0, Math.floor(box.scrollTop / ROW) - 8);
  const last = Math.min(state.rows.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + 8);
  if (!force && first === state.first && last === state.last) return;
  [state.first, state.last] = [first, last];
  byId("rows").style.transform = `translateY(${first * ROW}px)`;
  byId("rows").replaceChildren(...state.rows.slice(first, last).map((row, i) => rowElement(row, first + i)));
  byId("rows").querySelectorAll("canvas").forEach((canvas, i) => drawStrip(canvas, value(state.rows[first + i], "strip")));
}

function rowElement(row, index) {
  const element = document.createElement("div");
  element.className = "row";
  element.setAttribute("role", "row");
  element.setAttribute("aria-rowindex", index + 2);
  for (const column of COLUMNS) {
    const cell = document.createElement("div"), content = value(row, column.name);
    cell.setAttribute("role", "cell");
    if (column.name === "path") {
      const link = document.createElement(value(row, "url") === null ? "span" : "a");
      if (value(row, "url") !== null) link.href = value(row, "url");
      link.textContent = cell.title = content;
      cell.append(link);
    } else if (column.name === "strip") cell.append(document.createElement("canvas"));
    else if (column.name === "seconds") {
      cell.className = "number";
      cell.textContent = content === null ? "–" : clockText(content);
    } else if (typeof content === "number") {
      const bar = document.createElement("span"), fill = document.createElement("i");
      bar.className = (column.name === "confidence" ? content < 0.5 : content > 0.5) ? "bar low" : "bar";
      fill.style.width = `${100 * content}%`;
      bar.append(fill);
      if (column.name === "confidence") cell.append(bar, content.toFixed(2));
      else cell.textContent = `${(100 * content).toFixed(1)} %`;
    } else {
      cell.textContent = content === null ? "–" : content;
      if (content) cell.title = content;
      if (column.name === "outcome" && FAILED.has(content)) cell.className = "bad";
    }
    element.append(cell);
  }
  return element;
}

const colours = () => new Map([
  ...[...gallery.signs].map((sign, i) => [sign, theme.chords[i]]), ["-", theme.none], ["~", theme.soft],
]);
let palette = colours();
function drawStrip(canvas, strip) {
  const { context: c, width, height } = fit(canvas), cell = width / Math.max(strip.length, 1);
  for (let i = 0, j; i < strip.length; i = j) {
    for (j = i + 1; strip[j] === strip[i]; ) j++;
    if (strip[i] === " ") continue;
    c.fillStyle = palette.get(strip[i]);
    c.fillRect(i * cell, 0, (j - i) * cell - ((j - i) * cell > 4 ? 0.7 : 0), height);
  }
}

for (const column of COLUMNS) {
  const cell = document.createElement("div"), button = document.createElement(column.fixed ? "span" : "button");
  cell.setAttribute("role", "columnheader");
  Object.assign(cell.dataset, { name: column.name, title: column.title });
  if (column.number) cell.className = "number";
  if (column.fixed) button.className = "soft";
  else button.addEventListener("click", () => {
    state.down = state.sort === column.name ? !state.down : false;
    state.sort = column.name;
    arrange();
  });
  cell.append(button);
  byId("head").append(cell);
}
if (gallery.compared === null) document.querySelector(".table").classList.add("without");
for (const outcome of [...new Set(gallery.rows.map((row) => value(row, "outcome")))].sort())
  if (outcome) byId("outcome").append(new Option(outcome, outcome));
byId("outcome").hidden = byId("outcome").options.length < 2;
byId("filter").addEventListener("input", arrange);
byId("outcome").addEventListener("input", arrange);
byId("scroll").addEventListener("scroll", () => show(false));
addEventListener("resize", () => show(true));
prefersDark.addEventListener("change", () => {
  readTheme();
  palette = colours();
  show(true);
});
arrange();
