// The circuits' stream of bytes, as Python's report/circuits.py packs it.
import assert from "node:assert/strict";
import test from "node:test";

// circuits.js reads the page's data when it is loaded
const nothing = JSON.stringify({ axes: [], models: [], series: [], tasks: [] });
globalThis.document = { getElementById: () => ({ textContent: nothing }) };
const { reader, toggled } =
  await import("../../src/circuitwatch/summary/report/templates/js/circuits.js");

test("numbers of any length are read one after another", () => {
  const next = reader(
    Uint8Array.of(0, 1, 127, 0x80, 0x01, 0xac, 0x02, 0xff, 0xff, 0xff, 0xff, 0x0f, 5),
  );
  const numbers = [0, 1, 127, 128, 300, 4294967295, 5];
  assert.deepEqual(numbers.map(next), numbers);
});

test("what changed enters the set or leaves it; what is in it comes in ascending order", () => {
  const set = new Set();
  const next = reader(Uint8Array.of(3, 2, 7, 1, 0, 2, 9, 3));
  assert.deepEqual(toggled(set, next), [2, 9, 10]); // differences 2, 7, 1
  assert.deepEqual(toggled(set, next), [2, 9, 10]); // nothing changed
  assert.deepEqual(toggled(set, next), [2, 10, 12]); // 9 left, 12 entered
});

test("a set of more than ten is sorted as numbers", () => {
  const next = reader(Uint8Array.of(3, 2, 98, (900 & 127) | 128, 900 >> 7));
  assert.deepEqual(toggled(new Set(), next), [2, 100, 1000]);
});
