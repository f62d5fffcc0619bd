// The image that is asked about: from a file, the clipboard, or the gateway's samples.

import { blob, segment } from "../lib/api.js";
import { bytes } from "../lib/format.js";
import { set } from "../lib/route.js";
import { useCallback, useEffect, useRef, useState } from "../vendor/vendor.js";

/** More is not sent from here; the gateway may allow less, and says so. */
export const MOST_BYTES = 32e6;

/**
 * @typedef {object} Picture
 * @property {string} name as whoever made the file called it
 * @property {Blob} blob without a type: what it is, its bytes tell the gateway
 * @property {string} sample its name among the samples; "" for a file of the reader's own
 */

/** What is dragged when it is a file, or a picture of another page. */
const KINDS = ["Files", "text/uri-list"];

/** A file of one's own is there again after a look at another view. @type {Picture | null} */
let kept = null;

/**
 * @param {string} sample the one that the address names, or ""
 * @returns {{picture: Picture | null, problem: string, loading: boolean, take: (files: Iterable<File>) => void,
 *   again: (() => void) | undefined}} `again` asks for a sample that could not be had
 */
export function usePicture(sample) {
  const [picture, setPicture] = useState(kept?.sample === sample ? kept : null);
  const [problem, setProblem] = useState("");
  const newest = useRef(0);
  const [round, setRound] = useState(0);
  const again = useCallback(() => setRound((last) => last + 1), []);

  const show = useCallback((/** @type {Picture | null} */ next, why = "") => {
    kept = next;
    setPicture(next);
    setProblem(why);
  }, []);

  const take = useCallback(
    async (/** @type {Iterable<File>} */ files) => {
      const [file] = files;
      if (!file) return setProblem("No file came with it. Save the picture first, or copy and paste it.");
      const number = ++newest.current;
      const found = await read(file).catch((error) => /** @type {Error} */ (error));
      if (number !== newest.current) return undefined;
      if (found instanceof Error) show(null, found.message);
      else show(found);
      set({ sample: null });
      return undefined;
    },
    [show],
  );

  useEffect(() => {
    if (kept?.sample === sample) return undefined;
    if (!sample) {
      if (kept?.sample) show(null);
      return undefined;
    }
    const number = ++newest.current;
    const aborter = new AbortController();
    show(null);
    blob(`v1/samples/${segment(sample)}`, { signal: aborter.signal }).then(
      (found) => number === newest.current && show({ name: sample, blob: untyped(found), sample }),
      (error) => aborter.signal.aborted || show(null, error.message),
    );
    return () => aborter.abort();
  }, [sample, show, round]);

  const loading = sample !== "" && picture === null && problem === "";
  return { picture, problem, loading, take, again: sample ? again : undefined };
}

/** @param {File} file @returns {Promise<Picture>} */
async function read(file) {
  const name = file.name || "pasted image";
  if (file.size > MOST_BYTES) {
    throw new Error(`“${name}” has ${bytes(file.size)}; at most ${bytes(MOST_BYTES)} are sent from here.`);
  }
  let content;
  try {
    content = await file.arrayBuffer();
  } catch {
    throw new Error(`“${name}” cannot be read. Is it a folder, or has it changed since?`);
  }
  if (content.byteLength === 0) throw new Error(`“${name}” is empty.`);
  return { name, blob: untyped(new Blob([content])), sample: "" };
}

/** So that no address of it is ever opened as a document. @param {Blob} content */
function untyped(content) {
  return content.slice(0, content.size, "application/octet-stream");
}

/**
 * An address under which this page shows a file; given back when it is no longer drawn.
 *
 * @param {Blob | null} content @returns {string}
 */
export function useObjectUrl(content) {
  const [url, setUrl] = useState("");
  useEffect(() => {
    if (!content) return undefined;
    const made = URL.createObjectURL(content);
    setUrl(made);
    return () => {
      URL.revokeObjectURL(made);
      setUrl("");
    };
  }, [content]);
  return url;
}

/**
 * Files that are dropped anywhere on the page, or pasted; a drop that misses would lead the browser away.
 *
 * @param {(files: Iterable<File>) => void} take
 * @returns {boolean} whether one is held over the page now
 */
export function useDropAndPaste(take) {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const held = (/** @type {DragEvent} */ event) => {
      if (!KINDS.some((kind) => event.dataTransfer?.types.includes(kind))) return; // text for a field, say
      event.preventDefault();
      setOver(true);
    };
    const left = (/** @type {DragEvent} */ event) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const dropped = (/** @type {DragEvent} */ event) => {
      setOver(false);
      if (event.defaultPrevented || !KINDS.some((kind) => event.dataTransfer?.types.includes(kind))) return;
      event.preventDefault();
      take(event.dataTransfer?.files ?? []);
    };
    const pasted = (/** @type {ClipboardEvent} */ event) => {
      const files = event.clipboardData?.files;
      if (!files?.length) return;
      event.preventDefault();
      take(files);
    };
    const listeners = /** @type {[string, any][]} */ ([
      ["dragover", held],
      ["dragleave", left],
      ["drop", dropped],
      ["paste", pasted],
    ]);
    for (const [name, listener] of listeners) document.addEventListener(name, listener);
    return () => {
      for (const [name, listener] of listeners) document.removeEventListener(name, listener);
    };
  }, [take]);
  return over;
}
