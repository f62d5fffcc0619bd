// How a report's figures are written, with their units: as in the report that is drawn without a browser
// (serve/reporting/figures.py and measure.py, which a test compares with this).

import { NOTHING } from "../../lib/format.js";

const E_SHOWN = Math.log(10_000);
const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const COMPARING = ["difference", "ratio"];

/** @typedef {Record<string, any>} Json */

/** @param {unknown} value @returns {value is number} */
export function known(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** With so many digits after the point; what lies in the middle goes to the even one.
 *
 * @param {number} size not less than 0 @param {number} digits
 */
export function rounded(size, digits) {
  const text = size.toFixed(digits);
  const exact = size.toFixed(Math.min(100, digits + 40));
  const tie = /^50*$/.test(exact.slice(exact.indexOf(".") + 1 + digits));
  if (!tie || "02468".includes(text[text.length - 1])) return text;
  return (Number(text) - 10 ** -digits).toFixed(digits);
}

/**
 * @param {number} value @param {number} digits
 * @param {{signed?: boolean, grouped?: boolean}} [options] @returns {string}
 */
function written(value, digits, { signed = false, grouped = true } = {}) {
  const sign = value < 0 || Object.is(value, -0) ? "−" : signed ? "+" : "";
  const [whole, rest] = rounded(Math.abs(value), digits).split(".");
  const parted = grouped ? whole.replace(/\B(?=(\d{3})+$)/g, ",") : whole;
  return `${sign}${parted}${rest ? `.${rest}` : ""}`;
}

/** A whole number with separated thousands. @param {unknown} value @returns {string} */
export function count(value) {
  return known(value) ? written(value, 0) : NOTHING;
}

/** A number with about three telling digits. @param {unknown} value @param {{signed?: boolean}} [options] */
export function decimal(value, { signed = false } = {}) {
  if (!known(value)) return NOTHING;
  const size = Math.abs(value);
  return written(value, size >= 100 ? 0 : size >= 1 || size === 0 ? 2 : 3, { signed });
}

/** An e-value from its logarithm; a large or small one as a power of ten. @param {unknown} logE @returns {string} */
export function evidence(logE) {
  if (!known(logE)) return NOTHING;
  if (Math.abs(logE) < E_SHOWN) return decimal(Math.exp(logE));
  let power = Math.floor(logE / Math.LN10);
  let factor = written(Math.exp(logE - power * Math.LN10), 1);
  if (factor === "10.0") [factor, power] = ["1.0", power + 1];
  const raised = [...String(power)].map((digit) => (digit === "-" ? "⁻" : RAISED[Number(digit)])).join("");
  return `${factor} × 10${raised}`;
}

/** A number that somebody chose: as short as it was written. @param {unknown} value @returns {string} */
export function setting(value) {
  if (!known(value)) return NOTHING;
  const short = String(Number(Number(value.toFixed(9)).toPrecision(10)));
  const [whole, rest] = short.replace("-", "").split(".");
  return `${value < 0 ? "−" : ""}${whole.replace(/\B(?=(\d{3})+$)/g, ",")}${rest ? `.${rest}` : ""}`;
}

/** A p-value. @param {unknown} value @returns {string} */
export function probability(value) {
  if (!known(value)) return NOTHING;
  if (value < 1e-4) return "< 0.0001";
  return value < 1 ? written(value, 4) : "1";
}

/** A change of a count, in whole images. @param {number} value @returns {string} */
export function images(value) {
  return written(value, 0, { signed: true });
}

/** The text as the beginning of a sentence. @param {unknown} text @returns {string} */
export function begun(text) {
  const said = typeof text === "string" ? text : "";
  return said.slice(0, 1).toUpperCase() + said.slice(1);
}

/** A whole number of 1/10 000, in per cent. @param {unknown} part @returns {string} */
export function enrolled(part) {
  return known(part) ? `${setting(part / 100)} %` : NOTHING;
}

/**
 * @typedef {object} Measure a unit as it is written
 * @property {number} scale by which a value is multiplied
 * @property {string} unit "" for nothing
 * @property {(value: unknown) => string} one
 * @property {(low: unknown, high: unknown) => string} span an end that is not known is missing
 */

/**
 * @param {{scale?: number, unit?: string, signed?: boolean, whole?: boolean, digits?: number}} how
 * @returns {Measure}
 */
function measured({ scale = 1, unit = "", signed = false, whole = false, digits }) {
  const bare = (/** @type {number} */ value) => {
    if (whole) return count(scale * value);
    return digits === undefined
      ? decimal(scale * value, { signed })
      : written(scale * value, digits, { signed, grouped: false });
  };
  const withUnit = (/** @type {string} */ text) => (unit ? `${text} ${unit}` : text);
  const one = (/** @type {unknown} */ value) => (known(value) ? withUnit(bare(value)) : NOTHING);
  const span = (/** @type {unknown} */ low, /** @type {unknown} */ high) => {
    if (known(low) && known(high)) return withUnit(`${bare(low)} to ${bare(high)}`);
    if (known(high)) return `at most ${one(high)}`;
    return known(low) ? `at least ${one(low)}` : NOTHING;
  };
  return { scale, unit, one, span };
}

/** How a row's figures are written, by their unit and by what they are. @param {Json} row @returns {Measure} */
export function measure({ unit, kind }) {
  const signed = COMPARING.includes(kind);
  if (unit === "share") {
    return measured({ scale: 100, unit: kind === "difference" ? "points" : "%", signed, digits: 2 });
  }
  if (unit === "ratio") return measured({ scale: 100, unit: "%", signed: true, digits: 1 });
  if (unit === "score") return measured({ signed, digits: 4 });
  if (["calls", "units", "images"].includes(unit)) return measured({ whole: true });
  return measured({ unit: typeof unit === "string" ? unit : "", signed });
}

/** Of shares, arm minus control. */
export const POINTS = measured({ scale: 100, unit: "points", signed: true, digits: 2 });
