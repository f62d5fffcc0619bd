// Numbers with their units, times in the reader's zone.

import { html } from "../vendor/vendor.js";

export const NOTHING = "–";

/** @param {unknown} value @returns {value is number} */
function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** @param {unknown} value @param {number} [digits] after the point, at most @returns {string} */
export function number(value, digits = 1) {
  return known(value) ? value.toLocaleString("en", { maximumFractionDigits: digits }) : NOTHING;
}

/** With so many digits that count: 0.00123, 1.23, 1,230. @param {unknown} value @param {number} [digits] */
export function significant(value, digits = 3) {
  return known(value) ? value.toLocaleString("en", { maximumSignificantDigits: digits }) : NOTHING;
}

/** Of thousands and more: 20.5 k, 28.1 M. @param {unknown} value @returns {string} */
export function compact(value) {
  if (!known(value)) return NOTHING;
  const [scale, unit] = value >= 1e9 ? [1e9, " G"] : value >= 1e6 ? [1e6, " M"] : value >= 1e4 ? [1e3, " k"] : [1, ""];
  return `${significant(value / scale)}${unit}`;
}

/** @param {unknown} value @returns {string} */
export function count(value) {
  return number(value, 0);
}

/** A share as per cent. @param {unknown} value @param {number} [digits] @returns {string} */
export function share(value, digits = 1) {
  return known(value)
    ? `${(100 * value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} %`
    : NOTHING;
}

/** A difference of shares. @param {unknown} value @param {number} [digits] @returns {string} */
export function points(value, digits = 2) {
  return known(value) ? `${signed(100 * value, digits)} points` : NOTHING;
}

/** With its sign, and a true minus. @param {number} value @param {number} digits @returns {string} */
export function signed(value, digits) {
  const text = Math.abs(value).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${value < 0 ? "−" : "+"}${text}`;
}

/** @param {unknown} value milliseconds @returns {string} */
export function ms(value) {
  if (!known(value)) return NOTHING;
  return value >= 10_000 ? `${significant(value / 1000)} s` : `${significant(value)} ms`;
}

/** @param {unknown} value a second @param {string} [what] @returns {string} */
export function rate(value, what = "") {
  return known(value) ? `${value < 10 ? number(value, 1) : count(value)}${what ? ` ${what}` : ""}/s` : NOTHING;
}

/** @param {unknown} value @returns {string} */
export function bytes(value) {
  if (!known(value)) return NOTHING;
  const [scale, unit] = value >= 1e6 ? [1e6, "MB"] : value >= 1e3 ? [1e3, "kB"] : [1, "B"];
  return `${significant(value / scale)} ${unit}`;
}

/** A span of time in words. @param {unknown} value seconds @returns {string} */
export function duration(value) {
  if (!known(value)) return NOTHING;
  const units = /** @type {const} */ ([
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
    [1, "second"],
  ]);
  const [scale, unit] = units.find(([size]) => value >= size) ?? units[3];
  const amount = number(value / scale, value / scale < 10 ? 1 : 0);
  return `${amount} ${unit}${amount === "1" ? "" : "s"}`;
}

/** A moment as <time>, in the reader's zone. @param {string | number | null | undefined} at ISO, or Unix seconds */
export function time(at) {
  const moment = new Date(typeof at === "number" ? 1000 * at : (at ?? Number.NaN));
  if (Number.isNaN(moment.getTime())) return NOTHING;
  const shown = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return html`<time datetime=${moment.toISOString()} title=${moment.toISOString()}>${shown}</time>`;
}

/** How long ago, in words. @param {string | number} at ISO, or Unix seconds @returns {string} */
export function ago(at) {
  const then = typeof at === "number" ? 1000 * at : Date.parse(at);
  return known(then) ? `${duration(Math.max(1, (Date.now() - then) / 1000))} ago` : NOTHING;
}
