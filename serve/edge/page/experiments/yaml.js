// A design as YAML, as `attnserve experiment create` reads it.

/** What a screen does not show, or YAML would fold, though JSON leaves it as it is. */
const UNSHOWN = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;

/** Texts that need no quotes, whatever reads them. */
const PLAIN = /^[a-z][a-z0-9_-]*$/;
const WORDS = new Set(["true", "false", "yes", "no", "on", "off", "null", "y", "n"]);

/** @param {Record<string, unknown>} design @returns {string} */
export function yamlOf(design) {
  return Object.entries(design)
    .map(([key, value]) => entry(key, value))
    .join("");
}

/** @param {string} key @param {unknown} value @returns {string} */
function entry(key, value) {
  if (!Array.isArray(value) || !value.some((item) => typeof item === "object")) return `${key}: ${flow(value)}\n`;
  return `${key}:\n${value.map((item) => `  - ${flow(item)}\n`).join("")}`;
}

/** On one line. @param {unknown} value @returns {string} */
function flow(value) {
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    return `{${Object.entries(value)
      .map(([key, item]) => `${key}: ${flow(item)}`)
      .join(", ")}}`;
  }
  if (typeof value !== "string") return JSON.stringify(value);
  if (PLAIN.test(value) && !WORDS.has(value)) return value;
  // What JSON quotes, YAML reads.
  return JSON.stringify(value).replace(UNSHOWN, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
