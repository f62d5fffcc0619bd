// One image to one model, and what came back.

import { ask, get, json, segment } from "../lib/api.js";
import { useEffect } from "../vendor/vendor.js";
import { split } from "./gates.js";

export const TOP = 5;

/**
 * @typedef {object} Guess
 * @property {string} label
 * @property {number} probability
 */

/**
 * @typedef {object} Answer
 * @property {string} model that answered; another than was asked where that is an alias or an experiment
 * @property {string} version
 * @property {Guess[]} top the most probable first
 * @property {number} ms from asking until the answer was read, as the page measured it
 * @property {boolean} untrained whether its weights are random
 * @property {Record<string, unknown>} parameters of the reply
 * @property {import("./gates.js").Block[] | null} blocks its gates; null: not asked for, or not to be had
 * @property {string} gatesProblem why its gates could not be had
 */

/**
 * @typedef {object} Outcome
 * @property {number} run which run of which image it belongs to
 * @property {Answer | null} answer
 * @property {Error | null} error
 */

/** @typedef {import("./choices.js").Target} Target */

/**
 * Ask for as long as the caller is drawn; another image, or another run, cancels what is under way.
 *
 * @param {import("./picture.js").Picture | null} picture
 * @param {Target} target
 * @param {number} run
 * @param {(key: string, outcome: Outcome) => void} told
 */
export function useQuestion(picture, target, run, told) {
  useEffect(() => {
    if (!picture) return undefined;
    const aborter = new AbortController();
    const say = (/** @type {Answer | null} */ answer, /** @type {Error | null} */ error) => {
      if (!aborter.signal.aborted) told(target.key, { run, answer, error });
    };
    question(picture, target, aborter.signal).then(
      (answer) => say(answer, null),
      (error) => say(null, error),
    );
    return () => aborter.abort();
  }, [picture, target.key, target.gates, run, told]);
}

/**
 * @param {import("./picture.js").Picture} picture
 * @param {Target} target
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
async function question(picture, target, signal) {
  const { headers, body } = request(picture.blob, target.gates);
  const began = performance.now();
  const response = await ask("POST", inferPath(target), body, { headers, signal });
  const reply = await json(response, signal);
  const ms = performance.now() - began;
  const outputs = /** @type {Map<string, any[]>} */ (
    new Map(reply.outputs.map((/** @type {any} */ output) => [output.name, output.data]))
  );
  const parameters = reply.parameters ?? {};
  return {
    model: reply.model_name,
    version: reply.model_version,
    top: (outputs.get("probabilities") ?? []).map(guess),
    ms,
    untrained: parameters.untrained === true,
    parameters,
    ...(await gatesOf(reply, outputs.get("attention"), signal)),
  };
}

/** Where a model is asked, relative to the gateway. @param {{name: string, version: string}} target */
export function inferPath({ name, version }) {
  return `v2/models/${segment(name)}${version ? `/versions/${segment(version)}` : ""}/infer`;
}

/** The outputs that are asked for. @param {boolean} gates */
export function wanted(gates) {
  return [{ name: "probabilities", parameters: { classification: TOP } }, ...(gates ? [{ name: "attention" }] : [])];
}

/** JSON, then the image as it is: the protocol's binary data, a string's length before it. @param {Blob} image
 * @param {boolean} gates */
function request(image, gates) {
  const parameters = { binary_data_size: 4 + image.size };
  const input = { name: "image", datatype: "BYTES", shape: [1], parameters };
  const head = new TextEncoder().encode(JSON.stringify({ inputs: [input], outputs: wanted(gates) }));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, image.size, true);
  return {
    headers: {
      Accept: "application/json",
      "Content-Type": "application/octet-stream",
      "Inference-Header-Content-Length": String(head.length),
    },
    body: new Blob([head, length.buffer, image]),
  };
}

/** From `0.987654:7:seven`; a label may have colons of its own. @param {string} text @returns {Guess} */
function guess(text) {
  const [, probability, label] = /^([^:]*):[^:]*:(.*)$/s.exec(text) ?? ["", "", text];
  return { label, probability: Number(probability) };
}

/** @type {Map<string, Promise<any>>} */
const layouts = new Map();

/**
 * The answer does not fail with its gates.
 *
 * @param {{model_name: string, model_version: string}} reply
 * @param {(number | null)[] | undefined} row
 * @param {AbortSignal} signal
 */
async function gatesOf({ model_name, model_version }, row, signal) {
  if (!row) return { blocks: null, gatesProblem: "" };
  const path = `v1/models/${segment(model_name)}/versions/${segment(model_version)}`;
  // Asked for once: that it no longer fits, since the model was loaded anew, is seen by the number of columns.
  if (!layouts.has(path)) layouts.set(path, get(path));
  try {
    const { attention_layout } = await layouts.get(path);
    return { blocks: split(row, attention_layout ?? []), gatesProblem: "" };
  } catch (error) {
    layouts.delete(path);
    if (signal.aborted) throw error;
    return { blocks: null, gatesProblem: /** @type {Error} */ (error).message };
  }
}
