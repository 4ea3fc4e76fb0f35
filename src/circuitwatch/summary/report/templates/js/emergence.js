// When things emerged: sizes beside each other over training tokens, and against model size.
import { because, canvas, countAxis, draw, legend, make, titled, upAxis } from "./dom.js";
import { logScale } from "./scales.js";
import { called, data, follow, hidden, isHidden, marked, paint, shownKeys } from "./state.js";

const ROW = 13;
const BETWEEN = 8; // pixels between two groups
const CHARACTER = 7; // pixels of a letter of a name, about
const LINE = 13;
const REACH = 16; // of an arrow whose end is not known

// An interval, a line of dots that fades where it goes on, a hollow triangle for a limit.
function drawPoint(svg, point, x, y, box, colour, words) {
  const group = titled(draw("g", { class: point.limit ? "censored" : "observed" }), words);
  const at = x(point.at);
  const low = point.low === undefined ? at : x(point.low);
  const high = point.high === undefined ? at : x(point.high);
  group.append(
    draw("rect", {
      class: "reach",
      x: low - 6,
      width: high - low + 12,
      y: y - 7,
      height: 14,
      fill: "transparent",
    }),
  );
  if (high > low)
    group.append(
      draw("line", { x1: low, x2: high, y1: y, y2: y, stroke: colour, "stroke-width": 2.4 }),
    );
  for (const [open, end, way] of [
    [point.open_low, low, -1],
    [point.open_high, high, 1],
  ])
    if (open)
      group.append(
        openEnd(
          end,
          y,
          way,
          Math.max(4, Math.min(REACH, way < 0 ? end - box.left : box.right - end)),
          colour,
        ),
      );
  if (point.limit) {
    const way = point.limit === "after" ? 1 : -1;
    group.append(
      draw("path", {
        class: "limit",
        d: `M${at},${y - 5}v10l${8 * way},-5z`,
        stroke: colour,
        "stroke-width": 1.6,
      }),
    );
  } else group.append(draw("circle", { cx: at, cy: y, r: 4.5, fill: colour }));
  svg.append(group);
}

// Dashes that end in a point: it goes on beyond what was seen.
function openEnd(end, y, way, far, colour) {
  const tip = end + way * far;
  const arrow = `M${end},${y}H${tip}M${tip - way * 4},${y - 3.5}L${tip},${y}L${tip - way * 4},${y + 3.5}`;
  return draw("path", {
    class: "open",
    d: arrow,
    fill: "none",
    stroke: colour,
    "stroke-width": 1.6,
    "stroke-dasharray": "2.5 2",
  });
}

// A name that ends at x, on as many lines as it needs, in the middle of y.
function nameOf(words, x, y) {
  const lines = [""];
  for (const word of words.split(" ")) {
    const longer = `${lines.at(-1)} ${word}`.trim();
    if (longer.length * CHARACTER <= x || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  const text = draw("text", { class: "name", x, y, "text-anchor": "end" });
  lines.forEach((line, k) => {
    const down = k ? LINE : (-(lines.length - 1) * LINE) / 2;
    text.append(draw("tspan", { x, dy: down }, line));
  });
  return text;
}

function spoken(groups) {
  const row = (r) => r.points.map((p) => `${data.models[r.m].name} ${p.words}`).join(", ");
  return groups.map((group) => `${group.words}: ${group.rows.map(row).join(", ")}`).join("; ");
}

export function drawEmergence(chart, place) {
  const host = document.getElementById(`emergence-${place}`);
  if (!host) return;
  const groups = chart.groups
    .filter((group) => !isHidden(null, group.t))
    .map((group) => ({ ...group, rows: group.rows.filter((row) => !hidden.models.has(row.m)) }))
    .filter((group) => group.rows.length);
  host.replaceChildren();
  if (!groups.length) {
    host.append(because("everything here is hidden by the filters for sizes and tasks"));
    return;
  }
  host.append(legend(shownKeys(chart.keys)));
  const height = groups.reduce((sum, group) => sum + group.rows.length * ROW + BETWEEN, 6) + 38;
  const { svg, width } = canvas(host, height, `${chart.title}: ${spoken(groups)}`);
  const wide = width > 560;
  const longest = Math.max(...groups.map((group) => group.words.length));
  const box = {
    left: Math.min(width * 0.42, 16 + longest * CHARACTER),
    right: width - (wide ? 150 : 8),
    top: 2,
    bottom: height - 36,
  };
  const x = logScale(chart.limits[0], chart.limits[1], box.left + 18, box.right - 26);
  countAxis(svg, box, x, chart.limits, "training tokens (log)");
  let y = box.top + BETWEEN;
  for (const group of groups) {
    const middle = y + ((group.rows.length - 1) * ROW) / 2;
    svg.append(nameOf(group.words, box.left - 8, middle + 4));
    for (const row of group.rows) {
      const colour = paint(data.models[row.m].colour);
      row.points.forEach((point, k) => {
        const aside = row.points.length > 1 ? (k / (row.points.length - 1) - 0.5) * 8 : 0;
        const words = `${group.words}, ${called({ m: row.m, s: point.seed })}: ${point.words}`;
        if (point.at !== undefined) drawPoint(svg, point, x, y + aside, box, colour, words);
        else if (!k)
          svg.append(
            draw(
              "text",
              { class: "status", x: box.left + 6, y: y + 4 },
              `${data.models[row.m].name}: ${point.words}`,
            ),
          );
      });
      if (wide && row.points.length === 1 && row.points[0].at !== undefined)
        svg.append(
          draw(
            "text",
            { class: "number", x: box.right + 8, y: y + 4 },
            row.points[0].words.replace(/ tokens( |$)/, " "),
          ),
        );
      y += ROW;
    }
    y += BETWEEN;
    if (group !== groups.at(-1))
      svg.append(
        draw("line", {
          class: "grid",
          x1: 0,
          x2: width,
          y1: y - ROW / 2 - BETWEEN / 2,
          y2: y - ROW / 2 - BETWEEN / 2,
        }),
      );
  }
  drawLine(svg, x, box, chart.limits);
  if (chart.more)
    host.append(make("p", { class: "quiet" }, `${chart.more} more in the tables below.`));
}

// The checkpoint that is marked everywhere.
function drawLine(svg, x, box, limits) {
  const mark = draw("g", { class: "mark" });
  svg.append(mark);
  follow(() => {
    mark.replaceChildren();
    const tokens = marked();
    if (tokens === null) return;
    const at = x(Math.max(tokens, limits[0]));
    mark.append(draw("line", { class: "checkpoint", x1: at, x2: at, y1: box.top, y2: box.bottom }));
  });
}

export function drawSizes() {
  const host = document.getElementById("panels-sizes");
  if (!host) return;
  const chosen = data.sizes[document.getElementById("choose-sizes").selectedIndex];
  const shown = chosen.panels.filter((panel) => !isHidden(null, panel.t));
  host.replaceChildren();
  if (!shown.length) host.append(because("every task here is hidden by the filter"));
  for (const panel of shown) {
    const cell = make("div", { class: "panel" }, make("h4", {}, panel.title));
    host.append(cell);
    drawSize(cell, panel);
  }
  host.append(legend(data.limitKeys));
}

function drawSize(cell, panel) {
  const dots = panel.dots.filter((dot) => !hidden.models.has(dot.m));
  if (!dots.length) {
    cell.append(because("every size that has a point here is hidden by the filter"));
    return;
  }
  const height = 244;
  const said = dots.map((dot) => dot.words).join("; ");
  const { svg, width } = canvas(
    cell,
    height,
    `${panel.title}, ${panel.axis}, against parameters: ${said}`,
  );
  const box = { left: 58, right: width - 14, top: 14, bottom: height - 38 };
  const every = dots.flatMap((dot) => [dot.at, dot.low, dot.high]).filter((one) => one > 0);
  const params = dots.map((dot) => data.models[dot.m].params);
  const across = [Math.min(...params) * 0.75, Math.max(...params) * 1.35];
  const up = [Math.min(...every) * 0.75, Math.max(...every) * 1.4];
  const x = logScale(across[0], across[1], box.left, box.right);
  const y = logScale(up[0], up[1], box.bottom, box.top);
  upAxis(svg, box, y, panel.axis, up, { log: true });
  countAxis(svg, box, x, across, "parameters (log)");
  if (panel.trend) {
    const at = (p) =>
      `${x(p)},${y(Math.exp(panel.trend.intercept + panel.trend.slope * Math.log(p)))}`;
    const points = [Math.min(...params), Math.max(...params)].map(at).join(" ");
    svg.append(draw("polyline", { class: "trend", points }));
    svg.append(
      draw(
        "text",
        { class: "status", x: box.right, y: box.top - 2, "text-anchor": "end" },
        panel.trend.words,
      ),
    );
  }
  for (const dot of dots) drawDot(svg, dot, x(data.models[dot.m].params), y, box);
  if (panel.unplaced.length)
    cell.append(make("p", { class: "quiet" }, `No point: ${panel.unplaced.join(", ")}.`));
}

function drawDot(svg, dot, x, y, box) {
  const colour = paint(data.models[dot.m].colour);
  const group = titled(draw("g", { class: dot.limit ? "censored" : "observed" }), dot.words);
  const at = y(dot.at);
  const low = dot.low === undefined ? at : y(dot.low);
  const high = dot.high === undefined ? at : y(dot.high);
  if (low > high)
    group.append(
      draw("line", { x1: x, x2: x, y1: low, y2: high, stroke: colour, "stroke-width": 2 }),
    );
  const dashed = {
    class: "open",
    fill: "none",
    stroke: colour,
    "stroke-width": 1.6,
    "stroke-dasharray": "2.5 2",
  };
  const tips = [
    [dot.open_high, high, Math.max(box.top, high - REACH), -1],
    [dot.open_low, low, Math.min(box.bottom, low + REACH), 1],
  ];
  for (const [open, end, tip, way] of tips)
    if (open)
      group.append(
        draw("path", {
          ...dashed,
          d: `M${x},${end}V${tip}M${x - 3.5},${tip - way * 4}L${x},${tip}L${x + 3.5},${tip - way * 4}`,
        }),
      );
  if (dot.limit) {
    const s = dot.limit === "after" ? -1 : 1;
    group.append(
      draw("path", {
        class: "limit",
        d: `M${x - 5},${at}h10l-5,${9 * s}z`,
        stroke: colour,
        "stroke-width": 1.6,
      }),
    );
  } else group.append(draw("circle", { cx: x, cy: at, r: 5, fill: colour }));
  svg.append(group);
}
