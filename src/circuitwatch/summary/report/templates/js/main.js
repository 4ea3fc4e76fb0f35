// The page: filters, the checkpoint that all figures mark, and everything drawn.
import { drawCircuits, unpack } from "./circuits.js";
import { drawSection } from "./curves.js";
import { drawEmergence, drawSizes } from "./emergence.js";
import { short } from "./format.js";
import { drawMatrices } from "./matrices.js";
import { nearest } from "./scales.js";
import {
  data,
  everyCheckpoint,
  follow,
  forgetFollowers,
  hidden,
  marked,
  setCheckpoint,
} from "./state.js";
import { applyFilters, startTables } from "./tables.js";
import { drawTimeline } from "./timeline.js";

const ANY = "any checkpoint";

// Sliders: 0 is any checkpoint, k the k-th token count of the page.
function showCheckpoint() {
  const tokens = marked();
  const place = tokens === null ? 0 : nearest(everyCheckpoint, tokens) + 1;
  const words = tokens === null ? ANY : `${short(tokens) || 0} tokens`;
  for (const slider of document.querySelectorAll("input.checkpoint")) {
    slider.value = place;
    slider.setAttribute("aria-valuetext", words);
  }
  for (const output of document.querySelectorAll("output.checkpoint")) output.textContent = words;
}

function countShown() {
  for (const [what, all] of [
    ["models", data.models],
    ["tasks", data.tasks],
  ]) {
    const count = document.getElementById(`shown-${what}`);
    if (count)
      count.textContent = hidden[what].size
        ? ` ${all.length - hidden[what].size} of ${all.length}`
        : "";
  }
}

function drawAll() {
  forgetFollowers();
  data.emergence.forEach(drawEmergence);
  for (const section of data.sections) drawSection(section);
  drawSizes();
  drawTimeline();
  drawCircuits();
  drawMatrices();
  follow(showCheckpoint);
  applyFilters();
  countShown();
}

function startControls() {
  for (const slider of document.querySelectorAll("input.checkpoint")) {
    slider.max = everyCheckpoint.length;
    slider.addEventListener("input", () =>
      setCheckpoint(Number(slider.value) ? everyCheckpoint[slider.value - 1] : null),
    );
  }
  for (const box of document.querySelectorAll("input[data-model], input[data-task]"))
    box.addEventListener("change", () => {
      const [set, key] = box.dataset.model
        ? [hidden.models, Number(box.dataset.model)]
        : [hidden.tasks, box.dataset.task];
      set[box.checked ? "delete" : "add"](key);
      drawAll();
    });
  for (const select of document.querySelectorAll("select"))
    select.addEventListener("change", drawAll);
  // one menu of the bar at a time, and none once something else is pressed
  const menus = [...document.querySelectorAll(".bar details")];
  document.addEventListener("click", (event) => {
    for (const menu of menus) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of menus.filter((one) => one.open)) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
  for (const link of document.querySelectorAll(".bar a"))
    link.addEventListener("click", () => (link.closest("details").open = false));
}

startControls();
startTables();
drawAll();
let wide = document.body.clientWidth;
new ResizeObserver(() => {
  if (Math.abs(document.body.clientWidth - wide) < 2) return;
  wide = document.body.clientWidth;
  drawAll();
}).observe(document.body);
unpack().then(() => {
  drawAll();
  document.documentElement.setAttribute("data-ready", "yes");
});
