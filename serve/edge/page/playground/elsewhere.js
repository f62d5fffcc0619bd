// The same from elsewhere: lines to copy.

import { useSession } from "../lib/session.js";
import { Copy, Section, Tabs } from "../lib/ui.js";
import { html, useState } from "../vendor/vendor.js";
import { curlJsonLines, curlLines, plainName, pythonLines } from "./lines.js";

const TABS = [
  { id: "curl", title: "curl", make: curlLines, label: "curl lines", note: "Labels and probabilities of the image." },
  {
    id: "json",
    title: "curl, with gates",
    make: curlJsonLines,
    label: "curl lines with gates",
    note: "What this page asks: the five highest classes by name, and the channel gates where the model offers them.",
  },
  {
    id: "python",
    title: "Python",
    make: pythonLines,
    label: "Python lines",
    note: "NVIDIA's tritonclient, over the same address.",
  },
];

/** @param {{picture: import("./picture.js").Picture | null, targets: import("./choices.js").Target[]}} props */
export function Elsewhere({ picture, targets }) {
  const { me } = useSession();
  const [tab, setTab] = useState(TABS[0].id);
  const shown = TABS.find(({ id }) => id === tab) ?? TABS[0];
  const name = picture?.name ?? "picture.jpg";
  const same = {
    base: new URL(".", location.href).href,
    name,
    sample: picture?.sample ?? "",
    targets,
    token: me.access === "token",
  };
  return html`
    <${Section} title="The same from elsewhere">
      <${Tabs} label="The same from elsewhere" tabs=${TABS} chosen=${tab} choose=${setTab}>
        <p class="note">${shown.note}
          ${me.access === "token" ? html` Put your token into the variable <code>ATTNSERVE_TOKEN</code> first.` : null}
          ${me.access === "certificate" ? " Add your client certificate, as this gateway asks for one." : null}
          ${plainName(name) === name ? null : " The file has a name that no shell should meet: the lines call it “picture”."}
        </p>
        <${Copy} key=${tab} text=${shown.make(same)} label=${shown.label} />
      <//>
    <//>`;
}
