// Circuits of one checkpoint, or of one task, imposed on another: faithfulness as coloured squares.
import { because, draw, make, titled } from "./dom.js";
import { inSquare, value } from "./format.js";
import { data, isHidden, setCheckpoint } from "./state.js";

const DARK = 0.6; // squares beyond this have white numbers

const parts = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

function colourOf(v) {
  if (v === null) return data.faith.missing;
  const t = Math.max(-1, Math.min(1, v));
  const [from, to] = [data.faith.colours[1], data.faith.colours[t < 0 ? 0 : 2]].map(parts);
  return `rgb(${from.map((part, k) => Math.round(part + (to[k] - part) * Math.abs(t))).join(",")})`;
}

function drawMatrix(host, one) {
  const cell = make("div", { class: "panel" }, make("h4", {}, one.title));
  host.append(cell);
  if (!one.v.length) {
    cell.append(because(one.empty));
    return;
  }
  const [n, k] = [one.rows.length, one.columns.length];
  const width = Math.max(220, cell.clientWidth);
  const left = one.numbers ? 122 : 74;
  const side = Math.min(one.numbers ? 56 : 34, (width - left - 8) / k);
  const tall = Math.min(one.numbers ? 34 : side, 300 / n);
  const height = n * tall + (one.numbers ? 100 : 42);
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${height}`,
    height,
    role: "img",
    "aria-label": `${one.title}: faithfulness`,
  });
  const readout = make("div", { class: "readout" });
  cell.append(svg, readout);
  const top = (row) => (one.upwards ? n - 1 - row : row) * tall;
  one.v.forEach((line, r) =>
    line.forEach((v, c) => {
      const at = { x: left + c * side, y: top(r), width: side + 0.3, height: tall + 0.3 };
      const words = `${one.said[0]} ${one.rows[r]}, ${one.said[1]} ${one.columns[c]}: ${value(v)}`;
      const square = titled(draw("rect", { class: "square", ...at, fill: colourOf(v) }), words);
      square.addEventListener("pointermove", () => {
        if (one.tokens.length) setCheckpoint(one.tokens[c]);
        readout.textContent = words;
      });
      svg.append(square);
      const middle = {
        x: left + (c + 0.5) * side,
        y: top(r) + tall / 2 + 4,
        "text-anchor": "middle",
      };
      if (one.numbers && v !== null)
        svg.append(
          draw("text", { ...middle, class: Math.abs(v) > DARK ? "light" : "dark" }, inSquare(v)),
        );
    }),
  );
  for (const [r, c] of one.diagonal) {
    const dot = { cx: left + (c + 0.5) * side, cy: top(r) + tall / 2, r: Math.min(2, side / 5) };
    svg.append(draw("circle", { class: "own", ...dot }));
  }
  one.rows.forEach((name, r) => {
    const at = { class: "tick", x: left - 5, y: top(r) + tall / 2 + 4, "text-anchor": "end" };
    if (one.numbers || r % Math.ceil(20 / tall) === 0) svg.append(draw("text", at, name));
  });
  one.columns.forEach((name, c) => {
    const turned = `translate(${left + (c + 0.6) * side},${n * tall + 12}) rotate(-35)`;
    const below = { x: left + (c + 0.5) * side, y: n * tall + 15, "text-anchor": "middle" };
    if (one.numbers)
      svg.append(draw("text", { class: "tick", transform: turned, "text-anchor": "end" }, name));
    else if (c % Math.ceil(48 / side) === 0)
      svg.append(draw("text", { class: "tick", ...below }, name));
  });
  const across = {
    class: "axis-title",
    x: left + (k * side) / 2,
    y: height - 6,
    "text-anchor": "middle",
  };
  svg.append(draw("text", across, one.axes[1]));
  const turned = `translate(11,${(n * tall) / 2}) rotate(-90)`;
  svg.append(
    draw("text", { class: "axis-title", transform: turned, "text-anchor": "middle" }, one.axes[0]),
  );
}

export function drawMatrices() {
  const host = document.getElementById("transfer");
  if (!host) return;
  host.replaceChildren();
  const shown = data.matrices.flat().filter((one) => !isHidden(one.m, one.t || null));
  if (!shown.length)
    host.append(because("everything here is hidden by the filters for sizes and tasks"));
  for (const one of shown) drawMatrix(host, one);
}
