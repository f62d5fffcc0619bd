// What is written along an axis: times of the reader's zone, round numbers where it is logarithmic.

const DAY = 86_400;

/**
 * A time of day, and the date below it where it is another one than the last.
 *
 * @param {unknown} _plot @param {(number | null)[]} ticks Unix seconds @param {number} _axis @param {number} _space
 * @param {number} step seconds from tick to tick @returns {string[]}
 */
export function timeTicks(_plot, ticks, _axis, _space, step) {
  let last = "";
  return ticks.map((tick) => {
    if (tick === null) return "";
    const moment = new Date(1000 * tick);
    const date = moment.toLocaleDateString(undefined, { day: "numeric", month: "short" });
    if (step >= DAY) return date;
    const seconds = step < 60 ? /** @type {const} */ ({ second: "2-digit" }) : {};
    const clock = moment.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...seconds });
    const text = date === last ? clock : `${clock}\n${date}`;
    last = date;
    return text;
  });
}

/** Whether a number is 1, 2 or 5 times a power of ten. @param {number} value @returns {boolean} */
export function isRound(value) {
  return /^[125]e/.test(value.toExponential(6).replace(/\.?0+e/, "e"));
}
