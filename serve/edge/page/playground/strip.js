// One block's gates as a picture: a bar for each channel; of competing branches a stack.

import { count } from "../lib/format.js";
import { html, useMemo, useState } from "../vendor/vendor.js";
import { order } from "./gates.js";

/** Steps of the colour scale, from shut to open. */
export const STEPS = 11;
/** Branches that have a colour of their own; the classes are the stylesheet's. */
export const BRANCHES = 6;

/** @param {number} gate @returns {number} */
function step(gate) {
  return Math.min(STEPS - 1, Math.floor(gate * STEPS));
}

/**
 * What is drawn in one colour, as one path on a field of one unit for each channel, from 0 at the foot to 1.
 *
 * @param {number[][]} gates @param {number[]} channels in the order in which they are drawn
 * @returns {{name: string, path: string}[]}
 */
export function paths(gates, channels) {
  /** @type {Map<string, string[]>} */
  const drawn = new Map();
  channels.forEach((channel, place) => {
    let foot = 0;
    gates.forEach((branch, number) => {
      const top = foot + branch[channel];
      const name = gates.length === 1 ? `pg-gate-${step(branch[channel])}` : `pg-branch-${number % BRANCHES}`;
      const bars = drawn.get(name) ?? [];
      bars.push(`M${place} ${1 - foot}V${1 - Math.min(1, top)}h1V${1 - foot}Z`);
      drawn.set(name, bars);
      foot = Math.min(1, top);
    });
  });
  return [...drawn].map(([name, bars]) => ({ name, path: bars.join("") }));
}

/** What one channel does, in words. @param {number[][]} gates @param {number} channel */
function told(gates, channel) {
  const values = gates.map((branch) => branch[channel].toFixed(3)).join(" / ");
  return `channel ${channel}: ${values}`;
}

/**
 * @param {{block: import("./gates.js").Block, figures: import("./gates.js").Figures, sorted: boolean}} props
 */
export function Strip({ block: { block, gates }, figures, sorted }) {
  const [at, setAt] = useState(/** @type {number | null} */ (null));
  const channels = useMemo(() => order(gates, sorted), [gates, sorted]);
  const drawn = useMemo(() => paths(gates, channels), [gates, channels]);
  const size = channels.length;
  const range = `from ${figures.minimum.toFixed(2)} to ${figures.maximum.toFixed(2)}`;
  const what = gates.length === 1 ? "gates" : `channels, weights of ${gates.length} branches`;
  /** @param {any} event */
  const pointed = (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    setAt(Math.max(0, Math.min(size - 1, Math.floor(((event.clientX - left) / width) * size))));
  };
  return html`
    <figure class="pg-strip">
      <svg viewBox=${`0 0 ${size} 1`} preserveAspectRatio="none" role="img"
        aria-label=${`${size} ${what} ${range}`} onPointerMove=${pointed} onPointerLeave=${() => setAt(null)}>
        ${drawn.map(({ name, path }) => html`<path key=${name} class=${name} d=${path} />`)}
        ${at === null ? null : html`<rect class="pg-at" x=${at} y="0" width="1" height="1" />`}
      </svg>
      <figcaption>${
        at === null || at >= size
          ? html`<bdi>${block}</bdi>, ${count(size)} channels`
          : html`<b>${told(gates, channels[at])}</b>`
      }</figcaption>
    </figure>`;
}
