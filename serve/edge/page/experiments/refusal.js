// What the gateway finds wrong with a design, put where it belongs: its messages begin with the field's name.

const FIELDS = [
  "name",
  "description",
  "mode",
  "layer",
  "slots",
  "arms",
  "ramp",
  "holdout",
  "sample",
  "overrides",
  "primary_metric",
  "alpha",
  "margin",
  "pairs",
  "planned_units",
  "guardrails",
  "keep_images",
  "alias",
  "promote_when_better",
  "reason",
];
/** Which the form asks for in per cent. */
const SHARES = /^(ramp|holdout|sample|slots(\.\d)?|arms(\.\d+\.weight)?|alpha|margin|guardrails\.\d+\.alpha)$/;
const HEAD = new RegExp(`(?:^|; )((?:${FIELDS.join("|")})(?:\\.[A-Za-z0-9_-]+)*): `, "g");

/** @typedef {Record<string, string>} Errors path of a field -> what is wrong with it */

/**
 * @param {string} message "ramp: is 12000. ...; arms.1.name: ..."
 * @returns {{errors: Errors, rest: string}} `rest` belongs to no field
 */
export function placed(message) {
  const heads = [...message.matchAll(HEAD)];
  /** @type {Errors} */
  const errors = {};
  heads.forEach((head, at) => {
    const said = message.slice(head.index + head[0].length, heads[at + 1]?.index);
    errors[head[1]] = head[1] in errors ? `${errors[head[1]]} ${said}` : said;
  });
  return { errors, rest: message.slice(0, heads[0]?.index ?? message.length) };
}

/** What is said at a field, in the unit in which the gateway counts. @param {Errors} errors @param {string} path */
export function saidAt(errors, path) {
  const said = Object.hasOwn(errors, path) ? errors[path] : "";
  return said && SHARES.test(path) && /\d/.test(said) ? `${said} (${unitOf(path)})` : said;
}

/** What is said of a group of fields: of itself, and of those in it that have no place of their own.
 *
 * @param {Errors} errors @param {string} path @param {RegExp} [own] paths that have one
 */
export function saidUnder(errors, path, own = /^$/) {
  return Object.keys(errors)
    .filter((one) => (one === path || one.startsWith(`${path}.`)) && !own.test(one))
    .map((one) => (one === path ? saidAt(errors, one) : `${one}: ${saidAt(errors, one)}`))
    .join(" ");
}

/** @param {string} path */
function unitOf(path) {
  return /alpha|margin/.test(path) ? "as a share: 0.05 is 5 %" : "in 1/10 000: 5000 is 50 %";
}
