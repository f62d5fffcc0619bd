// Accuracy as a mark within its interval, on one scale for all that are compared.

import { share } from "../lib/format.js";
import { html } from "../vendor/vendor.js";
import { accuracy } from "./facts.js";

/** @typedef {import("./facts.js").Model} Model */
/** @typedef {{low: number, high: number}} Scale shares */

const [WIDTH, HEIGHT, MARGIN] = [200, 16, 5];

/** From the lowest to the highest of all intervals, to whole per cents. @param {Model[]} models @returns {Scale | null} */
export function scaleOf(models) {
  const ends = models.flatMap((model) => {
    const found = accuracy(model);
    return found ? [found.low ?? found.value, found.high ?? found.value] : [];
  });
  if (ends.length === 0) return null;
  const low = Math.floor(100 * Math.min(...ends)) / 100;
  return { low, high: Math.max(Math.ceil(100 * Math.max(...ends)) / 100, low + 0.01) };
}

/** The picture; the figures stand beside it as text. @param {{model: Model, scale: Scale | null}} props */
export function Range({ model, scale }) {
  const found = accuracy(model);
  if (!found || !scale) return null;
  /** @param {number} value */
  const at = (value) => MARGIN + ((value - scale.low) / (scale.high - scale.low)) * (WIDTH - 2 * MARGIN);
  const middle = HEIGHT / 2;
  return html`
    <svg class="range" viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="xMinYMid" aria-hidden="true"
      focusable="false">
      <line class="axis" x1=${MARGIN} x2=${WIDTH - MARGIN} y1=${middle} y2=${middle} />
      ${
        found.low === null || found.high === null
          ? null
          : html`<rect class="spread" x=${at(found.low)} y=${middle - 4} width=${at(found.high) - at(found.low)}
            height="8" rx="2" />`
      }
      <circle class="mark" cx=${at(found.value)} cy=${middle} r="4" />
    </svg>`;
}

/** What the ends of the pictures mean. @param {Scale} scale @returns {string} */
export function scaleInWords({ low, high }) {
  return `from ${share(low, 0)} to ${share(high, 0)}`;
}
