// The modules fit together: what one imports, another exports. (Python makes one script of them, in
// which a name that is missing would be noticed only where it is called.)
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import test from "node:test";

const folder = new URL("../../src/circuitwatch/summary/report/templates/js/", import.meta.url);
const nothing = JSON.stringify({ axes: [], models: [], series: [], tasks: [] });
globalThis.document = { getElementById: () => ({ textContent: nothing }) };

for (const name of readdirSync(folder))
  test(`${name} imports what is there`, async () => {
    try {
      await import(new URL(name, folder));
    } catch (error) {
      // there is no page here to draw on, which main.js finds out once all is imported
      assert.ok(name === "main.js" && error instanceof TypeError, error);
    }
  });
