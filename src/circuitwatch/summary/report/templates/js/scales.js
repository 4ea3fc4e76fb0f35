// Where numbers are drawn, and the ticks of axes; looks.py has the same rule for ticks.

// Token counts on a logarithmic axis: 0 at half of the first positive one.
export function places(axis) {
  const first = axis.find((tokens) => tokens > 0) || 2;
  return axis.map((tokens) => (tokens > 0 ? tokens : first / 2));
}

export function logScale(low, high, from, to) {
  const a = Math.log(low);
  const b = Math.log(high > low ? high : low * 2);
  return (x) => from + ((Math.log(x) - a) / (b - a)) * (to - from);
}

export function linearScale(low, high, from, to) {
  return (y) => from + ((y - low) / (high - low || 1)) * (to - from);
}

const APART = 0.75; // of the room that a label has on average: no two are nearer

// Ticks of a logarithmic axis: [those that are labelled, at most so many; those between].
export function logTicks(low, high, most) {
  const first = Math.floor(Math.log10(low)) - 1;
  const last = Math.ceil(Math.log10(high)) + 1;
  const within = (parts) => {
    const found = [];
    for (let power = first; power <= last; power++)
      for (const part of parts) {
        const tick = +`${part}e${power}`;
        if (tick >= low * 0.999 && tick <= high * 1.001) found.push(tick);
      }
    return found;
  };
  let small = within([2, 3, 4, 5, 6, 7, 8, 9]);
  const least = (APART * Math.log(high / low)) / Math.max(most, 1);
  const areApart = (ticks) =>
    ticks.every((tick, k) => !k || Math.log(tick / ticks[k - 1]) >= least);
  const finest = [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 5], [1, 3], [1]];
  const fits = (ticks, parts) =>
    ticks.length > 0 && ticks.length <= most && (parts.length === 1 || areApart(ticks));
  let labelled = finest.map((parts) => [within(parts), parts]).find((one) => fits(...one))?.[0];
  if (!labelled) {
    labelled = within([1]);
    small = [...small, ...labelled];
    for (let every = 2; labelled.length > Math.max(most, 1); every++)
      labelled = within([1]).filter((tick) => Math.round(Math.log10(tick)) % every === 0);
  }
  if (!labelled.length) labelled = [low, high].slice(0, Math.max(most, 1));
  return [labelled, small.filter((tick) => !labelled.includes(tick))];
}

// Round numbers at about so many places; more where fewer than three lie on the axis.
export function linearTicks(low, high, most = 4) {
  let found = [];
  for (let room = most; found.length < 3 && room < 4 * most; room += 2) {
    const rough = (high - low) / room || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
    found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++)
      found.push(+(k * step).toPrecision(6));
  }
  return found;
}

// The place in an ascending axis that is nearest in log tokens.
export function nearest(axis, tokens) {
  let best = 0;
  const far = (k) => Math.abs(Math.log(Math.max(axis[k], 1)) - Math.log(Math.max(tokens, 1)));
  axis.forEach((_, k) => {
    if (far(k) < far(best)) best = k;
  });
  return best;
}
