// Asks the gateway what is new, every two seconds, for as long as the page can be seen.

import { ApiError, get, useTokens } from "../lib/api.js";
import { useEffect, useRef, useState } from "../vendor/vendor.js";
import { merged, sameProcess } from "./history.js";

/** @typedef {import("./history.js").Answer} Answer */

const PATIENCE_MS = 8000;
const AGAIN_MS = 2000;

/**
 * What is known, and how it stands: no error while the gateway answers.
 *
 * @typedef {object} Feed
 * @property {Answer | null} answer
 * @property {ApiError | null} error
 */

/**
 * Ask for what comes after a point. Of another process than before, everything is asked for.
 *
 * @param {Answer | null} before @param {number} limit @param {AbortSignal} signal @returns {Promise<Answer>}
 */
async function ask(before, limit, signal) {
  const since = before?.points.at(-1)?.n ?? 0;
  /** @type {Answer} */
  const answer = await get(`v1/live?since=${since}&limit=${limit}`, { signal });
  if (!before || sameProcess(before, answer)) return merged(before, answer);
  return get(`v1/live?limit=${limit}`, { signal });
}

/**
 * What went wrong, in words.
 *
 * @param {unknown} error @param {boolean} late whether nobody waits for the answer any more @returns {ApiError}
 */
function told(error, late) {
  if (late) return new ApiError("The gateway takes too long to answer.", 0);
  return error instanceof ApiError ? error : new ApiError("What answers here is not the gateway, or not as it was.", 0);
}

/** Whether asking again is of no use: a token is needed, or another one. @param {ApiError} error */
export function isFinal({ status }) {
  return status === 401 || status === 403;
}

/**
 * The live figures, as a hook.
 *
 * @param {{limit: number, paused: boolean}} options how many points are wanted; when paused, nothing is asked once
 *   something is there
 * @returns {Feed}
 */
export function useFeed({ limit, paused }) {
  const [feed, setFeed] = useState(/** @type {Feed} */ ({ answer: null, error: null }));
  const tokens = useTokens();
  const known = useRef({ answer: /** @type {Answer | null} */ (null), limit: 0 });
  useEffect(() => {
    const leaving = new AbortController();
    const most = Math.max(limit, known.current.limit);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const look = async () => {
      const again = document.hidden || (await take());
      if (again) timer = setTimeout(look, AGAIN_MS);
    };
    /** Whether there is more to come. */
    const take = async () => {
      const before = known.current.limit === most ? known.current.answer : null;
      const late = AbortSignal.timeout(PATIENCE_MS);
      try {
        const answer = await ask(before, most, AbortSignal.any([leaving.signal, late]));
        known.current = { answer, limit: most };
        setFeed({ answer, error: null });
        return !paused;
      } catch (error) {
        if (leaving.signal.aborted) return false;
        const refusal = told(error, late.aborted);
        setFeed((last) => ({ ...last, error: refusal }));
        return !isFinal(refusal);
      }
    };
    if (!paused || known.current.answer === null || known.current.limit < most) look();
    return () => {
      leaving.abort();
      clearTimeout(timer);
    };
  }, [limit, paused, tokens]);
  return feed;
}
