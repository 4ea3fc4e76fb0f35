// Elements, frames of axes, legends: what every figure is made of.
import { short } from "./format.js";
import { linearTicks, logTicks } from "./scales.js";
import { paint } from "./state.js";

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes) {
  for (const [key, value] of Object.entries(attributes))
    if (value !== null && value !== undefined) node.setAttribute(key, value);
  return node;
}

export function make(name, attributes = {}, ...children) {
  const node = filled(document.createElement(name), attributes);
  node.append(...children);
  return node;
}

export function draw(name, attributes = {}, text = null) {
  const node = filled(document.createElementNS(SVG, name), attributes);
  if (text !== null) node.textContent = text;
  return node;
}

// A mark with what a pointer that rests on it is told.
export function titled(node, words) {
  node.append(draw("title", {}, words));
  return node;
}

export function canvas(host, height, label) {
  const width = Math.max(160, host.clientWidth);
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${height}`,
    height,
    role: "img",
    "aria-label": label,
  });
  host.append(svg);
  return { svg, width };
}

// A horizontal axis of counts, logarithmic: powers of ten are labelled that there is room for.
export function countAxis(svg, box, x, limits, title) {
  const room = Math.max(1, Math.floor((box.right - box.left) / 46));
  const [labelled, between] = logTicks(limits[0], limits[1], room);
  const lines = [];
  for (const tick of between) lines.push(`M${x(tick).toFixed(1)},${box.bottom}v3`);
  for (const tick of labelled) {
    lines.push(`M${x(tick).toFixed(1)},${box.bottom}v5`);
    const label = { class: "tick", x: x(tick), y: box.bottom + 16, "text-anchor": "middle" };
    svg.append(draw("text", label, short(tick)));
  }
  svg.append(
    draw("path", { class: "axis", d: `M${box.left},${box.bottom}H${box.right}${lines.join("")}` }),
  );
  const middle = { x: (box.left + box.right) / 2, y: box.bottom + 31, "text-anchor": "middle" };
  if (title) svg.append(draw("text", { class: "axis-title", ...middle }, title));
}

// A vertical axis: its ticks with lines across the panel, and its title beside it.
export function upAxis(svg, box, y, title, limits, { log = false } = {}) {
  const most = Math.max(2, Math.floor((box.bottom - box.top) / 34));
  const ticks = log ? logTicks(limits[0], limits[1], most)[0] : linearTicks(limits[0], limits[1]);
  for (const tick of ticks) {
    svg.append(
      draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y(tick), y2: y(tick) }),
    );
    const text = tick < 0 ? `−${short(-tick)}` : short(tick);
    svg.append(
      draw("text", { class: "tick", x: box.left - 5, y: y(tick) + 4, "text-anchor": "end" }, text),
    );
  }
  const turned = `translate(11,${(box.top + box.bottom) / 2}) rotate(-90)`;
  if (title)
    svg.append(
      draw("text", { class: "axis-title", transform: turned, "text-anchor": "middle" }, title),
    );
}

const POINTED = { "<": "M16,2v8l-8,-4z", ">": "M8,2v8l8,-4z" };

// The little picture of a legend's entry.
export const keySvg = (width, height) =>
  draw("svg", {
    class: "key",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    "aria-hidden": true,
  });

function swatch(key) {
  const colour = paint(key.colour);
  const svg = keySvg(24, 12);
  const dash = key.dash ? key.dash.map((length) => 1.3 * length).join(" ") : null;
  const line = {
    x1: 0,
    x2: 24,
    y1: 6,
    y2: 6,
    stroke: colour,
    "stroke-width": 2,
    "stroke-dasharray": dash,
  };
  if (key.mark === "band")
    svg.append(draw("rect", { width: 24, height: 12, fill: colour, opacity: 0.3 }));
  else if (key.mark === "ring")
    svg.append(draw("circle", { cx: 12, cy: 6, r: 4, fill: "none", stroke: colour }));
  else if (key.mark === "cross")
    svg.append(draw("path", { d: "M8,2l8,8m0,-8l-8,8", stroke: colour, "stroke-width": 1.6 }));
  else if (POINTED[key.marker])
    svg.append(
      draw("path", { d: POINTED[key.marker], fill: "none", stroke: colour, "stroke-width": 1.5 }),
    );
  else {
    svg.append(draw("line", line));
    if (key.marker) svg.append(draw("circle", { cx: 12, cy: 6, r: 3.5, fill: colour }));
  }
  return svg;
}

export function legend(keys) {
  const entry = (key) => make("span", {}, swatch(key), ` ${key.words}`);
  return make("div", { class: "legend" }, ...keys.map(entry));
}

// Why there is nothing to see.
export const because = (words) => make("p", { class: "quiet empty" }, words);
