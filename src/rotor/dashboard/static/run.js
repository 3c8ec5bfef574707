// The page of a run: its graph is zoomed, moved and walked through, by buttons, keys and the pointer, and its forms are
// sent without leaving the page. Without this script the graph scrolls and every form works by itself.
"use strict";

const SMALLEST = 0.2;
const LARGEST = 2;
const READABLE = 0.7;
let zoom = 1;
let isChosen = false; // until somebody chooses how near to look, the graph takes the width that there is

const pane = () => document.getElementById("graph-scroll");
const drawing = () => document.querySelector("svg.graph");
const zoomOfWidth = () => {
  const { paddingLeft, paddingRight } = getComputedStyle(pane());
  return (pane().clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight)) / drawing().viewBox.baseVal.width;
};

function drawAtZoom() {
  const svg = drawing();
  if (!svg) return;
  svg.setAttribute("width", svg.viewBox.baseVal.width * zoom);
  svg.setAttribute("height", svg.viewBox.baseVal.height * zoom);
  document.getElementById("zoom").textContent = `${Math.round(zoom * 100)}%`;
}

function fitWidth() {
  if (isChosen || !drawing()) return;
  zoom = Math.min(Math.max(zoomOfWidth(), READABLE), 1);
}

function zoomTo(wanted, at) {
  isChosen = true;
  const scroll = pane();
  const { x, y } = at || { x: scroll.clientWidth / 2, y: scroll.clientHeight / 2 };
  const next = Math.min(Math.max(wanted, SMALLEST), LARGEST);
  const [left, top] = [(scroll.scrollLeft + x) * (next / zoom) - x, (scroll.scrollTop + y) * (next / zoom) - y];
  zoom = next;
  drawAtZoom();
  scroll.scrollTo(left, top);
}

function fitAll() {
  const height = parseFloat(getComputedStyle(pane()).maxHeight) - 20; // it is as high as the graph, up to this
  zoomTo(Math.min(zoomOfWidth(), height / drawing().viewBox.baseVal.height, 1));
}

const zooms = {
  in: () => zoomTo(zoom * 1.25),
  out: () => zoomTo(zoom / 1.25),
  one: () => zoomTo(1),
  fit: fitAll,
};
const keys = { "+": zooms.in, "=": zooms.in, "-": zooms.out, 1: zooms.one, 0: zooms.fit };
const ways = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

// From a step of the graph to the nearest one in a direction.
function walk(from, [across, down]) {
  const middle = (one) => {
    const box = one.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const [x, y] = middle(from);
  let [nearest, best] = [null, Infinity];
  for (const one of document.querySelectorAll("svg.graph a.body")) {
    const [atX, atY] = middle(one);
    const away = Math.abs(atX - x) + 4 * Math.abs(atY - y); // a row further is further than the next but one in a row
    if ((atX - x) * across + (atY - y) * down > 1 && away < best) [nearest, best] = [one, away];
  }
  if (nearest) {
    nearest.focus({ preventScroll: true });
    nearest.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest?.("input, select, textarea")) return;
  const step = event.target.closest?.("svg.graph a.body");
  if (step && ways[event.key]) {
    event.preventDefault();
    walk(step, ways[event.key]);
  } else if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-zoom]");
  if (button) zooms[button.dataset.zoom]();
  const turn = event.target.closest?.("a[data-fold]");
  if (!turn || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  showPanel(new URL(turn.href.baseVal, location.href).href, { push: true });
});

document.addEventListener("pointerdown", (event) => {
  const scroll = event.target.closest?.("#graph-scroll");
  if (!scroll || event.button || event.pointerType !== "mouse" || event.target.closest("a")) return;
  const start = { x: event.clientX + scroll.scrollLeft, y: event.clientY + scroll.scrollTop };
  const move = (moved) => scroll.scrollTo(start.x - moved.clientX, start.y - moved.clientY);
  const stop = () => {
    scroll.classList.remove("moving");
    removeEventListener("pointermove", move);
  };
  scroll.classList.add("moving");
  addEventListener("pointermove", move);
  addEventListener("pointerup", stop, { once: true });
});

document.addEventListener(
  "wheel",
  (event) => {
    const scroll = event.target.closest?.("#graph-scroll");
    if (!scroll || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    const box = scroll.getBoundingClientRect();
    zoomTo(zoom * Math.exp(-event.deltaY / 300), { x: event.clientX - box.x, y: event.clientY - box.y });
  },
  { passive: false },
);

// A bar that fills while a step waits.
function fill() {
  const now = Date.now() + clock;
  for (const bar of document.querySelectorAll(".elapsed")) {
    const { from, to, width } = bar.dataset;
    const part = Math.min(Math.max((now - from) / Math.max(to - from, 1), 0), 1);
    bar.setAttribute("width", (part * width).toFixed(1));
  }
}

function refuse(form, text) {
  form.querySelector(".refused").textContent = text;
}

async function send(form, button) {
  if (button) button.disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (answer.ok) {
      form.closest("details")?.removeAttribute("open");
      refuse(form, "");
      if (form.action.endsWith("/replay")) location.assign(answer.url);
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    refuse(form, page.querySelector("[role=alert]")?.textContent || `The server answered ${answer.status}.`);
  } catch {
    refuse(form, "The server does not answer.");
  } finally {
    if (button) button.disabled = false;
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.querySelector(".refused")) return;
  event.preventDefault();
  send(form, event.submitter);
});

document.addEventListener("redrawn", () => {
  fitWidth();
  drawAtZoom();
  fill();
});
document.querySelector(".zoom").hidden = false;
fitWidth();
drawAtZoom();
pane().scrollLeft = (pane().scrollWidth - pane().clientWidth) / 2;
fill();
setInterval(fill, 1000);
