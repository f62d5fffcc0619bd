// What is known of a model, in words. A card is free: whoever wrote the archive, any fact may be missing.

import { compact, NOTHING, number, share } from "../lib/format.js";
import { href } from "../lib/route.js";

/** @typedef {import("../lib/ui.js").Tone} Tone */

/**
 * @typedef {object} Usage means are those of an answered request
 * @property {number} requests
 * @property {number} failed
 * @property {number} images
 * @property {number | null} mean_ms
 * @property {number | null} queue_ms
 * @property {number | null} decode_ms
 * @property {number | null} infer_ms
 * @property {string} since
 */

/**
 * @typedef {object} Model one version, as v1/models has it; of one that was never ready most facts are null
 * @property {string} name
 * @property {string} version "" where a model should be there and none is
 * @property {string} state
 * @property {string} reason
 * @property {boolean} default
 * @property {string[]} aliases
 * @property {string | null} architecture
 * @property {string | null} family
 * @property {string | null} attention
 * @property {boolean | null} trained
 * @property {number | null} classes
 * @property {(number | null)[] | null} input_size
 * @property {number | null} max_batch
 * @property {string | null} recipe
 * @property {string[] | null} recipe_reasons
 * @property {string | null} decoder
 * @property {string | null} contents_sha256
 * @property {Record<string, any> | null} parity
 * @property {Record<string, any> | null} card
 * @property {Usage} usage
 */

/** @type {Record<string, {title: string, tone: Tone}>} */
export const STATES = {
  READY: { title: "Ready", tone: "good" },
  LOADING: { title: "Loading", tone: "open" },
  UNLOADING: { title: "Unloading", tone: "open" },
  UNAVAILABLE: { title: "Not ready", tone: "warn" },
};

/** @type {Record<string, string>} */
const ATTENTION = {
  none: "none",
  se: "SE, squeeze and excitation",
  eca: "ECA, efficient channel attention",
  sk: "SK, selective kernels",
  cbam: "CBAM, channel and spatial",
  bam: "BAM, bottleneck attention",
  scse: "scSE, channel and spatial",
};

/** @param {string | null} kind @returns {string} */
export function attentionName(kind) {
  if (kind === null) return NOTHING;
  return Object.hasOwn(ATTENTION, kind) ? ATTENTION[kind] : kind;
}

/** @param {Model} model @returns {string} as calls and aliases name it */
export function address({ name, version }) {
  return version ? `${name}:${version}` : name;
}

/** Where its details are shown. @param {Model} model @returns {string} */
export function details({ name, version }) {
  return href(version ? ["models", name, version] : ["models", name]);
}

/** Versions by name, the newest first. @param {Model[]} models @returns {[string, Model[]][]} */
export function byName(models) {
  /** @type {Map<string, Model[]>} */
  const groups = new Map();
  for (const model of models) groups.set(model.name, [...(groups.get(model.name) ?? []), model]);
  return [...groups].map(([name, versions]) => [name, versions.toSorted((one, other) => newer(one, other))]);
}

/** @param {Model} one @param {Model} other */
function newer(one, other) {
  return other.version.localeCompare(one.version, "en", { numeric: true });
}

/** The version whose figures stand for all: the default, or the newest. @param {Model[]} versions newest first */
export function standing(versions) {
  return versions.find((version) => version.default) ?? versions[0];
}

/**
 * What was measured of the weights when the archive was built, or else by `attnserve evaluate`.
 *
 * @param {Model} model
 * @returns {{value: number, low: number | null, high: number | null, of: string} | null} shares
 */
export function accuracy({ card }) {
  const evaluated = card?.evaluation ?? {};
  const [value, interval, images] =
    typeof card?.accuracy === "number"
      ? [card.accuracy, card.accuracy_interval_95, card.split?.held_out]
      : [evaluated.top1, evaluated.top1_interval_95, evaluated.images];
  if (typeof value !== "number") return null;
  const [low, high] = Array.isArray(interval) && interval.every(Number.isFinite) ? interval : [null, null];
  return { value, low, high, of: images ? `on ${number(images, 0)} held-out images` : "" };
}

/** @param {{low: number | null, high: number | null}} found @returns {string} */
export function interval({ low, high }) {
  return low === null ? "no interval given" : `95 % interval ${share(low)} to ${share(high)}`;
}

/** @param {Model} model @returns {string} */
export function weights({ card, trained }) {
  if (trained === false) return "random";
  return words(card?.weights?.source ?? card?.source);
}

/** How far the packed net is from the one that was trained. @param {Model} model @returns {string} */
export function parity({ parity: found }) {
  if (!found) return "";
  const tolerance = exponent(found.tolerance);
  const samples = found.samples ? `; ${words(found.samples)} samples` : "";
  return `at most ${exponent(found.max_abs_error)} from eager, ${tolerance} allowed${samples}`;
}

/** A small number: 8.9e-7. @param {unknown} value @returns {string} */
function exponent(value) {
  return typeof value === "number" ? value.toExponential(1) : NOTHING;
}

/** @param {Model} model @returns {string} */
export function recipe({ recipe: name, recipe_reasons: reasons }) {
  if (!name) return "";
  return reasons?.length ? `${name}: ${reasons.join("; ")}` : name;
}

/** @param {Model} model @returns {string} */
export function input({ input_size: size, max_batch }) {
  if (!size) return "";
  return `${size.map((side) => number(side, 0)).join(" × ")} pixels, ${number(max_batch, 0)} images at once at most`;
}

/** What becomes of an image first. @param {any} resize of a card's input @param {Model} model @returns {string} */
export function resized(resize, { input_size: size }) {
  if (!resize || !size) return "";
  const target = size.map((side) => number(side, 0)).join(" × ");
  const cut = resize.method === "shorter_side";
  const how = cut ? `shorter side to ${words(resize.size?.[0])}, centre of ${target}` : `stretched to ${target}`;
  return `${how}, ${words(resize.interpolation)}`;
}

/** @param {unknown} value multiply-accumulates @returns {string} */
export function macs(value) {
  return typeof value === "number" ? `${compact(value)} MACs` : "";
}

/** Any value of a card. @param {unknown} value @returns {string} */
export function words(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(words).join(", ");
  if (typeof value === "object") {
    return Object.entries(value)
      .map(([name, inner]) => `${spaced(name)} ${words(inner)}`)
      .join(", ");
  }
  return typeof value === "number" ? number(value, 4) : String(value);
}

/** @param {string} name @returns {string} */
export function spaced(name) {
  return name.replaceAll("_", " ");
}
