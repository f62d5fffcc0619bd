// Playground: one image, several models side by side, and what their gates do with it.

import { ApiError, useResource, useTokens } from "../lib/api.js";
import { useSession } from "../lib/session.js";
import { Loading, Page, Problem, Section } from "../lib/ui.js";
import { html, useCallback, useEffect, useMemo, useRef, useState } from "../vendor/vendor.js";
import { Answers } from "./answers.js";
import { Choices, chosen, offered } from "./choices.js";
import { Elsewhere } from "./elsewhere.js";
import { Gates } from "./gates_view.js";
import { Intake, useSamples } from "./intake.js";
import { usePicture } from "./picture.js";

const FRESH_S = 15;

/** @param {{query: URLSearchParams}} props */
export default function Playground({ query }) {
  const { me } = useSession();
  const models = useResource("v1/models", { every: FRESH_S });
  const samples = useSamples(me.samples);
  const sample = query.get("sample") ?? "";
  const intake = usePicture(sample);
  const { picture } = intake;
  const { run, outcomes, told, again } = useRun(picture);

  const known = models.value?.models ?? null;
  const said = query.get("models");
  const ready = useMemo(() => offered(known ?? []), [known]);
  const targets = useMemo(() => chosen(said, ready, known ?? []), [said, ready, known]);
  const label = picture?.sample ? (samples?.find(({ name }) => name === picture.sample)?.label ?? "") : "";
  const answered = targets.flatMap((target) => {
    const answer = outcomes[target.key]?.answer;
    return answer ? [{ target, answer }] : [];
  });
  return html`
    <${Page} title="Playground" lead="One image, several nets: what each says, and what its channel gates do with it.">
      <div class="pg">
        <div class="pg-side">
          <${Intake} intake=${intake} sample=${sample} samples=${samples} />
          <${Section} title="Models">
            ${models.error ? html`<${Problem} error=${models.error} retry=${models.reload} />` : null}
            ${
              known
                ? html`<${Choices} ready=${ready} targets=${targets} models=${known} />`
                : models.error
                  ? null
                  : html`<${Loading} what="the models" />`
            }
          <//>
        </div>
        <div class="pg-main">
          <${Answers} picture=${known && picture} label=${label} targets=${targets} run=${run} outcomes=${outcomes}
            told=${told} again=${again} />
          <${Gates} asked=${answered} sorted=${query.get("sorted") === "1"} />
          ${targets.length ? html`<${Elsewhere} picture=${picture} targets=${targets} />` : null}
        </div>
      </div>
    <//>`;
}

/**
 * What came back for this image, by the target's key. Every image, and every "again", is a run of its own; what an
 * older run still tells is not heard.
 *
 * @param {import("./picture.js").Picture | null} picture
 */
function useRun(picture) {
  const [round, setRound] = useState(0);
  const latest = useRef({ picture, round, run: 0 });
  if (latest.current.picture !== picture || latest.current.round !== round) {
    latest.current = { picture, round, run: latest.current.run + 1 };
  }
  const { run } = latest.current;
  const [all, setAll] = useState(/** @type {Record<string, import("./asking.js").Outcome>} */ ({}));
  const told = useCallback(
    (/** @type {string} */ key, /** @type {import("./asking.js").Outcome} */ outcome) =>
      setAll((last) => ({ ...last, [key]: outcome })),
    [],
  );
  const again = useCallback(() => setRound((last) => last + 1), []);
  const outcomes = useMemo(
    () => Object.fromEntries(Object.entries(all).filter(([, outcome]) => outcome.run === run)),
    [all, run],
  );
  const tokens = useTokens();
  useEffect(() => {
    const refused = Object.values(outcomes).some(({ error }) => error instanceof ApiError && error.status === 401);
    if (tokens && refused) again();
  }, [tokens]);
  return { run, outcomes, told, again };
}
