// The lines that ask the same from elsewhere, to be pasted into a shell or a Python. Pure.

import { inferPath, TOP, wanted } from "./asking.js";

/**
 * @typedef {object} Same what the lines are made of
 * @property {string} base the page's own address, with a slash at its end
 * @property {string} name of the image's file, as the reader calls it
 * @property {string} sample its name among the gateway's samples, or ""
 * @property {import("./choices.js").Target[]} targets
 * @property {boolean} token whether the gateway asks for one
 */

const ELSE = "picture";
const CURL = "curl -sS -w '\\n'";
const CURL_FILE = "curl -sS";

/**
 * A file name that can be shown and pasted; of one with characters that mislead a reader or a shell, a word instead.
 *
 * @param {string} name @returns {string}
 */
export function plainName(name) {
  return /^[\p{L}\p{N}_][\p{L}\p{N}_. -]{0,99}$/u.test(name) ? name : ELSE;
}

/** A word of a POSIX shell. @param {string} text @returns {string} */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A string of Python. @param {string} text @returns {string} */
export function literal(text) {
  return JSON.stringify(text);
}

/** The answer to the bare image: labels and probabilities. @param {Same} same @returns {string} */
export function curlLines(same) {
  const file = plainName(same.name);
  return [
    ...fetching(same),
    ...same.targets.map(
      (target) =>
        `${CURL} --data-binary ${quoted(`@${file}`)} -H 'Inference-Header-Content-Length: 0' \\\n` +
        `     -H 'Accept: application/json'${bearer(same)} ${quoted(same.base + inferPath(target))}`,
    ),
  ].join("\n");
}

/** The question that this page asks: the highest classes by name, and the gates where there are. @param {Same} same
 * @returns {string} */
export function curlJsonLines(same) {
  const file = plainName(same.name);
  return [
    ...fetching(same),
    ...same.targets.map(
      (target) =>
        `{ printf %s ${quoted(jsonBefore())}; base64 < ${quoted(file)} | tr -d '\\n'\n` +
        `  printf %s ${quoted(jsonAfter(target.gates))}; } |\n` +
        `${CURL} --data-binary @- -H 'Content-Type: application/json'${bearer(same)} \\\n` +
        `     ${quoted(same.base + inferPath(target))}`,
    ),
  ].join("\n");
}

/** The same with tritonclient. @param {Same} same @returns {string} */
export function pythonLines(same) {
  const { protocol, host, pathname } = new URL(same.base);
  const at = literal(host + pathname.replace(/\/$/, ""));
  const secure = protocol === "https:" ? ", ssl=True" : "";
  const headers = same.token ? ', headers={"Authorization": "Bearer " + os.environ["ATTNSERVE_TOKEN"]}' : "";
  const asked = same.targets.map(
    ({ name, version, gates }) => `    (${literal(name)}, ${literal(version)}, [top${gates ? ", gates" : ""}]),`,
  );
  return [
    ...(same.token ? ["import os", ""] : []),
    "import numpy as np",
    "import tritonclient.http as triton  # pip install 'tritonclient[http]'",
    "",
    ...(same.sample ? [`# once: ${fetching(same)[0]}`] : []),
    `photo = np.array([open(${literal(plainName(same.name))}, "rb").read()], dtype=object)`,
    'image = triton.InferInput("image", photo.shape, "BYTES")',
    "image.set_data_from_numpy(photo)",
    `top = triton.InferRequestedOutput("probabilities", class_count=${TOP})`,
    'gates = triton.InferRequestedOutput("attention")',
    `client = triton.InferenceServerClient(${at}${secure})`,
    "for model, version, outputs in [",
    ...asked,
    "]:",
    `    answer = client.infer(model, [image], version, outputs${headers})`,
    '    print(model, answer.as_numpy("probabilities"))  # probability:index:label',
    "    if gates in outputs:",
    '        print(answer.as_numpy("attention"))',
  ].join("\n");
}

/** @param {Same} same @returns {string[]} */
function fetching(same) {
  if (!same.sample) return [];
  const from = `${same.base}v1/samples/${encodeURIComponent(same.sample)}`;
  return [`${CURL_FILE} -o ${quoted(plainName(same.name))}${bearer(same)} ${quoted(from)}`];
}

/** @param {Same} same @returns {string} */
function bearer({ token }) {
  return token ? ' -H "Authorization: Bearer $ATTNSERVE_TOKEN"' : "";
}

function jsonBefore() {
  return '{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"encoding": "base64"}, "data": ["';
}

/** @param {boolean} gates */
function jsonAfter(gates) {
  return `"]}], "outputs": ${JSON.stringify(wanted(gates))}}`;
}
