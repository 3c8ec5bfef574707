// What every page shares: light or dark, shortcuts, rows by keyboard, filters that act when they are chosen.
"use strict";

const root = document.documentElement;

// A choice is kept in a cookie, so that pages come in it; whoever chooses what the system has follows the system again.
function switchTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const chosen = (root.dataset.theme || system) === "dark" ? "light" : "dark";
  if (chosen === system) delete root.dataset.theme;
  else root.dataset.theme = chosen;
  const seconds = chosen === system ? 0 : 31536000;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `rotor_theme=${chosen}; path=/dashboard; max-age=${seconds}; samesite=strict${secure}`;
}

function moveRow(by) {
  const rows = [...document.querySelectorAll("a.row")];
  if (!rows.length) return;
  const at = rows.indexOf(document.activeElement);
  rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)].focus();
}

const help = document.getElementById("keys");
const acts = {
  "?": () => help.showModal(),
  "/": () => document.querySelector("input[type=search]")?.focus(),
  j: () => moveRow(1),
  k: () => moveRow(-1),
  t: switchTheme,
};
let afterG = 0; // when g was pressed: the next key names a page

function act(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest?.("input, select, textarea")) return;
  const page = Date.now() - afterG < 1500 && document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
  afterG = event.key === "g" ? Date.now() : 0;
  const chosen = page ? () => page.click() : acts[event.key];
  if (!chosen) return;
  event.preventDefault();
  chosen();
}

for (const [id, chosen] of [["theme", switchTheme], ["shortcuts", acts["?"]]]) {
  const button = document.getElementById(id);
  if (!button) continue;
  button.hidden = false;
  button.addEventListener("click", chosen);
}
if (help) document.addEventListener("keydown", act);

// What is no JSON is told beside the field, before it is sent.
document.addEventListener("input", (event) => {
  if (!event.target.matches("textarea[name=data]")) return;
  let problem = "";
  try {
    JSON.parse(event.target.value);
  } catch (error) {
    problem = `This is not JSON: ${error.message}`;
  }
  event.target.setCustomValidity(problem);
});

for (const form of document.querySelectorAll("form.filters")) {
  form.addEventListener("change", (event) => event.target.matches("select") && form.requestSubmit());
  // What is not filtered by stays out of the address.
  form.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) if (!value) event.formData.delete(name);
  });
}
