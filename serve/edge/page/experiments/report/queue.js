// The images that wait for a label, and what became of those that were labelled.

import { send } from "../../lib/api.js";
import { useCallback, useMemo, useState } from "../../vendor/vendor.js";

/** @typedef {import("./figures.js").Json} Json */
/** @typedef {{label: string, status: string, message: string}} Receipt */

/** After these an image has a label. */
const SETTLED = ["accepted", "duplicate", "conflict"];
/** After these it has the one that was told: the first answer may have been lost on its way. */
export const NOTED = ["accepted", "duplicate"];
/** After this another label can be told. */
const WRONG = "invalid";

/** The name of an image. @param {Json} row @returns {string} */
export function keyOf({ prediction, item }) {
  return `${prediction}/${item}`;
}

/** What became of a label, for people. @param {Receipt} receipt @returns {string} */
export function told({ label, status, message }) {
  if (status === "accepted") return `“${label}” is noted and counts from now on.`;
  return NOTED.includes(status) ? `“${label}” was noted before, and counts.` : `“${label}” is not noted: ${message}.`;
}

/**
 * @param {string} path of the experiment @param {Json[]} rows the disagreements
 * @param {() => void} onLabelled after every label that was noted
 */
export function useQueue(path, rows, onLabelled) {
  const [receipts, setReceipts] = useState(/** @type {Record<string, Receipt>} */ ({}));
  const [skipped, setSkipped] = useState(/** @type {string[]} */ ([]));
  const [chosen, setChosen] = useState("");
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState("");
  const [error, setError] = useState(/** @type {Error | null} */ (null));

  const waiting = useMemo(() => rows.filter((row) => !row.label && !receipts[keyOf(row)]), [rows, receipts]);
  const current =
    waiting.find((row) => keyOf(row) === chosen) ?? waiting.find((row) => !skipped.includes(keyOf(row))) ?? null;

  const label = useCallback(
    async (/** @type {string} */ text) => {
      if (!current) return;
      const { prediction, item } = current;
      setBusy(true);
      setError(null);
      try {
        const { body } = await send("POST", `${path}/labels`, { labels: [{ prediction, item, label: text }] });
        const { status, message = "" } = body.labels[0];
        const receipt = { label: text, status, message };
        if (status !== WRONG) setReceipts((last) => ({ ...last, [keyOf(current)]: receipt }));
        setSaid(told(receipt));
        if (SETTLED.includes(status)) onLabelled();
      } catch (refused) {
        setError(/** @type {Error} */ (refused));
      }
      setBusy(false);
    },
    [path, current, onLabelled],
  );
  const skip = () => {
    if (!current) return;
    setSkipped((last) => [...last, keyOf(current)]);
    setChosen("");
    setSaid("Skipped.");
  };
  const again = () => setSkipped([]);
  return { receipts, current, left: waiting.length, busy, said, error, label, skip, again, choose: setChosen };
}
