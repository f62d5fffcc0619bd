// Gates of an answer: cut into blocks, and how decided each block is. The formulas, the bounds and what is refused are
// those of model_store/gate_figures.py, which `attnserve explain` prints.

/** Outside of these a gate is saturated. */
export const SHUT = 0.05;
export const OPEN = 0.95;

// A softmax in half precision misses 1 by so much.
const TOLERANCE = 1e-2;

/**
 * @typedef {object} Block
 * @property {string} block the layer's name
 * @property {number[][]} gates a row for each branch, a column for each channel; one row where gates only scale
 */

/**
 * @typedef {object} Figures of one block's gates for one image
 * @property {number} mean of all gates; of M competing branches it is 1 / M whatever they do
 * @property {number} minimum
 * @property {number} maximum
 * @property {number} entropy mean over the channels: 1 undecided, 0 decided
 * @property {number} saturation share of the channels, 0 to 1
 * @property {number[]} branchMeans mean weight of each branch; empty where nothing competes
 */

/**
 * Cut a row of the output `attention` into its blocks; the columns of a block are branch by branch.
 *
 * @param {(number | null)[]} row
 * @param {{block: string, channels: number, branches: number}[]} layout
 * @returns {Block[]}
 */
export function split(row, layout) {
  const columns = layout.reduce((sum, { channels, branches }) => sum + channels * branches, 0);
  if (columns !== row.length) {
    throw new Error(`The answer has ${row.length} gates, but the model's layout has ${columns}.`);
  }
  let at = 0;
  return layout.map(({ block, channels, branches }) => {
    const gates = Array.from({ length: branches }, (_, branch) => {
      const start = at + branch * channels;
      return row.slice(start, start + channels).map((gate) => gate ?? Number.NaN);
    });
    at += channels * branches;
    return { block, gates };
  });
}

/**
 * Describe the gates of one block.
 *
 * @param {number[][]} gates
 * @returns {Figures}
 * @throws {Error} it is empty, a gate is not in [0, 1], or branches do not sum to 1
 */
export function figures(gates) {
  requireGates(gates);
  const all = gates.flat();
  return {
    mean: mean(all),
    minimum: all.reduce((least, gate) => Math.min(least, gate)),
    maximum: all.reduce((most, gate) => Math.max(most, gate)),
    entropy: entropy(gates),
    saturation: saturation(gates),
    branchMeans: gates.length > 1 ? gates.map(mean) : [],
  };
}

/**
 * Mean entropy of the channels, in bits; of M > 1 branches divided by log2 M.
 *
 * @param {number[][]} gates @returns {number}
 */
export function entropy(gates) {
  const chances = gates.length === 1 ? [gates[0], gates[0].map((gate) => 1 - gate)] : gates;
  const bits = chances[0].map((_, channel) =>
    chances.reduce((sum, branch) => sum - (branch[channel] > 0 ? branch[channel] * Math.log2(branch[channel]) : 0), 0),
  );
  return mean(bits) / Math.log2(chances.length);
}

/** Share of the channels that are decided. @param {number[][]} gates @returns {number} */
export function saturation(gates) {
  const decided = gates[0].filter((gate, channel) =>
    gates.length === 1 ? gate < SHUT || gate > OPEN : gates.some((branch) => branch[channel] > OPEN),
  );
  return decided.length / gates[0].length;
}

/**
 * The channels in the order in which they are drawn.
 *
 * @param {number[][]} gates
 * @param {boolean} sorted the largest gate first (of branches: the first one's weight); else as the net has them
 * @returns {number[]}
 */
export function order(gates, sorted) {
  const channels = gates[0].map((_, channel) => channel);
  return sorted ? channels.sort((one, other) => gates[0][other] - gates[0][one]) : channels;
}

/** @param {number[][]} gates */
function requireGates(gates) {
  const odd = gates.flat().find((gate) => !(gate >= 0 && gate <= 1));
  if (odd !== undefined) throw new Error(`Gates must be from 0 to 1; one is ${odd}.`);
  if (!gates[0]?.length) throw new Error("There are no gates.");
  if (gates.length === 1) return;
  const sums = gates[0].map((_, channel) => gates.reduce((sum, branch) => sum + branch[channel], 0));
  const worst = sums.find((sum) => Math.abs(sum - 1) > TOLERANCE);
  if (worst !== undefined) throw new Error(`Gates of competing branches must sum to 1; one channel's sum to ${worst}.`);
}

/** @param {number[]} values @returns {number} */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
