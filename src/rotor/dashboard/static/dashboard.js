// Keeps an open page live: takes the parts that the server has drawn anew and changes what differs, so that focus,
// scroll and half-filled forms stay. Nothing else: without it every page and action works by itself.
"use strict";

let clock = 0; // what to add to this machine's time to have the database's
let source = null;

function adopt(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || (from.id || "") !== (to.id || "")) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if (from.isEqualNode(to) || from.hasAttribute("data-own")) return; // the page's own are written here
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !(from.nodeName === "DETAILS" && name === "open")) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  if (from.nodeName !== "TEXTAREA") adoptChildren(from, to);
}

function adoptChildren(from, to) {
  const known = new Map();
  for (const child of from.children) if (child.id) known.set(child.id, child);
  let at = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const same = wanted.id ? known.get(wanted.id) : null;
    if (same && same !== at) {
      from.insertBefore(same, at);
      adopt(same, wanted);
    } else if (at && (same || (!at.id && !wanted.id))) {
      const next = at.nextSibling;
      adopt(at, wanted);
      at = next;
    } else {
      from.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function takeParts(html) {
  const graph = document.getElementById("graph-scroll");
  const atEnd = graph && graph.scrollTop + graph.clientHeight >= graph.scrollHeight - 8;
  const parsed = document.createElement("template");
  parsed.innerHTML = html;
  for (const part of [...parsed.content.children]) {
    const old = part.id && document.getElementById(part.id);
    if (old) adopt(old, document.importNode(part, true));
  }
  // Whoever looks at the end of a graph stays there while it grows.
  if (atEnd) graph.scrollTop = graph.scrollHeight;
  readClock();
  tick();
  document.dispatchEvent(new Event("redrawn"));
}

function readClock() {
  const told = document.querySelector("[data-now]");
  if (told) clock = Number(told.dataset.now) - Date.now();
}

function spoken(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

function tick() {
  const now = Date.now() + clock;
  for (const one of document.querySelectorAll("[data-since]")) {
    one.textContent = spoken(Math.max(0, now - Number(one.dataset.since)) / 1000);
  }
  for (const one of document.querySelectorAll("[data-left]")) {
    one.textContent = spoken(Math.max(0, Number(one.dataset.left) - now) / 1000);
  }
  for (const one of document.querySelectorAll("[data-until]")) {
    const left = (Number(one.dataset.until) - now) / 1000;
    one.textContent = left > 0 ? `${spoken(left)} left` : "due";
  }
  for (const one of document.querySelectorAll("time[data-at]")) {
    const past = (now - Number(one.dataset.at)) / 1000;
    if (past >= 0 && past < 86400) one.textContent = past < 5 ? "just now" : `${spoken(past)} ago`;
  }
}

function mark(on) {
  const sign = document.querySelector(".live");
  if (!sign) return;
  sign.classList.toggle("is-off", !on);
  sign.textContent = on ? "live" : "not connected";
}

function follow() {
  const place = document.querySelector("[data-live]");
  if (source) source.close();
  source = null;
  if (!place || place.hasAttribute("data-ended")) return;
  const query = place.hidden ? location.search : "";
  source = new EventSource(place.dataset.live + query);
  source.addEventListener("parts", (event) => takeParts(event.data));
  source.addEventListener("end", () => source.close());
  source.onopen = () => mark(true);
  // A stream ends each minute and is opened again at once: only what lasts is worth telling.
  source.onerror = () => setTimeout(() => mark(source !== null && source.readyState === EventSource.OPEN), 3000);
}

async function showPanel(url, { push }) {
  const answer = await fetch(url, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) {
    location.assign(url);
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (push) history.pushState(null, "", url);
  const place = document.querySelector("[data-live]");
  const newer = page.querySelector("[data-live]");
  if (place && newer) place.toggleAttribute("data-ended", newer.hasAttribute("data-ended"));
  for (const part of page.querySelectorAll("main section[id]")) {
    const old = document.getElementById(part.id);
    if (old) adopt(old, document.importNode(part, true));
  }
  readClock();
  tick();
  document.dispatchEvent(new Event("redrawn"));
  follow();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest("a[data-panel]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const url = typeof link.href === "string" ? link.href : link.href.baseVal;
  showPanel(new URL(url, location.href).href, { push: true }).then(() => {
    const panel = document.getElementById("panel");
    if (panel && panel.getBoundingClientRect().top > innerHeight * 0.8) panel.scrollIntoView({ block: "start" });
  });
});

document.addEventListener("keydown", (event) => {
  const close = document.querySelector("#panel .close");
  if (event.key === "Escape" && close) close.click();
});

addEventListener("popstate", () => {
  if (document.getElementById("panel")) showPanel(location.href, { push: false });
});
addEventListener("pagehide", () => source && source.close());
addEventListener("pageshow", (event) => event.persisted && follow());

readClock();
tick();
setInterval(tick, 1000);
follow();
