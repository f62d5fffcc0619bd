// What the states, verdicts and checks are called, and their tones: the same as in the report that is drawn without
// a browser (serve/reporting/words.py, which a test compares with this).

/**
 * @typedef {import("../../lib/ui.js").Tone} Tone
 * @typedef {{text: string, tone: Tone, sign: string, meaning: string}} Badge
 * @typedef {{text: string, tone: Tone, sign: string}} Alert
 */

/** @type {Record<string, Badge>} */
export const VERDICTS = {
  better: {
    text: "Better",
    tone: "good",
    sign: "▲",
    meaning: "The arm is better than the control; that is decided.",
  },
  worse: { text: "Worse", tone: "bad", sign: "▼", meaning: "The arm is worse than the control; that is decided." },
  no_difference: {
    text: "No difference that matters",
    tone: "even",
    sign: "=",
    meaning: "Any difference is smaller than the margin; that is decided.",
  },
  undecided: {
    text: "Undecided",
    tone: "open",
    sign: "…",
    meaning: "The data so far allow both a difference and none; more data may decide.",
  },
  insufficient_data: {
    text: "Not enough data",
    tone: "open",
    sign: "○",
    meaning: "There is too little data to say anything; this is neither a pass nor a failure.",
  },
  broken: {
    text: "Comparison broken",
    tone: "warn",
    sign: "✕",
    meaning: "The arms cannot be compared fairly; find the cause before reading any difference.",
  },
  guardrail_tripped: {
    text: "Guardrail tripped",
    tone: "bad",
    sign: "■",
    meaning: "Something that must not get worse did; the control answers again.",
  },
};

/** @type {Badge} */
export const NO_VERDICT = {
  text: "No data yet",
  tone: "open",
  sign: "○",
  meaning: "Nothing has been evaluated so far.",
};

/** @type {Record<string, string>} */
export const STATES = {
  draft: "draft, not started",
  running: "running",
  paused: "paused",
  promoted: "ended: an arm was promoted",
  rolled_back: "ended: rolled back to the control",
  stopped: "ended: stopped",
};

/** @type {Record<string, string>} */
export const MODES = {
  split: "each unit is answered by one arm",
  shadow: "the control answers, the other arms see the same images afterwards",
  paired: "the control answers, the other arms see the same images at the same time",
};

/** @type {Record<string, string>} */
export const METRICS = {
  accuracy: "accuracy",
  agreement: "agreement",
  latency_p50: "median latency",
  latency_p99: "99th percentile of latency",
  error_rate: "error rate",
};

/** @type {Record<string, string>} */
export const AUTHORS = {
  guardrail: "a guardrail, by itself",
  policy: "the policy written down beforehand",
};

/** Acts that the drawing of the difference marks. @type {Record<string, string>} */
export const MARKED = {
  start: "start, {ramp} %",
  ramp: "ramp {ramp} %",
  patch: "changed",
  pause: "paused",
  resume: "resumed",
  promote: "promoted",
  rollback: "rolled back",
  stop: "stopped",
};

/** @type {Record<string, Alert>} */
export const ALERTS = {
  ok: { text: "OK", tone: "good", sign: "✓" },
  warn: { text: "Look into it", tone: "warn", sign: "!" },
  broken: { text: "Broken", tone: "bad", sign: "✕" },
  clear: { text: "No proof of harm", tone: "good", sign: "✓" },
  tripped: { text: "Tripped", tone: "bad", sign: "■" },
  insufficient: { text: "Not enough data", tone: "open", sign: "○" },
  "": { text: "No data yet", tone: "open", sign: "○" },
};

/**
 * An entry of a table, also where the key is none of its own, or not a text at all.
 *
 * @template T, U
 * @param {Record<string, T>} table @param {unknown} key @param {U} otherwise @returns {T | U}
 */
export function word(table, key, otherwise) {
  return typeof key === "string" && Object.hasOwn(table, key) ? table[key] : otherwise;
}

/** @param {unknown} state of a check or a guardrail @returns {Alert} */
export function alertOf(state) {
  return word(ALERTS, state, ALERTS[""]);
}

/** @param {unknown} verdict @returns {Badge} */
export function badgeOf(verdict) {
  return word(VERDICTS, verdict, NO_VERDICT);
}
