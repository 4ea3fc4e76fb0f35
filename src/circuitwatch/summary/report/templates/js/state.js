// What the page has, what the filters hide, and the one checkpoint that all figures mark.

export const data = JSON.parse(document.getElementById("data").textContent);
export const hidden = { models: new Set(), tasks: new Set() };

let checkpoint = null; // tokens; none is any checkpoint
let followers = []; // functions that move a mark

export const marked = () => checkpoint;

export function setCheckpoint(tokens) {
  if (tokens === checkpoint) return;
  checkpoint = tokens;
  for (const move of followers) move();
}

// Called now, and whenever another checkpoint is marked, until everything is drawn anew.
export function follow(move) {
  followers.push(move);
  move();
}

export function forgetFollowers() {
  followers = [];
}

export const isHidden = (model, task) =>
  (model !== null && model !== undefined && hidden.models.has(model)) ||
  (task !== null && task !== undefined && hidden.tasks.has(task));

const seeds = new Set(data.series.map((line) => line.s));
export const called = (line) =>
  data.models[line.m].name + (seeds.size > 1 ? ` seed ${line.s}` : "");

export const wordsOf = (task) =>
  (data.tasks.find((known) => known.name === task) || { words: task }).words;

// Every token count of the page, ascending: the steps of the sliders.
export const everyCheckpoint = [...new Set(data.axes.flat())].sort((a, b) => a - b);

// A colour that has a counterpart on dark paper; the style sheet has both.
export const paint = (colour) =>
  /^#[0-9a-f]{6}$/.test(colour) ? `var(--c-${colour.slice(1)})` : colour;

// The entries of a legend without the models that are hidden.
export const shownKeys = (keys) => {
  const names = new Set([...hidden.models].map((place) => data.models[place].name));
  return keys.filter((key) => !names.has(key.words));
};
