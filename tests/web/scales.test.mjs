// Where numbers are drawn. The rule for ticks is Python's too: rules.json is for both.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import {
  linearScale,
  linearTicks,
  logScale,
  logTicks,
  nearest,
  places,
} from "../../src/circuitwatch/summary/report/templates/js/scales.js";

const rules = JSON.parse(readFileSync(new URL("rules.json", import.meta.url)));

test("powers of ten are labelled that there is room for", () => {
  for (const [low, high, most, labelled] of rules.logTicks)
    assert.deepEqual(logTicks(low, high, most)[0], labelled, `${low} to ${high}, ${most}`);
});

test("of any axis some ticks are labelled, no more than asked for, and all lie on it", () => {
  for (const low of [1e-3, 0.7, 1, 504, 98432])
    for (const ratio of [1.2, 4, 31, 2000, 1e9])
      for (const most of [1, 2, 3, 5, 9]) {
        const [labelled, between] = logTicks(low, low * ratio, most);
        const about = `${low} to ${low * ratio}, ${most}: ${labelled}`;
        assert.ok(labelled.length >= 1 && labelled.length <= most, about);
        for (const tick of [...labelled, ...between])
          assert.ok(tick >= low * 0.99 && tick <= low * ratio * 1.01, about);
        assert.ok(!between.some((tick) => labelled.includes(tick)), about);
      }
});

test("ticks of a linear axis are round numbers within it, without rounding errors", () => {
  assert.deepEqual(linearTicks(0, 1), [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual(linearTicks(-0.1, 0.9), [0, 0.25, 0.5, 0.75]);
  assert.deepEqual(linearTicks(-1.5, 17.8), [0, 5, 10, 15]);
  assert.deepEqual(linearTicks(0, 0.3), [0, 0.1, 0.2, 0.3]);
  assert.deepEqual(linearTicks(2, 2), [2]);
});

test("step 0 is drawn at half of the first positive count", () => {
  assert.deepEqual(places([0, 1000, 2000]), [500, 1000, 2000]);
  assert.deepEqual(places([0, 0, 8]), [4, 4, 8]);
  assert.deepEqual(places([0]), [1]);
  assert.deepEqual(places([30, 300]), [30, 300]);
});

test("scales meet both ends, and the middle of a logarithmic one is the geometric mean", () => {
  const up = linearScale(0, 10, 200, 0);
  assert.deepEqual([0, 5, 10].map(up), [200, 100, 0]);
  const x = logScale(10, 1000, 0, 100);
  for (const [count, at] of [
    [10, 0],
    [100, 50],
    [1000, 100],
  ])
    assert.ok(Math.abs(x(count) - at) < 1e-9);
});

test("an axis of one value is no division by nothing", () => {
  assert.ok(Number.isFinite(linearScale(3, 3, 0, 10)(3)));
  assert.ok(Number.isFinite(logScale(3, 3, 0, 10)(3)));
});

test("the nearest checkpoint is the nearest in log tokens", () => {
  const axis = [0, 10, 100, 1000];
  assert.equal(nearest(axis, 0), 0);
  assert.equal(nearest(axis, 50), 2); // 55 is halfway, their geometric mean 31.6
  assert.equal(nearest(axis, 31), 1);
  assert.equal(nearest(axis, 1e9), 3);
});
