// Which heads hold a role when: a row a head, a bar a checkpoint; its height says what the head is.
import { because, canvas, countAxis, draw, keySvg, make } from "./dom.js";
import { short, value } from "./format.js";
import { logScale, nearest, places } from "./scales.js";
import { data, follow, hidden, marked, paint, setCheckpoint } from "./state.js";

const ROW = 18;
const GAP = 24; // for the role's name
const SHADES = 6;

function swatchOf([words, height, hollow]) {
  const svg = keySvg(28, 18);
  const tall = 18 * height;
  svg.append(draw("rect", { x: 0, width: 28, y: 9 - tall / 2, height: tall, fill: "var(--grey)" }));
  if (hollow)
    svg.append(draw("rect", { x: 0, width: 28, y: 7.5, height: 3, fill: "var(--paper)" }));
  return make("span", {}, svg, ` ${words}`);
}

function legendOf(moments) {
  const host = make("div", { class: "legend" }, ...[...data.states].reverse().map(swatchOf));
  for (const moment of moments) {
    const svg = keySvg(24, 12);
    svg.append(
      draw("line", {
        x1: 0,
        x2: 24,
        y1: 6,
        y2: 6,
        stroke: "var(--ink)",
        "stroke-width": 1.6,
        "stroke-dasharray": dashOf(moment),
      }),
    );
    host.append(make("span", {}, svg, ` ${moment.words} emerges`));
  }
  host.append(make("span", {}, "stronger colour: higher score"));
  return host;
}

const dashOf = (moment) =>
  moment.dash.length ? moment.dash.map((part) => 1.6 * part).join(" ") : null;

// The state and the score of each checkpoint of a head.
export function decoded(code) {
  const { levels, first } = data.code;
  return [...code].map((character) => {
    const number = character.charCodeAt(0) - first;
    return { state: Math.floor(number / levels), score: (number % levels) / (levels - 1) };
  });
}

// One path for all bars of a strength.
function drawHead(svg, role, edge, code, top, spots, head) {
  const bars = {};
  decoded(code).forEach(({ state, score }, i) => {
    const [words, height, hollow] = data.states[state];
    const tall = (ROW - 2) * height;
    const from = edge[i];
    const wide = Math.max(edge[i + 1] - from, 0.6);
    const bar = (y, h) => `M${from.toFixed(1)},${y}h${wide.toFixed(1)}v${h}h-${wide.toFixed(1)}z`;
    const first = top + (ROW - 2 - tall) / 2;
    const half = (tall - 3) / 2; // what hurts has a line through it
    (bars[Math.round(score * SHADES)] ??= []).push(
      hollow ? bar(first, half) + bar(first + half + 3, half) : bar(first, tall),
    );
    const text = `${role.words} ${head}: ${value(score)}, ${words}`;
    spots.push({ left: from, right: edge[i + 1], top, text, tokens: data.axes[role.a][i] });
  });
  for (const [shade, parts] of Object.entries(bars)) {
    const look = {
      class: "held",
      fill: paint(role.colour),
      opacity: 0.16 + (0.84 / SHADES) * shade,
    };
    svg.append(draw("path", { d: parts.join(""), ...look }));
  }
}

export function drawTimeline() {
  const host = document.getElementById("timeline");
  if (!host) return;
  const one = data.timelines[document.getElementById("choose-timeline").selectedIndex];
  host.replaceChildren();
  const roles = one.roles.filter((role) => !role.t || !hidden.tasks.has(role.t));
  if (hidden.models.has(one.m) || !roles.length) {
    host.append(because("this model, or every task of its roles, is hidden by the filters"));
    return;
  }
  const moments = one.moments.filter((moment) => !hidden.tasks.has(moment.t));
  host.append(legendOf(moments));
  const height = roles.reduce((sum, role) => sum + GAP + role.heads.length * ROW, 8) + 38;
  const { svg, width } = canvas(
    host,
    height,
    `heads of ${one.title} that hold a role, over training tokens: ${spoken(roles)}`,
  );
  const box = { left: 60, right: width - 10, top: 0, bottom: height - 36 };
  const x = logScale(one.limits[0], one.limits[1], box.left, box.right);
  const spots = [];
  let top = 4;
  for (const role of roles) {
    const at = places(data.axes[role.a]);
    const middles = at.slice(1).map((tokens, i) => Math.sqrt(tokens * at[i]));
    const [begin, end] = middles.length
      ? [at[0] ** 2 / middles[0], at.at(-1) ** 2 / middles.at(-1)]
      : [at[0] * 0.8, at[0] * 1.25];
    const edge = [begin, ...middles, end].map(x);
    svg.append(
      draw("rect", { x: box.left, y: top + 5, width: 10, height: 10, fill: paint(role.colour) }),
    );
    const more = role.more ? `, ${role.more} more heads` : "";
    svg.append(draw("text", { class: "name", x: box.left + 15, y: top + 14 }, role.words + more));
    top += GAP;
    for (const [head, code] of role.heads) {
      svg.append(
        draw("text", { class: "tick", x: box.left - 6, y: top + 12, "text-anchor": "end" }, head),
      );
      drawHead(svg, role, edge, code, top, spots, head);
      top += ROW;
    }
  }
  countAxis(svg, box, x, one.limits, "training tokens (log)");
  for (const moment of moments)
    svg.append(
      draw("line", {
        class: "moment",
        x1: x(moment.at),
        x2: x(moment.at),
        y1: 0,
        y2: box.bottom,
        "stroke-dasharray": dashOf(moment),
      }),
    );
  drawLine(svg, roles[0], x, box);
  const readout = make("div", { class: "readout" });
  host.append(readout);
  const point = (event) => {
    const bounds = svg.getBoundingClientRect();
    const px = event.clientX - bounds.left;
    const py = event.clientY - bounds.top;
    const spot = spots.find(
      (s) => px >= s.left && px <= s.right && py >= s.top && py < s.top + ROW,
    );
    if (!spot) return;
    setCheckpoint(spot.tokens);
    readout.textContent = `${spot.text} · ${short(spot.tokens) || 0} tokens`;
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
}

const spoken = (roles) =>
  roles.map((role) => `${role.words} ${role.heads.map(([head]) => head).join(" ")}`).join("; ");

function drawLine(svg, role, x, box) {
  const mark = draw("g", { class: "mark" });
  svg.append(mark);
  follow(() => {
    mark.replaceChildren();
    if (marked() === null) return;
    const axis = data.axes[role.a];
    const at = x(places(axis)[nearest(axis, marked())]);
    mark.append(draw("line", { class: "checkpoint", x1: at, x2: at, y1: 0, y2: box.bottom }));
  });
}
