// What the gateway has told so far, and what of it is drawn. Pure.

/**
 * @typedef {object} ModelPoint
 * @property {number} requests_s
 * @property {number} images_s
 * @property {number} errors_s
 * @property {number | null} p50_ms
 * @property {number | null} p95_ms
 * @property {number | null} p99_ms
 * @property {number | null} batch_images
 * @property {number} queue_images
 * @property {number} inflight
 */

/** @typedef {Pick<ModelPoint, "requests_s" | "errors_s" | "p50_ms" | "p95_ms" | "p99_ms">} ArmPoint */

/**
 * @typedef {object} Point
 * @property {number} n
 * @property {number} at Unix seconds
 * @property {Record<string, ModelPoint>} models
 * @property {Record<string, Record<string, ArmPoint>>} arms by experiment
 */

/**
 * @typedef {object} Engine
 * @property {string} name
 * @property {boolean} ejected
 * @property {number} restarts
 * @property {number} retries
 * @property {Record<string, string>} models name: state of the breaker
 */

/**
 * @typedef {object} Answer of v1/live
 * @property {number} now
 * @property {number} every_s
 * @property {{index: number, of: number}} process
 * @property {Point[]} points
 * @property {Engine[]} engines
 */

const KEPT = 900;
// Points come a little late; where one is missing nothing is drawn.
const HOLE = 1.9;

/**
 * An answer, with the points that were there before it. What another process has counted is another matter.
 *
 * @param {Answer | null} before @param {Answer} answer @returns {Answer}
 */
export function merged(before, answer) {
  if (!before || !sameProcess(before, answer)) return answer;
  const newest = before.points.at(-1)?.n ?? 0;
  const points = [...before.points, ...answer.points.filter(({ n }) => n > newest)].slice(-KEPT);
  return { ...answer, points };
}

/** @param {Answer} one @param {Answer} other */
export function sameProcess(one, other) {
  return one.process.index === other.process.index;
}

/**
 * The moments of a window, with null where there is a hole: a line is not drawn across it.
 *
 * @param {Answer} answer @param {number} span seconds
 * @returns {{x: number[], points: (Point | null)[]}}
 */
export function windowed({ points: all, every_s: every }, span) {
  const newest = all.at(-1);
  if (!newest) return { x: [], points: [] };
  const start = newest.at - span;
  const inside = all.filter(({ at }) => at >= start);
  /** @type {number[]} */
  const x = inside[0].at - start > every ? [start] : [];
  const points = /** @type {(Point | null)[]} */ (x.map(() => null));
  inside.forEach((point, index) => {
    const before = inside[index - 1];
    if (before && point.at - before.at > HOLE * every) {
      x.push(before.at + every);
      points.push(null);
    }
    x.push(point.at);
    points.push(point);
  });
  return { x, points };
}

/** The names in any of the points, in order. @param {(Point | null)[]} points @returns {string[]} */
export function modelsOf(points) {
  return [...new Set(points.flatMap((point) => Object.keys(point?.models ?? {})))].sort();
}

/** @param {(Point | null)[]} points @returns {string[]} */
export function experimentsOf(points) {
  return [...new Set(points.flatMap((point) => Object.keys(point?.arms ?? {})))].sort();
}

/** The arms of an experiment. @param {(Point | null)[]} points @param {string} experiment @returns {string[]} */
export function armsOf(points, experiment) {
  return [...new Set(points.flatMap((point) => Object.keys(point?.arms[experiment] ?? {})))];
}

/**
 * Those of the names that were asked for most, in their order.
 *
 * @param {string[]} names @param {(Point | null)[]} points @param {number} most @returns {string[]}
 */
export function busiest(names, points, most) {
  if (names.length <= most) return names;
  const asked = new Map(names.map((name) => [name, 0]));
  for (const point of points) {
    for (const [name, { requests_s }] of Object.entries(point?.models ?? {})) {
      asked.set(name, (asked.get(name) ?? 0) + requests_s);
    }
  }
  const chosen = new Set(
    [...names].sort((one, other) => (asked.get(other) ?? 0) - (asked.get(one) ?? 0)).slice(0, most),
  );
  return names.filter((name) => chosen.has(name));
}

/**
 * One figure over all models, or of one.
 *
 * @param {Point | null | undefined} point @param {string} model "" for all
 * @param {"requests_s" | "images_s" | "errors_s" | "queue_images" | "inflight"} key @returns {number | null}
 */
export function total(point, model, key) {
  if (!point) return null;
  if (model) return point.models[model]?.[key] ?? null;
  return Object.values(point.models).reduce((sum, one) => sum + one[key], 0);
}

/**
 * The slowest of some models: its name and its 99th percentile; null where nothing was answered.
 *
 * @param {Point | undefined} point @param {string} model "" for all
 */
export function slowest(point, model) {
  const known = Object.entries(point?.models ?? {}).filter(([name]) => !model || name === model);
  const timed = known.flatMap(([name, { p99_ms }]) => (p99_ms === null ? [] : [{ name, p99: p99_ms }]));
  return timed.sort((one, other) => other.p99 - one.p99)[0] ?? null;
}
