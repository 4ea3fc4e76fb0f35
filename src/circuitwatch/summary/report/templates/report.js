"use strict";
// The report's figures: panels of curves with one shared checkpoint, emergence against size, heads' timelines, circuits by layer, transfer.
// Plain SVG and native inputs; nothing is fetched. The data are those of data.py and circuits.py.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const hidden = { models: new Set(), tasks: new Set() };
let checkpoint = null; // tokens of the checkpoint that all figures mark
const redraw = []; // functions that draw a figure anew
const onCheckpoint = []; // functions that move its mark

function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
function draw(name, attributes = {}, text = null) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(key, value);
  if (text !== null) node.textContent = text;
  return node;
}
function short(count) {
  if (count === null || count === undefined) return "";
  for (const [size, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]])
    if (count >= size * 0.9995) return `${+(count / size).toPrecision(3)}${letter}`;
  return String(+count.toPrecision(3));
}
const value = y => (y === null ? "–" : (Math.abs(y) >= 100 ? y.toFixed(0) : Math.abs(y) >= 10 ? y.toFixed(1) : y.toFixed(2)).replace(/^-0(\.0*)?$/, "0$1").replace("-", "−"));
const taskPlace = task => data.tasks.findIndex(known => known.name === task);
const words = task => (data.tasks.find(known => known.name === task) || { words: task }).words;
const seeds = new Set(data.series.map(line => line.s));
const called = line => data.models[line.m].name + (seeds.size > 1 ? ` seed ${line.s}` : "");
const visible = line => !hidden.models.has(line.m) && !hidden.tasks.has(line.t);

// ---- scales and axes ----

function places(axis) { // where token counts are drawn: 0 at half of the first positive one
  const first = axis.find(tokens => tokens > 0) || 2;
  return axis.map(tokens => (tokens > 0 ? tokens : first / 2));
}
function logScale(low, high, from, to) {
  const a = Math.log(low), b = Math.log(high > low ? high : low * 2);
  const scale = x => from + ((Math.log(x) - a) / (b - a)) * (to - from);
  scale.ticks = () => {
    const decades = (b - a) / Math.LN10, found = [];
    const steps = decades > 2 ? [1] : decades > 0.8 ? [1, 2, 5] : [1, 2, 3, 4, 6, 8];
    for (let power = Math.floor(a / Math.LN10); power <= b / Math.LN10; power++)
      for (const step of steps) {
        const tick = step * 10 ** power;
        if (tick >= low * 0.999 && tick <= high * 1.001) found.push(tick);
      }
    const every = Math.ceil(found.length / Math.max(2, Math.floor(Math.abs(to - from) / 62)));
    return found.filter((_, index) => index % every === 0);
  };
  return scale;
}
function linearScale(low, high, from, to) {
  const scale = y => from + ((y - low) / (high - low || 1)) * (to - from);
  scale.ticks = () => {
    const rough = (high - low) / 4 || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => s >= rough * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(+(k * step).toPrecision(6));
    return found;
  };
  return scale;
}
function frame(svg, box, x, y, xLabel, { yTicks = null, yText = short } = {}) {
  for (const tick of yTicks || y.ticks()) {
    svg.append(draw("line", { x1: box.left, x2: box.right, y1: y(tick), y2: y(tick), stroke: "#e6e6e6" }));
    const text = tick < 0 ? `−${yText(-tick)}` : yText(tick);
    svg.append(draw("text", { x: box.left - 5, y: y(tick) + 4, "text-anchor": "end" }, text));
  }
  for (const tick of x.ticks()) {
    svg.append(draw("line", { x1: x(tick), x2: x(tick), y1: box.bottom, y2: box.bottom + 4, stroke: "#888" }));
    svg.append(draw("text", { x: x(tick), y: box.bottom + 16, "text-anchor": "middle" }, short(tick)));
  }
  svg.append(draw("line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, stroke: "#888" }));
  if (xLabel) svg.append(draw("text", { x: (box.left + box.right) / 2, y: box.bottom + 31, "text-anchor": "middle" }, xLabel));
}
function canvas(host, height, label) {
  const width = Math.max(220, host.clientWidth);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
  host.append(svg);
  return { svg, width };
}

// ---- the shared checkpoint ----

function setCheckpoint(tokens, from = null) {
  if (tokens === checkpoint) return;
  checkpoint = tokens;
  for (const move of onCheckpoint) move(from);
}
function nearest(axis, tokens) { // the place in an ascending axis that is nearest in log tokens
  let best = 0;
  const at = Math.log(Math.max(tokens, 1));
  axis.forEach((count, k) => {
    if (Math.abs(Math.log(Math.max(count, 1)) - at) < Math.abs(Math.log(Math.max(axis[best], 1)) - at)) best = k;
  });
  return best;
}

// ---- panels of curves ----

let clips = 0;
function drawPanel(host, panel) {
  const find = places => (places || []).map(index => data.series[index]).filter(visible);
  const lines = find(panel.series);
  host.replaceChildren(make("h4", {}, panel.title, make("span", {}, ` · ${panel.axis}`)));
  if (!lines.length) { host.append(make("p", { class: "quiet" }, "nothing chosen")); return; }
  const height = 230;
  const { svg, width } = canvas(host, height, `${panel.title}, ${panel.axis}, over training tokens`);
  const box = { left: 42, right: width - 8, top: 8, bottom: height - 36 };
  const xs = lines.map(line => places(data.axes[line.a]));
  const beside = find(panel.beside); // the effect beside the metric
  const x = logScale(Math.min(...xs.map(axis => axis[0])), Math.max(...xs.map(axis => axis.at(-1))), box.left + 4, box.right - 4);
  const y = linearScale(panel.limits[0], panel.limits[1], box.bottom, box.top);
  frame(svg, box, x, y, "training tokens");
  const clip = `clip-${clips++}`, inside = draw("clipPath", { id: clip });
  inside.append(draw("rect", { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top }));
  const plot = draw("g", { "clip-path": `url(#${clip})` });
  svg.append(inside, plot);
  for (const level of panel.levels || []) {
    const line = draw("line", { class: "level", x1: box.left, x2: box.right, y1: y(level.y), y2: y(level.y), stroke: "#999", "stroke-dasharray": "1.5 3" });
    line.append(draw("title", {}, `${level.words}: ${value(level.y)}`));
    plot.append(line);
  }
  const point = (tokens, v) => `${x(tokens).toFixed(1)},${y(v).toFixed(1)}`;
  for (const [kind, dashes] of [["ceiling", "6 4"], ["chance", "1.5 4"]]) // what an overlap is compared with
    for (const line of find(panel[kind])) {
      const at = places(data.axes[line.a]);
      plot.append(draw("polyline", { class: kind, points: line.y.map((v, i) => point(at[i], v)).join(" "), fill: "none", stroke: data.models[line.m].colour, "stroke-width": 1.2, "stroke-dasharray": dashes, opacity: 0.8 }));
    }
  const band = (line, at, low, high, look) => {
    const edge = ends => ends.map((v, i) => (v === null || low[i] === null ? null : point(at[i], v))).filter(Boolean);
    plot.append(draw("polygon", { points: [...edge(low), ...edge(high).reverse()].join(" "), fill: data.models[line.m].colour, ...look }));
  };
  const withBand = (line, at, opacity, look) => {
    const colour = data.models[line.m].colour;
    if (line.least) { // shaded over cut-offs, with a bar for each interval over prompts
      band(line, at, line.least, line.most, { class: "cutoffs", opacity });
      const bars = (line.low || []).map((low, i) => (low === null ? "" : `M${point(at[i], low)}V${y(line.high[i]).toFixed(1)}`));
      if (bars.some(Boolean)) plot.append(draw("path", { class: "interval", d: bars.join(""), stroke: colour, opacity: 0.6 }));
    } else if (line.low) band(line, at, line.low, line.high, { class: "band", opacity });
    plot.append(draw("polyline", { points: line.y.map((v, i) => point(at[i], v)).join(" "), fill: "none", stroke: colour, "data-model": data.models[line.m].name, ...look }));
  };
  for (const line of beside) withBand(line, places(data.axes[line.a]), 0.08, { class: "effect", "stroke-width": 1.3, "stroke-dasharray": "6 3" });
  lines.forEach((line, k) => {
    const colour = data.models[line.m].colour;
    withBand(line, xs[k], 0.16, { class: "curve", "stroke-width": 1.8 });
    if (line.y.length === 1) plot.append(draw("circle", { cx: x(xs[k][0]), cy: y(line.y[0]), r: 3, fill: colour }));
    for (const [words, marked] of Object.entries(line.doubts || {}))
      for (const i of marked) {
        const ring = draw("circle", { class: "doubt", cx: x(xs[k][i]), cy: y(line.y[i]), r: 4, fill: "none", stroke: colour });
        ring.append(draw("title", {}, words));
        plot.append(ring);
      }
    (line.copies ? line.copies[0] : []).forEach((tokens, i) =>
      plot.append(draw("text", { class: "copy", x: x(places([tokens, ...data.axes[line.a]])[0]), y: y(line.copies[1][i]) + 4, "text-anchor": "middle", style: "fill:#d55e00" }, "×")));
  });
  const mark = draw("g", { class: "mark" });
  svg.append(mark);
  const readout = make("div", { class: "readout" });
  host.append(readout);
  const move = () => {
    mark.replaceChildren(); readout.replaceChildren();
    if (checkpoint === null) return;
    const said = [];
    let at = null;
    lines.forEach((line, k) => {
      const axis = data.axes[line.a], place = nearest(axis, checkpoint);
      if (checkpoint < axis[0] * 0.9 || checkpoint > axis.at(-1) * 1.1) return; // this curve says nothing of it
      at ??= xs[k][place];
      const range = line.least && line.least[place] !== null ? ` (${value(line.least[place])} to ${value(line.most[place])} over cut-offs)` : "";
      mark.append(draw("circle", { cx: x(xs[k][place]), cy: y(line.y[place]), r: 3.5, fill: data.models[line.m].colour, stroke: "#fff" }));
      const swatch = make("span", { class: "swatch", style: `background:${data.models[line.m].colour}` });
      const effect = beside.find(other => other.m === line.m && other.s === line.s);
      const its = effect ? effect.y[nearest(data.axes[effect.a], checkpoint)] : null;
      said.push(make("i", {}, swatch, ` ${value(line.y[place])}${its === null ? "" : ` (effect ${value(its)})`}${range}`));
    });
    if (at !== null) mark.prepend(draw("line", { x1: x(at), x2: x(at), y1: box.top, y2: box.bottom, stroke: "#555", "stroke-dasharray": "3 3" }));
    readout.append(...said.slice(0, 12));
  };
  onCheckpoint.push(move);
  move();
  const follow = event => {
    const bounds = svg.getBoundingClientRect(), px = ((event.clientX - bounds.left) / bounds.width) * width;
    let best = null;
    lines.forEach((line, k) => xs[k].forEach((tokens, i) => {
      const far = Math.abs(x(tokens) - px);
      if (best === null || far < best[0]) best = [far, data.axes[line.a][i]];
    }));
    if (best) setCheckpoint(best[1]);
  };
  svg.addEventListener("pointermove", follow);
  svg.addEventListener("pointerdown", follow);
}
function drawSection(section) {
  const host = document.getElementById(`panels-${section.id}`);
  if (!host) return;
  const select = document.getElementById(`choose-${section.id}`);
  const choice = section.choices[select ? select.selectedIndex : 0];
  host.replaceChildren();
  for (const panel of choice.panels) {
    if (panel.t !== null && hidden.tasks.has(panel.t)) continue;
    const cell = make("div", { class: "panel" });
    host.append(cell);
    drawPanel(cell, panel);
  }
  if (choice.notes.length) host.append(make("p", { class: "quiet note" }, choice.notes.join("; ")));
}

// ---- emergence against model size ----

function drawSizes() {
  const host = document.getElementById("panels-sizes");
  if (!host) return;
  const quantity = document.getElementById("choose-sizes").value;
  host.replaceChildren();
  const rows = data.emergence.filter(row => row.q === quantity && data.models[row.m].params && !hidden.models.has(row.m) && !hidden.tasks.has(row.t));
  for (const task of [...new Set(rows.map(row => row.t))].sort((a, b) => taskPlace(a) - taskPlace(b))) {
    const own = rows.filter(row => row.t === task), cell = make("div", { class: "panel" }, make("h4", {}, task === "-" ? data.quantities[quantity] : words(task)));
    host.append(cell);
    const { svg, width } = canvas(cell, 240, `tokens of emergence against model size, ${task === "-" ? data.quantities[quantity] : words(task)}`);
    const box = { left: 50, right: width - 14, top: 12, bottom: 204 };
    const tokens = own.flatMap(row => [row.x, row.low, row.status === "emerged" ? row.high ?? row.last : null, row.status === "never" ? row.last : null, row.status === "already" ? row.first : null]).filter(t => t > 0);
    if (!tokens.length) { cell.append(make("p", { class: "quiet" }, "no emergence point in any model")); svg.remove(); continue; }
    const params = own.map(row => data.models[row.m].params);
    const x = logScale(Math.min(...params) * 0.8, Math.max(...params) * 1.25, box.left, box.right);
    const y = logScale(Math.min(...tokens) * 0.8, Math.max(...tokens) * 1.3, box.bottom, box.top);
    frame(svg, box, x, y, "parameters");
    const trend = data.trends.find(t => t.q === quantity && t.t === task);
    if (trend) {
      const ends = [Math.min(...params), Math.max(...params)].map(p => `${x(p)},${y(Math.exp(trend.intercept + trend.slope * Math.log(p)))}`);
      svg.append(draw("polyline", { points: ends.join(" "), stroke: "#777", "stroke-dasharray": "5 4", fill: "none" }));
    }
    for (const row of own) {
      const model = data.models[row.m], at = x(model.params), name = `${called(row)}: ${row.status}`;
      if (row.status === "emerged") {
        const top = row.high ?? row.last;
        svg.append(draw("line", { x1: at, x2: at, y1: y(Math.max(row.low || row.x, 1)), y2: y(top), stroke: model.colour, "stroke-width": 2 }));
        const dot = draw("circle", { cx: at, cy: y(row.x), r: 5, fill: model.colour, class: "observed" });
        dot.append(draw("title", {}, `${name} at ${short(row.x)} tokens [${short(row.low)} – ${row.high === null ? "beyond the last checkpoint" : short(row.high)}]`));
        svg.append(dot);
      } else if (row.status === "never" || (row.status === "already" && row.first > 0)) {
        const up = row.status === "never", py = y(up ? row.last : row.first), s = up ? -1 : 1;
        const arrow = draw("path", { d: `M${at - 5},${py}h10l-5,${9 * s}z`, fill: "#fff", stroke: model.colour, "stroke-width": 1.6, class: "censored" });
        arrow.append(draw("title", {}, up ? `${name} by ${short(row.last)} tokens` : `${name} at ${short(row.first)} tokens`));
        svg.append(arrow);
      }
    }
    const none = own.filter(row => !["emerged", "never", "already"].includes(row.status)).map(row => `${called(row)} (${row.status})`);
    if (none.length) cell.append(make("p", { class: "quiet" }, `no one emergence point: ${none.join(", ")}`));
  }
}

// ---- which heads, when ----

function drawTimeline() {
  const host = document.getElementById("timeline");
  if (!host) return;
  host.replaceChildren();
  const [m, s] = document.getElementById("choose-timeline").value.split(" ").map(Number);
  const roles = data.timeline.filter(line => line.m === m && line.s === s);
  const row = 17, gap = 22;
  const height = roles.reduce((sum, role) => sum + gap + role.heads.length * row, 8) + 36;
  const { svg, width } = canvas(host, height, "heads that hold a role over training tokens");
  const box = { left: 58, right: width - 8, top: 0, bottom: height - 36 };
  const axes = roles.map(role => places(data.axes[role.a]));
  const x = logScale(Math.min(...axes.map(axis => axis[0])), Math.max(...axes.map(axis => axis.at(-1))), box.left, box.right);
  let top = 4;
  const spots = [];
  roles.forEach((role, k) => {
    const axis = axes[k], middle = axis.slice(1).map((t, i) => Math.sqrt(t * axis[i]));
    const edge = [axis[0], ...middle, axis.at(-1)].map(t => x(t));
    svg.append(draw("text", { x: box.left, y: top + 14, "font-weight": 600, style: `fill:${role.colour}` }, role.role + (role.more ? ` (${role.more} more heads)` : "")));
    top += gap;
    for (const [head, code] of role.heads) {
      svg.append(draw("text", { x: box.left - 5, y: top + 12, "text-anchor": "end" }, head));
      const bars = {}; // one path for all bars of a strength
      [...code].forEach((character, i) => {
        const at = character.charCodeAt(0) - 33, state = Math.floor(at / 23), level = at % 23;
        const tall = [2, 7, 14, 14][state], from = edge[i], wide = Math.max(edge[i + 1] - from, 0.6);
        const shade = Math.round((level / 22) * 6), bar = (y, h) => `M${from.toFixed(1)},${y}h${wide.toFixed(1)}v${h}h-${wide.toFixed(1)}z`;
        const first = top + (row - 2 - tall) / 2; // what hurts has a line through it
        (bars[shade] ??= []).push(state === 3 ? bar(first, 5) + bar(first + 9, 5) : bar(first, tall));
        spots.push({ left: from, right: edge[i + 1], top, text: `${role.role} ${head}: ${(level / 22).toFixed(2)}${["", ", holds the role", ", holds the role, confirmed: helps", ", holds the role, confirmed: hurts"][state]}`, tokens: data.axes[role.a][i] });
      });
      for (const [shade, parts] of Object.entries(bars)) svg.append(draw("path", { d: parts.join(""), fill: role.colour, opacity: 0.16 + 0.14 * shade, class: "held" }));
      top += row;
    }
  });
  frame(svg, box, x, linearScale(0, 1, 0, 1), "training tokens", { yTicks: [] });
  const mark = draw("line", { y1: 0, y2: box.bottom, stroke: "#333", "stroke-dasharray": "3 3", visibility: "hidden" });
  svg.append(mark);
  const readout = make("div", { class: "readout" });
  host.append(readout);
  const move = () => {
    if (checkpoint === null || !axes.length) return;
    const at = x(axes[0][nearest(data.axes[roles[0].a], checkpoint)]);
    for (const [key, number] of [["x1", at], ["x2", at]]) mark.setAttribute(key, number);
    mark.setAttribute("visibility", "visible");
  };
  onCheckpoint.push(move);
  move();
  const point = event => {
    const bounds = svg.getBoundingClientRect(), px = event.clientX - bounds.left, py = event.clientY - bounds.top;
    const spot = spots.find(one => px >= one.left && px <= one.right && py >= one.top && py < one.top + row);
    if (!spot) return;
    readout.textContent = `${spot.text} · ${short(spot.tokens) || 0} tokens`;
    setCheckpoint(spot.tokens);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
}

// ---- circuits by layer ----

let circuits = []; // a line a cell with nodes[checkpoint] and edges[checkpoint], once unpacked
async function unpack() {
  const text = document.getElementById("circuit-data");
  if (!text || !data.circuits.length) return;
  const packed = Uint8Array.from(atob(text.textContent), character => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let at = 0;
  const next = () => { // a number of seven bits a byte, the lowest first
    let number = 0, scale = 1;
    for (;;) {
      const byte = bytes[at++];
      number += (byte & 127) * scale;
      if (byte < 128) return number;
      scale *= 128;
    }
  };
  const toggle = set => {
    let place = 0;
    for (let left = next(); left > 0; left--) {
      place += next();
      if (!set.delete(place)) set.add(place);
    }
    return Uint32Array.from(set);
  };
  for (const line of data.circuits) {
    const nodes = new Set(), edges = new Set();
    const cell = { ...line, at: [] };
    for (let k = 0; k < line.tokens.length; k++) cell.at.push({ nodes: toggle(nodes), edges: toggle(edges) });
    circuits.push(cell);
  }
  document.getElementById("choose-circuit").dispatchEvent(new Event("change"));
}
const INPUTS = { q: "#0072b2", k: "#d55e00", v: "#009e73", rest: "#777777" };
function nodePlace(node, cell) { // [layer, place in it]; −1 for the input, `layers` for the logits; heads, then the MLP
  if (node === 0) return [-1, 0];
  const inside = (node - 1) % (cell.heads + 1), layer = Math.floor((node - 1) / (cell.heads + 1));
  return layer === cell.layers ? [layer, 0] : [layer, inside];
}
function nodeName(node, cell) {
  const [layer, inside] = nodePlace(node, cell);
  return layer < 0 ? "input" : layer === cell.layers ? "logits" : inside === cell.heads ? `m${layer}` : `a${layer}.h${inside}`;
}
function receiverOf(receiver, cell) { // [node, which input]
  if (receiver === cell.receivers - 1) return [1 + cell.layers * (cell.heads + 1), "rest"];
  const wide = 3 * cell.heads + 1, layer = Math.floor(receiver / wide), inside = receiver % wide;
  const mlp = inside === 3 * cell.heads, first = 1 + layer * (cell.heads + 1);
  return mlp ? [first + cell.heads, "rest"] : [first + (inside % cell.heads), "qkv"[Math.floor(inside / cell.heads)]];
}
const chosen = () => circuits[Number(document.getElementById("choose-circuit").value)];
function drawCircuit() {
  const host = document.getElementById("circuit"), range = document.getElementById("step-circuit");
  const cell = host && chosen();
  if (!cell) return;
  range.max = cell.tokens.length - 1;
  const step = Number(range.value), { nodes, edges } = cell.at[step];
  document.getElementById("at-circuit").textContent = `${short(cell.tokens[step]) || 0} tokens, step ${cell.steps[step]}`;
  host.replaceChildren();
  const there = new Set(nodes), lane = Math.max(18, Math.min(46, 900 / (cell.layers + 2)));
  const height = (cell.layers + 1) * lane + 44;
  const { svg, width } = canvas(host, height, `circuit of ${words(cell.t)} in ${data.models[cell.m].name} at ${short(cell.tokens[step])} tokens`);
  const left = 44, right = Math.min(width - 12, left + 60 * (cell.heads + 2)), y = layer => height - 22 - (layer + 1) * lane;
  const across = inside => left + ((inside + 0.5) / (cell.heads + 1)) * (right - left);
  const spot = node => {
    const [layer, inside] = nodePlace(node, cell);
    return [layer < 0 || layer === cell.layers ? (left + right) / 2 : across(inside), y(layer)];
  };
  const radius = Math.max(2.2, Math.min(9, lane / 3.2, (right - left) / (cell.heads + 1) / 2.6));
  for (let layer = 0; layer < cell.layers; layer++)
    if (cell.layers <= 16 || layer % 4 === 0) svg.append(draw("text", { x: left - 22, y: y(layer) + 4, "text-anchor": "end" }, layer));
  svg.append(draw("text", { x: 4, y: y(cell.layers) + 4 }, "layer"));
  const faint = edges.length > 80 ? 0.3 : 0.55, drawn = {};
  for (const edge of edges) {
    const [to, input] = receiverOf(edge % cell.receivers, cell), [x1, y1] = spot(Math.floor(edge / cell.receivers)), [x2, y2] = spot(to);
    const bend = (x2 - x1) * 0.15 + (Math.abs(x2 - x1) < 2 ? 14 : 0);
    (drawn[input] ??= []).push(`M${x1.toFixed(1)},${y1.toFixed(1)}Q${((x1 + x2) / 2 + bend).toFixed(1)},${((y1 + y2) / 2).toFixed(1)} ${x2.toFixed(1)},${y2.toFixed(1)}`);
  }
  for (const [input, parts] of Object.entries(drawn))
    svg.append(draw("path", { d: parts.join(""), fill: "none", stroke: INPUTS[input], opacity: faint, "stroke-width": edges.length > 80 ? 1 : 1.6, class: "edges", "data-edges": parts.length }));
  const few = cell.heads <= 8;
  for (let node = 0; node <= 1 + cell.layers * (cell.heads + 1); node++) {
    const [px, py] = spot(node), [layer, inside] = nodePlace(node, cell), on = there.has(node), name = nodeName(node, cell);
    const look = { fill: on ? "#222" : "#fff", stroke: on ? "#222" : "#c8c8c8", class: on ? "node on" : "node" };
    const square = layer < 0 || layer === cell.layers || inside === cell.heads;
    const shape = square ? draw("rect", { x: px - radius, y: py - radius, width: 2 * radius, height: 2 * radius, ...look }) : draw("circle", { cx: px, cy: py, r: radius, ...look });
    shape.append(draw("title", {}, name + (on ? "" : ", not in the circuit")));
    svg.append(shape);
    if (layer < 0 || layer === cell.layers) svg.append(draw("text", { x: px + radius + 6, y: py + 4 }, name));
    else if (few && on) svg.append(draw("text", { class: "value", x: px + radius + 3, y: py - radius + 1 }, inside === cell.heads ? `m${layer}` : `h${inside}`));
  }
  const count = cell.edges[step], [names, codes] = cell.status;
  document.getElementById("say-circuit").textContent = count
    ? `${count.toLocaleString("en")} of ${cell.whole ? cell.whole.toLocaleString("en") : "?"} edges, ${nodes.length} nodes${count > edges.length ? `; the ${edges.length} strongest edges are drawn` : ""}${names[codes[step]].replace("found", "")}`
    : `circuit: ${names[codes[step]]}`;
}
function startCircuit() {
  const select = document.getElementById("choose-circuit"), range = document.getElementById("step-circuit");
  if (!select) return;
  const atCheckpoint = () => { const cell = chosen(); if (cell && checkpoint !== null) range.value = nearest(cell.tokens, checkpoint); };
  select.addEventListener("change", () => { range.max = chosen().tokens.length - 1; if (checkpoint === null) range.value = range.max; else atCheckpoint(); drawCircuit(); });
  range.addEventListener("input", () => { setCheckpoint(chosen().tokens[Number(range.value)], range); drawCircuit(); });
  range.addEventListener("change", drawCircuit);
  redraw.push(drawCircuit);
}

// ---- circuits on other checkpoints and tasks ----

function faithColour(v) { // white at 0, blue at 1, red at −1
  if (v === null) return "#ccc";
  const t = Math.max(-1, Math.min(1, v)), end = t < 0 ? [178, 24, 43] : [33, 102, 172];
  return `rgb(${end.map(part => Math.round(255 + (part - 255) * Math.abs(t))).join(",")})`;
}
function drawMatrix(host, table, title, xLabel, yLabel, { numbers = false, text = short, up = true } = {}) {
  const cell = make("div", { class: "panel" }, make("h4", {}, title));
  host.append(cell);
  const n = table.rows.length, k = table.columns.length, left = numbers ? 118 : 54;
  const width = Math.max(220, cell.clientWidth), side = Math.min(numbers ? 56 : 34, (width - left - 8) / k), tall = Math.min(numbers ? 34 : side, 300 / n);
  const height = n * tall + (numbers ? 92 : 46);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${title}: faithfulness` });
  cell.append(svg);
  const readout = make("div", { class: "readout" });
  cell.append(readout);
  const top = row => (up ? n - 1 - row : row) * tall;
  table.v.forEach((line, r) => line.forEach((v, c) => {
    const square = draw("rect", { class: "square", x: left + c * side, y: top(r), width: side + 0.3, height: tall + 0.3, fill: faithColour(v) });
    const at = name => (text(name) === "" ? "0" : text(name));
    square.append(draw("title", {}, `circuit of ${at(table.rows[r])}, ${numbers ? "prompts of" : "model at"} ${at(table.columns[c])}: ${value(v)}`));
    square.addEventListener("pointermove", () => { readout.textContent = square.textContent; if (!numbers) setCheckpoint(table.columns[c]); });
    svg.append(square);
    if (!numbers && table.rows[r] === table.columns[c]) svg.append(draw("circle", { cx: left + (c + 0.5) * side, cy: top(r) + tall / 2, r: Math.min(2, side / 5) }));
    if (numbers && v !== null) svg.append(draw("text", { x: left + (c + 0.5) * side, y: top(r) + tall / 2 + 4, "text-anchor": "middle", style: Math.abs(v) > 0.6 ? "fill:#fff" : "fill:#222" }, value(v)));
  }));
  table.rows.forEach((name, r) => {
    if (numbers || r % Math.ceil(20 / tall) === 0) svg.append(draw("text", { x: left - 5, y: top(r) + tall / 2 + 4, "text-anchor": "end" }, text(name) || "0"));
  });
  table.columns.forEach((name, c) => {
    if (numbers) svg.append(draw("text", { transform: `translate(${left + (c + 0.6) * side},${n * tall + 12}) rotate(-35)`, "text-anchor": "end" }, text(name)));
    else if (c % Math.ceil(44 / side) === 0) svg.append(draw("text", { x: left + (c + 0.5) * side, y: n * tall + 15, "text-anchor": "middle" }, text(name) || "0"));
  });
  svg.append(draw("text", { x: left + (k * side) / 2, y: height - 6, "text-anchor": "middle" }, `${xLabel} →, ${yLabel} ${up ? "↑" : "↓"}`));
}
function drawTransfer() {
  const host = document.getElementById("transfer");
  if (!host) return;
  host.replaceChildren();
  const inOrder = [...data.transfer].sort((a, b) => a.m - b.m || (taskPlace(a.t) - taskPlace(b.t)));
  for (const table of inOrder) {
    if (hidden.models.has(table.m) || hidden.tasks.has(table.t)) continue;
    drawMatrix(host, table, `${data.models[table.m].name}, ${words(table.t)}`, "model at (tokens)", "circuit of");
  }
  for (const table of data.specificity) {
    if (hidden.models.has(table.m)) continue;
    drawMatrix(host, table, `${data.models[table.m].name}, tasks, ${table.at ? `at ${short(table.at)}` : "mean"}`, "prompts of", "circuit of", { numbers: true, text: name => name, up: false });
  }
}

// ---- controls, tables, downloads ----

function drawAll() {
  onCheckpoint.length = 0;
  onCheckpoint.push(showCheckpoint);
  for (const one of redraw) one();
  if (document.getElementById("choose-circuit")) onCheckpoint.push(from => {
    const range = document.getElementById("step-circuit"), cell = chosen();
    if (from !== range && cell && checkpoint !== null) { range.value = nearest(cell.tokens, checkpoint); drawCircuit(); }
  });
}
const everyCheckpoint = [...new Set(data.axes.flat())].sort((a, b) => a - b);
const checkpointRange = document.getElementById("checkpoint");
function showCheckpoint() {
  checkpointRange.value = everyCheckpoint.indexOf(checkpoint) >= 0 ? everyCheckpoint.indexOf(checkpoint) : nearest(everyCheckpoint, checkpoint);
  document.getElementById("at-checkpoint").textContent = `${short(checkpoint) || 0} tokens`;
}
checkpointRange.max = Math.max(everyCheckpoint.length - 1, 0);
checkpointRange.value = checkpointRange.max;
checkpointRange.addEventListener("input", () => setCheckpoint(everyCheckpoint[Number(checkpointRange.value)]));

document.querySelectorAll("input[data-model]").forEach(box => box.addEventListener("change", () => {
  hidden.models[box.checked ? "delete" : "add"](Number(box.dataset.model));
  drawAll();
}));
document.querySelectorAll("input[data-task]").forEach(box => box.addEventListener("change", () => {
  hidden.tasks[box.checked ? "delete" : "add"](box.dataset.task);
  drawAll();
}));
for (const section of data.sections) {
  if (!section.choices.length) continue;
  redraw.push(() => drawSection(section));
  document.getElementById(`choose-${section.id}`)?.addEventListener("change", drawAll);
}
redraw.push(drawSizes, drawTimeline, drawTransfer);
for (const name of ["choose-sizes", "choose-timeline"]) document.getElementById(name)?.addEventListener("change", drawAll);
startCircuit();

document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
  const head = button.parentNode, body = head.closest("table").tBodies[0], place = [...head.parentNode.children].indexOf(head);
  const up = (head.dataset.up = head.dataset.up === "1" ? "" : "1");
  const key = row => row.children[place].dataset.value ?? row.children[place].textContent;
  const order = (a, b) => (key(a) === "") - (key(b) === "") || (isNaN(key(a)) || isNaN(key(b)) ? key(a).localeCompare(key(b)) : key(a) - key(b));
  [...body.rows].sort((a, b) => (up ? 1 : -1) * order(a, b)).forEach(row => body.append(row));
}));

function curvesCsv() {
  // As spreadsheets.py does it: a text that would be taken for a formula gets an apostrophe.
  const harmless = text => (/^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) && text !== "-" && (isNaN(text) || !text.trim()) ? "'" + text : text);
  const quote = text => (text = harmless(String(text)), /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = ["model,params,seed,task,quantity,tokens,value"];
  for (const line of data.series.filter(line => !line.compared))
    line.y.forEach((y, k) => { if (y !== null) lines.push([quote(data.models[line.m].name), data.models[line.m].params ?? "", line.s, quote(line.t), quote(line.q), data.axes[line.a][k], y].join(",")); });
  return lines.join("\n") + "\n";
}
document.querySelectorAll("a[data-file]").forEach(link => link.addEventListener("click", () => {
  const content = link.dataset.file === "curves" ? curvesCsv() : data.files[link.dataset.file];
  link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
}));

drawAll();
let wide = document.body.clientWidth;
new ResizeObserver(() => {
  if (Math.abs(document.body.clientWidth - wide) < 2) return;
  wide = document.body.clientWidth;
  drawAll();
}).observe(document.body);
unpack().then(() => document.documentElement.setAttribute("data-ready", "yes"));
