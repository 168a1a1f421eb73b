
"use strict";
// Makes the scorecard sortable: each heading becomes a button. Without this script the table is complete, in its order.
for (const table of document.querySelectorAll("table.scores")) {
  const bodies = [...table.tBodies].filter(body => !body.classList.contains("anchors"));
  if (!bodies.length) continue;
  const headings = [...bodies.flatMap(body => [...body.querySelectorAll("tr.group")])];
  const rows = bodies.flatMap(body => [...body.querySelectorAll("tr:not(.group)")].map(row => ({row, body})));
  const heads = [...table.tHead.querySelectorAll("th[data-sort]")];
  let column = null, order = 0; // 1: best or first in front, -1: the reverse, 0: as written

  const key = (row, head) => {
    const cell = row.querySelector(`[data-key="${head.dataset.sort}"]`);
    const value = cell ? cell.dataset.value : undefined;
    return value === undefined || head.dataset.sort === "name" ? value : Number(value);
  };
  const arrange = () => {
    const head = heads[column];
    const sign = order * (head.dataset.first === "descending" ? -1 : 1);
    const grouped = !order || head.dataset.sort === "log_likelihood"; // likelihoods of unlike kinds stay apart
    const sorted = rows.map(entry => ({...entry, value: order ? key(entry.row, head) : 0}));
    sorted.sort((a, b) => a.value === b.value ? 0
      : a.value === undefined ? 1 : b.value === undefined ? -1 : a.value < b.value ? -sign : sign);
    for (const {row, body} of sorted) (grouped ? body : bodies[0]).append(row);
    for (const group of headings) group.hidden = !grouped;
    heads.forEach((one, i) => {
      if (i === column && order) one.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      else one.removeAttribute("aria-sort");
    });
  };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    const [title, ...rest] = head.childNodes;
    button.append(title, document.createElement("i"), ...rest); // the arrow, by the style sheet
    head.append(button);
    button.addEventListener("click", () => {
      order = column !== i ? 1 : order === 1 ? -1 : order === -1 ? 0 : 1;
      column = i;
      arrange();
    });
  });
  table.classList.add("sortable");
}
