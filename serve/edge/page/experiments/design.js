// The form of a new experiment and the design that it stands for. Nothing here touches the page.

import { NOTHING, significant } from "../lib/format.js";

/**
 * @typedef {object} ArmForm
 * @property {string} key stays when the others change their places
 * @property {string} name
 * @property {boolean} named by hand; else the name follows the model
 * @property {string} model "name:version", or ""
 * @property {string} weight per cent, as typed
 *
 * @typedef {object} GuardForm
 * @property {string} key
 * @property {string} metric
 * @property {string} threshold_ms
 * @property {string} max_ratio
 * @property {string} alpha per cent
 *
 * @typedef {object} Form numbers are kept as they were typed; shares in per cent
 * @property {string} name
 * @property {string} description
 * @property {"split" | "shadow" | "paired"} mode
 * @property {ArmForm[]} arms
 * @property {string} ramp
 * @property {string} sample
 * @property {string} primary_metric
 * @property {string} alpha
 * @property {string} margin
 * @property {string} planned_units
 * @property {GuardForm[]} guardrails
 * @property {boolean} keep
 * @property {string} max_images
 * @property {string} days
 * @property {string} alias
 * @property {boolean} promote
 * @property {string} layer
 * @property {string} slot_from
 * @property {string} slot_to
 * @property {string} holdout
 * @property {string} pairs
 * @property {string} reason
 * @property {string} units_per_day "" is what the gateway sees
 *
 * @typedef {Record<string, unknown>} Design as the gateway takes it
 */

/** In which the gateway counts shares. */
const WHOLE = 10_000;
export const MOST_ARMS = 10;

let keys = 0;

/** A key that no other row of this page has. @returns {string} */
export function newKey() {
  keys += 1;
  return `${Date.now().toString(36)}-${keys}`;
}

/** @param {string} [model] @returns {ArmForm} */
export function newArm(model = "") {
  return { key: newKey(), name: "", named: false, model, weight: "0" };
}

/** @param {string} [metric] @returns {GuardForm} */
export function newGuard(metric = "error_rate") {
  return {
    key: newKey(),
    metric,
    threshold_ms: metric === "slo_exceedance" ? "200" : "",
    max_ratio: "1.5",
    alpha: "1",
  };
}

/** The form before anybody has touched it. @returns {Form} */
export function emptyForm() {
  return {
    name: "",
    description: "",
    mode: "paired",
    arms: spread([newArm(), newArm()]),
    ramp: "100",
    sample: "100",
    primary_metric: "accuracy",
    alpha: "5",
    margin: "1",
    planned_units: "10000",
    guardrails: [newGuard()],
    keep: false,
    max_images: "100",
    days: "7",
    alias: "",
    promote: false,
    layer: "",
    slot_from: "0",
    slot_to: "100",
    holdout: "0",
    pairs: "one_per_unit",
    reason: "",
    units_per_day: "",
  };
}

/** What the gateway is told of a number: what was typed, where it is none, for it to say so. @param {string} text */
export function amount(text) {
  return text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

/** Per cent as 1/10 000. What is finer stays so, for the gateway to refuse it: nothing is rounded in silence.
 *
 * @param {string} text
 */
export function tenThousandths(text) {
  const value = amount(text);
  return typeof value === "number" ? Number(((value * WHOLE) / 100).toPrecision(12)) : value;
}

/** Per cent as a share, without what division adds in the last digits. @param {string} text */
export function fraction(text) {
  const value = amount(text);
  return typeof value === "number" ? Number((value / 100).toPrecision(12)) : value;
}

/** The sum of the weights in per cent; NaN where one is no number. @param {ArmForm[]} arms */
export function weightSum(arms) {
  const parts = arms.map(({ weight }) => tenThousandths(weight));
  return parts.every((part) => typeof part === "number")
    ? parts.reduce((sum, part) => sum + part, 0) / 100
    : Number.NaN;
}

/** Equal weights, which sum to 100 % exactly: the first ones take what is left over. @param {ArmForm[]} arms */
export function spread(arms) {
  const each = Math.floor(WHOLE / arms.length);
  const over = WHOLE - each * arms.length;
  return arms.map((arm, at) => ({ ...arm, weight: String((each + (at < over ? 1 : 0)) / 100) }));
}

/** Which metrics a mode can tell. @param {string} mode @returns {string[]} */
export function metricsOf(mode) {
  return mode === "split"
    ? ["accuracy", "error_rate", "latency_p50", "latency_p99"]
    : ["accuracy", "agreement", "error_rate"];
}

/** Give up what another mode does not have. @param {Form} form @returns {Form} */
export function fitted(form) {
  const metric = metricsOf(form.mode).includes(form.primary_metric) ? form.primary_metric : "accuracy";
  return { ...form, primary_metric: metric };
}

/** The design that a form stands for; what has its default is left out. @param {Form} form @returns {Design} */
export function designOf(form) {
  const split = form.mode === "split";
  return {
    name: form.name.trim(),
    ...(form.description.trim() ? { description: form.description.trim() } : {}),
    mode: form.mode,
    arms: form.arms.map((arm) => armOf(arm, form.mode)),
    ramp: tenThousandths(form.ramp),
    ...(!split && form.sample !== "100" ? { sample: tenThousandths(form.sample) } : {}),
    primary_metric: form.primary_metric,
    alpha: fraction(form.alpha),
    margin: fraction(form.margin),
    planned_units: amount(form.planned_units),
    guardrails: form.guardrails.map(guardOf),
    ...(!split && form.keep ? { keep_images: { max_images: amount(form.max_images), days: amount(form.days) } } : {}),
    ...(form.alias.trim() ? { alias: form.alias.trim() } : {}),
    ...(form.promote ? { promote_when_better: true } : {}),
    ...(form.layer.trim() ? { layer: form.layer.trim() } : {}),
    ...(form.slot_from !== "0" || form.slot_to !== "100"
      ? { slots: [tenThousandths(form.slot_from), tenThousandths(form.slot_to)] }
      : {}),
    ...(form.holdout !== "0" ? { holdout: tenThousandths(form.holdout) } : {}),
    ...(!split && form.pairs !== "one_per_unit" ? { pairs: form.pairs } : {}),
  };
}

/** @param {ArmForm} arm @param {string} mode */
function armOf(arm, mode) {
  const [model, version = ""] = arm.model.split(":");
  return {
    name: arm.name.trim(),
    model,
    version,
    ...(mode === "shadow" ? {} : { weight: tenThousandths(arm.weight) }),
  };
}

/** @param {GuardForm} guard */
function guardOf(guard) {
  return {
    metric: guard.metric,
    ...(guard.metric === "slo_exceedance" ? { threshold_ms: amount(guard.threshold_ms) } : {}),
    max_ratio: amount(guard.max_ratio),
    alpha: fraction(guard.alpha),
  };
}

/** A name for an arm: what its model's name ends with, and that no other arm has. @param {ArmForm[]} arms */
export function withNames(arms) {
  /** @type {Set<string>} */
  const taken = new Set(arms.filter(({ named }) => named).map(({ name }) => name));
  return arms.map((arm) => {
    if (arm.named || !arm.model) return arm;
    const [model, version] = arm.model.split(":");
    const short = model.split("_").at(-1) || model;
    const wanted = [short, `${short}-${version}`];
    for (let more = 2; more <= MOST_ARMS; more += 1) wanted.push(`${short}-${version}-${more}`);
    const name = wanted.find((one) => !taken.has(one)) ?? short;
    taken.add(name);
    return { ...arm, name };
  });
}

/** A difference in a metric, with its unit. @param {unknown} share @param {string} metric @returns {string} */
export function difference(share, metric) {
  if (typeof share !== "number") return NOTHING;
  const shown = significant(100 * share);
  return metric.startsWith("latency") ? `${shown} %` : `${shown} ${shown === "1" ? "point" : "points"}`;
}
