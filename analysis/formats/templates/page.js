"use strict";
// Sort and filter tables, hide methods everywhere, open the part that a link leads to. The page is
// complete without this script.

const UNITS = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, s: 1, min: 60, h: 3600 };

// the first number of a cell, in the smallest unit; NaN without one
function amount(text) {
  const found = /[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?(?:\s(kB|MB|GB|B|min|s|h)\b)?/.exec(text.replace("−", "-"));
  if (!found) return NaN;
  const [number, unit] = found[0].split(/\s/);
  return Number(number.replaceAll(",", "")) * (UNITS[unit] ?? 1);
}

// -- sorting: a click on a heading, the best first, and again for the other direction

function sort(table, column, header) {
  const body = table.tBodies[0];
  const isNumber = header.classList.contains("number");
  const sorted = header.getAttribute("aria-sort");
  const up = sorted ? sorted === "descending" : !isNumber || header.classList.contains("lower");
  const key = row => {
    const text = row.cells[column].textContent.trim();
    return isNumber ? amount(text) : text === "-" ? "" : text;
  };
  const missing = value => value === "" || Number.isNaN(value);
  const rows = [...body.rows].map(row => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);  // always last
    const order = isNumber ? a - b : a.localeCompare(b, undefined, { numeric: true });
    return up ? order : -order;
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  body.append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("main table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, column, header));
    header.append(button);
  });
}

// -- filtering and hiding, by one toolbar under the answer

const hidden = new Set();
let wanted = "";

function show() {
  for (const element of document.querySelectorAll("main [data-method]")) {
    element.classList.toggle("gone", hidden.has(element.dataset.method));
  }
  for (const row of document.querySelectorAll("main tbody tr")) {
    row.classList.toggle("unwanted", !row.textContent.toLowerCase().includes(wanted));
  }
}

function labelled(text, input) {
  const label = document.createElement("label");
  label.append(...(input.type === "checkbox" ? [input, " ", text] : [text, " ", input]));
  return label;
}

function toolbar(methods) {
  const bar = document.createElement("div");
  bar.className = "tools";
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", "What the tables and figures show");
  for (const method of methods) {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      hidden[box.checked ? "delete" : "add"](method);
      show();
    });
    bar.append(labelled(method, box));
  }
  const found = document.createElement("output");
  const filter = document.createElement("input");
  filter.type = "search";
  filter.addEventListener("input", () => {
    wanted = filter.value.trim().toLowerCase();
    show();
    const rows = [...document.querySelectorAll("main tbody tr")];
    const shown = rows.filter(row => !row.classList.contains("unwanted")).length;
    found.textContent = wanted ? `${shown} of ${rows.length} rows` : "";
  });
  bar.prepend("Show methods:");
  bar.append(labelled("Show rows with:", filter), found);
  return bar;
}

const rows = document.querySelectorAll("main tr[data-method]");
const methods = [...new Set([...rows].map(row => row.dataset.method))].filter(name => !name.includes(" - "));
if (methods.length > 1) {
  const first = document.querySelector("main section");
  first.append(toolbar(methods));
}

// -- closed parts: open for a link into them, and on paper

function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const part = target?.closest("details");
  if (part && !part.open) {
    part.open = true;
    target.scrollIntoView();
  }
}

window.addEventListener("hashchange", reveal);
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
reveal();
