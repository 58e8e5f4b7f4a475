"use strict";
// Tables are complete without this script; it lets them be sorted, filtered, turned over and folded.
const cellKey = (cell) => {
  if (!cell) return null;
  const given = cell.dataset.v;
  const text = given === undefined ? cell.textContent.trim() : given;
  if (text === "") return null;
  if (given === undefined && (cell.tagName === "TH" || cell.classList.contains("text"))) return text;
  const number = Number(text.replace("\u2212", "-"));
  return Number.isNaN(number) ? text : number;
};
const spaced = (text) => text.replace(/\s+/g, " ").trim();
const compareKeys = (a, b) =>
  typeof a === "number" && typeof b === "number"
    ? a - b
    : String(a).localeCompare(String(b), undefined, { numeric: true });
for (const box of document.querySelectorAll("[data-table]")) {
  const table = box.querySelector("table");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  let rows = [...body.rows];
  const size = Number(box.dataset.rows) || rows.length;
  let page = 0;
  const tools = box.querySelector(".tools");
  const [text, ...selects] = tools ? tools.querySelectorAll("input, select") : [];
  const pages = box.querySelector(".pages");
  const show = () => {
    const words = text ? text.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    let found = 0;
    for (const row of rows) {
      let fits = true;
      if (words.length) {
        const content = row.textContent.toLowerCase();
        fits = words.every((word) => content.includes(word));
      }
      if (fits)
        fits = selects.every(({ value }, place) => !value || spaced(row.cells[place + 1].textContent) === spaced(value));
      row.hidden = !fits || found < page * size || found >= (page + 1) * size;
      found += fits;
    }
    const last = Math.max(0, Math.ceil(found / size) - 1);
    if (page > last) {
      page = last;
      return show();
    }
    if (pages) {
      pages.hidden = !last;
      const [back, on] = pages.querySelectorAll("button");
      back.disabled = page === 0;
      on.disabled = page === last;
    }
    if (tools) {
      const range = last ? `rows ${page * size + 1} to ${Math.min(found, (page + 1) * size)} of ${found}` : `${found} rows`;
      tools.querySelector("output").textContent = found < rows.length ? `${range}, of ${rows.length} in all` : range;
    }
  };
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = rows.map((row, place) => [cellKey(row.cells[index]), place, row]);
      keyed.sort(([a, i], [b, j]) => {
        if (a === null || b === null) return (a === null) - (b === null) || i - j;
        return (down ? compareKeys(b, a) : compareKeys(a, b)) || i - j;
      });
      rows = keyed.map((entry) => entry[2]);
      body.append(...rows);
      page = 0;
      show();
    });
  });
  for (const field of text ? [text, ...selects] : [])
    field.addEventListener("input", () => {
      page = 0;
      show();
    });
  if (pages)
    pages.querySelectorAll("button").forEach((button, forward) =>
      button.addEventListener("click", () => {
        page += forward ? 1 : -1;
        show();
        box.scrollIntoView({ block: "start" });
      })
    );
  if (tools) tools.hidden = false;
  if (tools || pages) show();
}
// One search through the tables of all groups of labels.
for (const part of document.querySelectorAll("[data-search]")) {
  const tools = part.querySelector(":scope > .tools");
  if (!tools) continue;
  const groups = [...part.querySelectorAll(":scope > details.group")].filter((group) => group.querySelector("table.labels"));
  tools.hidden = false;
  tools.querySelector("input").addEventListener("input", ({ target }) => {
    const word = target.value.trim().toLowerCase();
    let found = 0;
    for (const group of groups) {
      let here = 0;
      for (const [place, table] of [...group.querySelectorAll("table.labels")].entries())
        for (const row of table.tBodies[0].rows) {
          row.hidden = !row.cells[0].textContent.toLowerCase().includes(word);
          if (place === 0) here += !row.hidden;
        }
      group.hidden = !here;
      group.open = Boolean(word) && here > 0;
      found += here;
    }
    tools.querySelector("output").textContent = word ? `${found} labels` : "";
  });
}
// On a narrow screen each row stands as a block, and every value needs the head of its column.
{
  const narrow = matchMedia("screen and (max-width: 50rem)");
  const fold = () => {
    if (!narrow.matches) return;
    for (const table of document.querySelectorAll("table.stack:not(.ready)")) {
      const closed = table.closest("details:not([open])");
      if (closed) {
        closed.addEventListener("toggle", fold, { once: true });
        continue;
      }
      const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
      for (const row of table.querySelectorAll(":scope > tbody > tr, :scope > tfoot > tr"))
        if (row.cells.length === heads.length)
          for (const [place, cell] of [...row.cells].entries())
            if (cell.tagName === "TD") cell.dataset.h = heads[place];
      table.classList.add("ready");
    }
  };
  fold();
  narrow.addEventListener("change", fold);
}
// A link into something folded unfolds it.
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const closed = target && target.closest("details");
  if (closed) closed.open = true;
};
addEventListener("hashchange", unfold);
unfold();
