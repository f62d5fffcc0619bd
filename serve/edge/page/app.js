"use strict";

const TOP = 5;
const byId = (id) => document.getElementById(id);
let token = "";

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, { ...options, headers });
  byId("token-form").hidden = response.status !== 401;
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? response.statusText);
  return body;
}

function modelPath(name, version) {
  return `v2/models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}`;
}

function modelRow({ name, version, state, reason }) {
  const path = modelPath(name, version);
  const links = ["config", "stats"].map((last) => element("a", { href: `${path}/${last}` }, last));
  return element("tr", {},
    element("td", {}, name),
    element("td", {}, version),
    element("td", { className: state === "READY" ? "good" : "bad", title: reason }, state.toLowerCase()),
    element("td", {}, element("a", { href: path }, "metadata"), ...links));
}

async function show() {
  try {
    const server = await call("v2");
    const models = await call("v2/repository/index", { method: "POST" });
    byId("server").textContent = `${server.name} ${server.version}`;
    byId("models").replaceChildren(...models.map(modelRow));
    const ready = models.filter(({ state }) => state === "READY");
    byId("model").replaceChildren(...ready.map(({ name, version }) =>
      element("option", { value: modelPath(name, version) }, `${name}, version ${version}`)));
  } catch (error) {
    byId("server").textContent = error.message;
  }
}

// Triton's classification strings: value:index:label, where the label may hold colons.
function score(text) {
  const [value, index, ...label] = text.split(":");
  const share = Number(value);
  return element("div", { className: "score" },
    element("span", {}, label.join(":") || index),
    element("meter", { value: share }),
    element("span", {}, `${(100 * share).toFixed(1)} %`));
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.split(",")[1]);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function classify(event) {
  event.preventDefault();
  const file = byId("image").files[0];
  const picture = element("img", { src: URL.createObjectURL(file), alt: file.name });
  picture.onload = () => URL.revokeObjectURL(picture.src);
  try {
    const image = {
      name: "image", datatype: "BYTES", shape: [1], parameters: { encoding: "base64" }, data: [await base64(file)],
    };
    const output = { name: "probabilities", parameters: { classification: TOP } };
    const reply = await call(`${byId("model").value}/infer`, {
      method: "POST", body: JSON.stringify({ inputs: [image], outputs: [output] }),
    });
    byId("result").replaceChildren(picture, ...reply.outputs[0].data.map(score));
  } catch (error) {
    byId("result").replaceChildren(picture, element("p", { className: "bad" }, error.message));
  }
}

byId("try").addEventListener("submit", classify);
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value;
  show();
});
show();
