// Numbers and cells as the page writes them. Python has the same rules: rules.json is for both.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import * as format from "../../src/circuitwatch/summary/report/templates/js/format.js";

const rules = JSON.parse(readFileSync(new URL("rules.json", import.meta.url)));

test("token counts and sizes have three digits and a letter", () => {
  for (const [count, shown] of rules.short) assert.equal(format.short(count), shown);
  assert.equal(format.short(undefined), "");
});

test("numbers have at most two significant decimals and a minus sign", () => {
  for (const [number, shown] of rules.value) assert.equal(format.value(number), shown);
  assert.equal(format.value(-0), "0.00");
});

test("a number that does not exist is a dash", () => {
  assert.equal(format.value(null), "–");
  assert.equal(format.value(undefined), "–");
});

test("no cell of a CSV is taken for a formula, and none for two", () => {
  for (const [content, cell] of rules.csv) assert.equal(format.csvCell(content), cell);
  assert.equal(format.csvCell(-0.25), "-0.25");
});
