// Panels of curves over training tokens: what summary.panels describes, whatever they are of.
import { because, canvas, countAxis, draw, legend, make, titled, upAxis } from "./dom.js";
import { short, value } from "./format.js";
import { linearScale, logScale, nearest, places } from "./scales.js";
import {
  called,
  data,
  follow,
  hidden,
  isHidden,
  marked,
  paint,
  setCheckpoint,
  shownKeys,
} from "./state.js";

const HEIGHT = 216;
const MOST_SAID = 12; // values below a panel
let clips = 0;

const dashes = (look) => (look.dash.length ? look.dash.map((part) => 1.4 * part).join(" ") : null);

// What is drawn of a panel: its curves whose model and task are shown, each with its look.
function chosen(panel) {
  return panel.curves
    .map(([line, look]) => ({ ...data.series[line], look: data.looks[look] }))
    .filter((line) => !hidden.models.has(line.m))
    .map((line) => ({ ...line, axis: data.axes[line.a], at: places(data.axes[line.a]) }));
}

function whyEmpty(panel) {
  if (panel.empty) return panel.empty;
  return hidden.models.size
    ? "every size that has a curve here is hidden by the filter"
    : "no values";
}

function band(plot, line, x, y, low, high, look) {
  const point = (i, v) => `${x(line.at[i]).toFixed(1)},${y(v).toFixed(1)}`;
  const edge = (ends) =>
    ends.map((v, i) => (v === null || low[i] === null ? null : point(i, v))).filter(Boolean);
  const points = [...edge(low), ...edge(high).reverse()].join(" ");
  plot.append(draw("polygon", { points, fill: paint(line.look.colour), ...look }));
}

function drawCurve(plot, line, x, y) {
  const colour = paint(line.look.colour);
  const opacity = line.look.band;
  if (opacity && line.least) {
    // shaded over cut-offs, with a bar for each interval over prompts
    band(plot, line, x, y, line.least, line.most, { class: "cutoffs", opacity });
    const bars = (line.low || []).map((low, i) =>
      low === null
        ? ""
        : `M${x(line.at[i]).toFixed(1)},${y(low).toFixed(1)}V${y(line.high[i]).toFixed(1)}`,
    );
    if (bars.some(Boolean))
      plot.append(
        draw("path", { class: "interval", d: bars.join(""), stroke: colour, opacity: 0.6 }),
      );
  } else if (opacity && line.low)
    band(plot, line, x, y, line.low, line.high, { class: "band", opacity });
  const points = line.y.map((v, i) => `${x(line.at[i]).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
  const name = data.models[line.m].name;
  const stroke = {
    stroke: colour,
    "stroke-width": 1.8 * line.look.width,
    "stroke-dasharray": dashes(line.look),
  };
  plot.append(
    draw("polyline", {
      class: line.look.kind,
      points,
      fill: "none",
      ...stroke,
      "data-model": name,
    }),
  );
  if (line.look.kind !== "curve") return;
  if (line.y.length === 1)
    plot.append(draw("circle", { cx: x(line.at[0]), cy: y(line.y[0]), r: 3, fill: colour }));
  for (const [words, places_] of Object.entries(line.doubts || {}))
    for (const i of places_) {
      const ring = {
        class: "doubt",
        cx: x(line.at[i]),
        cy: y(line.y[i]),
        r: 4,
        fill: "none",
        stroke: colour,
      };
      plot.append(titled(draw("circle", ring), words));
    }
  (line.copies ? line.copies[0] : []).forEach((tokens, i) => {
    const at = x(places([tokens, ...line.axis])[0]);
    const cross = { class: "copy", x: at, y: y(line.copies[1][i]) + 4, "text-anchor": "middle" };
    plot.append(draw("text", cross, "×"));
  });
}

function said(line, lines) {
  const place = nearest(line.axis, marked());
  const effect = lines.find(
    (o) => o.look.kind === "effect" && o.m === line.m && o.s === line.s && o.q !== line.q,
  );
  const its = effect ? effect.y[nearest(effect.axis, marked())] : null;
  const cutoffs =
    line.least && line.least[place] !== null
      ? ` (${value(line.least[place])} to ${value(line.most[place])} over cut-offs)`
      : "";
  const swatch = make("span", { class: "swatch", style: `background:${paint(line.look.colour)}` });
  const words = ` ${value(line.y[place])}${its === null ? "" : ` (effect ${value(its)})`}${cutoffs}`;
  return make("span", { class: "said" }, swatch, words);
}

// Mark the checkpoint that is marked everywhere, and say the values there.
function drawMark(svg, lines, every, x, y, box, readout) {
  const mark = draw("g", { class: "mark" });
  svg.append(mark);
  follow(() => {
    mark.replaceChildren();
    readout.replaceChildren();
    const tokens = marked();
    if (tokens === null) return;
    const there = lines.filter((l) => tokens >= l.axis[0] * 0.9 && tokens <= l.axis.at(-1) * 1.1);
    if (!there.length) return;
    const at = x(there[0].at[nearest(there[0].axis, tokens)]);
    mark.append(draw("line", { class: "checkpoint", x1: at, x2: at, y1: box.top, y2: box.bottom }));
    for (const line of there) {
      const place = nearest(line.axis, tokens);
      const dot = {
        cx: x(line.at[place]),
        cy: y(line.y[place]),
        r: 3.5,
        fill: paint(line.look.colour),
      };
      mark.append(draw("circle", { class: "dot", ...dot }));
    }
    const words = there.slice(0, MOST_SAID).map((line) => said(line, every));
    readout.append(make("span", { class: "said" }, `${short(tokens) || 0} tokens:`), ...words);
  });
}

// Follow the pointer: the checkpoint that is nearest to it is marked everywhere.
export function followPointer(svg, width, x, lines) {
  const point = (event) => {
    const bounds = svg.getBoundingClientRect();
    const px = ((event.clientX - bounds.left) / bounds.width) * width;
    let best = null;
    for (const line of lines)
      line.at.forEach((tokens, i) => {
        const far = Math.abs(x(tokens) - px);
        if (best === null || far < best[0]) best = [far, line.axis[i]];
      });
    if (best) setCheckpoint(best[1]);
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
}

export function drawPanel(host, panel) {
  const lines = chosen(panel);
  host.replaceChildren(make("h4", {}, panel.title));
  if (!lines.length) {
    host.append(because(whyEmpty(panel)));
    return;
  }
  const { svg, width } = canvas(
    host,
    HEIGHT,
    `${panel.title}, ${panel.axis}, over training tokens`,
  );
  const box = { left: 52, right: width - 10, top: 8, bottom: HEIGHT - 38 };
  const ends = [Math.min(...lines.map((l) => l.at[0])), Math.max(...lines.map((l) => l.at.at(-1)))];
  const x = logScale(ends[0], ends[1], box.left + 4, box.right - 4);
  const y = linearScale(panel.limits[0], panel.limits[1], box.bottom, box.top);
  upAxis(svg, box, y, panel.axis, panel.limits);
  countAxis(svg, box, x, ends, "training tokens (log)");
  const clip = `clip-${clips++}`;
  const inside = draw("clipPath", { id: clip });
  inside.append(
    draw("rect", {
      x: box.left,
      y: box.top,
      width: box.right - box.left,
      height: box.bottom - box.top,
    }),
  );
  const plot = draw("g", { "clip-path": `url(#${clip})` });
  svg.append(inside, plot);
  for (const span of panel.spans || []) {
    const edges = {
      x: x(span.low),
      width: Math.max(x(span.high) - x(span.low), 1),
      y: box.top,
      height: box.bottom - box.top,
    };
    plot.append(titled(draw("rect", { class: "span", ...edges }), span.words));
    plot.append(
      draw("line", {
        class: "moment",
        x1: x(span.at),
        x2: x(span.at),
        y1: box.top,
        y2: box.bottom,
      }),
    );
  }
  for (const level of panel.levels || []) {
    const across = { class: "level", x1: box.left, x2: box.right, y1: y(level.y), y2: y(level.y) };
    plot.append(titled(draw("line", across), `${level.words}: ${value(level.y)}`));
  }
  for (const line of lines) drawCurve(plot, line, x, y);
  const own = lines.filter((line) => line.look.kind === "curve" || line.look.kind === "behaviour");
  const readout = make("div", { class: "readout" });
  drawMark(svg, own, lines, x, y, box, readout);
  host.append(readout);
  followPointer(svg, width, x, own);
  svg.setAttribute(
    "aria-label",
    `${panel.title}, ${panel.axis}, over training tokens: ${summary(own)}`,
  );
}

// What a screen reader hears of a panel: where its curves begin and end.
function summary(lines) {
  const one = (line) => `${called(line)} from ${value(line.y[0])} to ${value(line.y.at(-1))}`;
  return lines.slice(0, MOST_SAID).map(one).join("; ");
}

export function drawSection(section) {
  const host = document.getElementById(`panels-${section.id}`);
  if (!host) return;
  const select = document.getElementById(`choose-${section.id}`);
  const choice = section.choices[select ? select.selectedIndex : 0];
  const shown = choice.panels.filter((panel) => !isHidden(panel.m, panel.t));
  host.replaceChildren();
  host.append(legend(shownKeys(choice.keys)));
  if (!shown.length)
    host.append(because("everything here is hidden by the filters for sizes and tasks"));
  for (const panel of shown) {
    const cell = make("div", { class: "panel" });
    host.append(cell);
    drawPanel(cell, panel);
  }
  if (choice.notes.length) host.append(make("p", { class: "quiet note" }, choice.notes.join(" ")));
}
