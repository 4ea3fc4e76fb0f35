// The circuit of each task, sizes side by side, at any checkpoint; nodes and ways of edges are those
// of layout.py.
import { because, canvas, draw, make, titled } from "./dom.js";
import { short } from "./format.js";
import { nearest } from "./scales.js";
import { data, follow, hidden, isHidden, marked, paint, wordsOf } from "./state.js";

const ROW = 46; // pixels from row to row at most
const COLUMN = 46;
const MARGIN = 106; // for the layers' numbers and the names of input and logits
const NARROWEST = 165;
const OVERVIEW = 300; // of many sizes, each
const TALLEST = 480;
const NEAR = "1500px"; // of the screen: circuits that are drawn
const FEW_HEADS = 10; // up to so many a layer have their names in them

const enlarged = new Set(); // circuits that are drawn as wide as they can be
const shows = new WeakMap(); // what is told to a circuit that comes near the screen, or leaves
let seen = null; // watches which circuits are near the screen
let circuits = []; // a line a cell, with nodes and edges of each checkpoint, once unpacked

// Numbers of seven bits a byte, the lowest first; the eighth bit says that more follow.
export function reader(bytes) {
  let at = 0;
  return () => {
    let number = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      number += (byte & 127) * scale;
      if (byte < 128) return number;
    }
  };
}

// What is in the set after the next changes of the stream, ascending.
export function toggled(set, next) {
  let place = 0;
  for (let left = next(); left > 0; left--) {
    place += next();
    if (!set.delete(place)) set.add(place);
  }
  return [...set].sort((a, b) => a - b);
}

export async function unpack() {
  const text = document.getElementById("circuit-data").textContent;
  if (!data.circuits.length) return;
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const next = reader(new Uint8Array(await new Response(stream).arrayBuffer()));
  circuits = data.circuits.map((line) => {
    const nodes = new Set();
    const edges = new Set();
    return {
      ...line,
      at: line.tokens.map(() => ({ nodes: toggled(nodes, next), edges: toggled(edges, next) })),
    };
  });
}

// The points that an edge runs through, upwards: its sender, a gap of each row between, its receiver.
export function way(layout, draw_, edge) {
  const receivers = layout.target.length;
  const sender = Math.floor(edge / receivers);
  const receiver = edge % receivers;
  const target = layout.target[receiver];
  const lane = draw_.lanes[+layout.kind[receiver]];
  const [low, high] = [layout.y[sender], layout.y[target]];
  const [begin, end] = [layout.x[sender], layout.x[target] + lane];
  const aside = ((((sender * 7) % 5) - 2) / 2) * draw_.spread;
  const points = [[begin, low]];
  for (let row = low + 1; row < high; row++) {
    const straight = begin + ((end - begin) * (row - low)) / (high - low);
    const gap = Math.min(Math.max(Math.floor(straight), -1), layout.columns - 1) + 0.5;
    points.push([gap + lane + aside, row]);
  }
  return [...points, [end, high]];
}

function pathOf(points, straight, x, y) {
  let path = `M${x(points[0][0]).toFixed(1)},${y(points[0][1]).toFixed(1)}`;
  for (let k = 1; k < points.length; k++) {
    const [from, low] = points[k - 1];
    const [to, high] = points[k];
    const [a, b] = [x(from).toFixed(1), x(to).toFixed(1)];
    const middle = y((low + high) / 2).toFixed(1);
    path += `V${y(low + straight).toFixed(1)}C${a},${middle} ${b},${middle} ${b},${y(high - straight).toFixed(1)}V${y(high).toFixed(1)}`;
  }
  return path;
}

function drawNodes(svg, layout, within, x, y, radius) {
  const there = new Set(within);
  const hollow = [];
  const named = layout.columns <= FEW_HEADS + 1 && radius >= 7;
  layout.nodes.forEach((name, node) => {
    const [px, py] = [x(layout.x[node]), y(layout.y[node])];
    const box = { x: px - radius, y: py - radius, width: 2 * radius, height: 2 * radius };
    const ends = node === 0 || node === layout.nodes.length - 1;
    if (ends) svg.append(draw("text", { class: "tick", x: px + radius + 5, y: py + 4 }, name));
    if (!there.has(node)) {
      const round = `M${px - radius},${py}a${radius},${radius} 0 1 0 ${2 * radius},0a${radius},${radius} 0 1 0 ${-2 * radius},0`;
      hollow.push(
        layout.square[node]
          ? `M${box.x},${box.y}h${box.width}v${box.height}h${-box.width}z`
          : round,
      );
      return;
    }
    const shape = layout.square[node]
      ? draw("rect", { class: "node on", ...box })
      : draw("circle", { class: "node on", cx: px, cy: py, r: radius });
    svg.append(titled(shape, name));
    if (named && !ends)
      svg.append(
        draw(
          "text",
          { class: "label", x: px, y: py + 3.5, "text-anchor": "middle", "pointer-events": "none" },
          layout.labels[node],
        ),
      );
  });
  svg.prepend(draw("path", { class: "node", d: hollow.join("") }));
}

// The checkpoint that is shown: the one that is marked, or the last with a circuit.
function stepOf(cell) {
  if (marked() !== null) return nearest(cell.tokens, marked());
  const last = cell.edges.findLastIndex((count) => count > 0);
  return last < 0 ? cell.tokens.length - 1 : last;
}

function saying(cell, step, drawn, nodes) {
  const [names, codes] = cell.status;
  const count = cell.edges[step];
  const at = `At ${short(cell.tokens[step]) || 0} tokens (step ${cell.steps[step]}): `;
  if (!count) return `${at}no circuit, ${names[codes[step]].replace(/^none: /, "")}.`;
  const doubt = names[codes[step]].replace(/^found(; )?/, "");
  const share = `${count.toLocaleString("en")} of ${cell.whole.toLocaleString("en")} edges, ${nodes} nodes`;
  const part = count > drawn ? `; the ${drawn} strongest edges are drawn` : "";
  return `${at}${share}${part}${doubt ? `; ${doubt}` : ""}.`;
}

const rowsOf = (layout) => layout.layers * layout.each + 1; // from the input's row to the logits'
const laneOf = (cell) => {
  const rows = rowsOf(data.layouts.of[cell.graph]);
  const tallest = enlarged.has(cell) ? 2 * TALLEST : TALLEST;
  return Math.max(11, Math.min(ROW, tallest / (rows + 1)));
};
const heightOf = (cell) => rowsOf(data.layouts.of[cell.graph]) * laneOf(cell) + 40;

function drawCircuit(host, cell, step, words, width) {
  const layout = data.layouts.of[cell.graph];
  const { nodes, edges } = cell.at[step];
  host.replaceChildren();
  const rows = rowsOf(layout);
  const lane = laneOf(cell);
  const height = heightOf(cell);
  const title = `circuit of ${wordsOf(cell.t)} in ${data.models[cell.m].name}. ${words}`;
  const { svg } = canvas(host, height, title);
  const pitch = Math.min(COLUMN, (width - 70) / layout.columns);
  const left = 36 + pitch / 2;
  const x = (column) => left + column * pitch;
  const y = (row) => height - 20 - (row + 1) * lane;
  const { radius, straight } = data.layouts.draw;
  const size = Math.max(1.6, Math.min(radius * pitch, straight * lane, 12));
  const every = lane * layout.each >= 15 ? 1 : 4;
  for (let layer = 0; layer < layout.layers; layer += every)
    svg.append(
      draw(
        "text",
        { class: "tick", x: 24, y: y(layer * layout.each) + 4, "text-anchor": "end" },
        layer,
      ),
    );
  svg.append(draw("text", { class: "axis-title", x: 0, y: y(rows - 1) + 4 }, "layer"));
  const drawn = data.inputs.map(() => []);
  for (const edge of edges)
    drawn[+layout.kind[edge % layout.target.length]].push(
      pathOf(way(layout, data.layouts.draw, edge), straight, x, y),
    );
  drawn.forEach((parts, kind) => {
    const look = {
      class: "edges",
      fill: "none",
      stroke: paint(data.inputs[kind][1]),
      "stroke-width": edges.length > 80 ? 1 : 1.7,
    };
    if (parts.length)
      svg.append(draw("path", { d: parts.join(""), ...look, "data-edges": parts.length }));
  });
  drawNodes(svg, layout, nodes, x, y, size);
}

// Pixels that a circuit takes: what its columns need, less where all sizes fit beside each other so.
const wantedBy = (cell) => MARGIN + COLUMN * data.layouts.of[cell.graph].columns;

function widthOf(cells, room) {
  const wanted = Math.min(room, Math.max(...cells.map(wantedBy)));
  const each = (room - (cells.length - 1) * 16) / cells.length;
  return Math.min(wanted, each >= NARROWEST ? each : OVERVIEW);
}

// A circuit that is drawn smaller than it could be can be enlarged, one by one.
function enlarging(cell) {
  const is = enlarged.has(cell);
  const button = make("button", { type: "button", "aria-pressed": is }, is ? "smaller" : "larger");
  button.addEventListener("click", () => {
    if (!enlarged.delete(cell)) enlarged.add(cell);
    drawCircuits();
  });
  return button;
}

// Its words at once; its picture once it is near the screen: of many sizes there are many.
function showCircuit(host, cell, width) {
  const picture = make("div", { class: "picture" });
  const said = make("p", { class: "readout" });
  host.append(picture, said);
  let near = false;
  const show = () => {
    const step = stepOf(cell);
    const { nodes, edges } = cell.at[step];
    said.textContent = saying(cell, step, edges.length, nodes.length);
    picture.style.minHeight = `${heightOf(cell)}px`;
    if (near) drawCircuit(picture, cell, step, said.textContent, width);
  };
  follow(show);
  seen.observe(host);
  shows.set(host, (is) => {
    near = is;
    if (is) show();
  });
}

const tellCircuits = (entries) =>
  entries.forEach((entry) => shows.get(entry.target)?.(entry.isIntersecting));

export function drawCircuits() {
  const host = document.getElementById("circuits");
  if (!host) return;
  seen?.disconnect();
  seen = new IntersectionObserver(tellCircuits, { rootMargin: NEAR });
  host.replaceChildren();
  const shown = circuits.filter((cell) => !isHidden(cell.m, cell.t));
  if (circuits.length && !shown.length)
    host.append(because("every circuit is hidden by the filters for sizes and tasks"));
  const several = new Set(circuits.map((cell) => cell.s)).size > 1;
  const room = Math.floor(host.getBoundingClientRect().width); // clientWidth is rounded up, too
  for (const task of data.tasks.filter((one) => !hidden.tasks.has(one.name))) {
    const own = shown.filter((cell) => cell.t === task.name).sort((a, b) => a.m - b.m || a.s - b.s);
    if (!own.length) continue;
    const row = make("div", { class: "sizes" });
    const block = { class: "task", "data-name": task.name };
    host.append(make("div", block, make("h3", {}, task.words), row));
    const width = Math.floor(widthOf(own, room));
    for (const cell of own) {
      const name = data.models[cell.m].name + (several ? `, seed ${cell.s}` : "");
      const wide = enlarged.has(cell) ? Math.min(room, wantedBy(cell)) : width;
      const look = { class: "circuit", "data-name": name, style: `width:${wide}px` };
      const title = make("h4", {}, name);
      if (Math.min(room, wantedBy(cell)) > width + 1) title.append(" ", enlarging(cell));
      const one = make("div", look, title);
      row.append(one);
      showCircuit(one, cell, wide);
    }
  }
}
