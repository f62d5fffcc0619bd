// Questions to the gateway: addresses relative to the page, the token in a header, errors in words.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "../vendor/vendor.js";

const KEPT = "attnserve-token";

/** What the gateway refused, or that it did not answer (status 0). */
export class ApiError extends Error {
  /** @param {string} message @param {number} status */
  constructor(message, status) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

const PATIENCE_S = 30;
const LATE = new ApiError(`The gateway has not answered for ${PATIENCE_S} seconds.`, 0);

/** Told "asked" when the gateway wants a token, or another one, and "changed" when another one has been tried. */
export const unauthorized = new EventTarget();

/** The token of this tab, or "". @returns {string} */
export function token() {
  return sessionStorage.getItem(KEPT) ?? "";
}

/** Keep a token until the tab is closed; "" forgets it. @param {string} secret */
export function keepToken(secret) {
  if (secret) sessionStorage.setItem(KEPT, secret);
  else sessionStorage.removeItem(KEPT);
}

/** A part of a path. @param {string} text @returns {string} */
export function segment(text) {
  return encodeURIComponent(text);
}

/**
 * @typedef {object} Options
 * @property {AbortSignal} [signal]
 * @property {string} [ifMatch] the version that is to be changed, in quotes
 * @property {Record<string, string>} [headers]
 */

/**
 * Ask, and give whatever is answered with a good status.
 *
 * @param {string} method
 * @param {string} path relative to the page
 * @param {BodyInit | undefined} body
 * @param {Options} [options]
 * @returns {Promise<Response>}
 * @throws {ApiError}
 */
export async function ask(method, path, body, { signal, ifMatch, headers = {} } = {}) {
  const secret = token();
  const all = {
    ...headers,
    ...(secret ? { Authorization: `Bearer ${secret}` } : {}),
    ...(ifMatch ? { "If-Match": ifMatch } : {}),
  };
  const options = /** @type {const} */ ({ cache: "no-store", credentials: "same-origin" });
  const response = await inWords(fetch(path, { method, body, signal, headers: all, ...options }), signal);
  if (response.ok) return response;
  const refusal = new ApiError(reason(response, await inWords(response.text(), signal)), response.status);
  // A token that has been replaced since is refused in vain.
  if (response.status === 401 && secret === token())
    unauthorized.dispatchEvent(new CustomEvent("asked", { detail: refusal.message }));
  throw refusal;
}

/**
 * What comes, or in words why it does not; who has given up waiting knows why.
 *
 * @template T
 * @param {Promise<T>} coming @param {AbortSignal} [signal] @returns {Promise<T>}
 * @throws {ApiError}
 */
async function inWords(coming, signal) {
  try {
    return await coming;
  } catch (error) {
    if (signal?.aborted) throw error;
    if (error instanceof SyntaxError)
      throw new ApiError("What answers here is not the gateway: its answer is no JSON. Is there a proxy between?", 0);
    throw new ApiError("The gateway does not answer. Is it running, and is the network there?", 0);
  }
}

/** The document of an answer. @param {Response} response @param {AbortSignal} [signal] @returns {Promise<any>} */
export function json(response, signal) {
  return inWords(response.json(), signal);
}

/** Ask for a document. @param {string} path @param {Options} [options] @returns {Promise<any>} */
export async function get(path, options) {
  const response = await ask("GET", path, undefined, { headers: { Accept: "application/json" }, ...options });
  return json(response, options?.signal);
}

/**
 * Send a document. `etag` is the version that came of it, "" where there is none.
 *
 * @param {string} method @param {string} path @param {unknown} document @param {Options} [options]
 * @returns {Promise<{body: any, etag: string}>}
 */
export async function send(method, path, document, options = {}) {
  const headers = { "Content-Type": "application/json", Accept: "application/json", ...options.headers };
  const response = await ask(method, path, JSON.stringify(document), { ...options, headers });
  return { body: await json(response, options.signal), etag: response.headers.get("ETag") ?? "" };
}

/** Ask for a file. @param {string} path @param {Options} [options] @returns {Promise<Blob>} */
export async function blob(path, options) {
  const response = await ask("GET", path, undefined, options);
  return inWords(response.blob(), options?.signal);
}

/** @param {Response} response @param {string} text of it @returns {string} */
function reason(response, text) {
  try {
    const said = JSON.parse(text).error;
    if (typeof said === "string" && said) return said;
  } catch {
    // a proxy's page, say: its status is all that can be told
  }
  return `The gateway answered ${response.status} ${response.statusText}`.trim();
}

/** How often the token has changed while the caller is drawn, as a hook: what it refused is to be asked again. */
export function useTokens() {
  const [tokens, setTokens] = useState(0);
  useEffect(() => {
    const more = () => setTokens((last) => last + 1);
    unauthorized.addEventListener("changed", more);
    return () => unauthorized.removeEventListener("changed", more);
  }, []);
  return tokens;
}

/**
 * @template T
 * @typedef {object} Resource
 * @property {T | null} value the last that came, also while a newer one is asked for or could not be had
 * @property {Error | null} error of the last question
 * @property {boolean} loading whether nothing has come yet
 * @property {() => void} reload
 */

/**
 * What a path answers, as a hook.
 *
 * @param {string | null} path null asks nothing
 * @param {{every?: number}} [options] seconds after which it is asked again, while the page can be seen
 * @returns {Resource<any>}
 */
export function useResource(path, { every = 0 } = {}) {
  const [state, setState] = useState({
    path,
    value: /** @type {any} */ (null),
    error: /** @type {Error | null} */ (null),
  });
  const [round, setRound] = useState(0);
  const reload = useCallback(() => setRound((last) => last + 1), []);
  const busy = useRef(false);
  const tokens = useTokens();

  // `round` and `tokens` stand for "ask again". Not after the next frame, as `useEffect` would have it.
  useLayoutEffect(() => {
    if (path === null) return undefined;
    const aborter = new AbortController();
    busy.current = true;
    const late = setTimeout(() => aborter.abort(LATE), 1000 * PATIENCE_S);
    get(path, { signal: aborter.signal })
      .then(
        (value) => setState({ path, value, error: null }),
        (error) => {
          if (aborter.signal.aborted && error !== LATE) return;
          setState((last) => ({ path, value: last.path === path ? last.value : null, error }));
        },
      )
      .finally(() => {
        clearTimeout(late);
        if (!aborter.signal.aborted || aborter.signal.reason === LATE) busy.current = false;
      });
    return () => {
      clearTimeout(late);
      aborter.abort();
    };
  }, [path, round, tokens]);

  useEffect(() => {
    if (!every || path === null) return undefined;
    const timer = setInterval(() => {
      if (!document.hidden && !busy.current) reload();
    }, 1000 * every);
    return () => clearInterval(timer);
  }, [every, path, reload]);

  const mine = state.path === path;
  const value = mine ? state.value : null;
  const error = mine ? state.error : null;
  return { value, error, loading: path !== null && value === null && error === null, reload };
}
