// Assignment once more, in JavaScript: as assignment_reference.py, with nothing but Node's own modules.
"use strict";
const { createHash } = require("node:crypto");
const { readFileSync, writeSync } = require("node:fs");

function bucket(salt, text) {
  const name = `${Buffer.byteLength(salt, "utf8")}:${salt}|${text}`;
  const u = createHash("sha256").update(name, "utf8").digest().readBigUInt64BE(0);
  return Number((u * 10000n) >> 64n);
}

function owner(experiment, place) {
  return experiment.allocation.find(([start, stop]) => start <= place && place < stop)[2];
}

function assign(experiment, unit) {
  if (bucket("/holdout", unit) < experiment.holdout) return [0, "holdout"];
  if (Object.hasOwn(experiment.overrides, unit)) return [experiment.overrides[unit], "override"];
  const slot = bucket(`${experiment.layer}/slot`, unit);
  if (slot < experiment.slots[0] || slot >= experiment.slots[1]) return [0, "single"];
  if (bucket(`${experiment.name}/ramp`, unit) >= experiment.ramp) return [0, "single"];
  if (experiment.mode !== "split") return [0, "hash"];
  return [owner(experiment, bucket(`${experiment.name}/arm`, unit)), "hash"];
}

function request(experiment, prediction) {
  const first = experiment.mode === "paired" ? owner(experiment, bucket(`${experiment.name}/order`, prediction)) : 0;
  const mirrored = experiment.mode !== "split" && bucket(`${experiment.name}/sample`, prediction) < experiment.sample;
  return [first, mirrored];
}

const asked = JSON.parse(readFileSync(0, "utf8"));
const answers = asked.experiments.map((experiment) => ({
  units: asked.units.map((unit) => assign(experiment, unit)),
  requests: asked.requests.map((prediction) => request(experiment, prediction)),
}));
writeSync(1, JSON.stringify(answers));
