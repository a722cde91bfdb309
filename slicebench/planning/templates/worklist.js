"use strict";
const KEY = "slicebench-worklist-" + DATA.plan;
const at = (id) => document.getElementById(id);
const done = new Set(read());
const images = DATA.volumes.map((volume) => {
  const image = new Image();
  image.onload = () => draw();
  image.src = volume.src;
  return image;
});
let current = 0;
let slice = 0;

function read() {
  try { return JSON.parse(localStorage.getItem(KEY)) || []; } catch { return []; }
}

function keep() {
  // Pages opened from a file may have no storage; the download always works.
  try { localStorage.setItem(KEY, JSON.stringify([...done])); } catch { /* nothing to do */ }
}

const name = (volume, row) => volume.case + "/" + row.slice;
const chosen = () => DATA.volumes[current].rows.find((row) => row.slice === slice);

function element(tag, text, parent) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function list() {
  at("volumes").replaceChildren();
  DATA.volumes.forEach((volume, index) => {
    const button = element("button", undefined, element("li", undefined, at("volumes")));
    const ticked = volume.rows.filter((row) => done.has(name(volume, row))).length;
    element("span", volume.case, button);
    const count = element("span", ticked + "/" + volume.rows.length, button);
    if (ticked === volume.rows.length) count.className = "all";
    button.type = "button";
    button.setAttribute("aria-current", index === current);
    button.onclick = () => open(index);
  });
  const ids = DATA.volumes.flatMap((volume) => volume.rows.map((row) => name(volume, row)));
  const finished = ids.filter((id) => done.has(id)).length;
  at("bar").value = finished;
  at("done").textContent = finished + " of " + ids.length + " slices done";
}

function open(index) {
  current = index;
  const volume = DATA.volumes[index];
  at("case").textContent = volume.case;
  at("where").textContent = volume.file + ", " + volume.plane + ", numbers rise " + volume.direction;
  at("slider").max = volume.depth - 1;
  go(volume.rows[0].slice);
  list();
}

function go(number) {
  slice = Math.min(Math.max(0, number), DATA.volumes[current].depth - 1);
  at("slider").value = slice;
  draw();
}

function draw() {
  const volume = DATA.volumes[current];
  const row = chosen();
  const canvas = at("view");
  canvas.width = volume.width;
  canvas.height = volume.height;
  canvas.className = row ? (done.has(name(volume, row)) ? "done" : "chosen") : "";
  const column = slice % volume.columns;
  const line = Math.floor(slice / volume.columns);
  canvas.getContext("2d").drawImage(images[current], column * volume.width, line * volume.height,
    volume.width, volume.height, 0, 0, volume.width, volume.height);
  const text = "slice " + (slice + 1) + " of " + volume.depth + (row ? ", chosen (rank " + row.rank + ")" : "");
  at("number").textContent = text;
  canvas.setAttribute("aria-label", volume.case + ", " + text);
  marks(volume);
  rows(volume);
}

function marks(volume) {
  at("marks").replaceChildren(...volume.rows.map((row) => {
    const mark = element("i");
    mark.style.left = (100 * row.slice) / Math.max(1, volume.depth - 1) + "%";
    mark.className = done.has(name(volume, row)) ? "done" : "";
    return mark;
  }));
}

function rows(volume) {
  at("rows").replaceChildren(...volume.rows.map((row) => {
    const line = element("tr");
    line.className = row.slice === slice ? "here" : "";
    const box = element("input", undefined, element("td", undefined, line));
    box.type = "checkbox";
    box.checked = done.has(name(volume, row));
    box.setAttribute("aria-label", "slice " + (row.slice + 1) + " done");
    box.onchange = () => tick(row, box.checked);
    element("td", row.rank, line);
    const button = element("button", row.slice + 1, element("td", undefined, line));
    button.type = "button";
    button.onclick = () => go(row.slice);
    element("td", row.ras.map((value) => value.toFixed(1)).join(", "), line);
    element("td", row.minutes, line);
    return line;
  }));
}

function tick(row, value) {
  const id = name(DATA.volumes[current], row);
  if (value) done.add(id); else done.delete(id);
  keep();
  list();
  draw();
}

function jump(step) {
  const numbers = DATA.volumes[current].rows.map((row) => row.slice);
  const next = step > 0 ? numbers.find((n) => n > slice) : numbers.reverse().find((n) => n < slice);
  if (next !== undefined) return go(next);
  const other = current + step;
  if (other < 0 || other >= DATA.volumes.length) return undefined;
  open(other);
  const last = DATA.volumes[other].rows.at(-1).slice;
  return step < 0 ? go(last) : undefined;
}

at("slider").oninput = () => go(Number(at("slider").value));
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input[type=checkbox], button") && event.key === " ") return;
  const row = chosen();
  const act = { ArrowLeft: () => go(slice - 1), ArrowRight: () => go(slice + 1), n: () => jump(1), p: () => jump(-1),
    " ": () => row && tick(row, !done.has(name(DATA.volumes[current], row))) }[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});
at("save").onclick = () => {
  const state = { schema_version: 1, plan: DATA.plan, done: [...done].sort() };
  const link = element("a");
  link.href = "data:application/json," + encodeURIComponent(JSON.stringify(state, null, 1));
  link.download = "worklist_state.json";
  link.click();
};
at("load").onchange = async () => {
  const state = JSON.parse(await at("load").files[0].text());
  if (state.plan !== DATA.plan) { window.alert("This state belongs to another plan."); return; }
  state.done.forEach((id) => done.add(id));
  keep();
  list();
  draw();
};
open(0);
