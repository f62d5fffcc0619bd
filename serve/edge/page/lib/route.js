// Which view is shown, and what is chosen in it, stands in the fragment of the address: a link shows the same.

import { useEffect, useState } from "../vendor/vendor.js";

/**
 * @typedef {object} Route
 * @property {string[]} parts
 * @property {URLSearchParams} query
 */

/**
 * The fragment of a view. Values that are null, undefined or "" are left out.
 *
 * @param {string[]} parts @param {Record<string, unknown>} [query] @returns {string}
 */
export function href(parts, query = {}) {
  const known = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(known.map(([name, value]) => [name, String(value)])).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

/** Read a fragment; parts that are no proper encoding are taken as they stand. @param {string} hash @returns {Route} */
export function parse(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const parts = path.split("/").filter(Boolean).map(decoded);
  return { parts, query: new URLSearchParams(search) };
}

/** @param {string} part @returns {string} */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Show another view. @param {string[]} parts @param {Record<string, unknown>} [query] */
export function go(parts, query) {
  location.hash = href(parts, query);
}

/**
 * Change what is chosen in this view; null takes a name out.
 *
 * @param {Record<string, unknown>} changes
 * @param {{replace?: boolean}} [options] `replace` adds no step to the browser's history
 */
export function set(changes, { replace = true } = {}) {
  const { parts, query } = parse(location.hash);
  const target = href(parts, { ...Object.fromEntries(query), ...changes });
  if (target === location.hash) return;
  if (replace) {
    history.replaceState(history.state, "", target);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = target;
  }
}

let shown = location.hash;
let opened = false;

// Before the hook's own listeners, so that a view that is drawn by the change finds it noted.
addEventListener("hashchange", () => {
  const path = (/** @type {string} */ hash) => hash.split("?")[0];
  if (path(location.hash) !== path(shown)) opened = true;
  shown = location.hash;
});

/** Whether the reader has gone to another view since this was asked last. @returns {boolean} */
export function takeOpened() {
  const was = opened;
  opened = false;
  return was;
}

/** The route as a hook: the view is drawn again when it changes. */
export function useRoute() {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const changed = () => setHash(location.hash);
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return { ...parse(hash), go, set };
}
