// The experiments: the list, a new one, or the report on one.

import { useSession } from "../lib/session.js";
import { Loading, Notice, Page, Problem } from "../lib/ui.js";
import { html, useEffect, useState } from "../vendor/vendor.js";

/** @typedef {{default: (props: any) => any}} Module */

const LOADERS = {
  list: () => /** @type {Promise<Module>} */ (import("./list.js")),
  new: () => /** @type {Promise<Module>} */ (import("./new.js")),
  report: () => /** @type {Promise<Module>} */ (import("./report/view.js")),
};

/** @param {{parts: string[], query: URLSearchParams}} props `parts` are those after "experiments" */
export default function Experiments({ parts: [name = "", report = ""], query }) {
  const { me } = useSession();
  if (!me.experiments) return html`<${Disabled} />`;
  const which = name === "" ? "list" : name === "new" && !report ? "new" : "report";
  return html`<${Part} key=${`${which}/${name}`} which=${which} name=${name} query=${query} />`;
}

function Disabled() {
  return html`
    <${Page} title="Experiments">
      <${Notice} tone="warn">
        <p>Experiments are disabled on this gateway. Its operator can enable them with the setting
          <code> experiments.enabled</code>.</p>
      <//>
    <//>`;
}

/** A part that is fetched when it is first shown. @param {{which: keyof typeof LOADERS, name: string,
 *   query: URLSearchParams}} props
 */
function Part({ which, name, query }) {
  const [loaded, setLoaded] = useState(/** @type {Module | null} */ (null));
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    LOADERS[which]().then(setLoaded, () => setFailed(true));
  }, [which]);
  if (failed) return html`<${Problem} error="This part of the page could not be fetched. Reload the page." />`;
  return loaded ? html`<${loaded.default} name=${name} query=${query} />` : html`<${Loading} what="experiments" />`;
}
