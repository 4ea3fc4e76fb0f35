// Tables: sorted by their heads, filtered as the figures are, with a hint where they are wider than
// the screen; and the CSV files behind them.
import { csvCell } from "./format.js";
import { data, isHidden } from "./state.js";

const keyOf = (row, place) => row.children[place].dataset.value ?? row.children[place].textContent;

// Numbers by size, texts by name; what is empty comes last, whichever way.
export function compare(a, b, up) {
  if ((a === "") !== (b === "")) return a === "" ? 1 : -1;
  const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  return up ? order : -order;
}

function sortBy(button) {
  const head = button.parentNode;
  const place = [...head.parentNode.children].indexOf(head);
  const body = head.closest("table").tBodies[0];
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const rows = [...body.rows].sort((a, b) => compare(keyOf(a, place), keyOf(b, place), up));
  body.append(...rows);
}

// Rows, columns, sentences and headings that are of a model or a task which is hidden.
export function applyFilters() {
  const places = new Map(data.models.map((model, place) => [model.name, place]));
  for (const node of document.querySelectorAll("[data-of-model], [data-t]")) {
    const model = places.get(node.dataset.ofModel) ?? null;
    node.hidden = isHidden(model, node.dataset.t || null);
  }
  for (const table of document.querySelectorAll(".table")) {
    const rows = [...table.querySelectorAll("tbody tr")];
    const left = rows.filter((row) => !row.hidden).length;
    table.querySelector(".empty").hidden = left > 0;
  }
  hintAtScrolling();
}

export function hintAtScrolling() {
  for (const host of document.querySelectorAll(".table")) {
    const scroll = host.querySelector(".scroll");
    host.classList.toggle("wider", scroll.scrollWidth > scroll.clientWidth + 1);
  }
}

function curvesCsv() {
  const lines = ["model,params,seed,task,quantity,tokens,value"];
  const choices = data.sections.flatMap((section) => section.choices);
  const panels = choices
    .flatMap((choice) => choice.panels)
    .filter((panel) => panel.m === undefined);
  const measured = ([, look]) => ["curve", "effect"].includes(data.looks[look].kind);
  const own = new Set(
    panels.flatMap((panel) => panel.curves.filter(measured)).map(([line]) => line),
  );
  data.series.forEach((line, place) => {
    if (!own.has(place)) return;
    const model = data.models[line.m];
    const first = [
      csvCell(model.name),
      model.params ?? "",
      line.s,
      csvCell(line.t),
      csvCell(line.q),
    ];
    line.y.forEach((y, k) => {
      if (y !== null) lines.push([...first, data.axes[line.a][k], y].join(","));
    });
  });
  return lines.join("\n") + "\n";
}

export function startTables() {
  for (const button of document.querySelectorAll("th button"))
    button.addEventListener("click", () => sortBy(button));
  for (const link of document.querySelectorAll("a[data-file]"))
    link.addEventListener("click", () => {
      const content = link.dataset.file === "curves" ? curvesCsv() : data.files[link.dataset.file];
      link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
    });
  for (const folded of document.querySelectorAll("details"))
    folded.addEventListener("toggle", hintAtScrolling);
}
